//! One proven connection at work: a reader, a writer, and what ends it.
//!
//! The reader hands on what comes; if the node is too busy to take it, the reader waits, TCP's window
//! closes, and the sender's queue begins to drop. So slowness travels back to where messages may be
//! lost, and nothing grows. The writer puts all frames that have queued up meanwhile into one write,
//! and a keepalive where there are none.

use std::time::Duration;

use bytes::Bytes;
use dsync_core::types::NodeId;
use dsync_core::wire::PeerFrame;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::cache_line::CacheFrame;
use super::frame::{self, Frame, FrameError, FrameReader};
use super::handshake::Proven;
use super::introduction::{Introduction, Refusal};
use super::net::{OwnedReadHalf, OwnedWriteHalf};
use super::outbox::Outbox;
use super::secret::Role;
use super::table::{NoPlace, Place};
use super::{PeerEvent, Shared};

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    /// Never began: another one to this node stands already.
    #[error("already connected to node {0}")]
    AlreadyDialled(NodeId),
    /// The two may not talk.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The other side does not want to talk.
    #[error("refused by the peer: {0}")]
    RefusedByPeer(Refusal),
    /// A newer connection took its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// This side has closed it, or the node stops.
    #[error("closed")]
    Closed,
    /// Nothing came for too long.
    #[error("silent for {0:?}")]
    Silent(Duration),
    /// The peer takes nothing.
    #[error("the peer has taken no byte for {0:?}")]
    Stalled(Duration),
    /// The stream cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream cannot be written.
    #[error("the stream failed: {0}")]
    Io(#[from] std::io::Error),
    /// A frame that has no place after the handshake.
    #[error("an unexpected frame")]
    OutOfOrder,
    /// A message in somebody else's name.
    #[error("a message from node {claimed} came over the connection of node {proven}")]
    Forged {
        /// Whose the connection is.
        proven: NodeId,
        /// Whom the message names.
        claimed: NodeId,
    },
}

/// Runs a proven connection to its end.
pub(super) async fn run(shared: &Shared, proven: Proven) -> LinkEnd {
    match proven.role {
        Role::Dialler => shared.metrics.dialled.one(),
        Role::Listener => shared.metrics.accepted.one(),
    }
    let place = match shared.table.attach(&proven, &shared.limits) {
        Ok(place) => place,
        Err(NoPlace::AlreadyDialled) => return LinkEnd::AlreadyDialled(proven.theirs.node_id),
        Err(NoPlace::Refused(refusal)) => {
            return farewell(shared, proven, refusal).await;
        }
    };
    let theirs = proven.theirs.clone();
    let seat = Seat { shared, node_id: theirs.node_id, number: place.number };
    tracing::info!(peer = %theirs.name, node_id = %theirs.node_id, lane = ?proven.lane,
        role = ?proven.role, address = %proven.address, "peer connected");
    let end = work(shared, proven, &place).await;
    tracing::info!(peer = %theirs.name, node_id = %theirs.node_id, reason = %end, "peer connection ended");
    if seat.leave() {
        let _ = shared.events.send(PeerEvent::Unreachable(theirs.node_id)).await;
    }
    end
}

/// Takes the connection out of the table even if its task is dropped half way.
struct Seat<'a> {
    shared: &'a Shared,
    node_id: NodeId,
    number: u64,
}

impl Seat<'_> {
    /// True if messages may have been lost with the connection.
    fn leave(&self) -> bool {
        self.shared.table.detach(self.node_id, self.number)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

async fn work(shared: &Shared, proven: Proven, place: &Place) -> LinkEnd {
    let Proven { reader, writer, theirs, address, .. } = proven;
    if shared.events.send(PeerEvent::Introduced(theirs.clone())).await.is_err() {
        return LinkEnd::Closed;
    }
    let end = tokio::select! {
        end = read(shared, reader, theirs, &place.outbox) => end,
        end = write(shared, writer, &place.outbox) => end,
        () = place.ended.notified() => LinkEnd::Replaced,
    };
    match &end {
        LinkEnd::Refused(refusal) => shared.refused(address, refusal, false).await,
        LinkEnd::RefusedByPeer(refusal) => shared.refused(address, refusal, true).await,
        LinkEnd::Frame(error) if error.is_broken_frame() => shared.metrics.broken_frames.one(),
        LinkEnd::Forged { .. } => shared.metrics.forged_senders.one(),
        _ => {}
    }
    end
}

async fn read(
    shared: &Shared,
    mut reader: FrameReader<OwnedReadHalf>,
    mut theirs: Introduction,
    outbox: &Outbox,
) -> LinkEnd {
    loop {
        let (frame, bytes) = match timeout(shared.limits.idle, reader.next()).await {
            Err(_) => return LinkEnd::Silent(shared.limits.idle),
            Ok(Err(error)) => return error.into(),
            Ok(Ok((frame, bytes))) => {
                shared.metrics.frames_in.one();
                shared.metrics.bytes_in.add(bytes);
                (frame, bytes)
            }
        };
        if let Err(end) = take(shared, (frame, bytes), &mut theirs, outbox).await {
            return end;
        }
    }
}

async fn take(
    shared: &Shared,
    (frame, bytes): (Frame, usize),
    theirs: &mut Introduction,
    outbox: &Outbox,
) -> Result<(), LinkEnd> {
    let event = match frame {
        Frame::KeepAlive => return Ok(()),
        Frame::Message(PeerFrame::V1(envelope)) => {
            if envelope.from != theirs.node_id {
                let (proven, claimed) = (theirs.node_id, envelope.from);
                return Err(LinkEnd::Forged { proven, claimed });
            }
            if envelope.to != shared.node_id {
                // Meant for the disk that this one has replaced, or for another node.
                shared.metrics.drops_misaddressed.one();
                return Ok(());
            }
            PeerEvent::Message(envelope)
        }
        Frame::Introduction(introduction) => {
            if !same_node(&introduction, theirs) {
                return Err(LinkEnd::OutOfOrder);
            }
            shared.table.update(&introduction).map_err(LinkEnd::Refused)?;
            *theirs = introduction.clone();
            PeerEvent::Introduced(introduction)
        }
        Frame::Audit(word) => {
            shared.audit.hear(theirs.node_id, word);
            return Ok(());
        }
        Frame::HomeLease(message) => PeerEvent::HomeLease(theirs.node_id, message),
        Frame::Cache(CacheFrame { to, message }) => {
            if to != shared.boot_id {
                shared.metrics.drops_misaddressed.one();
            } else if !shared.caches.hear(theirs, message, bytes) {
                shared.metrics.drops_unheard.one();
            }
            return Ok(());
        }
        Frame::Probe(number) => {
            frame::encode(&Frame::Alive(number))
                .into_iter()
                .for_each(|said| outbox.say_alive(said));
            return Ok(());
        }
        Frame::Alive(number) => {
            shared.table.answered(theirs.node_id, theirs.boot_id, number);
            return Ok(());
        }
        Frame::Farewell(refusal) => return Err(LinkEnd::RefusedByPeer(refusal)),
        Frame::Hello { .. } | Frame::Confirm { .. } => return Err(LinkEnd::OutOfOrder),
    };
    shared.events.send(event).await.map_err(|_| LinkEnd::Closed)
}

/// What was proven in the handshake never changes on a connection.
fn same_node(new: &Introduction, old: &Introduction) -> bool {
    (new.node_id, new.boot_id, &new.name) == (old.node_id, old.boot_id, &old.name)
}

async fn write(shared: &Shared, mut writer: OwnedWriteHalf, outbox: &Outbox) -> LinkEnd {
    let Ok(keepalive) = frame::encode(&Frame::KeepAlive) else { return LinkEnd::Closed };
    let limits = &shared.limits;
    loop {
        let (batch, frames) = match timeout(limits.keepalive, outbox.take(limits.batch_bytes)).await
        {
            Ok(Some(batch)) => batch,
            Ok(None) => {
                // Says on the wire that this is the end, so that the last frames are read.
                let _ = timeout(limits.write_stall, writer.shutdown()).await;
                return LinkEnd::Closed;
            }
            Err(_) => (keepalive.clone(), 1),
        };
        if let Err(end) = write_all(&mut writer, &batch, limits.write_stall).await {
            return end;
        }
        shared.metrics.frames_out.add(frames);
        shared.metrics.bytes_out.add(batch.len());
    }
}

/// The deadline is for progress, not for the whole: a slow link is not a stalled one.
async fn write_all(
    writer: &mut OwnedWriteHalf,
    mut bytes: &[u8],
    stall: Duration,
) -> Result<(), LinkEnd> {
    while !bytes.is_empty() {
        let written = timeout(stall, writer.write(bytes)).await;
        match written.map_err(|_| LinkEnd::Stalled(stall))?? {
            0 => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// Between the handshake and here something changed; say why the connection ends after all.
async fn farewell(shared: &Shared, mut proven: Proven, refusal: Refusal) -> LinkEnd {
    let said: Option<Bytes> = frame::encode(&Frame::Farewell(refusal.clone())).ok();
    if let Some(bytes) = said {
        let _ = write_all(&mut proven.writer, &bytes, shared.limits.write_stall).await;
    }
    shared.refused(proven.address, &refusal, false).await;
    LinkEnd::Refused(refusal)
}

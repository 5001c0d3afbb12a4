//! Frames on a peer stream: `length u32 | crc32c u32 | body`, both little-endian, the checksum over
//! the length and the body, the body one postcard value of `Frame`.
//!
//! TCP's own checksum lets about one damaged packet in tens of thousands through where a network card
//! or a proxy flips bits in memory, and a length that has gone wrong never comes right again. So
//! whatever is wrong with one frame closes the stream; the next connection starts clean, and what was
//! lost is asked for again by those who need it.
//!
//! To change the format: never alter or reorder a published variant (the golden bytes below will say
//! so); add one at the end, raise [`super::PROTOCOL`]'s `max`, and send it only on streams whose
//! common version has it.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use dsync_core::cache::HomeLeaseMessage;
use dsync_core::raft::COMMAND_BYTES_MAX;
use dsync_core::wire::{self, DecodeError, PeerFrame};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::cache_line::CacheFrame;
use super::introduction::{Introduction, Lane, Refusal};

/// The longest body in bytes: the largest command, and what a message has beside it.
pub const FRAME_BODY_BYTES_MAX: usize = COMMAND_BYTES_MAX + 16 * 1024;
/// Length and checksum.
pub(super) const HEADER_BYTES: usize = 8;
/// How much is asked of the socket at once: many small frames, or a good part of a large one.
const READ_BYTES: usize = 64 * 1024;

/// What one frame says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// Both, every few seconds in which nothing else was sent: the stream still carries.
    KeepAlive,
    /// Both, first of all: who I am, and what this connection is for.
    Hello {
        /// The dialler's choice; the listener repeats it.
        lane: Lane,
        /// The sender.
        introduction: Introduction,
    },
    /// Both, in answer to `Hello`: proof that both introductions are as they were sent.
    Confirm {
        /// See `secret.rs`.
        tag: [u8; 32],
        /// Why the sender does not want to talk. The stream ends after it.
        refusal: Option<Refusal>,
    },
    /// Either, when what it said of itself has changed.
    Introduction(Introduction),
    /// Either, last of all: why the stream ends.
    Farewell(Refusal),
    /// A message of consensus.
    Message(PeerFrame),
    /// A word between two audit trails; its form is theirs (`audit/exchange.rs`). From version 2 on.
    Audit(Bytes),
    /// Either: does your process still live? Asked when another process comes with the same node id.
    Probe(u64),
    /// The answer to a probe, by its number.
    Alive(u64),
    /// Between a home of cached keys and the leader.
    HomeLease(HomeLeaseMessage),
    /// A message between two caches.
    Cache(CacheFrame),
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed it, between two frames.
    #[error("the peer closed the stream")]
    Closed,
    /// The socket failed, or ended inside a frame.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    /// A length that no frame has.
    #[error("a frame of {0} bytes; at most {FRAME_BODY_BYTES_MAX} are allowed")]
    Length(usize),
    /// Damaged on the way.
    #[error("a frame has a wrong checksum")]
    Checksum,
    /// Whole, but not a frame of this protocol.
    #[error(transparent)]
    Body(#[from] DecodeError),
}

impl FrameError {
    /// True if the bytes are at fault and not the connection.
    pub(super) fn is_broken_frame(&self) -> bool {
        !matches!(self, Self::Closed | Self::Io(_))
    }
}

/// The bytes of a frame, or its body's length if that is above the limit.
pub(super) fn encode(frame: &Frame) -> Result<Bytes, usize> {
    let body = wire::encode(frame);
    seal(&body).ok_or(body.len())
}

/// Puts a header before a body that fits.
pub(super) fn seal(body: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(body.len()).ok()?;
    if body.len() > FRAME_BODY_BYTES_MAX {
        return None;
    }
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(length, body).to_le_bytes());
    bytes.extend_from_slice(body);
    Some(bytes.freeze())
}

fn checksum(length: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), body)
}

/// Reads frames. Holds at most one frame of the longest kind and one read beyond it.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    source: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// `early` is what has been read from the source already.
    pub(super) fn new(source: R, early: &[u8]) -> Self {
        Self { source, buffer: BytesMut::from(early) }
    }

    /// The next frame, and the bytes it takes on the wire. Safe to cancel: no byte is lost.
    pub(super) async fn next(&mut self) -> Result<(Frame, usize), FrameError> {
        let body = self.next_body().await?;
        Ok((wire::decode("peer frame", &body)?, HEADER_BYTES + body.len()))
    }

    /// The next frame's body as it was sent.
    pub(super) async fn next_body(&mut self) -> Result<Bytes, FrameError> {
        loop {
            if let Some(body) = take_body(&mut self.buffer)? {
                return Ok(body);
            }
            self.buffer.reserve(READ_BYTES);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                return Err(match self.buffer.is_empty() {
                    true => FrameError::Closed,
                    false => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                });
            }
        }
    }
}

/// Takes one whole body off the front. The length is judged before anything is waited for, so an
/// absurd one costs no memory.
fn take_body(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let (length, sum) =
        (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]));
    let body_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if body_bytes == 0 || body_bytes > FRAME_BODY_BYTES_MAX {
        return Err(FrameError::Length(body_bytes));
    }
    let Some(body) = rest.get(..body_bytes) else { return Ok(None) };
    if checksum(length, body) != sum {
        return Err(FrameError::Checksum);
    }
    buffer.advance(HEADER_BYTES);
    Ok(Some(buffer.split_to(body_bytes).freeze()))
}

#[cfg(test)]
mod tests {
    use dsync_core::cache::{CacheMessage, Incarnation, Process};
    use dsync_core::raft::{Envelope, Message};
    use dsync_core::types::{BootCount, BootId, ClusterId, Index, NodeId, NodeName, Term};

    use super::super::introduction::ProtocolVersions;
    use super::*;

    fn message() -> Frame {
        Frame::Message(PeerFrame::V1(Envelope {
            from: NodeId(1),
            to: NodeId(2),
            term: Term(3),
            message: Message::TimeoutNow,
        }))
    }

    fn invalidated() -> Frame {
        let process = Process { node: NodeId(1), boot: BootId(2) };
        let home = Incarnation { process, returns: 0 };
        let message = CacheMessage::Invalidated { home, session: 3, number: 4 };
        Frame::Cache(CacheFrame { to: BootId(9), message })
    }

    async fn read(bytes: &[u8]) -> Result<Frame, FrameError> {
        FrameReader::new(bytes, &[]).next().await.map(|(frame, _)| frame)
    }

    #[tokio::test]
    async fn frames_that_arrive_byte_by_byte_are_read_whole_and_in_order() {
        let (mut far, near) = tokio::io::duplex(1);
        let frames = [Frame::KeepAlive, message(), Frame::KeepAlive];
        let bytes: Vec<u8> = frames.iter().flat_map(|f| encode(f).unwrap()).collect();
        let write = async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await.unwrap();
        };
        let read = async {
            let mut reader = FrameReader::new(near, &[]);
            for frame in &frames {
                assert_eq!(&reader.next().await.unwrap().0, frame);
            }
            assert!(matches!(reader.next().await, Err(FrameError::Closed)));
        };
        tokio::join!(write, read);
    }

    #[tokio::test]
    async fn a_flipped_bit_anywhere_is_noticed() {
        let good = encode(&message()).unwrap();
        assert_eq!(read(&good).await.unwrap(), message());
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).await.is_err(), "bit {bit}");
        }
    }

    #[tokio::test]
    async fn a_length_above_the_limit_is_refused_before_its_body_comes() {
        let (_far, near) = tokio::io::duplex(64);
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 4]);
        let mut reader = FrameReader::new(near, &bytes);
        assert!(matches!(reader.next().await, Err(FrameError::Length(_))));
    }

    #[tokio::test]
    async fn an_empty_body_a_body_with_a_tail_and_an_unknown_variant_are_refused() {
        assert!(matches!(read(&[0; 8]).await, Err(FrameError::Length(0))));
        assert!(matches!(read(&seal(&[0, 0]).unwrap()).await, Err(FrameError::Body(_))));
        assert!(matches!(read(&seal(&[99]).unwrap()).await, Err(FrameError::Body(_))));
    }

    #[test]
    fn a_body_at_the_limit_fits_and_one_byte_more_does_not() {
        assert!(seal(&vec![0; FRAME_BODY_BYTES_MAX]).is_some());
        assert!(seal(&vec![0; FRAME_BODY_BYTES_MAX + 1]).is_none());
    }

    /// What these releases have said on the wire. A line that fails means: old peers cannot read you.
    #[test]
    fn published_frames_keep_their_bytes() {
        let introduction = Introduction {
            versions: ProtocolVersions { min: 1, max: 1 },
            name: NodeName("n".into()),
            node_id: NodeId(1),
            boot_id: BootId(2),
            cluster_id: Some(ClusterId(3)),
            empty: false,
            recovery: 4,
            boot_count: BootCount(5),
            recovered_end: Index(6),
        };
        let said = b"\x01\x01\x01n\x01\x02\x01\x03\x00\x04\x05\x06".as_slice();
        let process = Process { node: NodeId(1), boot: BootId(2) };
        let home = Incarnation { process, returns: 3 };
        let golden: Vec<(Frame, Vec<u8>)> = vec![
            (Frame::KeepAlive, vec![0]),
            (
                Frame::Hello { lane: Lane::Bulk, introduction: introduction.clone() },
                [&[1, 1], said].concat(),
            ),
            (
                Frame::Confirm { tag: [7; 32], refusal: Some(Refusal::OwnAddress) },
                [&[2][..], &[7; 32], &[1, 7]].concat(),
            ),
            (Frame::Introduction(introduction), [&[3], said].concat()),
            (Frame::Farewell(Refusal::NodeIdInUse { node_id: NodeId(5) }), vec![4, 1, 5]),
            (message(), vec![5, 0, 1, 2, 3, 13]),
            (Frame::Audit(Bytes::from_static(b"a")), vec![6, 1, b'a']),
            (Frame::Probe(8), vec![7, 8]),
            (Frame::Alive(8), vec![8, 8]),
            (Frame::HomeLease(HomeLeaseMessage::Ask { ask: 7, home }), vec![9, 0, 7, 1, 2, 3]),
            (Frame::HomeLease(HomeLeaseMessage::Granted { ask: 7 }), vec![9, 1, 7]),
            (invalidated(), vec![10, 9, 5, 1, 2, 0, 3, 4]),
        ];
        for (frame, bytes) in golden {
            assert_eq!(wire::encode(&frame), bytes, "{frame:?}");
        }
    }
}

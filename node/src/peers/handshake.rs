//! From a bare connection to a proven stream between two nodes that know each other.
//!
//! ```text
//! dialler                                              listener
//!   GET /peer/v1/stream, nonce              ->
//!                                           <-   401, nonce            all that a stranger gets
//!   GET again, upgrade, proof by each secret ->
//!                                           <-   101, proof
//!   Hello (lane, introduction)             <->   Hello                 both have proven the secret
//!   Confirm (identities' proof, refusal)   <->   Confirm
//!   frames                                 <->   frames
//! ```
//!
//! Neither side says who it is before the other has shown that it knows the secret: names and ids
//! never go to a stranger, whichever side the stranger is on. The price is a second proof, which binds
//! the identities; see `secret.rs`. Both requests go over one connection, and the challenge lives and
//! dies with it.
//!
//! The whole of it has one deadline, so that a peer that sends nothing, or one byte a second, is cut
//! like one that stops half way; the timers of an HTTP library start only with the first byte.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use dsync_core::wire;
use http::{HeaderName, HeaderValue};
use http_body_util::Empty;
use tokio::io::AsyncWriteExt;

use super::frame::{self, Frame, FrameError, FrameReader};
use super::introduction::{Introduction, Lane, Refusal};
use super::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use super::secret::{Challenge, ClusterSecret, Role, Tag, hex, same_tag, unhex};

mod dial;
mod listen;

pub(super) use dial::dial;
pub(super) use listen::listen;

/// Where a peer asks for a stream.
pub const STREAM_PATH: &str = "/peer/v1/stream";
/// What the stream is called in the `Upgrade` header.
pub const STREAM_PROTOCOL: &str = "dsync-peer";
/// A side's nonce in hex.
const NONCE_HEADER: HeaderName = HeaderName::from_static("dsync-peer-nonce");
/// A side's proofs in hex, separated by commas.
const PROOF_HEADER: HeaderName = HeaderName::from_static("dsync-peer-proof");
/// More than the headers of a handshake ever take; hyper's smallest.
const HTTP_BUFFER_BYTES: usize = 8192;
/// More than clients add on their own.
const HTTP_HEADERS_MAX: usize = 32;

/// Whether two nodes may talk, and in which version. It may take a while to find out.
pub(super) trait Judgement: Future<Output = Result<u16, Refusal>> {}
impl<J: Future<Output = Result<u16, Refusal>>> Judgement for J {}

/// No handshake sends or expects a body.
type NoBody = Empty<Bytes>;

/// Why a connection did not become a stream.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection could not be opened, or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The deadline for the whole handshake passed.
    #[error("no complete handshake in time")]
    TimedOut,
    /// Not HTTP, or not in this order.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// Whoever answers is not a peer of this protocol.
    #[error("it does not answer as a peer (HTTP status {0})")]
    NotAPeer(http::StatusCode),
    /// The other side does not know the secret, or rejects this side's.
    #[error("the cluster secrets differ")]
    WrongSecret,
    /// A frame was damaged.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame came that has no place in a handshake.
    #[error("an unexpected frame in the handshake")]
    OutOfOrder,
    /// The proof of the identities does not fit what was received.
    #[error("the introductions were altered on the way")]
    Altered,
    /// This node does not want to talk to that one.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// That node does not want to talk to this one.
    #[error("refused by the peer: {0}")]
    RefusedByPeer(Refusal),
    /// This node is stopping.
    #[error("stopping")]
    Stopping,
}

/// A stream whose two ends have proven the secret and who they are.
#[derive(Debug)]
pub(super) struct Proven {
    pub(super) reader: FrameReader<OwnedReadHalf>,
    pub(super) writer: OwnedWriteHalf,
    /// The other end's address.
    pub(super) address: SocketAddr,
    /// This end's part.
    pub(super) role: Role,
    pub(super) lane: Lane,
    /// What this end has said of itself.
    pub(super) own: Introduction,
    /// What the other end has said of itself.
    pub(super) theirs: Introduction,
    /// The protocol version that both will speak.
    pub(super) version: u16,
}

/// An upgraded connection whose two ends have proven the secret.
struct Upgraded {
    stream: TcpStream,
    early: Bytes,
    secret: ClusterSecret,
    challenge: Challenge,
}

/// Exchanges identities. `judge` decides about the other's. What it is given is not confirmed yet, so it
/// must do nothing but look, and ask those who are connected whether they live.
async fn introduce<J: Judgement>(
    upgraded: Upgraded,
    role: Role,
    own: Introduction,
    lane: Option<Lane>,
    judge: impl FnOnce(Introduction) -> J,
) -> Result<Proven, HandshakeError> {
    let Upgraded { stream, early, secret, challenge } = upgraded;
    let address = stream.peer_addr()?;
    let (source, mut writer) = stream.into_split();
    let mut reader = FrameReader::new(source, &early);

    // The listener waits for the dialler's choice of the lane, and repeats it.
    let (ours_said, theirs_said) = if let Some(lane) = lane {
        let ours = say_hello(&mut writer, lane, &own).await?;
        (ours, reader.next_body().await?)
    } else {
        let theirs = reader.next_body().await?;
        let (lane, _) = heard_hello(&theirs)?;
        (say_hello(&mut writer, lane, &own).await?, theirs)
    };
    let (lane_heard, theirs) = heard_hello(&theirs_said)?;
    if lane.is_some_and(|lane| lane != lane_heard) {
        return Err(HandshakeError::OutOfOrder);
    }

    let (dialler_said, listener_said) = match role {
        Role::Dialler => (&ours_said, &theirs_said),
        Role::Listener => (&theirs_said, &ours_said),
    };
    let vouch = |role| secret.vouch(role, &challenge, dialler_said, listener_said);
    let judgement = judge(theirs.clone()).await;
    let refusal = judgement.as_ref().err().cloned();
    write(&mut writer, &Frame::Confirm { tag: vouch(role), refusal }).await?;
    let Frame::Confirm { tag, refusal } = reader.next().await?.0 else {
        return Err(HandshakeError::OutOfOrder);
    };
    if !same_tag(&tag, &vouch(role.other())) {
        return Err(HandshakeError::Altered);
    }
    let version = judgement.map_err(HandshakeError::Refused)?;
    if let Some(refusal) = refusal {
        return Err(HandshakeError::RefusedByPeer(refusal));
    }
    Ok(Proven { reader, writer, address, role, lane: lane_heard, own, theirs, version })
}

/// Sends a `Hello`; gives back its body, which both sides sign.
async fn say_hello(
    writer: &mut OwnedWriteHalf,
    lane: Lane,
    own: &Introduction,
) -> Result<Bytes, HandshakeError> {
    let hello = Frame::Hello { lane, introduction: own.clone() };
    write(writer, &hello).await?;
    Ok(wire::encode(&hello).into())
}

fn heard_hello(body: &[u8]) -> Result<(Lane, Introduction), HandshakeError> {
    match wire::decode("peer frame", body).map_err(FrameError::Body)? {
        Frame::Hello { lane, introduction } => Ok((lane, introduction)),
        _ => Err(HandshakeError::OutOfOrder),
    }
}

async fn write(writer: &mut OwnedWriteHalf, frame: &Frame) -> Result<(), HandshakeError> {
    let bytes = frame::encode(frame).map_err(FrameError::Length)?;
    Ok(writer.write_all(&bytes).await?)
}

fn nonce_in(headers: &http::HeaderMap) -> Option<[u8; 32]> {
    unhex(headers.get(NONCE_HEADER)?.to_str().ok()?)
}

/// At most as many proofs as there can be secrets; the rest is not looked at.
fn proofs_in(headers: &http::HeaderMap) -> Option<Vec<Tag>> {
    let text = headers.get(PROOF_HEADER)?.to_str().ok()?;
    text.split(',').take(super::secret::SECRETS_MAX).map(|tag| unhex(tag.trim())).collect()
}

fn hex_value(tags: &[Tag]) -> HeaderValue {
    let text = tags.iter().map(|tag| hex(tag)).collect::<Vec<_>>().join(",");
    // Hex digits and commas are always a valid value.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// Takes the socket back out of hyper, with what was read beyond the response.
async fn take_over(
    on_upgrade: hyper::upgrade::OnUpgrade,
) -> Result<(TcpStream, Bytes), HandshakeError> {
    let upgraded = on_upgrade.await?;
    let parts = upgraded
        .downcast::<hyper_util::rt::TokioIo<TcpStream>>()
        .map_err(|_| io::Error::other("the upgraded stream is not the one that was given"))?;
    Ok((parts.io.into_inner(), BytesMut::from(&parts.read_buf[..]).freeze()))
}

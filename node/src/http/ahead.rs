//! A socket that is read on behind a request, so that a peer who hangs up is noticed.
//!
//! Problem: the end of a connection stands behind all that was sent before it. hyper looks for the
//! end while a request is under way, but only as long as nothing follows the body. Behind one stray
//! byte (a line end too many, a pipelined request) the end stays unseen until the request is over,
//! and the request of somebody who waits for a lock is over when the lock was granted: to nobody.
//!
//! Idea: while a request is under way whose body has been read, what follows is read into a buffer
//! here, and hyper gets it from there when it comes to it. The buffer is short: who sends more than
//! [`AHEAD_BYTES_MAX`] before an answer does not wait for one, which counts as a hang-up.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::requests::{BodyState, Requests};

/// Most bytes that are read behind a request under way.
const AHEAD_BYTES_MAX: usize = 16 << 10;
const PIECE_BYTES: usize = 1 << 10;

/// The socket for hyper, and the lookout for its end. Both must be polled by the same task, since a
/// socket wakes only who looked at it last.
pub(super) fn split(stream: TcpStream, requests: Arc<Requests>) -> (Socket, Lookout) {
    let (read, write) = stream.into_split();
    let reader = Reader(Arc::new(Mutex::new(Parts { socket: read, ahead: BytesMut::new() })));
    (Socket { reader: reader.clone(), write }, Lookout { reader, requests })
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Socket {
    reader: Reader,
    write: OwnedWriteHalf,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Lookout {
    reader: Reader,
    requests: Arc<Requests>,
}

impl Lookout {
    /// Ready when the peer has hung up in the middle of a request. To be polled after the connection,
    /// whose steps decide whether there is one.
    pub(super) fn poll_hang_up(&self, context: &mut Context<'_>) -> Poll<()> {
        let body = self.requests.body();
        if matches!(body, None | Some(BodyState::Coming)) {
            return Poll::Pending;
        }
        match ready!(self.reader.poll_ahead(context)) {
            // The rest of a body that nobody wants may have any length.
            Seen::Much if body == Some(BodyState::Dropped) => Poll::Pending,
            Seen::Much | Seen::End => Poll::Ready(()),
        }
    }
}

/// The reading half, with what was read from it and not yet taken.
#[derive(Clone, Debug)]
struct Reader(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    socket: OwnedReadHalf,
    ahead: BytesMut,
}

/// What stands behind a request.
enum Seen {
    /// More than is read ahead.
    Much,
    /// The end of the connection, in order or broken off.
    End,
}

impl Reader {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_ahead(&self, context: &mut Context<'_>) -> Poll<Seen> {
        let mut parts = self.parts();
        while parts.ahead.len() <= AHEAD_BYTES_MAX {
            let mut scratch = [0; PIECE_BYTES];
            let mut piece = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut parts.socket).poll_read(context, &mut piece));
            if read.is_err() || piece.filled().is_empty() {
                return Poll::Ready(Seen::End);
            }
            parts.ahead.extend_from_slice(piece.filled());
        }
        Poll::Ready(Seen::Much)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut parts = self.reader.parts();
        if parts.ahead.is_empty() {
            return Pin::new(&mut parts.socket).poll_read(context, buffer);
        }
        let count = parts.ahead.len().min(buffer.remaining());
        buffer.put_slice(&parts.ahead[..count]);
        parts.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().write).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().write).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_shutdown(context)
    }
}

//! A socket that gives up on a peer who does not go on.
//!
//! hyper has one timer, from the end of one request to the end of the next one's head. As a limit
//! for slow heads it must be short, as a limit for idle connections it must be long, or every pooled
//! client races with the close. So hyper's timer is the idle limit, and this stream adds the others:
//!
//! - a *head* has to be complete some time after its first byte;
//! - a *write* has to make some progress in some time, or a client that asks and never reads would
//!   keep its connection for ever;
//! - what hyper cannot read it answers by itself, with a status and nothing else. That goes out as a
//!   problem document, like every other refusal;
//! - at the end, if the peer may still be sending (a body that was refused unread), the stream
//!   *lingers*: it closes its own half and throws away what comes for a while. Closing at once would
//!   make the kernel answer the incoming bytes with a reset, and the reset can overtake the answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::bare;
use super::requests::Requests;

/// How long a peer may take.
#[derive(Clone, Debug)]
pub(super) struct StreamLimits {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// For a write to make progress.
    pub(super) write: Duration,
    /// For the peer to stop sending after a refusal.
    pub(super) linger: Duration,
    /// What the ids of answers to no request begin with.
    pub(super) request_id_prefix: String,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    inner: S,
    requests: Arc<Requests>,
    limits: StreamLimits,
    /// Runs while a head is incomplete, with the number of requests that had begun before it.
    head: Option<(u64, Timer)>,
    /// Runs while a write waits.
    write: Option<Timer>,
    /// Runs once the own half is closed.
    linger: Option<Timer>,
    /// How many requests had begun when the last answer had left to its last byte.
    flushed_at: u64,
    /// What is sent in place of hyper's own answer, as far as it has not left.
    instead: Option<Bytes>,
}

type Timer = Pin<Box<Sleep>>;

impl<S> TimedStream<S> {
    pub(super) fn new(inner: S, requests: Arc<Requests>, limits: StreamLimits) -> Self {
        let (head, write, linger, flushed_at, instead) = (None, None, None, 0, None);
        Self { inner, requests, limits, head, write, linger, flushed_at, instead }
    }

    /// A timer of an earlier head says nothing about this one.
    fn forget_finished_head(&mut self) {
        let begun = self.requests.begun();
        if self.requests.is_busy() || self.head.as_ref().is_some_and(|(at, _)| *at != begun) {
            self.head = None;
        }
    }

    fn head_begins(&mut self) {
        if self.head.is_none() && !self.requests.is_busy() {
            let begun = self.requests.begun();
            self.head = Some((begun, timer(self.limits.head)));
        }
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.head {
            Some((_, timer)) => timer.as_mut().poll(context).map(|()| self.too_slow()),
            None => Poll::Pending,
        }
    }

    fn poll_written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.requests.set_writing(written.is_pending());
        if written.is_ready() {
            self.write = None;
            return written;
        }
        let limit = self.limits.write;
        ready!(self.write.get_or_insert_with(|| timer(limit)).as_mut().poll(context));
        Poll::Ready(Err(self.too_slow()))
    }

    fn too_slow(&self) -> io::Error {
        self.requests.set_timed_out();
        io::ErrorKind::TimedOut.into()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.forget_finished_head();
        // Before the read: one byte a second would otherwise keep the read ready for ever.
        if let Poll::Ready(error) = this.poll_head(context) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            this.head_begins();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match this.answers_by_itself(bytes) {
            true => this.poll_instead(context).map_ok(|()| bytes.len()),
            false => Pin::new(&mut this.inner).poll_write(context, bytes),
        };
        this.poll_written(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = slices.iter().find(|slice| !slice.is_empty());
        let written = match first.is_some_and(|slice| this.answers_by_itself(slice)) {
            true => {
                let all = slices.iter().map(|slice| slice.len()).sum();
                this.poll_instead(context).map_ok(|()| all)
            }
            false => Pin::new(&mut this.inner).poll_write_vectored(context, slices),
        };
        this.poll_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(context))?;
        if !this.requests.is_busy() {
            this.flushed_at = this.requests.begun();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            if !this.requests.refused() {
                return Poll::Ready(Ok(()));
            }
        }
        let limit = this.limits.linger;
        let linger = this.linger.get_or_insert_with(|| timer(limit));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        poll_discard(&mut this.inner, context).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> TimedStream<S> {
    /// True if these bytes begin an answer that no request has: every request that has begun is
    /// answered, and its answer has left.
    fn answers_by_itself(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_some() {
            return true;
        }
        if self.requests.is_busy() || self.flushed_at != self.requests.begun() {
            return false;
        }
        self.instead = bare::answer_to_no_request(bytes, &self.limits.request_id_prefix);
        if self.instead.is_some() {
            // More of what cannot be read may be on its way.
            self.requests.set_refused(true);
        }
        self.instead.is_some()
    }

    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.instead.as_mut().filter(|left| !left.is_empty()) {
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, left))?;
            left.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads until the peer has closed its half.
fn poll_discard<S: AsyncRead + Unpin>(stream: &mut S, context: &mut Context<'_>) -> Poll<()> {
    let mut scratch = [0; 8 << 10];
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

fn timer(limit: Duration) -> Timer {
    Box::pin(sleep_until(Instant::now() + limit))
}

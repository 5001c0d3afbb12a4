//! The body of a watch: events as they come, bookmarks while none do, and a last word.
//!
//! The connection asks for the next piece when it has room for it, so a watcher that does not read
//! stops this body and nothing else. What is ready is put into one piece, up to a size, so that a burst
//! of events costs few writes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::form::Form;
use crate::events::{Subscription, WatchEnd};

/// A piece is sent when it is this long, even if more is ready.
const PIECE_BYTES: usize = 16 << 10;

/// See the file's head.
pub(super) struct EventStream {
    /// Makes the next piece; `None`: the last one was sent.
    turn: Option<Turn>,
    /// Kept until it ends.
    _seat: Option<OwnedSemaphorePermit>,
}

type Turn = Pin<Box<dyn Future<Output = (String, Option<Watch>)> + Send>>;

/// A watch between two pieces.
struct Watch {
    subscription: Subscription,
    form: Form,
    /// When it shall end.
    until: Option<Instant>,
    heartbeat: Duration,
    begun: bool,
}

/// What happens next in a quiet stream.
enum Quiet {
    Heartbeat,
    Over,
}

impl EventStream {
    pub(super) fn new(
        subscription: Subscription,
        form: Form,
        timeout: Option<Duration>,
        heartbeat: Duration,
    ) -> Self {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let watch = Watch { subscription, form, until, heartbeat, begun: false };
        Self { turn: Some(Box::pin(watch.next_piece())), _seat: None }
    }

    pub(super) fn with_seat(self, seat: OwnedSemaphorePermit) -> Self {
        Self { _seat: Some(seat), ..self }
    }
}

impl Watch {
    /// The next piece, and the watch if it goes on.
    async fn next_piece(mut self) -> (String, Option<Self>) {
        let mut piece = String::new();
        if !self.begun {
            // At once: the client sees that it watches, and from where.
            self.begun = true;
            self.bookmark(&mut piece);
            return (piece, Some(self));
        }
        let quiet_until = Instant::now() + self.heartbeat;
        let pause = self.until.map_or(quiet_until, |until| until.min(quiet_until));
        let first = tokio::select! {
            biased;
            record = self.subscription.next() => Some(record),
            () = sleep_until(pause) => None,
        };
        match first {
            Some(Ok(record)) => self.form.event(&mut piece, &record),
            Some(Err(end)) => return (self.end(end), None),
            None => match self.quiet() {
                Quiet::Heartbeat => {
                    self.bookmark(&mut piece);
                    return (piece, Some(self));
                }
                Quiet::Over => {
                    self.bookmark(&mut piece);
                    self.form.end(&mut piece, "timeout", self.subscription.position());
                    return (piece, None);
                }
            },
        }
        self.add_ready(&mut piece).await;
        (piece, Some(self))
    }

    /// Adds what is there already. An end that is found on the way is found again in the next turn.
    async fn add_ready(&mut self, piece: &mut String) {
        while piece.len() < PIECE_BYTES && !self.is_over() {
            let next = tokio::select! {
                biased;
                next = self.subscription.next() => next,
                () = std::future::ready(()) => return,
            };
            match next {
                Ok(record) => self.form.event(piece, &record),
                Err(_) => return,
            }
        }
    }

    fn quiet(&self) -> Quiet {
        if self.is_over() { Quiet::Over } else { Quiet::Heartbeat }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn bookmark(&self, piece: &mut String) {
        self.form.bookmark(piece, self.subscription.position() - 1);
    }

    fn end(&self, end: WatchEnd) -> String {
        let mut piece = String::new();
        match end {
            WatchEnd::Compacted { oldest } => self.form.end(&mut piece, "compacted", oldest),
            WatchEnd::Stopping => {
                self.form.end(&mut piece, "stopping", self.subscription.position());
            }
        }
        piece
    }
}

impl hyper::body::Body for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(turn) = &mut this.turn else { return Poll::Ready(None) };
        let (piece, watch) = ready!(turn.as_mut().poll(context));
        this.turn = watch.map(|watch| Box::pin(watch.next_piece()) as Turn);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

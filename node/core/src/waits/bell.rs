//! A bell that is heard although nobody listened when it rang.

use std::task::{Context, Poll, Waker};

/// A flag that somebody waits for. Two rings that nobody heard between are one.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: bool,
    waker: Option<Waker>,
}

impl Bell {
    /// Rings; who is given back has to be woken.
    #[must_use]
    pub(super) fn ring(&mut self) -> Option<Waker> {
        self.rung = true;
        self.waker.take()
    }

    /// Ready once it has rung since it was last heard. One listener: the last one that asked.
    pub(super) fn poll_heard(&mut self, cx: &Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.rung) {
            return Poll::Ready(());
        }
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

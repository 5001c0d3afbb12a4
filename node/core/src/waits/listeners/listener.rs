//! A request's own side of its attachment. Whoever drops it while something is at stake leaves an
//! orphan behind, which the upkeep leaves in its name.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{End, Listeners};
use crate::locks::Attachment;

/// What would be left behind if a listener were forgotten now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::waits) enum Stake {
    /// Nothing: nothing was sent, or what it did has ended or is delivered.
    Nothing,
    /// A command of it may or may not be applied, now or later.
    Unknown,
    /// All its commands are applied.
    Known,
}

/// One open attachment. Dropped while something is at stake, it is an orphan.
#[derive(Debug)]
pub(in crate::waits) struct Listener {
    pub(super) listeners: Arc<Listeners>,
    pub(super) number: u64,
    pub(super) stake: Stake,
}

impl Listener {
    pub(in crate::waits) fn attachment(&self) -> Attachment {
        self.listeners.attachment(self.number)
    }

    /// Something may have happened since the last call.
    pub(in crate::waits) async fn news(&self) {
        poll_fn(|cx| match self.listeners.lock().open.get_mut(&self.number) {
            Some(open) => open.news.poll_heard(cx),
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Why there is nothing to wait for any more, if that is known.
    pub(in crate::waits) fn end(&self) -> Option<End> {
        self.listeners.lock().open.get(&self.number).and_then(|open| open.end)
    }

    /// What it means that the state does not know this attachment though no event said why.
    pub(in crate::waits) fn vanished(&self) -> End {
        let inner = self.listeners.lock();
        End::Vanished { skipped: inner.open.get(&self.number).is_some_and(|open| open.skipped) }
    }

    /// A command of this attachment goes out. Gives back what was at stake before, for the case that
    /// it is certain not to be applied.
    pub(in crate::waits) fn sending(&mut self) -> Stake {
        std::mem::replace(&mut self.stake, Stake::Unknown)
    }

    /// All its commands are applied.
    pub(in crate::waits) fn sent(&mut self) {
        self.stake = Stake::Known;
    }

    /// The last one was not, and never will be.
    pub(in crate::waits) fn not_sent(&mut self, before: Stake) {
        self.stake = before;
    }

    /// Its entry is applied, and it waits.
    pub(in crate::waits) fn waits(&self) {
        let mut inner = self.listeners.lock();
        let stopping = inner.stopping;
        let Some(open) = inner.open.get_mut(&self.number) else { return };
        open.waits = true;
        if stopping {
            // Nobody has to be woken: this is its own task.
            open.end.get_or_insert(End::Stopping);
        }
    }

    /// Nothing has to be left: it has ended, is delivered, or will end by itself.
    pub(in crate::waits) fn close(mut self) {
        self.forsake();
    }

    /// As [`Listener::close`], but stays until it is dropped.
    pub(in crate::waits) fn forsake(&mut self) {
        self.stake = Stake::Nothing;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.close(self.number, self.stake);
    }
}

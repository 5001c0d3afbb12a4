//! Which requests of this process are open, and what has happened to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use dsync_core::audit::AuditRecord;
use dsync_core::locks::{Attachment, HoldId, LockEvent, What};
use dsync_core::machine::Machine;
use dsync_core::types::{BootId, Index};
use tokio::sync::Notify;

use super::orphans::{Orphan, Orphans};
use crate::handle::SubmitError;

/// Every attachment of this process that is open or has to be left. Shared by the requests, the
/// driver and the upkeep.
#[derive(Debug)]
pub struct Listeners {
    boot: BootId,
    machine: Arc<ArcSwap<Machine>>,
    inner: Mutex<Inner>,
    /// There is something for the upkeep to do.
    pub(super) work: Notify,
    /// Something was closed or left.
    pub(super) settled: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    last_number: u64,
    open: BTreeMap<u64, Open>,
    /// By the wait (or, for an upgrade, the hold) that an open number waits for, as far as its events
    /// have named it. Exactly the `target`s of `open`.
    targets: BTreeMap<HoldId, u64>,
    pub(super) orphans: Orphans,
    /// Nothing new is taken in.
    stopping: bool,
    /// The applied state says that nobody listens here.
    pub(super) lost: bool,
}

/// One request without an answer, or with one that is not delivered.
#[derive(Debug)]
struct Open {
    wake: Arc<Notify>,
    target: Option<HoldId>,
    /// Its entry is applied, and it waits.
    waits: bool,
    /// An event says that it was queued or granted under this very number.
    got: bool,
    /// How far the state was applied when it was opened.
    opened_at: Index,
    /// The last look at the state did not find it.
    missed: bool,
    /// A snapshot was installed since it was opened: events of it may have been skipped.
    skipped: bool,
    end: Option<End>,
}

/// Why there is nothing to wait for any more. The first reason stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// An event says that it has ended.
    Ended,
    /// An event names a later attachment.
    Superseded,
    /// The state does not know it. Without `skipped` no event said why, so a later attachment has
    /// taken its place.
    Vanished { skipped: bool },
    /// This node stops.
    Stopping,
    /// This node has had no leader for too long.
    CutOff,
}

/// What would be left behind if a listener were forgotten now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stake {
    /// Nothing: nothing was sent, or what it did has ended or is delivered.
    Nothing,
    /// A command of it may or may not be applied, now or later.
    Unknown,
    /// All its commands are applied.
    Known,
}

/// One open attachment. Dropped while something is at stake, it is an orphan.
#[derive(Debug)]
pub(super) struct Listener {
    listeners: Arc<Listeners>,
    number: u64,
    wake: Arc<Notify>,
    stake: Stake,
}

impl Listeners {
    /// Nobody listens yet.
    #[must_use]
    pub fn new(boot: BootId, machine: Arc<ArcSwap<Machine>>) -> Self {
        let inner = Mutex::default();
        Self { boot, machine, inner, work: Notify::new(), settled: Notify::new() }
    }

    /// Entries were applied, and `machine`, which is published, has what they did. The driver says
    /// so before it answers whoever sent them.
    pub fn applied(&self, machine: &Machine, records: &[AuditRecord]) {
        let mut inner = self.lock();
        for record in records {
            inner.note(self.boot, &record.event);
        }
        inner.lost = machine.locks().is_lost(self.boot);
        if inner.lost || inner.orphans.has_due() {
            self.work.notify_one();
        }
    }

    /// The state was replaced by a snapshot, which is published. What happened in between is not
    /// known, so everybody looks at the state.
    pub fn installed(&self, machine: &Machine) {
        let mut inner = self.lock();
        for open in inner.open.values_mut() {
            open.skipped = true;
            open.wake.notify_one();
        }
        inner.lost = machine.locks().is_lost(self.boot);
        self.work.notify_one();
    }

    /// There has been no leader for as long as the machine keeps a place: nothing can be promised to
    /// who waits.
    pub fn cut_off(&self) {
        self.lock().end_waits(End::CutOff);
    }

    /// How many requests are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.lock().open.len()
    }

    /// How many are still to be left.
    #[cfg(test)]
    pub(super) fn orphan_count(&self) -> usize {
        self.lock().orphans.count()
    }

    /// Takes in nothing more. True if anything was ever taken in.
    pub(crate) fn stop_opening(&self) -> bool {
        let mut inner = self.lock();
        inner.stopping = true;
        inner.last_number > 0
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Tells everybody who waits that this node stops. Who has been granted is still answered.
    pub(crate) fn stop_waits(&self) {
        self.lock().end_waits(End::Stopping);
    }

    /// Returns once nothing is open or on its way to be left.
    pub(crate) async fn all_settled(&self) {
        loop {
            let settled = self.settled.notified();
            if self.lock().is_settled() {
                return;
            }
            settled.await;
        }
    }

    /// A new number.
    pub(super) fn open(self: &Arc<Self>) -> Result<Listener, SubmitError> {
        let mut inner = self.lock();
        if inner.stopping {
            return Err(SubmitError::Stopping);
        }
        inner.last_number += 1;
        let (number, wake) = (inner.last_number, Arc::new(Notify::new()));
        inner.open.insert(number, Open::new(wake.clone(), self.machine.load().applied()));
        Ok(Listener { listeners: Arc::clone(self), number, wake, stake: Stake::Nothing })
    }

    /// Lets everybody who waits look at the state.
    pub(super) fn wake_all(&self) {
        self.lock().open.values().for_each(|open| open.wake.notify_one());
    }

    /// Finds out who was asked again elsewhere, which no event tells. Two looks have to agree: the
    /// events that belong to the state of the first one may be on their way.
    pub(super) fn sweep(&self) {
        let waiting = self.lock().waiting();
        let machine = self.machine.load();
        let locks = machine.locks();
        let missing = |number: &u64| locks.attached(self.attachment(*number)).is_none();
        let missing: Vec<u64> = waiting.into_iter().filter(missing).collect();
        let mut inner = self.lock();
        inner.missed(&missing);
        let retention_ms = machine.settings().map_or(0, |settings| settings.command_retention_ms);
        let attached = |number| locks.attached(self.attachment(number));
        inner.orphans.sweep(machine.time(), retention_ms, attached);
        self.settled.notify_waiters();
    }

    pub(super) fn attachment(&self, number: u64) -> Attachment {
        Attachment { boot: self.boot, number }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, number: u64, stake: Stake) {
        let time = self.machine.load().time();
        let mut inner = self.lock();
        let Some(open) = inner.open.remove(&number) else { return };
        if let Some(target) = open.target {
            inner.targets.remove(&target);
        }
        if stake != Stake::Nothing {
            let settled = stake == Stake::Known;
            let due = settled || open.got || open.waits;
            inner
                .orphans
                .add(number, Orphan { settled, due, since: time, opened_at: open.opened_at });
            self.work.notify_one();
        }
        self.settled.notify_waiters();
    }
}

impl Listener {
    pub(super) fn attachment(&self) -> Attachment {
        self.listeners.attachment(self.number)
    }

    /// Something may have happened since the last call.
    pub(super) async fn news(&self) {
        self.wake.notified().await;
    }

    /// Why there is nothing to wait for any more, if that is known.
    pub(super) fn end(&self) -> Option<End> {
        self.listeners.lock().open.get(&self.number).and_then(|open| open.end)
    }

    /// What it means that the state does not know this attachment though no event said why.
    pub(super) fn vanished(&self) -> End {
        let inner = self.listeners.lock();
        End::Vanished { skipped: inner.open.get(&self.number).is_some_and(|open| open.skipped) }
    }

    /// A command of this attachment goes out. Gives back what was at stake before, for the case that
    /// it is certain not to be applied.
    pub(super) fn sending(&mut self) -> Stake {
        std::mem::replace(&mut self.stake, Stake::Unknown)
    }

    /// All its commands are applied.
    pub(super) fn sent(&mut self) {
        self.stake = Stake::Known;
    }

    /// The last one was not, and never will be.
    pub(super) fn not_sent(&mut self, before: Stake) {
        self.stake = before;
    }

    /// True if the grant that its own entry says was made by that entry. Otherwise its owner had the
    /// hold before and asked for it again.
    pub(super) fn got_it(&self) -> bool {
        self.listeners.lock().open.get(&self.number).is_some_and(|open| open.got)
    }

    /// Its entry is applied, and it waits.
    pub(super) fn waits(&self) {
        let mut inner = self.listeners.lock();
        let stopping = inner.stopping;
        let Some(open) = inner.open.get_mut(&self.number) else { return };
        open.waits = true;
        if stopping {
            open.end(End::Stopping);
        }
    }

    /// Nothing has to be left: it has ended, is delivered, or will end by itself.
    pub(super) fn close(mut self) {
        self.forsake();
    }

    /// As [`Listener::close`], but stays until it is dropped.
    pub(super) fn forsake(&mut self) {
        self.stake = Stake::Nothing;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.close(self.number, self.stake);
    }
}

impl Inner {
    fn note(&mut self, boot: BootId, event: &LockEvent) {
        let own = event.attachment.filter(|attachment| attachment.boot == boot);
        let own = own.map(|attachment| attachment.number);
        if let Some(number) = own {
            self.note_own(number, event);
        }
        for target in [event.wait, event.hold].into_iter().flatten() {
            let Some(number) = self.targets.get(&target).copied() else { continue };
            if own != Some(number) {
                self.note_target(number, event.what);
            }
        }
    }

    fn note_own(&mut self, number: u64, event: &LockEvent) {
        let Some(open) = self.open.get_mut(&number) else {
            return self.orphans.seen(number, event.what);
        };
        open.got |= gets(event.what);
        match event.what {
            What::Queued | What::UpgradeQueued => {
                open.target = event.wait;
                self.targets.extend(event.wait.map(|wait| (wait, number)));
            }
            what if ends(what) => open.end(End::Ended),
            _ => open.wake.notify_one(),
        }
    }

    /// What an open number waits for was given to somebody else, or is no more.
    fn note_target(&mut self, number: u64, what: What) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let granted = [What::Granted, What::ClaimOpened, What::Upgraded, What::Queued];
        if granted.contains(&what) {
            open.end(End::Superseded);
        } else if ends(what) {
            open.end(End::Ended);
        }
    }

    fn end_waits(&mut self, end: End) {
        self.open.values_mut().filter(|open| open.waits).for_each(|open| open.end(end));
    }

    fn waiting(&self) -> Vec<u64> {
        self.open.iter().filter(|(_, open)| open.waits).map(|(number, _)| *number).collect()
    }

    fn missed(&mut self, missing: &[u64]) {
        for (number, open) in &mut self.open {
            let missing = missing.binary_search(number).is_ok();
            if missing && open.missed {
                open.end(End::Vanished { skipped: open.skipped });
            }
            open.missed = missing;
        }
    }

    fn is_settled(&self) -> bool {
        self.open.is_empty() && !self.orphans.is_busy()
    }
}

impl Open {
    fn new(wake: Arc<Notify>, opened_at: Index) -> Self {
        let (waits, got, missed, skipped) = (false, false, false, false);
        Self { wake, target: None, waits, got, opened_at, missed, skipped, end: None }
    }

    fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.wake.notify_one();
    }
}

/// True of what gives a request something that it had not: a place, a hold, an exclusive lock.
pub(super) fn gets(what: What) -> bool {
    matches!(
        what,
        What::Queued
            | What::UpgradeQueued
            | What::Granted
            | What::ClaimOpened
            | What::ClaimTaken
            | What::Upgraded
    )
}

/// True of what ends a wait, a wish or a hold.
pub(super) fn ends(what: What) -> bool {
    matches!(
        what,
        What::Released
            | What::Undone
            | What::Expired
            | What::ClaimLapsed
            | What::Left
            | What::PlaceLapsed
            | What::Forced
    )
}

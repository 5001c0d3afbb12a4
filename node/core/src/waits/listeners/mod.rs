//! Which requests of this process are open, and what has happened to them: to all of them here, to
//! one in `open.rs`, and one's own side in `listener.rs`.

mod listener;
mod open;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(super) use self::listener::{Listener, Stake};
use self::open::Open;
pub(super) use self::open::{End, ends, gets};
use super::bell::Bell;
use super::orphans::{Orphan, Orphans};
use super::site::SubmitError;
use crate::audit::AuditRecord;
use crate::locks::{Attachment, HoldId, LeaveOutcome, LockEvent, What};
use crate::machine::Machine;
use crate::types::BootId;

/// Every attachment of this process that is open or has to be left. Shared by the requests, the
/// driver and the upkeep.
#[derive(Debug)]
pub struct Listeners {
    boot: BootId,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_number: u64,
    open: BTreeMap<u64, Open>,
    /// By the wait (or, for an upgrade, the hold) that an open number waits for, as far as its events
    /// have named it. Exactly the `target`s of `open`.
    targets: BTreeMap<HoldId, u64>,
    orphans: Orphans,
    /// Nothing new is taken in.
    stopping: bool,
    /// It says that nobody listens here.
    lost: bool,
    /// There is something for the upkeep to do.
    work: Bell,
    /// Who waits until everything is closed or left.
    settling: Vec<Waker>,
    /// To be woken once the lock is released.
    woken: Vec<Waker>,
}

impl Listeners {
    /// Nobody listens yet.
    #[must_use]
    pub fn new(boot: BootId) -> Self {
        Self { boot, inner: Mutex::default() }
    }

    /// Entries were applied, and `machine`, which is published, has what they did. Said before
    /// whoever sent them is answered; see [`Site`](super::Site).
    pub fn applied(&self, machine: &Machine, records: &[AuditRecord]) {
        self.change(|inner| {
            for event in records.iter().filter_map(|record| record.event.lock()) {
                inner.note(self.boot, event);
            }
            inner.shows(self.boot, machine);
            if inner.lost || inner.orphans.has_due() {
                inner.has_work();
            }
        });
    }

    /// The state was replaced by a snapshot, which is published. What happened in between is not
    /// known, so everybody looks at the state.
    pub fn installed(&self, machine: &Machine) {
        self.change(|inner| {
            inner.open.values_mut().for_each(|open| open.skipped = true);
            inner.wake_all();
            inner.shows(self.boot, machine);
            inner.has_work();
        });
    }

    /// There has been no leader for as long as the machine keeps a place: nothing can be promised to
    /// who waits.
    pub fn cut_off(&self) {
        self.change(|inner| inner.end_waits(End::CutOff));
    }

    /// How many requests are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.lock().open.len()
    }

    /// How many are still to be left, or may have to be.
    #[must_use]
    pub fn orphan_count(&self) -> usize {
        self.lock().orphans.count()
    }

    /// Returns once there may be something for the upkeep to do. One listener.
    pub async fn work(&self) {
        poll_fn(|cx| self.lock().work.poll_heard(cx)).await;
    }

    /// Returns once nothing is open or on its way to be left.
    pub async fn all_settled(&self) {
        poll_fn(|cx| self.lock().poll_settled(cx)).await;
    }

    /// Takes in nothing more. True if anything was ever taken in.
    pub(super) fn stop_opening(&self) -> bool {
        let mut inner = self.lock();
        inner.stopping = true;
        inner.last_number > 0
    }

    /// Tells everybody who waits that this node stops. Who has been granted is still answered.
    pub(super) fn stop_waits(&self) {
        self.change(|inner| inner.end_waits(End::Stopping));
    }

    /// A new number.
    pub(super) fn open(self: &Arc<Self>) -> Result<Listener, SubmitError> {
        let mut inner = self.lock();
        if inner.stopping {
            return Err(SubmitError::Stopping);
        }
        inner.last_number += 1;
        let number = inner.last_number;
        inner.open.insert(number, Open::default());
        Ok(Listener { listeners: Arc::clone(self), number, stake: Stake::Nothing })
    }

    /// Lets everybody who waits look at the state.
    pub(super) fn wake_all(&self) {
        self.change(Inner::wake_all);
    }

    /// Looks around in the published state: tries again what was not left, and finds out who was
    /// asked again elsewhere, which no event tells. Two looks have to agree on that: the events that
    /// belong to the state of the first one may be on their way.
    pub(super) fn sweep(&self, machine: &Machine) {
        let waiting = self.lock().waiting();
        let locks = machine.locks();
        let missing = |number: &u64| locks.attached(self.attachment(*number)).is_none();
        let missing: Vec<u64> = waiting.into_iter().filter(missing).collect();
        let low_water = machine.low_water(self.boot).unwrap_or(0);
        self.change(|inner| {
            inner.missed(&missing);
            let is_attached = |number| locks.attached(self.attachment(number)).is_some();
            inner.orphans.sweep(low_water, is_attached);
            if inner.orphans.has_due() {
                inner.has_work();
            }
            inner.note_settled();
        });
    }

    /// True if the cluster has to be told that this process listens after all.
    pub(super) fn has_to_resume(&self) -> bool {
        let inner = self.lock();
        inner.lost && !inner.stopping
    }

    /// True if some orphans wait for the mark of this process to pass their commands.
    pub(super) fn ask_for_mark(&self) -> bool {
        self.lock().orphans.ask_for_mark()
    }

    /// See [`Orphans::mark_raised`].
    pub(super) fn mark_raised(&self, sequence: Option<u64>) {
        self.lock().orphans.mark_raised(sequence);
    }

    /// The next orphan to be left; it is under way now.
    pub(super) fn take_due(&self) -> Option<u64> {
        self.lock().orphans.take_due()
    }

    /// What its Leave said; `None`: no answer.
    pub(super) fn left(&self, number: u64, said: Option<LeaveOutcome>) {
        self.change(|inner| {
            inner.orphans.left(number, said);
            inner.note_settled();
        });
    }

    pub(super) fn attachment(&self, number: u64) -> Attachment {
        Attachment { boot: self.boot, number }
    }

    /// Whoever is to be woken is woken when the lock is free again: a waker may run anything.
    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let woken = std::mem::take(&mut inner.woken);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, number: u64, stake: Stake) {
        self.change(|inner| {
            let Some(open) = inner.open.remove(&number) else { return };
            if let Some(target) = open.target {
                inner.targets.remove(&target);
            }
            if stake != Stake::Nothing {
                let settled = stake == Stake::Known;
                let due = settled || open.got || open.waits;
                let orphan = Orphan { settled, due };
                inner.orphans.add(number, orphan);
                inner.has_work();
            }
            inner.note_settled();
        });
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
            what if ends(what) => self.woken.extend(open.end(End::Ended)),
            _ => self.woken.extend(open.news.ring()),
        }
    }

    /// What an open number waits for was given to somebody else, or is no more.
    fn note_target(&mut self, number: u64, what: What) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let granted = [What::Granted, What::ClaimOpened, What::Upgraded, What::Queued];
        if granted.contains(&what) {
            self.woken.extend(open.end(End::Superseded));
        } else if ends(what) {
            self.woken.extend(open.end(End::Ended));
        }
    }

    fn end_waits(&mut self, end: End) {
        let waiting = self.open.values_mut().filter(|open| open.waits);
        self.woken.extend(waiting.filter_map(|open| open.end(end)));
    }

    fn waiting(&self) -> Vec<u64> {
        self.open.iter().filter(|(_, open)| open.waits).map(|(number, _)| *number).collect()
    }

    fn missed(&mut self, missing: &[u64]) {
        for (number, open) in &mut self.open {
            let missing = missing.binary_search(number).is_ok();
            if missing && open.missed {
                self.woken.extend(open.end(End::Vanished { skipped: open.skipped }));
            }
            open.missed = missing;
        }
    }

    /// This is what the requests are told the state of.
    fn shows(&mut self, boot: BootId, machine: &Machine) {
        self.lost = machine.locks().is_lost(boot);
    }

    fn wake_all(&mut self) {
        self.woken.extend(self.open.values_mut().filter_map(|open| open.news.ring()));
    }

    fn has_work(&mut self) {
        self.woken.extend(self.work.ring());
    }

    fn note_settled(&mut self) {
        if !self.settling.is_empty() && self.is_settled() {
            self.woken.append(&mut self.settling);
        }
    }

    fn poll_settled(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.is_settled() {
            return Poll::Ready(());
        }
        if !self.settling.iter().any(|known| known.will_wake(cx.waker())) {
            self.settling.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn is_settled(&self) -> bool {
        self.open.is_empty() && !self.orphans.is_busy()
    }
}

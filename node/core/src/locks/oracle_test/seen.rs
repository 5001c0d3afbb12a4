//! What the histories met. A test that never met a deadlock would prove nothing about deadlocks.

use std::collections::BTreeMap;

use super::blockers::Blocker;
use super::oracle::{Oracle, part_of};
use super::world::{Act, Said};
use crate::locks::{
    AcquireOutcome, HoldOutcome, LeaveOutcome, LockEvent, LockRefusal, Mode, ReleaseOutcome, What,
};

#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn add(&mut self, case: &'static str) {
        *self.0.entry(case).or_default() += 1;
    }

    fn add_if(&mut self, met: bool, case: &'static str) {
        if met {
            self.add(case);
        }
    }

    pub(super) fn count(&self, case: &str) -> u64 {
        self.0.get(case).copied().unwrap_or(0)
    }

    /// Before the entry acts. Says whether a re-ask will meet a claim.
    pub(super) fn note_state(&mut self, oracle: &Oracle, act: &Act) -> bool {
        let Act::Ask(ask) = act else { return false };
        let on = |hold: &&super::oracle::Hold| {
            hold.who == ask.who
                && ask.parts.iter().any(|part| part_of(&hold.parts, part.name).is_some())
        };
        oracle.holds.iter().filter(on).any(|hold| hold.claim)
    }

    /// After the entry.
    pub(super) fn note(
        &mut self,
        oracle: &Oracle,
        act: &Act,
        said: &Said,
        events: &[LockEvent],
        on_claim: bool,
    ) {
        for event in events {
            self.note_event(event);
        }
        match said {
            Said::Acquire(said) => self.note_acquire(oracle, act, said, on_claim),
            Said::Hold(HoldOutcome::NotHeld) => self.add("answer: not held"),
            Said::Hold(HoldOutcome::Revoked { .. }) => self.add("answer: revoked (by hold id)"),
            Said::Hold(HoldOutcome::Renewed { .. }) => self.add("answer: renewed"),
            Said::Hold(HoldOutcome::Downgraded { .. }) => self.add("answer: downgraded"),
            Said::Release(ReleaseOutcome::HeldWithOthers { .. }) => {
                self.add("answer: held with others");
            }
            Said::RenewAll(said) => {
                self.add_if(!said.kept.is_empty(), "renew all: kept");
                self.add_if(!said.lost.is_empty(), "renew all: lost");
                self.add_if(!said.revoked.is_empty(), "renew all: revoked");
            }
            Said::Leave(LeaveOutcome::NotAttached) => self.add("answer: not attached"),
            _ => {}
        }
    }

    fn note_event(&mut self, event: &LockEvent) {
        let waited = event.wait.is_some();
        self.add(match event.what {
            What::Queued if event.items.len() > 1 => "queued for several locks",
            What::Queued if event.attachment.is_none() => "queued without an attachment",
            What::Queued => "queued with an attachment",
            What::Granted if waited => "granted to a listener who waited",
            What::Granted if event.items.len() > 1 => "granted several locks at once",
            What::Granted => "granted at once",
            What::ClaimOpened if event.attachment.is_some() => "claim of a lost listener",
            What::ClaimOpened => "claim without an attachment",
            What::ClaimTaken => "claim taken up",
            What::UpgradeQueued => "upgrade queued",
            What::Upgraded if event.elapsed_ms > 0 => "upgraded after a while",
            What::Upgraded => "upgraded",
            What::Downgraded => "downgraded",
            What::Released => "released",
            What::Undone => "undone",
            What::Expired => "expired",
            What::ClaimLapsed => "claim lapsed",
            What::Left if event.hold.is_some() => "a wish was left",
            What::Left => "left the queue",
            What::PlaceLapsed if event.hold.is_some() => "a wish lapsed",
            What::PlaceLapsed => "a place lapsed",
            What::Revoked => "revoked",
            What::Forced => "forced",
            What::Refused => "refused",
            What::Deadlock => "deadlock",
        });
    }

    fn note_acquire(&mut self, oracle: &Oracle, act: &Act, said: &AcquireOutcome, on_claim: bool) {
        match said {
            AcquireOutcome::Granted { .. } => {
                self.add_if(matches!(act, Act::Attach(_)), "attach: granted");
                self.add_if(on_claim, "a claim taken up by asking again");
            }
            AcquireOutcome::Waiting { .. } => {
                self.add_if(on_claim, "a claim that a lost process asks for");
                self.add_if(matches!(act, Act::Attach(_)), "attach: waiting");
            }
            AcquireOutcome::Held { .. } => self.add("answer: held (try)"),
            AcquireOutcome::Ended | AcquireOutcome::Left => self.add("answer: ended"),
            AcquireOutcome::Revoked { .. } => self.add("answer: revoked"),
            AcquireOutcome::Deadlock { cycle } => self.note_deadlock(oracle, act, cycle.len()),
            AcquireOutcome::Refused(refusal) => self.add(match refusal {
                LockRefusal::Limit { setting, .. } => match setting.as_str() {
                    "lock_waiters_max" => "limit: waiters",
                    "owner_holds_max" => "limit: holds of an owner",
                    "presences_max" => "limit: presences",
                    _ => "limit: others",
                },
                refusal => refusal.code(),
            }),
        }
    }

    /// Which kinds of waiting the knot is made of.
    fn note_deadlock(&mut self, oracle: &Oracle, act: &Act, length: usize) {
        let Some(knot) = &oracle.knot else { return };
        let stuck = knot.stuck();
        let (mut permits, mut shared, mut earlier) = (false, false, false);
        for want in knot.wants().iter().filter(|want| stuck & super::oracle::bit(want.who) != 0) {
            for blocker in knot.blockers(want, !stuck) {
                permits |= want.mode == Mode::Permits;
                earlier |= !blocker.holds;
                shared |= want.mode == Mode::Exclusive && knot.holds_shared(&blocker, want.name);
            }
        }
        let is_stuck = |who: usize| stuck & super::oracle::bit(who) != 0;
        let several = knot.waits.iter().any(|wait| is_stuck(wait.who) && wait.is_for_several());
        let wish = knot.holds.iter().any(|hold| is_stuck(hold.who) && hold.wish.is_some());
        let upgrade = matches!(act, Act::Upgrade { .. });
        self.add_if(permits, "knot: permits");
        self.add_if(shared, "knot: a shared holder");
        self.add_if(earlier, "knot: an earlier waiter");
        self.add_if(several, "knot: several locks");
        self.add_if(wish, "knot: an upgrade");
        self.add_if(upgrade, "knot: closed by an upgrade");
        self.add_if(!(permits || shared || earlier || several || wish), "knot: exclusive only");
        self.add_if(length >= 3, "knot: three owners or more");
        self.add_if(permits && length >= 3, "knot: permits, three owners or more");
    }
}

impl Oracle {
    fn holds_shared(&self, blocker: &Blocker, name: usize) -> bool {
        let shared = |part: super::world::Part| part.mode == Mode::Shared;
        let mut holds = self.holds.iter().filter(|hold| hold.who == blocker.who);
        blocker.holds && holds.any(|hold| part_of(&hold.parts, name).is_some_and(shared))
    }
}

//! A small world: its names, its rules, and what can be asked in it.

use crate::locks::{
    Acquire, AcquireOutcome, Attachment, ForceOutcome, ForceRelease, HoldId, HoldOutcome, HoldRef,
    LeaveOutcome, LockItem, LockTable, Mode, Owner, Release, ReleaseOutcome, Renew, RenewAll,
    RenewAllOutcome, Rules, Turn, Upgrade,
};
use crate::types::{BootId, ClusterTime, Index};

/// In the order of the alphabet, so that an owner's number says where it stands.
pub(super) const OWNERS: [&str; 20] = [
    "ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim", "leo", "mia",
    "ned", "ola", "pam", "quin", "rob", "sue", "tom",
];
pub(super) const LOCKS: [&str; 20] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t",
];
pub(super) const PRINCIPAL: &str = "anonymous";
pub(super) const REASON: &str = "maintenance";
pub(super) const TOKEN_BASE: u64 = 100;
pub(super) const RULES: Rules = Rules {
    claim_window_ms: 40,
    lock_waiters_max: 100,
    owner_holds_max: 100,
    name_bytes_max: 20,
    default_lease_ms: 50,
    lease_ms_min: 5,
    lease_ms_max: 1_000,
    request_names_max: 3,
    permits_max: 4,
    presences_max: 1_000,
};

/// One name of a request. `token` is 0 until it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub name: usize,
    pub mode: Mode,
    pub permits: u32,
    pub max: u32,
    pub token: u64,
}

/// A request for locks. Its parts stand in the order of names, except in a malformed one.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub who: usize,
    pub parts: Vec<Part>,
    pub ttl: Option<u64>,
    pub queue: bool,
    pub via: Option<Attachment>,
}

/// Which hold is meant. `stranger`: another principal asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    pub hold: HoldId,
    pub name: Option<usize>,
    pub stranger: bool,
}

/// What an entry asks of the table.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Mark,
    Ask(Ask),
    Return { who: usize, name: usize },
    Release(Which),
    Renew(Which, Option<u64>),
    RenewAll { who: usize, ttl: Option<u64>, expected: Vec<HoldId> },
    Upgrade { which: Which, ttl: Option<u64>, queue: bool, via: Option<Attachment> },
    Downgrade(Which),
    Force { name: usize, hold: Option<HoldId>, at_once: bool, reasoned: bool },
    Leave(Attachment),
    Attach(Attachment),
    Lose { boot: BootId, for_good: bool },
    Resume(BootId),
}

/// One entry. Its index stays the same when others are left out, so that hold ids stay true.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub index: u64,
    pub now: u64,
    pub act: Act,
}

/// What an entry was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Acquire(AcquireOutcome),
    Release(ReleaseOutcome),
    Hold(HoldOutcome),
    RenewAll(RenewAllOutcome),
    Force(ForceOutcome),
    Leave(LeaveOutcome),
}

impl Step {
    pub(super) fn turn(&self, rules: Rules) -> Turn {
        Turn::new(Index(self.index), ClusterTime(self.now), rules)
    }
}

impl Act {
    /// Time has moved already.
    pub(super) fn apply(&self, table: &mut LockTable, turn: &mut Turn) -> Said {
        match self {
            Self::Mark => Said::Nothing,
            Self::Ask(ask) => Said::Acquire(table.acquire(turn, &ask.request())),
            Self::Return { who, name } => {
                let release = Release { owner: owner(*who), name: LOCKS[*name].to_owned() };
                Said::Release(table.release(turn, &release))
            }
            Self::Release(which) => Said::Hold(table.release_hold(turn, &which.request())),
            Self::Renew(which, ttl_ms) => {
                let renew = Renew { hold: which.request(), ttl_ms: *ttl_ms };
                Said::Hold(table.renew(turn, &renew))
            }
            Self::RenewAll { who, ttl, expected } => {
                let (owner, expected) = (owner(*who), expected.clone());
                Said::RenewAll(table.renew_all(turn, &RenewAll { owner, ttl_ms: *ttl, expected }))
            }
            Self::Upgrade { which, ttl, queue, via } => {
                let (hold, ttl_ms, queue, attachment) = (which.request(), *ttl, *queue, *via);
                Said::Acquire(table.upgrade(turn, &Upgrade { hold, ttl_ms, queue, attachment }))
            }
            Self::Downgrade(which) => Said::Hold(table.downgrade(turn, &which.request())),
            Self::Force { name, hold, at_once, reasoned } => {
                let reason = if *reasoned { REASON } else { "" }.to_owned();
                let (principal, name) = ("root".to_owned(), LOCKS[*name].to_owned());
                let force = ForceRelease { principal, name, hold: *hold, reason, now: *at_once };
                Said::Force(table.force(turn, &force))
            }
            Self::Leave(attachment) => Said::Leave(table.leave(turn, *attachment)),
            Self::Attach(attachment) => Said::Acquire(table.attach(turn, *attachment)),
            Self::Lose { boot, for_good } => {
                table.lose_listeners(turn, *boot, *for_good);
                Said::Nothing
            }
            Self::Resume(boot) => {
                table.resume_listeners(turn, *boot);
                Said::Nothing
            }
        }
    }
}

impl Ask {
    fn request(&self) -> Acquire {
        let item = |part: &Part| LockItem {
            name: LOCKS[part.name].to_owned(),
            mode: part.mode,
            permits: part.permits,
            permits_max: part.max,
        };
        Acquire {
            owner: owner(self.who),
            items: self.parts.iter().map(item).collect(),
            ttl_ms: self.ttl,
            queue: self.queue,
            attachment: self.via,
        }
    }
}

impl Which {
    fn request(self) -> HoldRef {
        HoldRef {
            principal: if self.stranger { "mallory" } else { PRINCIPAL }.to_owned(),
            hold: self.hold,
            name: self.name.map(|name| LOCKS[name].to_owned()),
        }
    }
}

pub(super) fn owner(who: usize) -> Owner {
    Owner { principal: PRINCIPAL.to_owned(), name: OWNERS[who].to_owned() }
}

pub(super) fn who(owner: &Owner) -> Option<usize> {
    OWNERS.iter().position(|name| *name == owner.name).filter(|_| owner.principal == PRINCIPAL)
}

pub(super) fn lock(name: &str) -> Option<usize> {
    LOCKS.iter().position(|lock| *lock == name)
}

pub(super) fn plain(name: usize, mode: Mode) -> Part {
    Part { name, mode, permits: 1, max: 1, token: 0 }
}

pub(super) fn permits(name: usize, permits: u32, max: u32) -> Part {
    Part { name, mode: Mode::Permits, permits, max, token: 0 }
}

//! What is asked of the lock table and what it answers.

use serde::{Deserialize, Serialize};

use super::turn::Rules;
use crate::types::Index;

/// Most holders that an answer names, so that a lock with 100,000 readers answers in one frame.
pub const HOLDERS_NAMED_MAX: usize = 16;
/// Most owners of a cycle that an answer names; a search finds a shortest cycle, so longer ones are
/// rare.
pub const CYCLE_NAMED_MAX: usize = 256;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By one owner alone.
    Exclusive,
    /// Beside other shared holders.
    Shared,
}

/// One sequential agent: the unit that holds and waits, scoped by who it authenticated as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Who it authenticated as; `anonymous` until client tokens exist.
    pub principal: String,
    /// The name that the client gave.
    pub name: String,
}

/// One name of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockItem {
    /// The lock.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock. (More than 1 is refused for now.)
    pub permits: u32,
}

/// Names one hold for ever: the log index of its grant and its position among that entry's grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldId {
    /// Entry that granted it.
    pub index: Index,
    /// Which of that entry's grants, from 0.
    pub position: u32,
}

/// Asks for locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// For whom.
    pub owner: Owner,
    /// Which. One name for now; several are refused.
    pub items: Vec<LockItem>,
    /// Lease in milliseconds of cluster time; 0: no lease.
    pub ttl_ms: u64,
}

/// Gives a lock back, or a place in its queue, by name and owner (the original routes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Whose.
    pub owner: Owner,
    /// Which lock.
    pub name: String,
}

/// What became of an [`Acquire`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcquireOutcome {
    /// Held, from now or already.
    Granted {
        /// The hold.
        hold: HoldId,
        /// Its fencing token.
        token: u64,
        /// Milliseconds of lease left at this entry's stamp; `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// Queued; the place is kept for 10 s after each ask.
    Waiting {
        /// How many waiters stand before it.
        ahead: u32,
        /// Who holds the lock now: in the order of their names, at most [`HOLDERS_NAMED_MAX`].
        holders: Vec<Owner>,
    },
    /// This request would close a cycle, so it was not queued.
    Deadlock {
        /// The owners in order, each waiting for the next, the last for the first; the asker is
        /// first. Beside each, the lock it waits for. At most [`CYCLE_NAMED_MAX`] are named.
        cycle: Vec<(Owner, String)>,
    },
    /// Not taken; nothing changed.
    Refused(LockRefusal),
}

/// Why a lock request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LockRefusal {
    /// A shared holder asked for exclusive.
    #[error("upgrade not supported")]
    UpgradeNotSupported,
    /// An exclusive waiter asked for shared, or the other way.
    #[error("this owner already waits for this lock in the other mode")]
    WaitsInOtherMode,
    /// No name at all.
    #[error("no lock is named")]
    NoName,
    /// The same lock stands twice in one request.
    #[error("the lock {0} is named twice")]
    NamedTwice(String),
    /// More than one name, or another number of permits than 1.
    #[error("{0} is not supported yet")]
    NotSupported(String),
    /// A limit of the settings is reached.
    #[error("limit reached: {setting} = {limit}")]
    Limit {
        /// The setting's name.
        setting: String,
        /// Its value.
        limit: u64,
    },
    /// The name of the lock, the owner or the principal is empty or holds a control character.
    #[error("the name of the {0} must have at least one byte and no control characters")]
    BadName(String),
}

/// What became of a [`Release`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseOutcome {
    /// The hold ended.
    Released,
    /// The owner did not hold it but waited for it; it waits no longer.
    LeftQueue,
    /// The owner neither holds nor waits for it.
    NotHolder,
}

impl Acquire {
    /// The one lock that is asked for, if the request keeps to the rules.
    pub(super) fn checked_item(&self, rules: &Rules) -> Result<&LockItem, LockRefusal> {
        let item = self.only_item()?;
        check_name("lock", &item.name, rules)?;
        check_name("owner", &self.owner.name, rules)?;
        check_name("principal", &self.owner.principal, rules)?;
        if item.permits != 1 {
            return Err(LockRefusal::NotSupported("another number of permits than 1".to_owned()));
        }
        Ok(item)
    }

    fn only_item(&self) -> Result<&LockItem, LockRefusal> {
        let mut names: Vec<&str> = self.items.iter().map(|item| item.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LockRefusal::NamedTwice(twice[0].to_owned()));
        }
        match self.items.as_slice() {
            [] => Err(LockRefusal::NoName),
            [item] => Ok(item),
            _ => Err(LockRefusal::NotSupported("a request for several locks".to_owned())),
        }
    }
}

/// `what` names the field in the refusal.
fn check_name(what: &str, name: &str, rules: &Rules) -> Result<(), LockRefusal> {
    let max = rules.name_bytes_max;
    if name.len() > usize::try_from(max).unwrap_or(usize::MAX) {
        return Err(LockRefusal::Limit { setting: "name_bytes_max".to_owned(), limit: max.into() });
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(LockRefusal::BadName(what.to_owned()));
    }
    Ok(())
}

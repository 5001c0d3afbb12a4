//! The state behind the table: locks, holds and waits.
//!
//! A *hold* is a granted request, a *wait* one that is queued; each is for one owner and for all the
//! names it asked for, and lives or ends as a whole. A *lock* knows who is on it.
//!
//! What has ended by `now` may still stand in here for a few entries (see `lease.rs`), so everything
//! that decides asks the table for the *live* ones.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::request::{Attachment, HoldId, Mode, Owner};
use super::tellers::Tellers;
use crate::types::ClusterTime;

/// A lock that somebody holds or waits for.
///
/// All live holders of a plain lock have one mode; readers have one token.
#[derive(Clone, Debug, Default)]
pub(super) struct Lock {
    /// How many permits it has; 0: it is a plain lock. Fixed while anybody is on it.
    pub(super) permits_max: u32,
    pub(super) holders: RedBlackTreeMapSync<Arc<Owner>, Share>,
    /// Permits of all `holders`, those included whose hold has ended.
    pub(super) permits_held: u64,
    /// First come first: a wait's id rises with its arrival.
    pub(super) queue: RedBlackTreeMapSync<HoldId, Place>,
    /// The exclusive ones of `queue`: whom a reader must not pass.
    pub(super) writers: RedBlackTreeSetSync<HoldId>,
    /// Those of `queue` whose owner waits for another lock, too: where a cycle may turn off.
    pub(super) crossing: RedBlackTreeSetSync<HoldId>,
    /// Holders that wait to be alone. They stand before the queue. A second one would wait for the
    /// first and the first for it, so between entries at most one is live.
    pub(super) wishes: RedBlackTreeSetSync<HoldId>,
}

/// What a hold has of one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) hold: HoldId,
    pub(super) mode: Mode,
    pub(super) permits: u32,
    pub(super) token: u64,
}

/// What a wait wants of one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) owner: Arc<Owner>,
    pub(super) mode: Mode,
    pub(super) permits: u32,
}

/// A granted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) owner: Arc<Owner>,
    /// Its locks, in order. What it has of each stands there.
    pub(super) names: Arc<[Arc<str>]>,
    /// The lease that it was granted with, or that took it up as a claim; 0: none.
    pub(super) ttl_ms: u64,
    /// `None`: never.
    pub(super) ends_at: Option<ClusterTime>,
    /// Granted while nobody listened, and not taken up since. `ends_at` is then the end of the claim
    /// window, and always set.
    pub(super) claim: bool,
    pub(super) since: ClusterTime,
    /// Who may have told the owner of it. Of a claim, which nobody is told of: whoever asked last.
    pub(super) tellers: Tellers,
    /// Taken away, and why; `ends_at` is then set.
    pub(super) revoked: Option<Arc<str>>,
    /// It waits to have one of its shared locks alone.
    pub(super) wish: Option<Wish>,
    /// Who may have told the owner of the upgrade that was granted last, and of which lock it was.
    /// `None`: there was none, or the owner has heard of it.
    pub(super) upgraded: Option<(Tellers, Arc<str>)>,
}

/// A shared holder's wish to be alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) name: Arc<str>,
    /// The lease from the upgrade on.
    pub(super) ttl_ms: u64,
    pub(super) listener: Listener,
    pub(super) since: ClusterTime,
}

/// A queued request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) owner: Arc<Owner>,
    /// In the order of names.
    pub(super) items: Arc<[Item]>,
    pub(super) ttl_ms: u64,
    pub(super) listener: Listener,
    pub(super) since: ClusterTime,
}

/// One name of a request, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: Arc<str>,
    pub(super) mode: Mode,
    pub(super) permits: u32,
    /// As [`Lock::permits_max`].
    pub(super) permits_max: u32,
}

/// Who is told when a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) attachment: Option<Attachment>,
    /// How long the place is kept though nobody listens. `None`: somebody does, as long as the
    /// attachment's process is not lost.
    pub(super) place_ends_at: Option<ClusterTime>,
}

impl Mode {
    /// The two cannot have one plain lock at the same time.
    pub(super) fn excludes(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

impl Hold {
    /// Somebody is answered with the hold as it is now, so with its upgrade as well.
    pub(super) fn is_told_by(&mut self, attachment: Option<Attachment>) {
        self.tellers = self.tellers.with(attachment);
        self.upgraded = self.upgraded.take().and_then(|(tellers, name)| {
            let tellers = tellers.with(attachment);
            (tellers != Tellers::Heard).then_some((tellers, name))
        });
    }

    /// Everybody whose Leave counts, of its grant or of its upgrade.
    pub(super) fn told_by(&self) -> impl Iterator<Item = Attachment> + '_ {
        let upgraded = self.upgraded.iter().flat_map(|(tellers, _)| tellers.iter());
        self.tellers.iter().chain(upgraded)
    }
}

impl Lock {
    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    /// Waits before `before`, first come first, ended or not.
    pub(super) fn earlier(&self, before: HoldId) -> impl Iterator<Item = (HoldId, &Place)> {
        self.queue.range::<HoldId, _>(..before).map(|(wait, place)| (*wait, place))
    }
}

impl HoldId {
    /// Not later than any wait.
    pub(super) const FIRST: Self = Self { index: crate::types::Index(0), position: 0 };
    /// Later than every wait.
    pub(super) const LAST: Self = Self { index: crate::types::Index(u64::MAX), position: u32::MAX };
}

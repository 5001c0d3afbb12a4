//! The rules of the complete lock machine, as plainly as they can be written.
//!
//! Plain lists of holds and waits, looked through from end to end at every question; nothing is
//! indexed, nothing is remembered between two questions. What has ended is cleared at once, all of
//! it. Written from the specification alone.

mod asking;

use std::collections::BTreeMap;

use super::world::{Act, Part, REASON, Said, TOKEN_BASE, Which, owner};
use crate::locks::{
    AHEAD_COUNTED_MAX, AcquireOutcome, Attachment, ForceOutcome, HOLDERS_NAMED_MAX, HoldId,
    HoldOutcome, LeaveOutcome, LockRefusal, Mode, ReleaseOutcome, RenewAllOutcome, Rules,
};
use crate::types::{BootId, Index};

/// Who listens for an answer, if anybody: the newest attachment, and when it was named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ear {
    pub attachment: Option<Attachment>,
    pub asked_at: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub id: HoldId,
    pub who: usize,
    pub parts: Vec<Part>,
    pub claim: bool,
    pub since: u64,
    pub ends_at: Option<u64>,
    pub ttl: u64,
    pub revoked: bool,
    pub wish: Option<Wish>,
    /// Who was to tell of it: the attachments of all asks for it, but of a claim the newest.
    pub told: Told,
    /// Who was to tell that this lock had become exclusive.
    pub told_upgrade: Option<(Told, usize)>,
}

/// `None`: the owner knows for sure, or was told by somebody without an attachment.
pub(super) type Told = Option<Vec<Attachment>>;

/// A shared lock of a hold is wanted exclusive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub name: usize,
    pub ttl: u64,
    pub since: u64,
    pub ear: Ear,
}

#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub id: HoldId,
    pub who: usize,
    pub parts: Vec<Part>,
    pub ttl: u64,
    pub since: u64,
    pub ear: Ear,
}

/// A boot that nobody listens in, since when, and whether for good.
#[derive(Clone, Copy, Debug)]
struct Lost {
    since: u64,
    for_good: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Oracle {
    pub rules: Rules,
    pub now: u64,
    index: u64,
    made: u32,
    next_token: u64,
    pub holds: Vec<Hold>,
    /// In the order of coming.
    pub waits: Vec<Wait>,
    lost: BTreeMap<BootId, Lost>,
    /// The world in which the last deadlock would have been, its asker waiting.
    pub knot: Option<Box<Oracle>>,
}

impl Oracle {
    pub(super) fn new(rules: Rules) -> Self {
        let (holds, waits, lost) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (now, index, made, next_token, knot) = (0, 0, 0, TOKEN_BASE, None);
        Self { rules, now, index, made, next_token, holds, waits, lost, knot }
    }

    /// A new entry: time moves, and what has ended by then is gone.
    pub(super) fn advance(&mut self, index: u64, now: u64) {
        (self.index, self.now, self.made) = (index, now, 0);
        self.holds.retain(|hold| hold.ends_at.is_none_or(|end| end > now));
        let lost = self.lost.clone();
        let over = |ear: Ear| place_end(&lost, self.rules, ear).is_some_and(|end| end <= now);
        self.waits.retain(|wait| !over(wait.ear));
        for hold in &mut self.holds {
            hold.wish = hold.wish.filter(|wish| !over(wish.ear));
        }
        self.settle();
    }

    pub(super) fn apply(&mut self, act: &Act) -> Said {
        let said = match act {
            Act::Mark => Said::Nothing,
            Act::Ask(ask) => Said::Acquire(self.ask(ask)),
            Act::Return { who, name } => Said::Release(self.give_back(*who, *name)),
            Act::Release(which) => Said::Hold(self.release(*which)),
            Act::Renew(which, ttl) => Said::Hold(self.renew(*which, *ttl)),
            Act::RenewAll { who, ttl, expected } => {
                Said::RenewAll(self.renew_all(*who, *ttl, expected))
            }
            Act::Upgrade { which, ttl, queue, via } => {
                Said::Acquire(self.upgrade_hold(*which, *ttl, *queue, *via))
            }
            Act::Downgrade(which) => Said::Hold(self.downgrade(*which)),
            Act::Force { name, hold, at_once, reasoned } => {
                Said::Force(self.force(*name, *hold, *at_once, *reasoned))
            }
            Act::Leave(attachment) => Said::Leave(self.leave(*attachment)),
            Act::Attach(attachment) => Said::Acquire(self.attach(*attachment)),
            Act::Lose { boot, for_good } => {
                let lost = Lost { since: self.now, for_good: *for_good };
                self.lost.entry(*boot).or_insert(lost).for_good |= for_good;
                Said::Nothing
            }
            Act::Resume(boot) => {
                if self.lost.get(boot).is_some_and(|lost| !lost.for_good) {
                    self.lost.remove(boot);
                }
                Said::Nothing
            }
        };
        self.settle();
        said
    }

    pub(super) fn is_lost(&self, boot: BootId) -> bool {
        self.lost.contains_key(&boot)
    }

    pub(super) fn is_replaced(&self, boot: BootId) -> bool {
        self.lost.get(&boot).is_some_and(|lost| lost.for_good)
    }

    /// The places of a lost boot end together, and that is planned whether it has any or not.
    pub(super) fn may_be_due(&self, due: u64) -> bool {
        self.lost.values().any(|lost| lost.since + self.rules.claim_window_ms == due)
    }

    /// `None`: somebody listens.
    pub(super) fn place_end(&self, ear: Ear) -> Option<u64> {
        place_end(&self.lost, self.rules, ear)
    }

    // Giving back, renewing, forcing.

    fn give_back(&mut self, who: usize, name: usize) -> ReleaseOutcome {
        if let Some(at) = self.hold_on(who, name) {
            if self.holds[at].parts.len() > 1 {
                return ReleaseOutcome::HeldWithOthers { hold: Some(self.holds[at].id) };
            }
            self.holds.remove(at);
            return ReleaseOutcome::Released;
        }
        let Some(at) = self.wait_on(who, name) else { return ReleaseOutcome::NotHolder };
        if self.waits[at].parts.len() > 1 {
            return ReleaseOutcome::HeldWithOthers { hold: None };
        }
        self.waits.remove(at);
        ReleaseOutcome::LeftQueue
    }

    fn release(&mut self, which: Which) -> HoldOutcome {
        let Some(at) = self.find(which) else { return HoldOutcome::NotHeld };
        self.holds.remove(at);
        HoldOutcome::Released
    }

    fn renew(&mut self, which: Which, ttl: Option<u64>) -> HoldOutcome {
        if let Some(refusal) = self.lease_fault(ttl) {
            return HoldOutcome::Refused(refusal);
        }
        let Some(at) = self.find(which).filter(|at| !self.holds[*at].claim) else {
            return HoldOutcome::NotHeld;
        };
        if self.holds[at].revoked {
            self.holds.remove(at);
            return HoldOutcome::Revoked { reason: REASON.to_owned() };
        }
        let ttl = ttl.unwrap_or(self.holds[at].ttl);
        self.extend(at, ttl);
        // Who names a hold by its id has heard of it.
        self.holds[at].told = None;
        HoldOutcome::Renewed { remaining_ms: self.remaining(at) }
    }

    fn renew_all(&mut self, who: usize, ttl: Option<u64>, expected: &[HoldId]) -> RenewAllOutcome {
        let mut said = RenewAllOutcome::default();
        if let Some(refusal) = self.lease_fault(ttl) {
            said.refusal = Some(refusal);
            return said;
        }
        let mine = |hold: &Hold| hold.who == who;
        let is_mine = |id: &HoldId| self.holds.iter().any(|hold| hold.id == *id && mine(hold));
        said.lost = expected.iter().filter(|id| !is_mine(id)).copied().collect();
        let full = |hold: &&Hold| mine(hold) && !hold.claim;
        let mut ids: Vec<HoldId> = self.holds.iter().filter(full).map(|hold| hold.id).collect();
        ids.sort();
        for id in ids {
            let Some(at) = self.holds.iter().position(|hold| hold.id == id) else { continue };
            if self.holds[at].revoked {
                self.holds.remove(at);
                said.revoked.push(id);
                continue;
            }
            let ttl = ttl.unwrap_or(self.holds[at].ttl);
            self.extend(at, ttl);
            self.holds[at].told = None;
            said.kept.push((id, self.remaining(at)));
        }
        said
    }

    fn force(
        &mut self,
        name: usize,
        hold: Option<HoldId>,
        at_once: bool,
        reasoned: bool,
    ) -> ForceOutcome {
        if !reasoned {
            return ForceOutcome::Refused(LockRefusal::NoReason);
        }
        let meant = |one: &Hold| {
            part_of(&one.parts, name).is_some() && hold.is_none_or(|hold| hold == one.id)
        };
        let mut holds: Vec<HoldId> =
            self.holds.iter().filter(|one| meant(one)).map(|one| one.id).collect();
        holds.sort();
        if holds.is_empty() {
            return ForceOutcome::NotHeld;
        }
        if at_once {
            self.holds.retain(|one| !meant(one));
        }
        let default_end = self.now + self.rules.default_lease_ms;
        for one in self.holds.iter_mut().filter(|one| meant(one)) {
            (one.revoked, one.wish) = (true, None);
            one.ends_at.get_or_insert(default_end);
        }
        ForceOutcome::Forced { count: u32::try_from(holds.len()).unwrap_or(u32::MAX), holds }
    }

    // Listeners.

    fn leave(&mut self, attachment: Attachment) -> LeaveOutcome {
        let mine = |ear: Ear| ear.attachment == Some(attachment);
        if let Some(at) = self.waits.iter().position(|wait| mine(wait.ear)) {
            self.waits.remove(at);
            return LeaveOutcome::LeftQueue;
        }
        let wishes = |hold: &Hold| hold.wish.is_some_and(|wish| mine(wish.ear));
        if let Some(at) = self.holds.iter().position(wishes) {
            self.holds[at].wish = None;
            if self.holds[at].told == Some(vec![]) {
                self.holds.remove(at);
            }
            return LeaveOutcome::LeftQueue;
        }
        let told = |hold: &Hold| hold.told_attachments().contains(&attachment);
        let Some(at) = self.holds.iter().position(told) else { return LeaveOutcome::NotAttached };
        let hold = &mut self.holds[at];
        hold.told.iter_mut().for_each(|told| told.retain(|one| *one != attachment));
        if hold.told == Some(vec![]) && hold.wish.is_none() {
            self.holds.remove(at);
            return LeaveOutcome::Released;
        }
        let Some((Some(told), name)) = &mut hold.told_upgrade else {
            return LeaveOutcome::Superseded;
        };
        told.retain(|one| *one != attachment);
        if !told.is_empty() {
            return LeaveOutcome::Superseded;
        }
        for part in hold.parts.iter_mut().filter(|part| part.name == *name) {
            part.mode = Mode::Shared;
        }
        hold.told_upgrade = None;
        LeaveOutcome::Released
    }

    fn attach(&mut self, attachment: Attachment) -> AcquireOutcome {
        let mine = |ear: Ear| ear.attachment == Some(attachment);
        if let Some(at) = self.waits.iter().position(|wait| mine(wait.ear)) {
            return self.waiting(at);
        }
        for hold in &self.holds {
            if let Some(wish) = hold.wish.filter(|wish| mine(wish.ear)) {
                let holders = self.other_holders(wish.name, hold.who);
                return AcquireOutcome::Waiting { ahead: 0, holders };
            }
        }
        let told = |hold: &Hold| hold.told_attachments().contains(&attachment);
        let Some(at) = self.holds.iter().position(told) else { return AcquireOutcome::Ended };
        if self.holds[at].revoked {
            return self.end_revoked(at);
        }
        if self.holds[at].claim {
            if self.is_lost(attachment.boot) {
                let holders = vec![owner(self.holds[at].who)];
                return AcquireOutcome::Waiting { ahead: 0, holders };
            }
            self.take_up(at, self.holds[at].ttl);
        }
        self.granted(at)
    }

    fn is_unheard(&self, attachment: Option<Attachment>) -> bool {
        attachment.is_some_and(|attachment| self.is_lost(attachment.boot))
    }

    // Granting.

    /// Grants whatever can be granted: those who wish first, in the order of names, then the waits as they came.
    fn settle(&mut self) {
        loop {
            let wish = |hold: &Hold| {
                hold.wish.is_some_and(|wish| self.other_holders(wish.name, hold.who).is_empty())
            };
            let grantable = (0..self.holds.len()).filter(|at| wish(&self.holds[*at]));
            let first = grantable.min_by_key(|at| self.holds[*at].wish.map(|wish| wish.name));
            if let Some(at) = first {
                self.grant_wish(at);
                continue;
            }
            let Some(at) = (0..self.waits.len()).find(|at| self.is_grantable(*at)) else { return };
            let wait = self.waits.remove(at);
            let claim = self.place_end(wait.ear).is_some();
            self.grant(&wait, claim);
        }
    }

    /// Where the hold stands now.
    fn grant(&mut self, wait: &Wait, claim: bool) -> usize {
        let (who, since, ttl) = (wait.who, self.now, wait.ttl);
        let mut parts = wait.parts.clone();
        let mut minted = None;
        for part in &mut parts {
            let reader = self.holds.iter().find_map(|hold| part_of(&hold.parts, part.name));
            part.token = match reader.filter(|_| part.mode == Mode::Shared) {
                Some(reader) => reader.token,
                None => *minted.get_or_insert(self.next_token),
            };
        }
        self.next_token += u64::from(minted.is_some());
        let ends_at =
            if claim { Some(since + self.rules.claim_window_ms) } else { end(since, ttl) };
        let (id, wish, told) = (self.next_id(), None, told_by(wait.ear.attachment));
        let (revoked, told_upgrade) = (false, None);
        let hold =
            Hold { id, who, parts, claim, since, ends_at, ttl, revoked, wish, told, told_upgrade };
        self.holds.push(hold);
        self.holds.len() - 1
    }

    fn grant_wish(&mut self, at: usize) {
        let Some(wish) = self.holds[at].wish.take() else { return };
        self.extend(at, wish.ttl);
        let token = self.next_token;
        self.next_token += 1;
        let hold = &mut self.holds[at];
        for part in hold.parts.iter_mut().filter(|part| part.name == wish.name) {
            (part.mode, part.token) = (Mode::Exclusive, token);
        }
        also_told_by(&mut hold.told, wish.ear.attachment);
        hold.told_upgrade = wish.ear.attachment.map(|told| (Some(vec![told]), wish.name));
    }

    fn next_id(&mut self) -> HoldId {
        self.made += 1;
        HoldId { index: Index(self.index), position: self.made - 1 }
    }

    // Small questions.

    fn hold_on(&self, who: usize, name: usize) -> Option<usize> {
        let on = |hold: &Hold| hold.who == who && part_of(&hold.parts, name).is_some();
        self.holds.iter().position(on)
    }

    fn wait_on(&self, who: usize, name: usize) -> Option<usize> {
        let on = |wait: &Wait| wait.who == who && part_of(&wait.parts, name).is_some();
        self.waits.iter().position(on)
    }

    fn find(&self, which: Which) -> Option<usize> {
        let fits = |hold: &Hold| {
            hold.id == which.hold
                && !which.stranger
                && which.name.is_none_or(|name| part_of(&hold.parts, name).is_some())
        };
        self.holds.iter().position(fits)
    }

    /// 0: plain; else how many permits. `None`: nobody is on it.
    pub(super) fn kind(&self, name: usize) -> Option<u32> {
        let holds = self.holds.iter().map(|hold| &hold.parts);
        let mut parts = holds.chain(self.waits.iter().map(|wait| &wait.parts));
        parts.find_map(|parts| part_of(parts, name)).map(|part| kind_of(&part))
    }

    fn other_holders(&self, name: usize, who: usize) -> Vec<crate::locks::Owner> {
        let on = |hold: &&Hold| hold.who != who && part_of(&hold.parts, name).is_some();
        let mut others: Vec<usize> = self.holds.iter().filter(on).map(|hold| hold.who).collect();
        others.sort_unstable();
        others.into_iter().map(owner).take(HOLDERS_NAMED_MAX).collect()
    }

    fn end_revoked(&mut self, at: usize) -> AcquireOutcome {
        self.holds.remove(at);
        AcquireOutcome::Revoked { reason: REASON.to_owned() }
    }

    fn take_up(&mut self, at: usize, ttl: u64) {
        let now = self.now;
        let hold = &mut self.holds[at];
        (hold.claim, hold.ttl, hold.ends_at) = (false, ttl, end(now, ttl));
    }

    /// Never to an earlier end.
    fn extend(&mut self, at: usize, ttl: u64) {
        let (old, new) = (self.holds[at].ends_at, end(self.now, ttl));
        self.holds[at].ends_at = old.zip(new).map(|(old, new)| old.max(new));
    }

    fn remaining(&self, at: usize) -> Option<u64> {
        self.holds[at].ends_at.map(|end| end - self.now)
    }

    fn granted(&self, at: usize) -> AcquireOutcome {
        let hold = &self.holds[at];
        let tokens = hold.parts.iter().map(|part| part.token).collect();
        AcquireOutcome::Granted { hold: hold.id, tokens, remaining_ms: self.remaining(at) }
    }

    fn waiting(&self, at: usize) -> AcquireOutcome {
        let before = |part: &Part| {
            let on = |wait: &&Wait| part_of(&wait.parts, part.name).is_some();
            self.waits[..at].iter().filter(on).count()
        };
        let ahead = self.waits[at].parts.iter().map(before).max().unwrap_or(0);
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX).min(AHEAD_COUNTED_MAX);
        AcquireOutcome::Waiting { ahead, holders: self.holders_against(at) }
    }
}

impl Hold {
    /// Somebody answers with the hold as it is now.
    fn is_told_by(&mut self, attachment: Option<Attachment>) {
        also_told_by(&mut self.told, attachment);
        if let Some((told, _)) = &mut self.told_upgrade {
            also_told_by(told, attachment);
        }
    }

    /// All that were to tell of it, or of its upgrade; none twice.
    pub(super) fn told_attachments(&self) -> Vec<Attachment> {
        let upgrade = self.told_upgrade.iter().flat_map(|(told, _)| told);
        let mut all: Vec<Attachment> = self.told.iter().chain(upgrade).flatten().copied().collect();
        all.sort();
        all.dedup();
        all
    }
}

pub(super) fn told_by(attachment: Option<Attachment>) -> Told {
    attachment.map(|attachment| vec![attachment])
}

/// Who asks more than 32 times is taken to know.
fn also_told_by(told: &mut Told, attachment: Option<Attachment>) {
    let Some(all) = told else { return };
    let Some(attachment) = attachment else {
        *told = None;
        return;
    };
    all.push(attachment);
    if all.len() > 32 {
        *told = None;
    }
}

pub(super) fn part_of(parts: &[Part], name: usize) -> Option<Part> {
    parts.iter().find(|part| part.name == name).copied()
}

pub(super) fn bit(who: usize) -> u32 {
    1 << who
}

fn kind_of(part: &Part) -> u32 {
    if part.mode == Mode::Permits { part.max } else { 0 }
}

/// Apart from the modes exclusive and shared.
fn same_locks(one: &[Part], other: &[Part]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            (one.name, one.permits, kind_of(one)) == (other.name, other.permits, kind_of(other))
        })
}

fn place_end(lost: &BTreeMap<BootId, Lost>, rules: Rules, ear: Ear) -> Option<u64> {
    let from = match ear.attachment {
        None => ear.asked_at,
        Some(attachment) => lost.get(&attachment.boot)?.since.max(ear.asked_at),
    };
    Some(from + rules.claim_window_ms)
}

fn end(now: u64, ttl: u64) -> Option<u64> {
    (ttl > 0).then(|| now + ttl)
}

fn refused(refusal: LockRefusal) -> AcquireOutcome {
    AcquireOutcome::Refused(refusal)
}

fn limit(setting: &str, limit: u32) -> LockRefusal {
    LockRefusal::Limit { setting: setting.to_owned(), limit: limit.into() }
}

//! Exactly once for clients: what the machine remembers of requests that have an id.
//!
//! # Problem
//!
//! A client sends a request and hears nothing: the connection broke, the node died just before or
//! just after it wrote the answer. It sends the request again, perhaps to another node, and it has to
//! take effect once. (Between nodes the same question is answered by `session.rs`; a node that dies
//! takes its sessions' answers with it, a client's id does not.)
//!
//! # Idea
//!
//! The client names its request. The machine keeps the name from the first copy on: while the request
//! waits or holds, and for the retention after that. A repeat with the same content is answered, not
//! applied; one with other content is refused, since it is a mistake.
//!
//! What is answered to a repeated *acquire* is not what the first copy was told, but the request as it
//! is now: it waits, it holds (with what is left of the lease, and the repeat renews it as any ask
//! does), it waits no more, or what it held has ended. An old grant is never played back: its lock may be somebody else's.
//!
//! # Two kinds of names
//!
//! - A *key* is any word, known within its principal, operation and locks, and kept for the retention.
//! - A *number* belongs to a client that counts its requests and says below which number it will never
//!   ask again. Those are forgotten at once, so a busy client costs what it has under way. Its mark is
//!   kept for the retention after its last word; a number below it is refused.
//!
//! Nothing is forgotten early: at the limit new ids are refused, since a forgotten id would be applied
//! twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::{Outcome, RequestId, RequestRefusal};
use crate::locks::HoldId;
use crate::locks::{
    Acquire, AcquireOutcome, LockEvent, LockOperation, LockOutcome, LockRefusal, Target, Upgrade,
    What,
};
use crate::types::ClusterTime;
use crate::wire;

/// Most ids that one entry forgets.
const FORGOTTEN_PER_ENTRY_MAX: usize = 256;

/// A request's name, as wide as it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum RequestKey {
    /// A client's number.
    Numbered { principal: String, client: u64, sequence: u64 },
    /// A word; `scope` is the operation and its locks.
    Word { principal: String, scope: String, word: String },
}

/// What is remembered of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    digest: [u8; 16],
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// An acquire: this wait or hold.
    Live(HoldId),
    /// An upgrade: the wish of this hold.
    Wishes(HoldId),
    /// An upgrade of this hold was granted.
    Upgraded(HoldId, ClusterTime),
    /// Settled; forgotten at that time.
    Answered(Outcome, ClusterTime),
}

/// A client that numbers its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) low_water: u64,
    /// Not before its requests, and the retention after its last one, are over.
    pub(super) forget_at: ClusterTime,
}

/// All requests that are remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    known: RedBlackTreeMapSync<Arc<RequestKey>, Known>,
    marks: RedBlackTreeMapSync<(String, u64), Mark>,
    /// The same from other sides: what lives, by wait or hold, and what is forgotten when.
    live: RedBlackTreeSetSync<(HoldId, Arc<RequestKey>)>,
    forget: RedBlackTreeSetSync<(ClusterTime, Arc<RequestKey>)>,
    forget_marks: RedBlackTreeSetSync<(ClusterTime, (String, u64))>,
    /// Clients with requests below their mark: it may rise over any number of them, and an entry removes
    /// only so many.
    below: RedBlackTreeSetSync<(String, u64)>,
}

/// What a request's id says about applying it.
pub(super) enum Seen {
    /// For the first time, under this key.
    First(Arc<RequestKey>, [u8; 16]),
    /// An acquire that waits or holds.
    Live(HoldId),
    /// An upgrade that waits: asking again attaches again.
    Wishes,
    /// An upgrade that was granted, of this hold.
    Upgraded(HoldId),
    /// It is not applied.
    Answer(Outcome),
}

/// What there is to write into a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RequestRecord {
    /// A request.
    Known(RequestKey, Known),
    /// A client.
    Mark { principal: String, client: u64, mark: Mark },
}

/// Where in the sequence of records a reader is.
#[derive(Clone, Debug)]
pub(super) enum RequestCursor {
    Known(Arc<RequestKey>),
    Mark((String, u64)),
}

impl Requests {
    /// Looks a request up, before it is applied.
    pub(super) fn look_up(
        &mut self,
        id: &RequestId,
        operation: &LockOperation,
        now: ClusterTime,
        limits: (u32, u64),
    ) -> Option<Seen> {
        let scope = Scope::of(operation)?;
        let key = Arc::new(scope.key(id));
        if let RequestId::Numbered { client, sequence, low_water } = *id {
            self.raise_mark(&scope.principal, client, low_water, now.plus(limits.1));
            if self.is_below_mark(&scope.principal, client, sequence) {
                return Some(refused(RequestRefusal::Forgotten));
            }
        }
        let digest = digest(operation);
        let Some(known) = self.known.get(&key) else {
            let full = u32::try_from(self.known.size()).is_ok_and(|size| size >= limits.0);
            let first = || Seen::First(key, digest);
            return Some(if full { refused(RequestRefusal::Full) } else { first() });
        };
        if known.digest != digest {
            return Some(refused(RequestRefusal::OtherBody));
        }
        Some(match &known.state {
            State::Live(id) => Seen::Live(*id),
            State::Wishes(_) => Seen::Wishes,
            State::Upgraded(hold, _) => Seen::Upgraded(*hold),
            State::Answered(outcome, _) => Seen::Answer(outcome.clone()),
        })
    }

    /// Remembers what became of a first copy. `target`: what an acquire is now. What a limit refused is
    /// not remembered: its client is told to send the very same again when there is room.
    pub(super) fn remember(
        &mut self,
        key: Arc<RequestKey>,
        digest: [u8; 16],
        operation: &LockOperation,
        outcome: &Outcome,
        target: Option<Target>,
        forget_at: ClusterTime,
    ) {
        if let Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Refused(LockRefusal::Limit {
            ..
        }))) = outcome
        {
            return;
        }
        let state = match (operation, outcome, target) {
            (
                LockOperation::Acquire(_),
                Outcome::Lock(LockOutcome::Acquire(
                    AcquireOutcome::Granted { .. } | AcquireOutcome::Waiting { .. },
                )),
                Some(target),
            ) => match target {
                Target::Own(id) => State::Live(id),
                Target::Wish(hold) => State::Wishes(hold),
                Target::Upgraded(hold) => State::Upgraded(hold, forget_at),
            },
            (
                LockOperation::Upgrade(Upgrade { hold, .. }),
                Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Waiting { .. })),
                _,
            ) => State::Wishes(hold.hold),
            (
                LockOperation::Upgrade(Upgrade { hold, .. }),
                Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { .. })),
                _,
            ) => State::Upgraded(hold.hold, forget_at),
            _ => State::Answered(outcome.clone(), forget_at),
        };
        self.put(key, Known { digest, state });
    }

    /// Follows what has happened to waits and holds.
    pub(super) fn note(&mut self, events: &[LockEvent], forget_at: ClusterTime) {
        for event in events {
            let settled =
                |outcome| State::Answered(Outcome::Lock(LockOutcome::Acquire(outcome)), forget_at);
            let ended = || settled(AcquireOutcome::Ended);
            // Late copies must not queue again for somebody who has given up.
            let left = || settled(AcquireOutcome::Left);
            match (event.what, event.wait, event.hold) {
                (What::Granted | What::ClaimOpened, Some(wait), Some(hold)) => {
                    self.change(wait, |_| Some(State::Live(hold)));
                }
                (What::Left | What::PlaceLapsed, Some(wait), None) => {
                    self.change(wait, |_| Some(left()));
                }
                (What::Left | What::PlaceLapsed, _, Some(hold)) => {
                    self.change(hold, |state| matches!(state, State::Wishes(_)).then(left));
                }
                (What::Upgraded, _, Some(hold)) => {
                    let upgraded = State::Upgraded(hold, forget_at);
                    let wishes = |state: &State| matches!(state, State::Wishes(_));
                    self.change(hold, |state| wishes(state).then(|| upgraded.clone()));
                }
                (
                    What::Released
                    | What::Undone
                    | What::Expired
                    | What::ClaimLapsed
                    | What::Forced,
                    _,
                    Some(hold),
                ) => self.change(hold, |_| Some(ended())),
                _ => {}
            }
        }
    }

    /// Forgets what is old enough, a bounded number.
    pub(super) fn forget(&mut self, now: ClusterTime) {
        for _ in 0..FORGOTTEN_PER_ENTRY_MAX {
            let Some((_, key)) = self.forget.first().filter(|(at, _)| *at <= now).cloned() else {
                break;
            };
            self.remove(&key);
        }
        for _ in 0..FORGOTTEN_PER_ENTRY_MAX {
            let due = self.forget_marks.first().filter(|(at, _)| *at <= now).cloned();
            let Some((at, client)) = due else { break };
            self.forget_marks.remove_mut(&(at, client.clone()));
            self.marks.remove_mut(&client);
            self.below.remove_mut(&client);
        }
        if let Some(client) = self.below.first().cloned() {
            self.forget_below(&client);
        }
    }

    /// When the next one is forgotten: long ago, if it is below a mark.
    pub(super) fn next_due(&self) -> Option<ClusterTime> {
        if !self.below.is_empty() {
            return Some(ClusterTime::default());
        }
        let requests = self.forget.first().map(|(at, _)| *at);
        let marks = self.forget_marks.first().map(|(at, _)| *at);
        requests.into_iter().chain(marks).min()
    }

    /// The record after `cursor`, the first with `None`.
    pub(super) fn record_after(
        &self,
        cursor: Option<&RequestCursor>,
    ) -> Option<(RequestCursor, RequestRecord)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mark = match cursor {
            None => self.marks.first(),
            Some(RequestCursor::Mark(after)) => {
                self.marks.range((Excluded(after.clone()), Unbounded)).next()
            }
            Some(RequestCursor::Known(_)) => None,
        };
        if let Some((client, mark)) = mark {
            let (principal, number) = client.clone();
            let record = RequestRecord::Mark { principal, client: number, mark: *mark };
            return Some((RequestCursor::Mark(client.clone()), record));
        }
        let known = match cursor {
            Some(RequestCursor::Known(after)) => {
                self.known.range((Excluded(after.clone()), Unbounded)).next()
            }
            _ => self.known.first(),
        };
        let (key, known) = known?;
        let record = RequestRecord::Known(RequestKey::clone(key), known.clone());
        Some((RequestCursor::Known(key.clone()), record))
    }

    /// Puts a record back. Marks come before the requests that may be below them.
    pub(super) fn restore(&mut self, record: RequestRecord) {
        match record {
            RequestRecord::Known(key, known) => {
                if let Some(client) = self.is_below(&key) {
                    self.below.insert_mut(client);
                }
                self.put(Arc::new(key), known);
            }
            RequestRecord::Mark { principal, client, mark } => {
                self.forget_marks.insert_mut((mark.forget_at, (principal.clone(), client)));
                self.marks.insert_mut((principal, client), mark);
            }
        }
    }

    /// Checks what must hold between any two entries.
    pub(super) fn check_invariants(&self) -> Result<(), String> {
        let mut live = BTreeSet::new();
        let mut forget = BTreeSet::new();
        for (key, known) in &self.known {
            match &known.state {
                State::Live(id) | State::Wishes(id) => drop(live.insert((*id, key.clone()))),
                State::Upgraded(_, at) | State::Answered(_, at) => {
                    forget.insert((*at, key.clone()));
                }
            }
        }
        let below: BTreeSet<_> =
            self.known.iter().filter_map(|(key, _)| self.is_below(key)).collect();
        let same = self.live.iter().eq(live.iter())
            && self.forget.iter().eq(forget.iter())
            && self.below.iter().eq(below.iter());
        if same { Ok(()) } else { Err("the indexes of request ids do not fit them".to_owned()) }
    }

    fn raise_mark(&mut self, principal: &str, client: u64, low_water: u64, forget_at: ClusterTime) {
        let name = (principal.to_owned(), client);
        let before = self.marks.get(&name).copied();
        let mark = before.unwrap_or(Mark { low_water: 0, forget_at });
        let mark = Mark { low_water: mark.low_water.max(low_water), forget_at };
        if let Some(before) = before {
            self.forget_marks.remove_mut(&(before.forget_at, name.clone()));
        }
        self.forget_marks.insert_mut((forget_at, name.clone()));
        self.marks.insert_mut(name.clone(), mark);
        self.forget_below(&name);
    }

    /// Requests below the mark of this client, the first ones.
    fn forget_below(&mut self, client: &(String, u64)) {
        let below: Vec<_> = self.all_below(client).take(FORGOTTEN_PER_ENTRY_MAX + 1).collect();
        if below.len() > FORGOTTEN_PER_ENTRY_MAX {
            self.below.insert_mut(client.clone());
        }
        for key in below.iter().take(FORGOTTEN_PER_ENTRY_MAX) {
            self.remove(key);
        }
    }

    fn all_below(&self, client: &(String, u64)) -> impl Iterator<Item = Arc<RequestKey>> {
        let low_water = self.marks.get(client).map_or(0, |mark| mark.low_water);
        let key = |sequence| {
            let (principal, client) = client.clone();
            Arc::new(RequestKey::Numbered { principal, client, sequence })
        };
        self.known.range(key(0)..key(low_water)).map(|(key, _)| key.clone())
    }

    /// The client of a request that is below its mark.
    fn is_below(&self, key: &RequestKey) -> Option<(String, u64)> {
        let RequestKey::Numbered { principal, client, sequence } = key else { return None };
        self.is_below_mark(principal, *client, *sequence).then(|| (principal.clone(), *client))
    }

    fn is_below_mark(&self, principal: &str, client: u64, sequence: u64) -> bool {
        let mark = self.marks.get(&(principal.to_owned(), client));
        mark.is_some_and(|mark| sequence < mark.low_water)
    }

    /// Changes the states of those whose wait or hold this is; `None` leaves one as it is.
    fn change(&mut self, id: HoldId, state: impl Fn(&State) -> Option<State>) {
        let first =
            Arc::new(RequestKey::Numbered { principal: String::new(), client: 0, sequence: 0 });
        let of_id = self.live.range((id, first)..).take_while(|(it, _)| *it == id);
        let keys: Vec<_> = of_id.map(|(_, key)| key.clone()).collect();
        for key in keys {
            let Some(known) = self.known.get(&key).cloned() else { continue };
            if let Some(state) = state(&known.state) {
                self.remove(&key);
                self.put(key, Known { state, ..known });
            }
        }
    }

    fn put(&mut self, key: Arc<RequestKey>, known: Known) {
        match &known.state {
            State::Live(id) | State::Wishes(id) => self.live.insert_mut((*id, key.clone())),
            State::Upgraded(_, at) | State::Answered(_, at) => {
                self.forget.insert_mut((*at, key.clone()));
            }
        }
        self.known.insert_mut(key, known);
    }

    fn remove(&mut self, key: &Arc<RequestKey>) {
        let Some(known) = self.known.get(key) else { return };
        match known.state {
            State::Live(id) | State::Wishes(id) => {
                self.live.remove_mut(&(id, key.clone()));
            }
            State::Upgraded(_, at) | State::Answered(_, at) => {
                self.forget.remove_mut(&(at, key.clone()));
            }
        }
        self.known.remove_mut(key);
        if !self.below.is_empty()
            && let Some(client) = self.is_below(key).filter(|client| self.below.contains(client))
            && self.all_below(&client).next().is_none()
        {
            self.below.remove_mut(&client);
        }
    }
}

fn refused(refusal: RequestRefusal) -> Seen {
    Seen::Answer(Outcome::RequestRefused(refusal))
}

/// Within what a word names a request.
struct Scope {
    principal: String,
    words: Vec<String>,
}

impl Scope {
    /// `None`: this operation has no client.
    fn of(operation: &LockOperation) -> Option<Self> {
        let scope = |principal: &str, kind: &str, names: Vec<&str>| {
            let words = std::iter::once(kind).chain(names).map(str::to_owned).collect();
            Some(Self { principal: principal.to_owned(), words })
        };
        match operation {
            LockOperation::Acquire(ask) => {
                let names = ask.items.iter().map(|item| item.name.as_str()).collect();
                scope(&ask.owner.principal, "acquire", names)
            }
            LockOperation::Release(it) => scope(&it.owner.principal, "give_back", vec![&it.name]),
            LockOperation::ReleaseHold(it) => {
                scope(&it.principal, "release", named(it.name.as_ref()))
            }
            LockOperation::Downgrade(it) => {
                scope(&it.principal, "downgrade", named(it.name.as_ref()))
            }
            LockOperation::Renew(it) => {
                scope(&it.hold.principal, "renew", named(it.hold.name.as_ref()))
            }
            LockOperation::Upgrade(it) => {
                scope(&it.hold.principal, "upgrade", named(it.hold.name.as_ref()))
            }
            LockOperation::RenewAll(it) => scope(&it.owner.principal, "renew_all", vec![]),
            LockOperation::Force(it) => scope(&it.principal, "force", vec![&it.name]),
            LockOperation::Leave(_) | LockOperation::Attach(_) => None,
        }
    }

    fn key(&self, id: &RequestId) -> RequestKey {
        let principal = self.principal.clone();
        match id {
            RequestId::Numbered { client, sequence, .. } => {
                RequestKey::Numbered { principal, client: *client, sequence: *sequence }
            }
            // No name holds a control character.
            RequestId::Key(word) => {
                RequestKey::Word { principal, scope: self.words.join("\n"), word: word.clone() }
            }
        }
    }
}

fn named(name: Option<&String>) -> Vec<&str> {
    name.map(String::as_str).into_iter().collect()
}

/// Of what the client has said. Who listens, and whether it waits, is not part of it: it may ask again
/// on another node, and with less patience.
fn digest(operation: &LockOperation) -> [u8; 16] {
    let operation = match operation.clone() {
        LockOperation::Acquire(ask) => {
            LockOperation::Acquire(Acquire { attachment: None, queue: false, ..ask })
        }
        LockOperation::Upgrade(ask) => {
            LockOperation::Upgrade(Upgrade { attachment: None, queue: false, ..ask })
        }
        other => other,
    };
    let hash = Sha256::digest(wire::encode(&operation));
    std::array::from_fn(|at| hash[at])
}

//! Exactly once for clients of queues: what the machine remembers of the items of requests that have an
//! id.
//!
//! # Problem
//!
//! A client pushes a batch and hears nothing. Its node has cut the batch into several commands, and each
//! command holds items of other clients too; some of these commands were applied, others were not. The
//! client sends the batch again, perhaps to another node, which cuts it in other places.
//!
//! # Idea
//!
//! What is remembered belongs to the *item*: the request's id and the item's place in the request. A
//! repeat is answered item by item: what the first copy did is said again, what it did not do is done
//! now. How a batch was cut and merged means nothing.
//!
//! As in `requests.rs`: a key is kept for the retention, a number until its client's low-water mark
//! passes it, the same id with other content is refused, and nothing is forgotten early. The items have
//! a cap of their own ([`queue::Rules::request_items_max`](crate::queue::Rules)), so that pushes never make locks
//! refuse an id.
//!
//! What may succeed later is not remembered (no room): its client is told to send the very same again.
//! Nor is an extension, which is repeated instead: it never shortens, and what is left is to be told as
//! of now. Nor is a settle with a stale receipt, which stays stale. At the cap a push is refused, since
//! a repeat could not be told from it; a settle is done and not remembered: its receipt makes sure that
//! it is done once, and a repeat hears that the delivery has ended. Refused, the work of many clients
//! would be done again because one of them asks too much.
//!
//! A mark may rise over any number of items at once. They are removed a few per entry; until then the
//! mark answers for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::{RequestId, RequestItems};
use crate::queue::{
    Push, PushItem, PushOutcome, QueueRefusal, Settle, SettleItem, SettleOutcome, Verdict,
};
use crate::types::{ClusterTime, RequestRefusal};
use crate::wire;

/// Most items, most marks, and most items below a mark that one entry forgets by itself.
const FORGOTTEN_PER_ENTRY_MAX: usize = 256;
/// Most items below its client's mark that are forgotten for each item that comes. Two, so that a client
/// that goes on leaves fewer and fewer behind.
const FORGOTTEN_PER_ITEM_MAX: usize = 2;

/// An item's name, as wide as it is known. Numbers come in the order of the requests, so that those
/// below a mark are neighbours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum ItemKey {
    /// Of a request that its client has numbered.
    Numbered { principal: String, client: u64, sequence: u64, position: u32 },
    /// Of a request with a word; `scope` is the operation and the topic.
    Word { principal: String, scope: String, word: String, position: u32 },
}

/// What came of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ItemOutcome {
    Push(PushOutcome),
    Settle(SettleOutcome),
}

/// What comes of an item, and can be remembered.
pub(super) trait Remembered: Clone + Into<ItemOutcome> {
    /// Something else makes sure that it is done once, so that it need not be remembered.
    const IS_ONCE_BY_ITSELF: bool;

    /// `None`: it is what came of an item of another kind.
    fn of(outcome: &ItemOutcome) -> Option<Self>;

    /// It is not done.
    fn refused(refusal: QueueRefusal) -> Self;
}

/// What is remembered of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownItem {
    digest: [u8; 16],
    outcome: ItemOutcome,
    forget_at: ClusterTime,
}

/// A client that numbers its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ItemMark {
    low_water: u64,
    /// Not before its items, and the retention after its last one, are over.
    forget_at: ClusterTime,
}

/// What there is to write into a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ItemRecord {
    /// An item.
    Known(ItemKey, KnownItem),
    /// A client.
    Mark { principal: String, client: u64, mark: ItemMark },
}

/// Where in the sequence of records a reader is.
#[derive(Clone, Debug)]
pub(super) enum ItemCursor {
    Known(Arc<ItemKey>),
    Mark((String, u64)),
}

/// All items that are remembered. A clone costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct ItemRequests {
    known: RedBlackTreeMapSync<Arc<ItemKey>, KnownItem>,
    marks: RedBlackTreeMapSync<(String, u64), ItemMark>,
    /// The same by time.
    forget: RedBlackTreeSetSync<(ClusterTime, Arc<ItemKey>)>,
    forget_marks: RedBlackTreeSetSync<(ClusterTime, (String, u64))>,
    /// Clients with items below their mark.
    below: RedBlackTreeSetSync<(String, u64)>,
}

/// An item of an operation, if its client gave its request an id.
pub(super) struct Named<'a> {
    request: &'a RequestItems,
    position: u32,
    /// What it is asked with: the operation and the topic.
    scope: String,
    digest: [u8; 16],
}

/// By when and how much is remembered.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) forget_at: ClusterTime,
    pub(super) items_max: u32,
}

impl<'a> Named<'a> {
    /// The item of a push at this place of the operation.
    pub(super) fn pushed(
        requests: &'a [RequestItems],
        at: usize,
        push: &Push,
        item: &PushItem,
    ) -> Option<Self> {
        let content = (push.unlimited_deliveries, item);
        Self::find(requests, at, || ("push", &push.topic, digest(&("push", &push.topic, content))))
    }

    /// The item of a settle at this place of the operation. An extension has no name.
    pub(super) fn settled(
        requests: &'a [RequestItems],
        at: usize,
        settle: &Settle,
        item: &SettleItem,
    ) -> Option<Self> {
        if matches!(item.verdict, Verdict::Extend { .. }) {
            return None;
        }
        let digest = || digest(&("settle", &settle.topic, item));
        Self::find(requests, at, || ("settle", &settle.topic, digest()))
    }

    fn find<'t>(
        requests: &'a [RequestItems],
        at: usize,
        said: impl FnOnce() -> (&'static str, &'t String, [u8; 16]),
    ) -> Option<Self> {
        let at = u32::try_from(at).ok()?;
        // They stand in the order of their places.
        let behind = requests.partition_point(|it| it.first <= at);
        let request = requests[..behind].last().filter(|it| it.contains(at))?;
        let (operation, topic, digest) = said();
        let position = request.position.saturating_add(at - request.first);
        Some(Self { request, position, scope: format!("{operation}\n{topic}"), digest })
    }

    fn key(&self) -> Arc<ItemKey> {
        let (principal, position) = (self.request.principal.clone(), self.position);
        Arc::new(match &self.request.request {
            RequestId::Numbered { client, sequence, .. } => {
                ItemKey::Numbered { principal, client: *client, sequence: *sequence, position }
            }
            RequestId::Key(word) => {
                ItemKey::Word { principal, scope: self.scope.clone(), word: word.clone(), position }
            }
        })
    }
}

impl ItemRequests {
    /// Does an item that was not done before, and says what came of it, now or then.
    pub(super) fn once<O: Remembered>(
        &mut self,
        named: &Named<'_>,
        limits: Limits,
        act: impl FnOnce() -> O,
    ) -> O {
        let refuse = |refusal| O::refused(QueueRefusal::Request(refusal));
        let key = named.key();
        if let RequestId::Numbered { client, sequence, low_water } = named.request.request {
            let client = (named.request.principal.clone(), client);
            self.raise_mark(&client, low_water, limits.forget_at);
            if self.marks.get(&client).is_some_and(|mark| sequence < mark.low_water) {
                return refuse(RequestRefusal::Forgotten);
            }
        }
        if let Some(known) = self.known.get(&key) {
            let same = known.digest == named.digest;
            let outcome = O::of(&known.outcome).filter(|_| same);
            return outcome.unwrap_or_else(|| refuse(RequestRefusal::OtherBody));
        }
        if self.known.size() as u64 >= limits.items_max.into() {
            return if O::IS_ONCE_BY_ITSELF { act() } else { refuse(RequestRefusal::Full) };
        }
        let outcome = act();
        let known = KnownItem {
            digest: named.digest,
            outcome: outcome.clone().into(),
            forget_at: limits.forget_at,
        };
        if known.outcome.is_final() {
            self.put(key, known);
        }
        outcome
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
            let Some(due) = due else { break };
            self.marks.remove_mut(&due.1);
            self.below.remove_mut(&due.1);
            self.forget_marks.remove_mut(&due);
        }
        if let Some(client) = self.below.first().cloned() {
            self.forget_below(&client, FORGOTTEN_PER_ENTRY_MAX);
        }
    }

    /// When the next one is forgotten: long ago, if it is below a mark.
    pub(super) fn next_due(&self) -> Option<ClusterTime> {
        if !self.below.is_empty() {
            return Some(ClusterTime::default());
        }
        let items = self.forget.first().map(|(at, _)| *at);
        items.into_iter().chain(self.forget_marks.first().map(|(at, _)| *at)).min()
    }

    /// The record after `cursor`, the first with `None`: marks, then items.
    pub(super) fn record_after(
        &self,
        cursor: Option<&ItemCursor>,
    ) -> Option<(ItemCursor, ItemRecord)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mark = match cursor {
            None => self.marks.first(),
            Some(ItemCursor::Mark(after)) => {
                self.marks.range((Excluded(after.clone()), Unbounded)).next()
            }
            Some(ItemCursor::Known(_)) => None,
        };
        if let Some((client, mark)) = mark {
            let (principal, number) = client.clone();
            let record = ItemRecord::Mark { principal, client: number, mark: *mark };
            return Some((ItemCursor::Mark(client.clone()), record));
        }
        let known = match cursor {
            Some(ItemCursor::Known(after)) => {
                self.known.range((Excluded(after.clone()), Unbounded)).next()
            }
            _ => self.known.first(),
        };
        let (key, known) = known?;
        let record = ItemRecord::Known(ItemKey::clone(key), known.clone());
        Some((ItemCursor::Known(key.clone()), record))
    }

    /// Puts a record back. Marks come before the items that may be below them.
    pub(super) fn restore(&mut self, record: ItemRecord) {
        match record {
            ItemRecord::Known(key, known) => {
                if let Some(client) = self.is_below(&key) {
                    self.below.insert_mut(client);
                }
                self.put(Arc::new(key), known);
            }
            ItemRecord::Mark { principal, client, mark } => {
                self.forget_marks.insert_mut((mark.forget_at, (principal.clone(), client)));
                self.marks.insert_mut((principal, client), mark);
            }
        }
    }

    /// Checks what must hold between any two entries.
    pub(super) fn check_invariants(&self) -> Result<(), String> {
        let items: BTreeSet<_> =
            self.known.iter().map(|(key, known)| (known.forget_at, key.clone())).collect();
        let marks: BTreeSet<_> =
            self.marks.iter().map(|(client, mark)| (mark.forget_at, client.clone())).collect();
        let below: BTreeSet<_> =
            self.known.iter().filter_map(|(key, _)| self.is_below(key)).collect();
        let same = self.forget.iter().eq(items.iter())
            && self.forget_marks.iter().eq(marks.iter())
            && self.below.iter().eq(below.iter());
        if same { Ok(()) } else { Err("the indexes of items' requests do not fit them".to_owned()) }
    }

    fn raise_mark(&mut self, client: &(String, u64), low_water: u64, forget_at: ClusterTime) {
        let before = self.marks.get(client).copied();
        let known = before.map_or(0, |mark| mark.low_water);
        let mark = ItemMark { low_water: known.max(low_water), forget_at };
        if let Some(before) = before {
            self.forget_marks.remove_mut(&(before.forget_at, client.clone()));
        }
        self.forget_marks.insert_mut((forget_at, client.clone()));
        self.marks.insert_mut(client.clone(), mark);
        if mark.low_water > known || self.below.contains(client) {
            self.forget_below(client, FORGOTTEN_PER_ITEM_MAX);
        }
    }

    /// Items below the mark of this client, the first ones.
    fn forget_below(&mut self, client: &(String, u64), most: usize) {
        let below: Vec<_> = self.all_below(client).take(most + 1).collect();
        if below.len() > most {
            self.below.insert_mut(client.clone());
        }
        for key in below.iter().take(most) {
            self.remove(key);
        }
    }

    fn all_below(&self, client: &(String, u64)) -> impl Iterator<Item = Arc<ItemKey>> {
        let low_water = self.marks.get(client).map_or(0, |mark| mark.low_water);
        let key = |sequence| {
            let (principal, client) = client.clone();
            Arc::new(ItemKey::Numbered { principal, client, sequence, position: 0 })
        };
        self.known.range(key(0)..key(low_water)).map(|(key, _)| key.clone())
    }

    /// The client of an item that is below its mark.
    fn is_below(&self, key: &ItemKey) -> Option<(String, u64)> {
        let ItemKey::Numbered { principal, client, sequence, .. } = key else { return None };
        let client = (principal.clone(), *client);
        self.marks.get(&client).is_some_and(|mark| *sequence < mark.low_water).then_some(client)
    }

    fn put(&mut self, key: Arc<ItemKey>, known: KnownItem) {
        self.forget.insert_mut((known.forget_at, key.clone()));
        self.known.insert_mut(key, known);
    }

    fn remove(&mut self, key: &Arc<ItemKey>) {
        let Some(known) = self.known.get(key) else { return };
        self.forget.remove_mut(&(known.forget_at, key.clone()));
        self.known.remove_mut(key);
        if !self.below.is_empty()
            && let Some(client) = self.is_below(key).filter(|client| self.below.contains(client))
            && self.all_below(&client).next().is_none()
        {
            self.below.remove_mut(&client);
        }
    }
}

impl From<PushOutcome> for ItemOutcome {
    fn from(outcome: PushOutcome) -> Self {
        Self::Push(outcome)
    }
}

impl From<SettleOutcome> for ItemOutcome {
    fn from(outcome: SettleOutcome) -> Self {
        Self::Settle(outcome)
    }
}

impl Remembered for PushOutcome {
    const IS_ONCE_BY_ITSELF: bool = false;

    fn of(outcome: &ItemOutcome) -> Option<Self> {
        if let ItemOutcome::Push(outcome) = outcome { Some(outcome.clone()) } else { None }
    }

    fn refused(refusal: QueueRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Remembered for SettleOutcome {
    const IS_ONCE_BY_ITSELF: bool = true;

    fn of(outcome: &ItemOutcome) -> Option<Self> {
        if let ItemOutcome::Settle(outcome) = outcome { Some(outcome.clone()) } else { None }
    }

    fn refused(refusal: QueueRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl ItemOutcome {
    /// A repeat cannot have another, and would not have it without being remembered.
    fn is_final(&self) -> bool {
        if matches!(self, Self::Settle(SettleOutcome::Stale)) {
            return false;
        }
        let (Self::Push(PushOutcome::Refused(refusal))
        | Self::Settle(SettleOutcome::Refused(refusal))) = self
        else {
            return true;
        };
        !matches!(refusal, QueueRefusal::Full { .. })
    }
}

fn digest(said: &impl Serialize) -> [u8; 16] {
    let hash = Sha256::digest(wire::encode(said));
    std::array::from_fn(|at| hash[at])
}

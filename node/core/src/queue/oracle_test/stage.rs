//! Table and oracle side by side, entry by entry; and a history that fails, made as short as it gets.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::*;
use super::oracle::{Message, Oracle};
use super::{Seen, same, shown};
use crate::types::{ClusterTime, Index};

/// One entry; without an operation a time mark. Its index stays the same when others are left out, so
/// that ids stay true.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub index: u64,
    pub now: u64,
    pub operation: Option<QueueOperation>,
}

pub(super) struct Stage {
    pub oracle: Oracle,
    table: QueueTable,
    bug: Option<Bug>,
}

impl Stage {
    pub(super) fn new(rules: Rules, bug: Option<Bug>) -> Self {
        let (oracle, mut table) = (Oracle::new(rules), QueueTable::default());
        put_back(&mut table, bug);
        Self { oracle, table, bug }
    }

    /// Applies an entry to both.
    ///
    /// # Errors
    /// What differs; the words before the first colon say what kind of difference it is.
    pub(super) fn play(
        &mut self,
        step: &Step,
        seen: &mut Seen,
    ) -> Result<Option<QueueOutcome>, String> {
        let now = ClusterTime(step.now);
        let mut turn = Turn::new(Index(step.index), now, self.oracle.rules);
        let keys = self.oracle.keys.len();
        self.table.advance(&mut turn);
        self.oracle.advance(step.index, step.now);
        note_if(seen, self.oracle.keys.len() < keys, "key forgotten");
        let late = self.table.next_due().is_some_and(|due| due <= now);
        note_if(seen, late, "ends left for the next entry");
        let outcome = match &step.operation {
            None => None,
            Some(operation) => {
                let said = self.table.apply(&mut turn, operation);
                same("outcome", &said, &self.oracle.apply(operation))?;
                note_outcome(seen, &self.oracle, operation, &said);
                Some(said)
            }
        };
        self.check_deliveries(&mut turn, step, seen)?;
        shown::check(&self.table, &self.oracle)?;
        self.check_ready(&mut turn, step)?;
        self.table.check_invariants().map_err(|broken| format!("invariant: {broken}"))?;
        if step.index.is_multiple_of(5) {
            self.write_and_read()?;
        }
        Ok(outcome)
    }

    /// What the receivers are sent is what the oracle would send, and can be read again.
    fn check_deliveries(
        &self,
        turn: &mut Turn,
        step: &Step,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let deliveries = turn.take_deliveries();
        let Some(QueueOperation::Receive(asked)) = &step.operation else {
            return same("deliveries", &deliveries, &Vec::new());
        };
        let topic = self.oracle.topics.get(&asked.topic);
        let messages = || topic.into_iter().flat_map(|topic| &topic.messages);
        let expected = self.oracle.delivered.iter().map(|(_, receipt)| {
            let mut messages = messages().filter_map(Message::delivery_view);
            messages.find(|view| view.receipt == *receipt)
        });
        let expected: Vec<DeliveryView> = expected.flatten().collect();
        same("deliveries", &deliveries, &expected)?;
        for delivery in deliveries {
            let again = self.table.view().delivery(&asked.topic, &delivery.receipt);
            same("delivery", &again, &Some(delivery.clone()))?;
            note_if(seen, delivery.deliveries >= 5, "delivery: the fifth");
            note_if(seen, delivery.death.is_some(), "delivery of a dead message");
            let grouped = delivery.content.group.is_some() && delivery.death.is_none();
            note_if(seen, grouped, "delivery of a group");
        }
        Ok(())
    }

    /// Whoever waits is told where something has come.
    fn check_ready(&self, turn: &mut Turn, step: &Step) -> Result<(), String> {
        let told = turn.take_ready();
        let Some(QueueOperation::Push(push)) = &step.operation else { return Ok(()) };
        let at_once = self.oracle.topics.get(&push.topic).is_some_and(|topic| {
            let order = topic.order(false);
            order.iter().any(|id| id.index.0 == step.index)
        });
        let main = (push.topic.as_str().into(), SubQueue::Main);
        if at_once && !told.contains(&main) {
            return Err("ready: nobody was told".to_owned());
        }
        Ok(())
    }

    /// The table goes on from its records.
    fn write_and_read(&mut self) -> Result<(), String> {
        let mut restored = QueueTable::default();
        put_back(&mut restored, self.bug);
        let (mut cursor, mut count) = (None, 0);
        while let Some((at, record)) = self.table.record_after(cursor.as_ref()) {
            restored.restore(record).map_err(|broken| format!("records: {broken}"))?;
            (cursor, count) = (Some(at), count + 1);
        }
        let mut cursors = (None, None);
        for _ in 0..count {
            let was = self.table.record_after(cursors.0.as_ref());
            let is = restored.record_after(cursors.1.as_ref());
            same("records", &is, &was)?;
            cursors = (was.map(|it| it.0), is.map(|it| it.0));
        }
        self.table = restored;
        self.table.check_invariants().map_err(|broken| format!("restored: {broken}"))
    }
}

#[cfg(feature = "bugs")]
fn put_back(table: &mut QueueTable, bug: Option<Bug>) {
    table.put_back(bug);
}

#[cfg(not(feature = "bugs"))]
fn put_back(_: &mut QueueTable, bug: Option<Bug>) {
    assert!(bug.is_none(), "mistakes need the feature");
}

fn note(seen: &mut Seen, case: &str) {
    if let Some(count) = seen.get_mut(case) {
        *count += 1;
    } else {
        seen.insert(case.to_owned(), 1);
    }
}

fn note_if(seen: &mut Seen, met: bool, case: &str) {
    if met {
        note(seen, case);
    }
}

fn note_outcome(
    seen: &mut Seen,
    oracle: &Oracle,
    operation: &QueueOperation,
    outcome: &QueueOutcome,
) {
    for topic in oracle.topics.values() {
        note_if(seen, topic.totals.expired > 0, "dropped");
        for death in topic.messages.iter().filter_map(|it| it.death) {
            note(seen, &format!("died: {:?}", death.cause));
        }
    }
    match (operation, outcome) {
        (_, QueueOutcome::Pushed(items)) => items.iter().for_each(|item| note_push(seen, item)),
        (QueueOperation::Receive(asked), QueueOutcome::Received(received)) => {
            note_if(seen, received.len() > 1, "receive: several receivers served");
            let paused = oracle.topics.get(&asked.topic).is_some_and(|it| it.settings.paused);
            note_if(seen, paused && received.is_empty(), "receive: paused");
        }
        (QueueOperation::Settle(asked), QueueOutcome::Settled(items)) => {
            for (item, outcome) in asked.items.iter().zip(items) {
                let text = format!("{outcome:?}");
                note(seen, &format!("settle: {}", word(&text)));
                let latest = matches!(item.delivery, DeliveryRef::Latest { .. });
                note_if(seen, latest && *outcome == SettleOutcome::Acked, "settle: by consumer");
            }
        }
        (QueueOperation::GiveBack(asked), QueueOutcome::GivenBack(count)) => {
            note_if(seen, *count > 0, "given back");
            note_if(seen, (*count as usize) < asked.receipts.len(), "given back too late");
        }
        (_, QueueOutcome::Purged { next: Some(_), .. }) => note(seen, "purge: more to come"),
        (_, QueueOutcome::Redriven { next, full, .. }) => {
            note_if(seen, next.is_some() && full.is_none(), "redrive: more to come");
            note_if(seen, full.is_some(), "redrive: full");
        }
        (_, QueueOutcome::RedrivenThese(items)) => {
            for item in items {
                note(seen, &format!("redrive: {}", word(&format!("{item:?}"))));
            }
        }
        _ => {}
    }
}

fn note_push(seen: &mut Seen, outcome: &PushOutcome) {
    match outcome {
        PushOutcome::Refused(QueueRefusal::Full { setting, .. }) => match setting.as_str() {
            "queue_messages_max" => note(seen, "push: full, messages"),
            "queue_bytes_max" => note(seen, "push: full, bytes"),
            "dedupe_keys_max" => note(seen, "push: full, keys"),
            "messages_max" => note(seen, "push: full, topic"),
            _ => note(seen, "push: full, topics"),
        },
        PushOutcome::Refused(refusal) => note(seen, &format!("push: {}", refusal.code())),
        other => note(seen, &format!("push: {}", word(&format!("{other:?}")))),
    }
}

/// The name of a variant.
fn word(text: &str) -> &str {
    text.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default()
}

/// A panic is a difference, too.
pub(super) fn guarded<T>(play: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// Leaves out entries one by one while it still fails in the same way.
pub(super) fn minimal(
    rules: Rules,
    bug: Option<Bug>,
    mut steps: Vec<Step>,
    difference: &str,
) -> String {
    let kind = |difference: &str| difference.split(':').next().unwrap_or_default().to_owned();
    let mut last = difference.to_owned();
    let mut shorter = true;
    while shorter {
        shorter = false;
        for at in (0..steps.len()).rev() {
            let mut fewer = steps.clone();
            fewer.remove(at);
            let mut stage = Stage::new(rules, bug);
            let mut seen = Seen::new();
            let failed =
                fewer.iter().find_map(|step| guarded(|| stage.play(step, &mut seen)).err());
            if let Some(failed) = failed.filter(|failed| kind(failed) == kind(difference)) {
                (steps, last, shorter) = (fewer, failed, true);
            }
        }
    }
    let mut out = format!("\n{rules:?}\n");
    for step in steps {
        let _ = match step.operation {
            None => writeln!(out, "entry {} at {}: mark", step.index, step.now),
            Some(it) => writeln!(out, "entry {} at {}: {it:?}", step.index, step.now),
        };
    }
    out + &last
}

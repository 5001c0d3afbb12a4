//! Topics and messages as tables for people.

use dsync_client::queues::{
    Backoff, Body, Counts, DeathCause, Delivery, Failures, Growth, Pushed, Settled, Settlement,
    StateKind, StoredMessage, SubQueue, Topic, TopicSettings,
};
use serde::Serialize;

use crate::cli::output::{length, table};

/// Characters of a body or a reason that a cell shows.
const SHOWN_MAX: usize = 60;

/// As in an answer.
#[derive(Serialize)]
pub(super) struct Messages<'a, M> {
    pub(super) messages: &'a [M],
}

/// One line for each message that is there now.
pub(super) fn pushed(pushed: &[&Pushed]) -> String {
    let row = |it: &&Pushed| {
        let how = if it.duplicate { "there before" } else { "pushed" };
        [it.id.clone(), how.to_owned()]
    };
    table(["ID", "OUTCOME"], pushed.iter().map(row).collect())
}

/// One line for each message that was received.
pub(super) fn deliveries(deliveries: &[Delivery]) -> String {
    let row = |it: &Delivery| {
        [
            it.receipt.clone(),
            it.deliveries.to_string(),
            length(it.remaining_ms),
            length(it.age_ms),
            body(Some(&it.body)),
        ]
    };
    let headings = ["RECEIPT", "DELIVERY", "YOURS FOR", "AGE", "BODY"];
    table(headings, deliveries.iter().map(row).collect())
}

/// One line for each delivery that is settled.
pub(super) fn settled(settled: &[&Settled]) -> String {
    let row = |it: &&Settled| {
        let for_ms = it.delay_ms.or(it.remaining_ms);
        [it.receipt.clone(), outcome(it.outcome).to_owned(), for_ms.map_or_else(none, length)]
    };
    table(["RECEIPT", "OUTCOME", "FOR"], settled.iter().map(row).collect())
}

fn outcome(outcome: Settlement) -> &'static str {
    match outcome {
        Settlement::Acked => "acked",
        Settlement::Nacked => "nacked",
        Settlement::Dead => "dead",
        Settlement::Expired => "expired",
        Settlement::Extended => "extended",
    }
}

/// The headings of [`message`].
pub(super) const MESSAGE: [&str; 7] =
    ["ID", "STATE", "LEFT", "DELIVERIES", "AGE", "WENT WRONG", "BODY"];

/// One line for each message.
pub(super) fn messages(messages: &[StoredMessage]) -> String {
    table(MESSAGE, messages.iter().map(message).collect())
}

/// What a message is doing.
pub(super) fn message(it: &StoredMessage) -> [String; 7] {
    [
        it.id.clone(),
        state(it),
        it.remaining_ms.map_or_else(none, length),
        it.deliveries.to_string(),
        length(it.age_ms),
        went_wrong(it),
        body(it.body().as_ref()),
    ]
}

fn state(it: &StoredMessage) -> String {
    let state = match it.state {
        StateKind::Ready => "ready",
        StateKind::Delayed => "delayed",
        StateKind::InFlight => "in flight",
    };
    match it.sub_queue {
        SubQueue::Main => state.to_owned(),
        SubQueue::Dead => format!("dead, {state}"),
    }
}

/// The last reason that a worker gave, or why it is dead.
fn went_wrong(it: &StoredMessage) -> String {
    let cause = it.death.as_ref().map(|death| match death.cause {
        DeathCause::TooManyDeliveries => format!("delivered {} times", death.deliveries),
        DeathCause::Rejected => "rejected".to_owned(),
        DeathCause::Expired => "expired".to_owned(),
    });
    let reason = |failures: &Failures| failures.last.reason.clone();
    let reason = it.failures.as_ref().and_then(reason).map(|reason| shortened(&reason));
    match (cause, reason) {
        (Some(cause), Some(reason)) => format!("{cause}: {reason}"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => none(),
    }
}

/// One line for each topic.
pub(super) fn topics(topics: &[Topic]) -> String {
    let row = |it: &Topic| {
        [
            it.topic.clone(),
            it.main.ready.to_string(),
            it.main.delayed.to_string(),
            it.main.in_flight.to_string(),
            it.dead.all().to_string(),
            it.oldest_age_ms.map_or_else(none, length),
            if it.settings.paused { "yes".to_owned() } else { none() },
        ]
    };
    let headings = ["TOPIC", "READY", "DELAYED", "IN FLIGHT", "DEAD", "OLDEST", "PAUSED"];
    table(headings, topics.iter().map(row).collect())
}

/// One topic: what stands there, and what has happened.
pub(super) fn topic(it: &Topic) -> String {
    let part = |name: &str, counts: &Counts| {
        [name.to_owned()]
            .into_iter()
            .chain([counts.ready, counts.delayed, counts.in_flight].map(|count| count.to_string()))
    };
    let row = |name, counts| {
        let mut cells = part(name, counts);
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    };
    let parts = vec![row("main", &it.main), row("dead", &it.dead)];
    let totals = &it.totals;
    let counts = [
        ("pushed", totals.pushed),
        ("duplicates", totals.duplicates),
        ("delivered", totals.delivered),
        ("given back", totals.given_back),
        ("acked", totals.acked),
        ("nacked", totals.nacked),
        ("timed out", totals.timed_out),
        ("died", totals.died),
        ("redriven", totals.redriven),
        ("expired", totals.expired),
        ("purged", totals.purged),
        ("bytes", it.bytes),
    ];
    let mut rows: Vec<_> = counts.map(|(name, count)| [name.to_owned(), count.to_string()]).into();
    rows.push(["oldest".to_owned(), it.oldest_age_ms.map_or_else(none, length)]);
    rows.push(["paused".to_owned(), if it.settings.paused { "yes" } else { "no" }.to_owned()]);
    let parts: String = table(["PART", "READY", "DELAYED", "IN FLIGHT"], parts);
    format!("{parts}\n{}", table(["TOTAL", ""], rows))
}

/// The settings, one a line.
pub(super) fn settings(it: &TopicSettings) -> String {
    let rows = [
        ("visibility", length(it.visibility_ms)),
        ("deliveries-max", or_none(it.deliveries_max.into(), |it| it.to_string())),
        ("nack-backoff", backoff(&it.nack_backoff)),
        ("timeout-backoff", backoff(&it.timeout_backoff)),
        ("paused", it.paused.to_string()),
        ("messages-max", or_none(it.messages_max, |it| it.to_string())),
        ("ttl", or_none(it.ttl_ms, length)),
        ("expired", format!("{:?}", it.expired).to_lowercase()),
        ("dedupe-window", length(it.dedupe_window_ms)),
    ];
    table(["SETTING", ""], rows.map(|(name, value)| [name.to_owned(), value]).into())
}

/// As it is written on the command line.
fn backoff(it: &Backoff) -> String {
    let growth = match it.growth {
        Growth::Fixed => "fixed",
        Growth::Linear => "linear",
        Growth::Exponential => "exponential",
    };
    let pauses = format!("{growth},{},{}", length(it.base_ms), length(it.max_ms));
    match (it.max_ms, it.jitter_percent) {
        (0, _) => "none".to_owned(),
        (_, 0) => pauses,
        (_, jitter) => format!("{pauses},{jitter}%"),
    }
}

fn or_none(value: u64, shown: impl Fn(u64) -> String) -> String {
    if value == 0 { none() } else { shown(value) }
}

fn body(body: Option<&Body>) -> String {
    match body {
        Some(Body::Json(text)) => shortened(text.get()),
        Some(Body::Bytes(bytes)) => format!("({} bytes)", bytes.len()),
        None => none(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn none() -> String {
    "-".to_owned()
}

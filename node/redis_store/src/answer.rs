//! What a script has answered, in the words of the queues. Pure.

use std::sync::Arc;

use dsync_core::encoding;
use dsync_core::queue::{
    Backoff, Cause, Consumer, Content, Counts, Death, DeathCause, DeliveryView, Expired, Failure,
    Failures, Growth, MessageId, MessageView, Page, PushOutcome, QueueOperation, QueueOutcome,
    QueueRefusal, Receipt, Receive, Received, ReceiverId, RedriveOutcome, Redriven, Rules,
    SettleOutcome, StateView, SubQueue, TopicId, TopicSettings, TopicView, Totals,
};
use dsync_core::types::{BootId, ClusterTime, Index};
use redis::Value;

use crate::call::Call;
use crate::server::Durability;

/// Redis answered what no script of ours answers: somebody else writes these keys, or a bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis answered something else than {0}")]
pub struct Unreadable(pub &'static str);

type Read<T> = Result<T, Unreadable>;

/// What every answer says of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How many messages of the main part could be delivered now; a group counts as one.
    pub deliverable: u64,
    /// How many dead ones could be.
    pub dead_deliverable: u64,
    /// When the next delivery, delay, time to live or memory of a key ends; passed, if ends are left to be
    /// cleared away.
    pub next_due: Option<ClusterTime>,
    /// Redis' clock then: milliseconds since 1970. All times of the topic are of this clock.
    pub now: ClusterTime,
    /// What is done now survives.
    pub durability: Durability,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// As on the log.
    pub outcome: QueueOutcome,
    /// Of a receive: what was delivered.
    pub deliveries: Vec<DeliveryView>,
    /// The topic now.
    pub status: Status,
}

/// Splits an answer in what it says of the topic and the reply.
pub(crate) fn open(value: Value, durability: Durability) -> Read<(Status, Value)> {
    let what = "a status and a reply";
    let mut parts = array(value, what)?.into_iter();
    let mut next = || parts.next().ok_or(Unreadable(what));
    let (ready, dead, due, now) =
        (unsigned(&next()?)?, unsigned(&next()?)?, int(&next()?)?, unsigned(&next()?)?);
    let status = Status {
        deliverable: ready,
        dead_deliverable: dead,
        next_due: u64::try_from(due).ok().map(ClusterTime),
        now: ClusterTime(now),
        durability,
    };
    Ok((status, next()?))
}

/// The outcome of an operation that `call` was made of, and its deliveries.
pub(crate) fn outcome(
    operation: &QueueOperation,
    call: &Call,
    rules: &Rules,
    reply: Value,
) -> Read<(QueueOutcome, Vec<DeliveryView>)> {
    let outcome = match operation {
        QueueOperation::Push(_) => pushed(call, rules, reply)?,
        QueueOperation::Receive(receive) => return received(receive, call, reply),
        QueueOperation::Settle(_) => settled(call, reply)?,
        QueueOperation::GiveBack(_) => QueueOutcome::GivenBack(small(int(&reply)?)?),
        QueueOperation::Remove(_) => match bytes(&reply)? {
            b"A" => QueueOutcome::Removed,
            _ => QueueOutcome::Refused(QueueRefusal::NoMessage),
        },
        QueueOperation::Configure(_) => {
            QueueOutcome::Configured { created: false, settings: settings(reply)? }
        }
        QueueOperation::DeleteTopic(_) => match unsigned(&reply)? {
            0 => QueueOutcome::Deleted,
            messages => QueueOutcome::Refused(QueueRefusal::NotEmpty { messages }),
        },
        QueueOperation::Purge(_) => purged(reply)?,
        QueueOperation::Redrive(redrive) => match redrive.which {
            Redriven::All { .. } => redriven(reply)?,
            Redriven::These(_) => redriven_these(reply)?,
        },
    };
    Ok((outcome, Vec::new()))
}

fn pushed(call: &Call, rules: &Rules, reply: Value) -> Read<QueueOutcome> {
    let mut items = array(reply, "what became of a push")?.into_iter();
    let index = Index(unsigned(&items.next().ok_or(Unreadable("the number of a push"))?)?);
    let one = |refused: &Option<QueueRefusal>| match refused {
        Some(refused) => Ok(PushOutcome::Refused(refused.clone())),
        None => push_outcome(index, rules, &items.next().ok_or(Unreadable("an item"))?),
    };
    Ok(QueueOutcome::Pushed(call.refused.iter().map(one).collect::<Read<_>>()?))
}

fn push_outcome(index: Index, rules: &Rules, value: &Value) -> Read<PushOutcome> {
    if let Value::Int(position) = value {
        return Ok(PushOutcome::Pushed(MessageId { index, position: small(*position)? }));
    }
    Ok(match bytes(value)? {
        [b'D', id @ ..] => PushOutcome::Duplicate(message_id(id)?),
        b"O" => PushOutcome::Refused(QueueRefusal::OtherContent),
        b"L" => PushOutcome::Refused(QueueRefusal::TooLong {
            field: "message".to_owned(),
            bytes_max: rules.message_bytes_max,
        }),
        [b'M', limit @ ..] => PushOutcome::Refused(main_full(limit)?),
        b"K" => PushOutcome::Refused(QueueRefusal::Full {
            setting: "dedupe_keys_max".to_owned(),
            limit: rules.dedupe_keys_max,
        }),
        _ => return Err(Unreadable("what became of a push")),
    })
}

fn received(asked: &Receive, call: &Call, reply: Value) -> Read<(QueueOutcome, Vec<DeliveryView>)> {
    let served = asked.receivers.iter().zip(&call.refused).filter(|(_, no)| no.is_none());
    let served: Vec<ReceiverId> = served.map(|(receiver, _)| receiver.id).collect();
    let mut views = Vec::new();
    for delivered in array(reply, "deliveries")? {
        let [at, view] = exactly(delivered, "a delivery")?;
        let receiver = usize::try_from(int(&at)?).ok().and_then(|at| served.get(at));
        views.push(delivery_view(*receiver.ok_or(Unreadable("a receiver"))?, view)?);
    }
    let got = |id: ReceiverId| views.iter().filter(move |it| it.receiver == id);
    let of = asked.receivers.iter().zip(&call.refused).map(|(receiver, refusal)| Received {
        receiver: receiver.id,
        receipts: got(receiver.id).map(|it| it.receipt).collect(),
        refusal: refusal.clone(),
    });
    let said = of.filter(|it| it.refusal.is_some() || !it.receipts.is_empty()).collect();
    Ok((QueueOutcome::Received(said), views))
}

fn settled(call: &Call, reply: Value) -> Read<QueueOutcome> {
    let mut items = array(reply, "what became of a settle")?.into_iter();
    let one = |refused: &Option<QueueRefusal>| match refused {
        Some(refused) => Ok(SettleOutcome::Refused(refused.clone())),
        None => settle_outcome(bytes(&items.next().ok_or(Unreadable("an item"))?)?),
    };
    Ok(QueueOutcome::Settled(call.refused.iter().map(one).collect::<Read<_>>()?))
}

fn settle_outcome(word: &[u8]) -> Read<SettleOutcome> {
    Ok(match word {
        b"A" => SettleOutcome::Acked,
        b"X" => SettleOutcome::Dead,
        b"E" => SettleOutcome::Expired,
        b"S" => SettleOutcome::Stale,
        [b'N', delay @ ..] => SettleOutcome::Nacked { delay_ms: digits(delay)? },
        [b'V', left @ ..] => SettleOutcome::Extended { remaining_ms: digits(left)? },
        _ => return Err(Unreadable("what became of a settle")),
    })
}

fn purged(reply: Value) -> Read<QueueOutcome> {
    let [messages, next] = exactly(reply, "a purge's step")?;
    let next = Some(bytes(&next)?).filter(|it| !it.is_empty()).map(message_id).transpose()?;
    Ok(QueueOutcome::Purged { messages: unsigned(&messages)?, next })
}

fn main_full(limit: &[u8]) -> Read<QueueRefusal> {
    Ok(QueueRefusal::Full { setting: "messages_max".to_owned(), limit: digits(limit)? })
}

fn redriven(reply: Value) -> Read<QueueOutcome> {
    let [messages, next, full] = exactly(reply, "a redrive's step")?;
    let next = Some(bytes(&next)?).filter(|it| !it.is_empty()).map(digits).transpose()?;
    let full = match bytes(&full)? {
        [b'M', limit @ ..] => Some(main_full(limit)?),
        _ => None,
    };
    Ok(QueueOutcome::Redriven { messages: unsigned(&messages)?, next, full })
}

fn redriven_these(reply: Value) -> Read<QueueOutcome> {
    let one = |value: Value| {
        Ok(match bytes(&value)? {
            b"A" => RedriveOutcome::Moved,
            b"S" => RedriveOutcome::NotDead,
            [b'M', limit @ ..] => RedriveOutcome::Refused(main_full(limit)?),
            _ => return Err(Unreadable("what became of a redrive")),
        })
    };
    let items = array(reply, "what became of a redrive")?;
    Ok(QueueOutcome::RedrivenThese(items.into_iter().map(one).collect::<Read<_>>()?))
}

/// The order is that of the script's SETTINGS.
fn settings(value: Value) -> Read<TopicSettings> {
    let numbers = numbers(value, "settings")?;
    let [
        visibility_ms,
        deliveries_max,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        paused,
        messages_max,
        ttl_ms,
        dead,
        window,
    ] = <[u64; 15]>::try_from(numbers).map_err(|_| Unreadable("settings"))?;
    Ok(TopicSettings {
        visibility_ms,
        deliveries_max: u32::try_from(deliveries_max).map_err(|_| Unreadable("settings"))?,
        nack_backoff: backoff([a, b, c, d])?,
        timeout_backoff: backoff([e, f, g, h])?,
        paused: paused == 1,
        messages_max,
        ttl_ms,
        expired: if dead == 1 { Expired::Dead } else { Expired::Drop },
        dedupe_window_ms: window,
    })
}

fn backoff([growth, base_ms, max_ms, jitter]: [u64; 4]) -> Read<Backoff> {
    let growth = match growth {
        0 => Growth::Fixed,
        1 => Growth::Linear,
        2 => Growth::Exponential,
        _ => return Err(Unreadable("a back-off")),
    };
    let jitter_percent = u8::try_from(jitter).map_err(|_| Unreadable("a back-off"))?;
    Ok(Backoff { growth, base_ms, max_ms, jitter_percent })
}

/// The order is that of the script's COUNTERS.
pub(crate) fn topic_view(name: &str, id: TopicId, reply: Value) -> Read<TopicView> {
    let [said, counters, oldest] = exactly(reply, "a topic")?;
    let counters: Vec<i64> = array(counters, "counters")?.iter().map(int).collect::<Read<_>>()?;
    let at = |at: usize| {
        let counter = counters.get(at).ok_or(Unreadable("counters"))?;
        u64::try_from(*counter).map_err(|_| Unreadable("counters"))
    };
    let counts = |from: usize| -> Read<Counts> {
        Ok(Counts { ready: at(from)?, delayed: at(from + 1)?, in_flight: at(from + 2)? })
    };
    Ok(TopicView {
        name: name.to_owned(),
        id,
        settings: settings(said)?,
        totals: Totals {
            pushed: at(1)?,
            duplicates: at(2)?,
            delivered: at(3)?,
            given_back: at(4)?,
            acked: at(5)?,
            nacked: at(6)?,
            timed_out: at(7)?,
            died: at(8)?,
            redriven: at(9)?,
            expired: at(10)?,
            purged: at(11)?,
        },
        main: counts(12)?,
        dead: counts(18)?,
        bytes: at(15)? + at(21)?,
        oldest_pushed_at: u64::try_from(int(&oldest)?).ok().map(ClusterTime),
    })
}

pub(crate) fn delivery_view(receiver: ReceiverId, value: Value) -> Read<DeliveryView> {
    let [id, receipt, deliveries, ends_at, ttl, pushed, body, failed, death] =
        exactly(value, "a delivery")?;
    Ok(DeliveryView {
        receiver,
        receipt: receipt_of(message_id(bytes(&id)?)?, bytes(&receipt)?)?,
        deliveries: small(int(&deliveries)?)?,
        ends_at: time(&ends_at)?,
        content: content(bytes(&body)?, unsigned(&ttl)?, unsigned(&pushed)?)?,
        failures: failures(failed)?,
        death: death_of(death)?,
    })
}

pub(crate) fn message_view(value: Value) -> Read<MessageView> {
    let [
        id,
        part,
        state,
        till,
        deliveries,
        expires,
        size,
        ttl,
        pushed,
        body,
        failed,
        death,
        delivery,
    ] = exactly(value, "a message")?;
    let expires = unsigned(&expires)?;
    Ok(MessageView {
        id: message_id(bytes(&id)?)?,
        sub_queue: if bytes(&part)? == b"d" { SubQueue::Dead } else { SubQueue::Main },
        state: match bytes(&state)? {
            b"r" => StateView::Ready,
            b"d" => StateView::Delayed { until: time(&till)? },
            b"f" => in_flight(delivery)?,
            _ => return Err(Unreadable("a state")),
        },
        deliveries: small(int(&deliveries)?)?,
        expires_at: (expires > 0).then_some(ClusterTime(expires)),
        bytes: unsigned(&size)?,
        content: content(bytes(&body)?, unsigned(&ttl)?, unsigned(&pushed)?)?,
        failures: failures(failed)?,
        death: death_of(death)?,
    })
}

pub(crate) fn message_views(value: Value) -> Read<Vec<MessageView>> {
    array(value, "messages")?.into_iter().map(message_view).collect()
}

pub(crate) fn page(value: Value) -> Read<Page> {
    let [messages, next] = exactly(value, "a page")?;
    let next = Some(bytes(&next)?).filter(|it| !it.is_empty()).map(message_id).transpose()?;
    Ok(Page { messages: message_views(messages)?, next })
}

fn in_flight(value: Value) -> Read<StateView> {
    let [principal, name, since, ends_at] = exactly(value, "a delivery")?;
    let (principal, name) = (text(&principal)?, text(&name)?);
    Ok(StateView::InFlight {
        consumer: (!name.is_empty()).then_some(Consumer { principal, name }),
        since: time(&since)?,
        ends_at: time(&ends_at)?,
    })
}

/// The script's body and what it knows beside it are an encoded [`Content`].
fn content(body: &[u8], ttl_ms: u64, pushed_at: u64) -> Read<Arc<Content>> {
    let rest = encoding::encode(&(ttl_ms, pushed_at));
    let content = encoding::decode("content", &[body, &rest].concat());
    Ok(Arc::new(content.map_err(|_| Unreadable("a body"))?))
}

fn failures(value: Value) -> Read<Option<Arc<Failures>>> {
    let parts = array(value, "failures")?;
    if parts.is_empty() {
        return Ok(None);
    }
    let (first, last) = (parts.get(..4), parts.get(4..8));
    let failures = first.zip(last).ok_or(Unreadable("failures"))?;
    Ok(Some(Arc::new(Failures { first: failure(failures.0)?, last: failure(failures.1)? })))
}

fn failure(parts: &[Value]) -> Read<Failure> {
    let [cause, reason, delivery, at] = parts else { return Err(Unreadable("a failure")) };
    Ok(Failure {
        cause: match bytes(cause)? {
            b"n" => Cause::Nacked,
            b"t" => Cause::TimedOut,
            b"r" => Cause::Rejected,
            _ => return Err(Unreadable("a cause")),
        },
        reason: text(reason)?,
        delivery: small(int(delivery)?)?,
        at: time(at)?,
    })
}

fn death_of(value: Value) -> Read<Option<Death>> {
    let parts = array(value, "a death")?;
    let [cause, deliveries, at] = parts.as_slice() else { return Ok(None) };
    let cause = match bytes(cause)? {
        b"m" => DeathCause::TooManyDeliveries,
        b"r" => DeathCause::Rejected,
        b"e" => DeathCause::Expired,
        _ => return Err(Unreadable("a cause of death")),
    };
    Ok(Some(Death { cause, deliveries: small(int(deliveries)?)?, at: time(at)? }))
}

fn message_id(bytes: &[u8]) -> Read<MessageId> {
    let (index, position) = bytes.split_at_checked(7).ok_or(Unreadable("a message id"))?;
    let position = position.try_into().map_err(|_| Unreadable("a message id"))?;
    let index = index.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
    Ok(MessageId { index: Index(index), position: u32::from_be_bytes(position) })
}

fn receipt_of(message: MessageId, bytes: &[u8]) -> Read<Receipt> {
    let wrong = || Unreadable("a receipt");
    let (index, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
    let (position, boot) = rest.split_first_chunk().ok_or_else(wrong)?;
    let boot = boot.try_into().map_err(|_| wrong())?;
    Ok(Receipt {
        message,
        index: Index(u64::from_be_bytes(*index)),
        position: u32::from_be_bytes(*position),
        boot: BootId(u64::from_be_bytes(boot)),
    })
}

fn exactly<const N: usize>(value: Value, what: &'static str) -> Read<[Value; N]> {
    array(value, what)?.try_into().map_err(|_| Unreadable(what))
}

pub(crate) fn array(value: Value, what: &'static str) -> Read<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(Unreadable(what)),
    }
}

fn numbers(value: Value, what: &'static str) -> Read<Vec<u64>> {
    array(value, what)?.iter().map(unsigned).collect()
}

pub(crate) fn bytes(value: &Value) -> Read<&[u8]> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(Unreadable("a text")),
    }
}

fn text(value: &Value) -> Read<String> {
    String::from_utf8(bytes(value)?.to_vec()).map_err(|_| Unreadable("a text"))
}

fn int(value: &Value) -> Read<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(Unreadable("a number")),
    }
}

fn unsigned(value: &Value) -> Read<u64> {
    u64::try_from(int(value)?).map_err(|_| Unreadable("a number that is not negative"))
}

fn small(number: i64) -> Read<u32> {
    u32::try_from(number).map_err(|_| Unreadable("a small number"))
}

fn time(value: &Value) -> Read<ClusterTime> {
    unsigned(value).map(ClusterTime)
}

fn digits<T: std::str::FromStr>(bytes: &[u8]) -> Read<T> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Unreadable("digits"))
}

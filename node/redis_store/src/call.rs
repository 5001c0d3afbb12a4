//! What is asked of the queues, as arguments of a script. Pure.
//!
//! What can be refused without looking at the topic is refused here, by the same checks as on the log, and
//! the script gets the rest: an item that is refused never keeps the others from their place.

use dsync_core::encoding;
use dsync_core::queue::{
    Consumer, Content, DeliveryRef, GiveBack, Growth, MessageId, Purge, Push, PushItem,
    QueueOperation, QueueRefusal, Receipt, Receive, Receiver, Redrive, Redriven, Rules, Settle,
    SettleItem, SubQueue, TopicChange, TopicSettings, Verdict, check_batch, check_name,
};
use dsync_core::types::ClusterTime;

use crate::script::Script;

/// "No value" where a script expects a number of six bytes.
const NONE: u64 = (1 << 48) - 1;

/// The largest whole number that a script counts with exactly.
const NUMBER_MAX: u64 = 1 << 53;

/// A script's arguments, after those that all scripts have.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) script: Script,
    pub(crate) args: Vec<Vec<u8>>,
    /// Of each item: why the script was not asked.
    pub(crate) refused: Vec<Option<QueueRefusal>>,
}

impl Call {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, args: Vec::new(), refused: Vec::new() }
    }

    /// What is asked for. `random`: never used before, by nobody.
    ///
    /// # Errors
    /// If no part of it can be done.
    pub(crate) fn of(
        operation: &QueueOperation,
        rules: &Rules,
        random: u64,
    ) -> Result<Self, QueueRefusal> {
        match operation {
            QueueOperation::Push(push) => Self::push(push, rules),
            QueueOperation::Receive(receive) => Self::receive(receive, rules, random),
            QueueOperation::Settle(settle) => Self::settle(settle, rules),
            QueueOperation::GiveBack(give_back) => Self::give_back(give_back, rules),
            QueueOperation::Remove(remove) => {
                Ok(Self::new(Script::Remove).with(id_bytes(remove.message)))
            }
            QueueOperation::Configure(asked) => {
                check_name("topic", &asked.topic, rules)?;
                check_name("principal", &asked.principal, rules)?;
                asked.change.check(rules)?;
                Ok(Self { args: change_args(&asked.change), ..Self::new(Script::Configure) })
            }
            QueueOperation::DeleteTopic(_) => Ok(Self::new(Script::Close)),
            QueueOperation::Purge(purge) => Ok(Self::purge(purge)),
            QueueOperation::Redrive(redrive) => Self::redrive(redrive, rules),
        }
    }

    fn push(push: &Push, rules: &Rules) -> Result<Self, QueueRefusal> {
        check_name("topic", &push.topic, rules)?;
        check_name("principal", &push.principal, rules)?;
        check_batch("items", push.items.len(), rules)?;
        let refused: Vec<_> = push.items.iter().map(|item| item.check(rules).err()).collect();
        let taken = push.items.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let items: Vec<_> = taken.flat_map(|(item, _)| [body(item), words(item)]).collect();
        let mut call = Self::new(Script::Push)
            .number(rules.message_bytes_max)
            .number(rules.dedupe_keys_max)
            .number(items.len() as u64 / 2);
        call.args.extend(items);
        Ok(Self { refused, ..call })
    }

    fn receive(asked: &Receive, rules: &Rules, random: u64) -> Result<Self, QueueRefusal> {
        check_batch("receivers", asked.receivers.len(), rules)?;
        let refused: Vec<_> = asked.receivers.iter().map(|it| it.check(rules).err()).collect();
        let served: Vec<_> = asked.receivers.iter().zip(&refused).collect();
        let served: Vec<_> =
            served.into_iter().filter(|(_, refused)| refused.is_none()).map(|it| it.0).collect();
        let mut call = Self::new(Script::Receive)
            .with(part(asked.sub_queue))
            .with(random.to_be_bytes())
            .number(served.len() as u64);
        for receiver in served {
            call = call.receiver(receiver);
        }
        Ok(Self { refused, ..call })
    }

    fn receiver(self, receiver: &Receiver) -> Self {
        let (principal, name) = consumer(receiver.consumer.as_ref());
        self.with(receiver.id.boot.0.to_be_bytes())
            .with(receiver.id.number.to_be_bytes())
            .number(receiver.max.into())
            .number(receiver.max_bytes)
            .optional(receiver.visibility_ms)
            .with(principal)
            .with(name)
    }

    fn settle(settle: &Settle, rules: &Rules) -> Result<Self, QueueRefusal> {
        check_batch("items", settle.items.len(), rules)?;
        let refused: Vec<_> =
            settle.items.iter().map(|item| item.verdict.check(rules).err()).collect();
        let taken = settle.items.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        let items: Vec<_> = taken.map(|(item, _)| settled(item)).collect();
        let mut call = Self::new(Script::Settle).number(items.len() as u64);
        call.args.extend(items);
        Ok(Self { refused, ..call })
    }

    fn give_back(asked: &GiveBack, rules: &Rules) -> Result<Self, QueueRefusal> {
        check_batch("receipts", asked.receipts.len(), rules)?;
        let mut call = Self::new(Script::GiveBack).number(asked.receipts.len() as u64);
        call.args.extend(asked.receipts.iter().map(receipt_with_id));
        Ok(call)
    }

    fn purge(purge: &Purge) -> Self {
        let before = purge.before.map_or_else(Vec::new, id_bytes);
        Self::new(Script::Purge).with(part(purge.sub_queue)).with(before)
    }

    fn redrive(redrive: &Redrive, rules: &Rules) -> Result<Self, QueueRefusal> {
        match &redrive.which {
            Redriven::All { before } => {
                let before = before.map_or_else(String::new, |it| it.to_string());
                Ok(Self::new(Script::Redrive).with("all").with(before))
            }
            Redriven::These(ids) => {
                check_batch("messages", ids.len(), rules)?;
                let mut call = Self::new(Script::Redrive).with("these").number(ids.len() as u64);
                call.args.extend(ids.iter().copied().map(id_bytes));
                Ok(call)
            }
        }
    }

    pub(crate) fn with(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn number(self, number: u64) -> Self {
        self.with(number.to_string())
    }

    fn optional(self, number: Option<u64>) -> Self {
        self.with(number.map_or_else(String::new, |it| it.to_string()))
    }
}

/// How a part is named in scripts.
pub(crate) fn part(sub_queue: SubQueue) -> &'static str {
    match sub_queue {
        SubQueue::Main => "m",
        SubQueue::Dead => "d",
    }
}

/// 11 bytes that sort as ids do. The index is a time in microseconds, or a little more: 53 bits.
pub(crate) fn id_bytes(id: MessageId) -> Vec<u8> {
    [&id.index.0.to_be_bytes()[1..], &id.position.to_be_bytes()].concat()
}

pub(crate) fn receipt_with_id(receipt: &Receipt) -> Vec<u8> {
    [id_bytes(receipt.message), receipt_bytes(receipt)].concat()
}

/// Without the message.
fn receipt_bytes(receipt: &Receipt) -> Vec<u8> {
    let Receipt { index, position, boot, .. } = receipt;
    [&index.0.to_be_bytes()[..], &position.to_be_bytes(), &boot.0.to_be_bytes()].concat()
}

/// The encoded content without its last two numbers, the time to live and the time of the push: those are
/// known in Redis alone.
fn body(item: &PushItem) -> Vec<u8> {
    let mut bytes = encoding::encode(&Content {
        body: item.body.clone(),
        kind: item.kind,
        headers: item.headers.clone(),
        priority: item.priority,
        group: item.group.clone(),
        ttl_ms: 0,
        pushed_at: ClusterTime(0),
    });
    bytes.truncate(bytes.len() - 2);
    bytes
}

/// What is said of a message, for the script; empty: nothing.
fn words(item: &PushItem) -> Vec<u8> {
    let plain = item.delay_ms == 0 && item.ttl_ms.is_none() && item.priority == 0;
    if plain && item.group.is_none() && item.dedupe_key.is_none() {
        return Vec::new();
    }
    let mut words = Vec::new();
    six(&mut words, item.delay_ms);
    six(&mut words, item.ttl_ms.unwrap_or(NONE));
    words.push(item.priority);
    text(&mut words, item.group.as_deref().unwrap_or_default());
    text(&mut words, item.dedupe_key.as_deref().unwrap_or_default());
    let digest = item.dedupe_key.as_ref().map(|_| item.digest());
    chunk(&mut words, digest.as_ref().map_or(&[], |digest| digest));
    words
}

fn settled(item: &SettleItem) -> Vec<u8> {
    let (verdict, ms, reason) = match &item.verdict {
        Verdict::Ack => (b'a', None, ""),
        Verdict::Nack { delay_ms, reason } => (b'n', *delay_ms, reason.as_str()),
        Verdict::Extend { visibility_ms } => (b'e', *visibility_ms, ""),
        Verdict::Reject { reason } => (b'r', None, reason.as_str()),
    };
    let (by, id, receipt, consumer_of) = match &item.delivery {
        DeliveryRef::Receipt(receipt) => (b'r', receipt.message, receipt_bytes(receipt), None),
        DeliveryRef::Latest { message, consumer } => (b'c', *message, vec![0; 20], Some(consumer)),
    };
    let mut words = vec![verdict, by];
    words.extend(id_bytes(id));
    words.extend(receipt);
    six(&mut words, ms.unwrap_or(NONE));
    let (principal, name) = consumer(consumer_of);
    text(&mut words, principal);
    text(&mut words, name);
    text(&mut words, reason);
    words
}

fn consumer(consumer: Option<&Consumer>) -> (&str, &str) {
    consumer.map_or(("", ""), |it| (&it.principal, &it.name))
}

fn six(out: &mut Vec<u8>, number: u64) {
    out.extend(&number.to_be_bytes()[2..]);
}

/// Every text here was checked to be far shorter than two bytes can say.
fn text(out: &mut Vec<u8>, text: &str) {
    chunk(out, text.as_bytes());
}

fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(&bytes[..length.into()]);
}

/// A value for each of the script's SETTINGS; empty: as it is.
fn change_args(change: &TopicChange) -> Vec<Vec<u8>> {
    let nack = change.nack_backoff;
    let timeout = change.timeout_backoff;
    let backoff = |it: Option<dsync_core::queue::Backoff>| {
        [
            it.map(|it| growth(it.growth)),
            it.map(|it| it.base_ms),
            it.map(|it| it.max_ms),
            it.map(|it| it.jitter_percent.into()),
        ]
    };
    let mut values = vec![change.visibility_ms, change.deliveries_max.map(u64::from)];
    values.extend(backoff(nack));
    values.extend(backoff(timeout));
    values.extend([
        change.paused.map(u64::from),
        change.messages_max.map(|it| it.min(NUMBER_MAX)),
        change.ttl_ms,
        change.expired.map(|it| u64::from(it == dsync_core::queue::Expired::Dead)),
        change.dedupe_window_ms,
    ]);
    let text = |value: Option<u64>| value.map_or_else(String::new, |it| it.to_string());
    values.into_iter().map(|value| text(value).into_bytes()).collect()
}

/// As [`change_args`], of all of them.
pub(crate) fn settings_args(settings: &TopicSettings) -> Vec<Vec<u8>> {
    change_args(&TopicChange::of(settings))
}

fn growth(growth: Growth) -> u64 {
    match growth {
        Growth::Fixed => 0,
        Growth::Linear => 1,
        Growth::Exponential => 2,
    }
}

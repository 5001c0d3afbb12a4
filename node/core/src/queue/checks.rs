//! What is wrong with a request before anybody looks at a topic.

use super::PRIORITY_MAX;
use super::outcome::QueueRefusal;
use super::request::{PushItem, Receiver, Verdict};
use super::settings::within;
use super::turn::Rules;

/// `field` names it in the refusal.
pub(super) fn name(field: &str, name: &str, rules: &Rules) -> Result<(), QueueRefusal> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(QueueRefusal::BadName(field.to_owned()));
    }
    length(field, name, rules.name_bytes_max)
}

/// A list has something in it, and not too much.
pub(super) fn batch(field: &str, items: usize, rules: &Rules) -> Result<(), QueueRefusal> {
    if items > 0 && items as u64 <= rules.batch_max.into() {
        return Ok(());
    }
    Err(QueueRefusal::BadBatch { field: field.to_owned(), max: rules.batch_max })
}

fn length(field: &str, text: &str, bytes_max: u32) -> Result<(), QueueRefusal> {
    let bytes_max = u64::from(bytes_max);
    if text.len() as u64 <= bytes_max {
        return Ok(());
    }
    Err(QueueRefusal::TooLong { field: field.to_owned(), bytes_max })
}

impl PushItem {
    pub(super) fn check(&self, rules: &Rules) -> Result<(), QueueRefusal> {
        within("delay_ms", Some(self.delay_ms), 0, rules.delay_ms_max)?;
        within("ttl_ms", self.ttl_ms, 0, rules.delay_ms_max)?;
        within("priority", Some(self.priority.into()), 0, PRIORITY_MAX.into())?;
        self.group.as_deref().map_or(Ok(()), |group| name("group", group, rules))?;
        self.dedupe_key.as_deref().map_or(Ok(()), |key| name("dedupe_key", key, rules))
    }
}

impl Receiver {
    pub(super) fn check(&self, rules: &Rules) -> Result<(), QueueRefusal> {
        within("max", Some(self.max.into()), 1, rules.batch_max.into())?;
        within("visibility_ms", self.visibility_ms, 1, rules.visibility_ms_max)?;
        let Some(consumer) = &self.consumer else { return Ok(()) };
        name("consumer", &consumer.name, rules)?;
        name("principal", &consumer.principal, rules)
    }
}

impl Verdict {
    pub(super) fn check(&self, rules: &Rules) -> Result<(), QueueRefusal> {
        let reason = |text: &str| length("reason", text, rules.reason_bytes_max);
        match self {
            Self::Ack => Ok(()),
            Self::Nack { delay_ms, reason: text } => {
                within("delay_ms", *delay_ms, 0, rules.delay_ms_max)?;
                reason(text)
            }
            Self::Extend { visibility_ms } => {
                within("visibility_ms", *visibility_ms, 1, rules.visibility_ms_max)
            }
            Self::Reject { reason: text } => reason(text),
        }
    }
}

//! Pushes to a topic in Redis.
//!
//! A request that is sent again with its id must not push its messages twice. On the log its outcome is
//! remembered; here an item without a deduplication key gets one that is made of the request's id and its place,
//! and so lives as long as the topic remembers keys (5 minutes unless it says otherwise).

use dsync_core::machine::RequestId;
use dsync_core::queue::{PushItem, PushOutcome};
use dsync_redis_store::Pushed;
use sha2::{Digest, Sha256};

use super::TopicInRedis;
use crate::queues::{Asker, Durability, PushReply};

/// Begins the keys that are made here.
const PREFIX: &str = "dsync request ";

impl TopicInRedis {
    pub(in crate::queues) async fn push(
        &self,
        mut items: Vec<PushItem>,
        asker: &Asker,
    ) -> PushReply {
        let named = asker.request.as_ref().map(|id| name(&mut items, &asker.principal, id));
        let results = self.served.push(items, asker.deadline.into()).await;
        let (index, mut durability) = (self.applied(), Durability::Fsync);
        let mut outcomes = Vec::with_capacity(results.len());
        for (at, result) in results.into_iter().enumerate() {
            if let Ok(pushed) = &result {
                durability = durability.min(pushed.durability.into());
            }
            let repeated = named.as_ref().is_some_and(|named| named.contains(&at));
            let result = result.map(|Pushed { outcome, .. }| match outcome {
                PushOutcome::Duplicate(id) if repeated => PushOutcome::Pushed(id),
                outcome => outcome,
            });
            outcomes.push(self.item(result, index, PushOutcome::Refused));
        }
        PushReply { results: outcomes, durability }
    }
}

/// Gives keys to the items that have none. Their places.
fn name(items: &mut [PushItem], principal: &str, id: &RequestId) -> Vec<usize> {
    let id = match id {
        RequestId::Key(key) => format!("key {key}"),
        RequestId::Numbered { client, sequence, .. } => format!("number {client:016x} {sequence}"),
    };
    let mut named = Vec::new();
    for (at, item) in items.iter_mut().enumerate().filter(|(_, item)| item.dedupe_key.is_none()) {
        let digest = Sha256::digest(format!("{principal}\n{id}\n{at}"));
        let hexadecimal = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
        item.dedupe_key = Some(PREFIX.chars().map(String::from).chain(hexadecimal).collect());
        named.push(at);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsync_core::queue::BodyKind;

    fn item(dedupe_key: Option<&str>) -> PushItem {
        PushItem {
            body: "1".into(),
            kind: BodyKind::Json,
            headers: Vec::new(),
            delay_ms: 0,
            ttl_ms: None,
            priority: 0,
            group: None,
            dedupe_key: dedupe_key.map(str::to_owned),
        }
    }

    #[test]
    fn a_repeated_request_names_its_items_alike_and_another_one_does_not() {
        let keys = |principal: &str, key: &str| {
            let mut items = [item(None), item(Some("own")), item(None)];
            let named = name(&mut items, principal, &RequestId::Key(key.to_owned()));
            assert_eq!(named, [0, 2]);
            assert_eq!(items[1].dedupe_key.as_deref(), Some("own"));
            [0, 2].map(|at| items[at].dedupe_key.clone().unwrap())
        };
        assert_eq!(keys("a", "k"), keys("a", "k"));
        assert_ne!(keys("a", "k")[0], keys("a", "k")[1]);
        assert_ne!(keys("a", "k"), keys("b", "k"));
        assert_ne!(keys("a", "k"), keys("a", "l"));
    }
}

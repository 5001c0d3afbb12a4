//! What the log says of topics in Redis.

use super::*;
use crate::queue::{
    BodyKind, Configure, Push, PushItem, PushOutcome, QueueEvent, QueueOperation, QueueOutcome,
    Rules,
};
use crate::types::{ClusterTime, Index};

const FIRST: RedisId = RedisId(1);
const SECOND: RedisId = RedisId(2);

struct Log {
    table: QueueTable,
    index: u64,
    events: Vec<QueueEvent>,
}

impl Log {
    fn new() -> Self {
        Self { table: QueueTable::default(), index: 0, events: Vec::new() }
    }

    fn turn(&mut self) -> Turn {
        self.index += 1;
        Turn::new(Index(self.index), ClusterTime(self.index), Rules::default())
    }

    fn apply(&mut self, operation: &QueueOperation) -> QueueOutcome {
        let mut turn = self.turn();
        let outcome = self.table.apply(&mut turn, operation);
        self.table.check_invariants().unwrap();
        outcome
    }

    fn act(&mut self, operation: &RegistryOperation) -> RegistryOutcome {
        let mut turn = self.turn();
        let outcome = self.table.register(&mut turn, operation);
        self.events.extend(turn.take_events());
        self.table.check_invariants().unwrap();
        outcome
    }

    fn create(&mut self, topic: &str, redis: RedisId) -> RedisTopic {
        match self.act(&create(topic, redis)) {
            RegistryOutcome::InRedis { topic, .. } => *topic,
            other => panic!("{other:?}"),
        }
    }

    fn created(&mut self, name: &str, topic: RedisTopic) -> RedisTopic {
        let RedisTopic { id, redis, .. } = topic;
        match self.act(&RegistryOperation::Created { topic: name.to_owned(), id, redis }) {
            RegistryOutcome::InRedis { topic, .. } => *topic,
            other => panic!("{other:?}"),
        }
    }

    fn adopt(&mut self, redis: RedisId) {
        let before = self.table.view().registry().redis.unwrap();
        let principal = "op".to_owned();
        let adopted = self.act(&RegistryOperation::Adopt { principal, before, redis });
        assert!(matches!(adopted, RegistryOutcome::Facts(_)), "{adopted:?}");
    }

    fn push(&mut self, topic: &str) -> PushOutcome {
        let push = Push {
            principal: "p".to_owned(),
            topic: topic.to_owned(),
            unlimited_deliveries: false,
            items: vec![item()],
        };
        match self.apply(&QueueOperation::Push(push)) {
            QueueOutcome::Pushed(mut outcomes) => outcomes.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn item() -> PushItem {
    PushItem {
        body: "1".into(),
        kind: BodyKind::Json,
        headers: Vec::new(),
        delay_ms: 0,
        ttl_ms: None,
        priority: 0,
        group: None,
        dedupe_key: None,
    }
}

fn create(topic: &str, redis: RedisId) -> RegistryOperation {
    let (principal, change) = ("p".to_owned(), TopicChange::default());
    RegistryOperation::Create(Box::new(CreateInRedis {
        principal,
        topic: topic.to_owned(),
        change,
        redis,
    }))
}

fn closed(topic: &str, id: TopicId) -> RegistryOperation {
    RegistryOperation::Closed { principal: "p".to_owned(), topic: topic.to_owned(), id }
}

#[test]
fn the_first_topic_names_the_redis_and_the_default_store_and_a_repeat_finds_it() {
    let mut log = Log::new();
    let orders = log.create("orders", FIRST);
    assert_eq!(orders.redis, FIRST);
    assert_eq!(log.create("orders", SECOND), orders);
    assert_eq!(log.create("mails", SECOND).redis, FIRST, "the cluster has one Redis");
    let facts = log.table.view().registry();
    assert_eq!((facts.redis, facts.default_store), (Some(FIRST), Some(Store::Redis)));
    assert_eq!(log.table.view().topics(), 2);
}

#[test]
fn a_name_is_in_one_store_and_new_ones_go_to_the_default() {
    let mut log = Log::new();
    assert!(matches!(log.push("before"), PushOutcome::Pushed(_)));
    log.create("orders", FIRST);
    for name in ["orders", "new"] {
        let refused = PushOutcome::Refused(QueueRefusal::OtherStore(Store::Redis));
        assert_eq!(log.push(name), refused, "{name}");
    }
    let (principal, change) = ("p".to_owned(), TopicChange::default());
    let configure = Configure { principal, topic: "new".to_owned(), change };
    let configured = log.apply(&QueueOperation::Configure(configure));
    assert_eq!(configured, QueueOutcome::Refused(QueueRefusal::OtherStore(Store::Redis)));
    assert!(matches!(log.push("before"), PushOutcome::Pushed(_)), "it stays where it is");
    let refused = log.act(&create("before", FIRST));
    assert_eq!(refused, RegistryOutcome::Refused(QueueRefusal::OtherStore(Store::Raft)));
    let principal = "op".to_owned();
    log.act(&RegistryOperation::SetDefaultStore { principal, store: Store::Raft });
    assert!(matches!(log.push("new"), PushOutcome::Pushed(_)));
    let refused = log.act(&create("another", FIRST));
    assert_eq!(refused, RegistryOutcome::Refused(QueueRefusal::OtherStore(Store::Raft)));
}

#[test]
fn a_topic_is_made_when_its_marker_was_written_in_the_redis_of_its_record() {
    let mut log = Log::new();
    let orders = log.create("orders", FIRST);
    assert_eq!(orders.making, Making::Begun { before: None });
    log.adopt(SECOND);
    assert!(matches!(log.created("orders", orders).making, Making::Begun { .. }), "it lagged");
    let adopted = log.table.view().redis_topic("orders").unwrap();
    assert_eq!((adopted.id, adopted.redis), (orders.id, SECOND));
    assert_eq!(log.created("orders", adopted).making, Making::Done);
}

#[test]
fn an_adopted_redis_may_hold_the_messages_of_the_one_before() {
    let mut log = Log::new();
    let orders = log.create("orders", FIRST);
    log.created("orders", orders);
    log.create("unmade", FIRST);
    log.adopt(SECOND);
    let making = |log: &Log, name| log.table.view().redis_topic(name).unwrap().making;
    assert_eq!(making(&log, "orders"), Making::Begun { before: Some(FIRST) });
    assert_eq!(making(&log, "unmade"), Making::Begun { before: None });
    log.adopt(RedisId(3));
    assert_eq!(making(&log, "orders"), Making::Begun { before: Some(FIRST) });
}

#[test]
fn who_adopts_names_the_redis_that_is_replaced() {
    let mut log = Log::new();
    log.create("orders", FIRST);
    let (principal, before, redis) = ("op".to_owned(), SECOND, RedisId(3));
    let refused = log.act(&RegistryOperation::Adopt { principal, before, redis });
    assert_eq!(refused, RegistryOutcome::Refused(QueueRefusal::OtherRedis));
    assert_eq!(log.table.view().registry().redis, Some(FIRST));
}

#[test]
fn only_the_life_that_was_closed_is_forgotten() {
    let mut log = Log::new();
    let first = log.create("orders", FIRST);
    assert_eq!(log.act(&closed("orders", first.id)), RegistryOutcome::Deleted);
    let second = log.create("orders", FIRST);
    assert_ne!(first.id, second.id);
    let late = log.act(&closed("orders", first.id));
    assert_eq!(late, RegistryOutcome::Refused(QueueRefusal::NoTopic));
    assert_eq!(log.table.view().redis_topic("orders"), Some(second));
    let what: Vec<QueueWhat> = log.events.iter().map(|event| event.what).collect();
    let (made, gone) = (QueueWhat::TopicCreated, QueueWhat::TopicDeleted);
    assert_eq!(what, [made, gone, made]);
}

#[test]
fn topics_of_both_stores_share_their_limit() {
    let mut log = Log::new();
    log.push("first");
    log.create("second", FIRST);
    let rules = Rules { topics_max: 2, ..Rules::default() };
    let mut turn = Turn::new(Index(10), ClusterTime(10), rules);
    let outcome = log.table.register(&mut turn, &create("third", FIRST));
    let full = QueueRefusal::Full { setting: "topics_max".to_owned(), limit: 2 };
    assert_eq!(outcome, RegistryOutcome::Refused(full));
}

#[test]
fn what_is_said_of_redis_is_in_the_records() {
    let mut log = Log::new();
    log.push("log");
    let orders = log.create("orders", FIRST);
    log.created("orders", orders);
    log.create("mails", FIRST);
    let (mut cursor, mut back, mut records) = (None, QueueTable::default(), 0);
    while let Some((at, record)) = log.table.record_after(cursor.as_ref()) {
        back.restore(record).unwrap();
        (cursor, records) = (Some(at), records + 1);
    }
    assert_eq!(records, 5, "a topic with a message, the facts, two topics");
    let (view, known) = (back.view(), log.table.view());
    assert_eq!(view.registry(), known.registry());
    assert!(view.redis_topics_with("", "").eq(known.redis_topics_with("", "")));
    assert_eq!(known.redis_topics_with("o", "").count(), 1);
    assert_eq!(known.redis_topics_with("", "mails").count(), 1);
}

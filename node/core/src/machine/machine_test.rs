//! What applying entries does, and does once.

use bytes::Bytes;

use super::*;
use crate::cache::{Incarnation, RingRefusal};
use crate::locks::{
    Acquire, AcquireOutcome, LockItem, LockOperation, LockOutcome, Mode, Owner, Release,
    ReleaseOutcome,
};
use crate::queue::{
    CreateInRedis, QueueRefusal, RegistryFacts, RegistryOperation, RegistryOutcome, Store,
    TopicChange, TopicId,
};
use crate::types::{RedisId, Term};

/// A machine and the end of its log.
pub(super) struct Log {
    pub(super) machine: Machine,
    stamp: u64,
}

impl Log {
    pub(super) fn founded() -> Self {
        Self::founded_with(|_| ())
    }

    pub(super) fn founded_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut log = Self { machine: Machine::default(), stamp: 0 };
        let mut settings = Settings::default();
        (settings.requests.command_retention_ms, settings.locks.lease_ms_min) = (1_000, 1);
        change(&mut settings);
        let first = FirstState::V1 { settings, token_base: 100 };
        log.append(Payload::Founding(Founding {
            cluster_id: ClusterId(7),
            founders: [(NodeId(1), NodeName("one".to_owned()))].into(),
            machine: wire::encode(&first).into(),
        }));
        log
    }

    pub(super) fn append(&mut self, payload: Payload) -> AppliedEntry {
        let index = self.machine.applied().next();
        let stamp = ClusterTime(self.stamp);
        let applied = self.machine.apply(&Entry { term: Term(1), index, stamp, payload });
        // Long logs are checked now and then: the check looks at the whole state.
        if index.0 < 200 || index.0.is_multiple_of(100) {
            self.machine.check_invariants().unwrap();
        }
        applied
    }

    pub(super) fn at(&mut self, stamp: u64) -> &mut Self {
        self.stamp = stamp;
        self
    }

    pub(super) fn command(&mut self, origin: Origin, operation: Operation) -> Outcome {
        self.request(origin, None, operation)
    }

    pub(super) fn request(
        &mut self,
        origin: Origin,
        request: Option<RequestId>,
        operation: Operation,
    ) -> Outcome {
        self.applied(origin, request, operation).outcome
    }

    fn applied(
        &mut self,
        origin: Origin,
        request: Option<RequestId>,
        operation: Operation,
    ) -> Applied {
        let command =
            StoredCommand::V1(Command { origin, operation: operation.with_request(request) });
        let entry = self.append(Payload::Command(wire::encode(&command).into()));
        let (answered, applied) = entry.answer.unwrap();
        assert_eq!(answered, origin);
        applied
    }

    pub(super) fn register(&mut self, boot: u64, count: u64) -> Outcome {
        let count = BootCount(count);
        self.command(origin(boot, 1, 1), Operation::Node(NodeOperation::RegisterBoot { count }))
    }
}

pub(super) fn origin(boot: u64, sequence: u64, low_water: u64) -> Origin {
    let taken_at = ActiveTime(0);
    Origin { node: NodeId(1), boot: BootId(boot), sequence, low_water, taken_at }
}

pub(super) fn acquire(owner: &str, name: &str) -> Operation {
    let owner = Owner { principal: "anonymous".to_owned(), name: owner.to_owned() };
    let mode = Mode::Exclusive;
    let item = LockItem { name: name.to_owned(), mode, permits: 1, permits_max: 1 };
    let (items, ttl_ms) = (vec![item], Some(0));
    Operation::lock(LockOperation::Acquire(Acquire {
        owner,
        items,
        ttl_ms,
        queue: true,
        attachment: None,
    }))
}

pub(super) fn release(owner: &str, name: &str) -> Operation {
    let owner = Owner { principal: "anonymous".to_owned(), name: owner.to_owned() };
    Operation::lock(LockOperation::Release(Release { owner, name: name.to_owned() }))
}

fn is_granted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { .. })))
}

#[test]
fn nothing_but_the_founding_entry_founds_a_cluster() {
    let mut log = Log { machine: Machine::default(), stamp: 5 };
    let command =
        StoredCommand::V1(Command { origin: origin(9, 2, 2), operation: acquire("a", "x") });
    let ignored = log.append(Payload::Command(wire::encode(&command).into()));
    assert!(ignored.answer.is_none() && log.machine.cluster_id().is_none());
    let log = Log::founded();
    assert_eq!(log.machine.cluster_id(), Some(ClusterId(7)));
    assert_eq!(log.machine.founders().unwrap().len(), 1);
    assert_eq!(log.machine.settings().unwrap().requests.command_retention_ms, 1_000);
}

#[test]
fn the_first_token_is_the_founding_entrys() {
    let mut log = Log::founded();
    log.register(9, 1);
    let outcome = log.command(origin(9, 2, 2), acquire("a", "x"));
    let Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { tokens, .. })) = outcome
    else {
        panic!()
    };
    assert_eq!(tokens, [100]);
}

#[test]
fn a_command_of_an_unregistered_process_is_void() {
    let mut log = Log::founded();
    assert_eq!(log.command(origin(9, 2, 2), acquire("a", "x")), Outcome::Void);
    assert_eq!(log.machine.locks().names(), 0);
}

#[test]
fn a_process_whose_boot_count_was_used_is_refused() {
    let mut log = Log::founded();
    assert_eq!(log.register(9, 3), Outcome::Node(NodeOutcome::BootRegistered));
    assert_eq!(log.register(9, 3), Outcome::Node(NodeOutcome::BootRegistered), "a repeat");
    assert_eq!(log.register(10, 3), Outcome::DiskRefused);
    assert_eq!(log.register(10, 2), Outcome::DiskRefused);
    assert_eq!(log.register(11, 4), Outcome::Node(NodeOutcome::BootRegistered));
    let boots: Vec<_> = log.machine.boots().collect();
    assert_eq!(boots, [(NodeId(1), BootId(11), BootCount(4))]);
}

#[test]
fn a_process_that_was_replaced_is_told_to_stop_and_changes_nothing() {
    let mut log = Log::founded();
    log.register(9, 1);
    log.register(10, 2);
    assert_eq!(log.command(origin(9, 2, 2), acquire("a", "x")), Outcome::DiskRefused);
    assert_eq!(log.machine.locks().names(), 0);
}

#[test]
fn a_repeat_has_no_second_effect_and_the_first_answer() {
    let mut log = Log::founded();
    log.register(9, 1);
    let first = log.command(origin(9, 2, 2), acquire("a", "x"));
    assert!(is_granted(&first));
    log.command(origin(9, 3, 2), release("a", "x"));
    assert_eq!(log.command(origin(9, 2, 2), acquire("a", "x")), first);
    assert_eq!(log.machine.locks().names(), 0, "the repeat took the lock again");
}

#[test]
fn a_repeat_is_answered_like_the_first_however_old_it_is() {
    let mut log = Log::founded();
    log.register(9, 1);
    let first = log.command(origin(9, 2, 2), acquire("a", "x"));
    assert_eq!(log.at(9_999).command(origin(9, 2, 2), acquire("a", "x")), first);
}

/// What it says may have ended since: who hears it late must not take it for news.
#[test]
fn a_repeat_is_answered_as_of_the_entry_that_acted() {
    let mut log = Log::founded();
    log.register(9, 1);
    let first = log.applied(origin(9, 2, 2), None, acquire("a", "x"));
    log.at(500).command(origin(9, 3, 2), release("a", "x"));
    assert_eq!(log.applied(origin(9, 2, 2), None, acquire("a", "x")), first);
}

#[test]
fn what_is_below_the_low_water_mark_is_forgotten_and_void() {
    let mut log = Log::founded();
    log.register(9, 1);
    log.command(origin(9, 2, 2), acquire("a", "x"));
    log.command(origin(9, 4, 4), release("a", "x"));
    assert_eq!(log.command(origin(9, 2, 2), acquire("a", "x")), Outcome::Void, "applied before");
    assert_eq!(log.command(origin(9, 3, 3), acquire("a", "y")), Outcome::Void, "given up");
    assert_eq!(log.machine.locks().names(), 0);
    let session = log.machine.sessions.get(&NodeId(1)).unwrap();
    assert_eq!(session.answers.keys().collect::<Vec<_>>(), [&4]);
}

#[test]
fn a_command_of_the_retentions_age_is_void_for_ever() {
    let mut log = Log::founded();
    log.register(9, 1);
    // Somebody who does not stay connected waits: its place is timed.
    log.command(origin(9, 2, 2), acquire("a", "x"));
    log.command(origin(9, 3, 2), acquire("b", "x"));
    let in_time = log.at(999).command(origin(9, 4, 2), acquire("a", "y"));
    assert!(is_granted(&in_time));
    assert_eq!(log.at(1_000).command(origin(9, 5, 2), acquire("a", "z")), Outcome::Void);
    assert_eq!(log.machine.locks().names(), 2);
}

#[test]
fn the_first_commands_after_a_quiet_hour_are_not_old() {
    let mut log = Log::founded();
    log.register(9, 1);
    // A hold without a lease is not timed.
    log.command(origin(9, 2, 2), acquire("a", "x"));
    let taken_at = log.machine.active_time();
    for (sequence, name) in (3..).zip(["k", "l", "m"]) {
        let origin = Origin { taken_at, ..origin(9, sequence, 2) };
        assert!(is_granted(&log.at(3_600_000 + sequence).command(origin, acquire("a", name))));
    }
    assert_eq!(log.machine.active_time(), ActiveTime(0), "nothing was timed");
}

#[test]
fn an_entry_that_cannot_be_read_changes_nothing_but_the_time() {
    let mut log = Log::founded();
    let applied = log.at(77).append(Payload::Command(Bytes::from_static(&[0xff; 9])));
    assert!(applied.undecodable.is_some() && applied.answer.is_none());
    assert_eq!(log.machine.time(), ClusterTime(77));
    assert_eq!(log.machine.applied(), Index(2));
}

#[test]
fn time_never_falls_and_due_ends_are_told() {
    let mut log = Log::founded();
    log.register(9, 1);
    log.command(origin(9, 2, 2), acquire("a", "x"));
    assert_eq!(log.machine.next_due(), None);
    log.at(500).command(origin(9, 3, 2), acquire("b", "x"));
    assert_eq!(log.machine.next_due(), Some(ClusterTime(10_500)));
    log.at(400).append(Payload::Empty);
    assert_eq!(log.machine.time(), ClusterTime(500));
    log.at(10_500).append(Payload::Empty);
    assert_eq!(log.machine.next_due(), None);
}

#[test]
fn a_clone_is_frozen() {
    let mut log = Log::founded();
    log.register(9, 1);
    log.command(origin(9, 2, 2), acquire("a", "x"));
    let frozen = log.machine.clone();
    let hash = frozen.hash();
    let outcome = log.command(origin(9, 3, 3), release("a", "x"));
    assert_eq!(outcome, Outcome::Lock(LockOutcome::Release(ReleaseOutcome::Released)));
    assert_eq!(frozen.locks().names(), 1);
    assert_eq!(frozen.hash(), hash);
    assert_ne!(log.machine.hash(), hash);
}

#[test]
fn stored_commands_keep_their_bytes() {
    let command = |sequence, operation| {
        let origin = Origin { taken_at: ActiveTime(300), ..origin(2, sequence, 4) };
        StoredCommand::V1(Command { origin, operation })
    };
    golden(
        &command(1, Operation::Node(NodeOperation::RegisterBoot { count: BootCount(3) })),
        "0001020104ac02000003",
    );
    golden(
        &command(5, acquire("a", "x")),
        "0001020504ac0201000009616e6f6e796d6f7573016101017800010101000100",
    );
    golden(&command(6, release("a", "x")), "0001020604ac0201000109616e6f6e796d6f757301610178");
    golden(
        &command(7, Operation::Queue { requests: vec![request_items()], operation: push() }),
        "0001020704ac020201017000016b00010400017001740101013700010168017605000300010164",
    );
}

#[test]
fn stored_commands_of_the_registry_keep_their_bytes() {
    let (principal, topic) = ("p".to_owned(), "t".to_owned());
    let id = TopicId { index: Index(5), position: 1 };
    let (one, two) = (RedisId(1), RedisId(300));
    let registry = |operation| Operation::QueueRegistry(operation);
    let create = CreateInRedis {
        principal: principal.clone(),
        topic: topic.clone(),
        change: TopicChange::default(),
        redis: one,
    };
    golden(
        &registry(RegistryOperation::Create(Box::new(create))),
        "04 00 0170 0174 000000000000000000 01",
    );
    let created = RegistryOperation::Created { topic: topic.clone(), id, redis: two };
    golden(&registry(created), "04 01 0174 0501 ac02");
    let closed = RegistryOperation::Closed { principal: principal.clone(), topic, id };
    golden(&registry(closed), "04 02 0170 0174 0501");
    let adopt = RegistryOperation::Adopt { principal: principal.clone(), before: one, redis: two };
    golden(&registry(adopt), "04 03 0170 01 ac02");
    let store = RegistryOperation::SetDefaultStore { principal, store: Store::Redis };
    golden(&registry(store), "04 04 0170 01");
    let facts = RegistryFacts { default_store: Some(Store::Raft), redis: Some(two) };
    golden(&Outcome::QueueRegistry(RegistryOutcome::Deleted), "07 01");
    golden(&Outcome::QueueRegistry(RegistryOutcome::Facts(facts)), "07 02 0100 01 ac02");
    let refused = RegistryOutcome::Refused(QueueRefusal::OtherRedis);
    golden(&Outcome::QueueRegistry(refused), "07 03 0a");
}

#[test]
fn stored_commands_of_the_ring_keep_their_bytes() {
    let process = Process { node: NodeId(1), boot: BootId(2) };
    let home = Incarnation { process, returns: 3 };
    golden(&Operation::Ring(RingOperation::Enter), "0300");
    let suspend = RingOperation::Suspend { homes: vec![home], term: Term(300) };
    golden(&Operation::Ring(suspend), "03 01 01 010203 ac02");
    golden(&Operation::Ring(RingOperation::Leave(home)), "03 02 010203");
    golden(&Operation::Ring(RingOperation::Release { home, epoch: Index(5) }), "03 03 010203 05");
    golden(&Outcome::Ring(RingOutcome::Entered(home)), "06 00 010203");
    golden(&Outcome::Ring(RingOutcome::Done), "06 01");
    let refusals = [
        (RingRefusal::NoVoter, "00"),
        (RingRefusal::InService(home), "01 010203"),
        (RingRefusal::NotSettled, "02"),
        (RingRefusal::TooEarly { left_ms: 300 }, "03 ac02"),
        (RingRefusal::NotInService, "04"),
        (RingRefusal::OtherTerm, "05"),
    ];
    for (refusal, bytes) in refusals {
        golden(&Outcome::Ring(RingOutcome::Refused(refusal)), &format!("06 02 {bytes}"));
    }
}

fn push() -> QueueOperation {
    let item = queue::PushItem {
        body: Bytes::from_static(b"7"),
        kind: queue::BodyKind::Json,
        headers: vec![("h".to_owned(), "v".to_owned())],
        delay_ms: 5,
        ttl_ms: None,
        priority: 3,
        group: None,
        dedupe_key: Some("d".to_owned()),
    };
    let (principal, topic) = ("p".to_owned(), "t".to_owned());
    QueueOperation::Push(Push { principal, topic, unlimited_deliveries: true, items: vec![item] })
}

fn request_items() -> RequestItems {
    let (principal, request) = ("p".to_owned(), RequestId::Key("k".to_owned()));
    RequestItems { principal, request, first: 0, count: 1, position: 4 }
}

#[test]
fn the_first_state_keeps_its_bytes() {
    let first = FirstState::V1 { settings: Settings::default(), token_base: 1 << 22 };
    golden(
        &first,
        "00e0a712c0843de0a712904e904e904e8002e0d403e8078090fbd3098001c0843dc096b1028002904ec0843d8080808001808010e8078090dee67580dccc148008c0843d80b89929c09a0c8002e807b0ea011402e807e0d4030a0000000000000000e0a712e807dc0be807028827e807e0d40380808002",
    );
}

/// The published form of a value, in hex: never change one.
pub(super) fn golden<T>(value: &T, expected: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = wire::encode(value);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected.replace(' ', ""));
    assert_eq!(&wire::decode::<T>("golden value", &bytes).unwrap(), value);
}

//! A log of a few entries, the answers that it bears out, and those that it does not.

use dsync_core::locks::{
    Acquire, Attachment, HoldId, HoldOutcome, HoldRef, LockItem, LockOperation, LockOutcome,
    LockRefusal, Mode, Owner, Renew,
};
use dsync_core::machine::{
    Command, FirstState, Machine, NodeOperation, Operation, Origin, Outcome, RequestRefusal,
    Settings, StoredCommand,
};
use dsync_core::raft::{Entry, Founding, Payload};
use dsync_core::types::{
    ActiveTime, BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, Term,
};
use dsync_core::waits::WaitOutcome;
use dsync_core::wire;

use super::{Question, Witness};
use crate::simulator::Answer;

/// A machine, its log's witness, and what was answered last.
struct Stage {
    machine: Machine,
    witness: Witness,
    sequence: u64,
}

impl Stage {
    /// ann holds x for a second (entry 3), bob waits for it (entry 4).
    fn new() -> Self {
        let machine = Machine::default();
        let mut stage = Self { machine, witness: Witness::default(), sequence: 0 };
        let first = FirstState::V1 { settings: Settings::default(), token_base: 100 };
        stage.append(Payload::Founding(Founding {
            cluster_id: ClusterId(7),
            founders: std::collections::BTreeMap::new(),
            machine: wire::encode(&first).into(),
        }));
        stage.apply(Operation::Node(NodeOperation::RegisterBoot { count: BootCount(1) }));
        stage.apply(acquire("ann", 1));
        stage.apply(acquire("bob", 2));
        stage
    }

    fn append(&mut self, payload: Payload) {
        let (term, index, stamp) = (Term(1), self.machine.applied().next(), ClusterTime(5));
        let applied = self.machine.apply(&Entry { term, index, stamp, payload });
        self.witness.applied(&self.machine, &applied);
    }

    fn apply(&mut self, operation: Operation) {
        self.sequence += 1;
        let (node, boot, taken_at) = (NodeId(1), BootId(9), ActiveTime(0));
        let (sequence, low_water) = (self.sequence, 1);
        let origin = Origin { node, boot, sequence, low_water, taken_at };
        let command = StoredCommand::V1(Command { origin, operation });
        self.append(Payload::Command(wire::encode(&command).into()));
    }

    /// The rule that this answer breaks, by a state and to a call after another.
    fn judge(&mut self, question: &Question, answer: &Answer) -> Option<&'static str> {
        self.witness.answer(question, answer, Index(4)).err().map(|broken| broken.rule)
    }

    fn waited(&mut self, who: &str, outcome: WaitOutcome) -> Option<&'static str> {
        let question = question(who, acquire(who, 1));
        let (index, stamp, waited_ms) = (Index(4), ClusterTime(5), 0);
        self.judge(&question, &Answer::Waited { outcome, index, stamp, waited_ms })
    }
}

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

fn item(mode: Mode) -> LockItem {
    LockItem { name: "x".to_owned(), mode, permits: 1, permits_max: 1 }
}

fn acquire(who: &str, number: u64) -> Operation {
    let attachment = Some(Attachment { boot: BootId(9), number });
    let (owner, items, ttl_ms) = (owner(who), vec![item(Mode::Exclusive)], Some(1_000));
    Operation::lock(LockOperation::Acquire(Acquire {
        owner,
        items,
        ttl_ms,
        queue: true,
        attachment,
    }))
}

fn question(who: &str, operation: Operation) -> Question {
    let operation = Some(operation);
    let (owner, name, after) = (owner(who), None, Index(2));
    Question { owner, operation, name, after, copies: 1, newest: true, rivals: false }
}

const HOLD: HoldId = HoldId { index: Index(3), position: 0 };

fn granted(token: u64, remaining_ms: u64) -> WaitOutcome {
    let remaining_ms = Some(remaining_ms);
    WaitOutcome::Granted { hold: HOLD, tokens: vec![token], remaining_ms }
}

#[test]
fn answers_that_the_log_bears_out_pass() {
    let mut stage = Stage::new();
    assert_eq!(stage.waited("ann", granted(100, 1_000)), None);
    let held = WaitOutcome::Held { holders: vec![owner("ann")] };
    assert_eq!(Stage::new().waited("bob", held), None);
}

#[test]
fn a_grant_that_is_not_there_or_is_another_one_is_noticed() {
    let told = |who, outcome| Stage::new().waited(who, outcome);
    assert_eq!(told("bob", granted(100, 1_000)), Some("who is told of a grant holds"));
    let rule = "the tokens that are told are the hold's";
    assert_eq!(told("ann", granted(101, 1_000)), Some(rule));
    assert_eq!(told("ann", granted(100, 1_001)), Some("what is told to remain does"));
}

#[test]
fn an_end_of_a_wait_that_goes_on_is_noticed() {
    let told = |outcome| Stage::new().waited("bob", outcome);
    let rule = "who is told that its time is up has left";
    assert_eq!(told(WaitOutcome::TimedOut), Some(rule));
    let rule = "who is told that its wait has ended does not wait";
    assert_eq!(told(WaitOutcome::Ended), Some(rule));
    let rule = "only a request that was asked again is superseded";
    assert_eq!(told(WaitOutcome::Superseded), Some(rule));
}

#[test]
fn a_refusal_without_its_reason_is_noticed() {
    let told = |outcome| Stage::new().waited("bob", outcome);
    let stranger = WaitOutcome::Held { holders: vec![owner("cid")] };
    assert_eq!(told(stranger), Some("who is said to hold does"));
    let cycle = vec![(owner("bob"), "x".to_owned()), (owner("ann"), "y".to_owned())];
    let rule = "a deadlock that is told is one";
    assert_eq!(told(WaitOutcome::Deadlock { cycle }), Some(rule));
    let refused = WaitOutcome::Refused(LockRefusal::NoName);
    assert_eq!(told(refused), Some("only what is wrong is refused"));
    let refused = WaitOutcome::RequestRefused(RequestRefusal::OtherBody);
    assert_eq!(told(refused), Some("an id that is in order is not refused"));
}

#[test]
fn an_answer_of_another_entry_or_from_the_past_is_noticed() {
    let mut stage = Stage::new();
    let hold = HoldRef { principal: "anonymous".to_owned(), hold: HOLD, name: None };
    stage.apply(Operation::lock(LockOperation::Renew(Renew { hold: hold.clone(), ttl_ms: None })));
    let renew =
        || Operation::lock(LockOperation::Renew(Renew { hold: hold.clone(), ttl_ms: None }));
    let answer = |remaining_ms| Answer::Applied {
        outcome: Outcome::Lock(LockOutcome::Hold(HoldOutcome::Renewed {
            remaining_ms: Some(remaining_ms),
        })),
        index: Index(5),
        stamp: ClusterTime(5),
    };
    let mut question = question("ann", renew());
    assert_eq!(stage.judge(&question, &answer(999)), Some("an answer is its entry's"));
    assert_eq!(stage.judge(&question, &answer(1_000)), None);
    question.after = Index(5);
    let rule = "an answer is newer than all before its call";
    assert_eq!(stage.judge(&question, &answer(1_000)), Some(rule));
}

#[test]
fn a_read_of_an_older_state_is_noticed() {
    let mut stage = Stage::new();
    let mut question = question("bob", acquire("bob", 2));
    (question.operation, question.name) = (None, Some("x".to_owned()));
    let view = stage.machine.locks().get("x");
    assert_eq!(stage.judge(&question, &Answer::View(view.clone())), None);
    assert_eq!(stage.judge(&question, &Answer::View(None)), Some("a read is what the log says"));
    question.after = Index(5);
    let rule = "a read is as new as all before its call";
    assert_eq!(stage.judge(&question, &Answer::View(view)), Some(rule));
}

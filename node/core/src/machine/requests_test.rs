//! A request that comes again: each sentence is a promise to a client that lost its connection.

use super::machine_test::{Log, origin};
use super::*;
use crate::locks::{
    Acquire, AcquireOutcome, Attachment, HoldId, HoldOutcome, HoldRef, LeaveOutcome, LockItem,
    LockOperation, LockOutcome, LockRefusal, Mode, Owner, Renew, RenewAll, RenewAllOutcome,
    Upgrade,
};

/// Commands of one process, numbered, each with its client's id for it.
struct Stage {
    log: Log,
    sequence: u64,
}

impl Stage {
    fn new() -> Self {
        let mut log = Log::founded();
        log.register(9, 1);
        Self { log, sequence: 1 }
    }

    fn send(&mut self, id: Option<RequestId>, operation: Operation) -> Outcome {
        self.sequence += 1;
        let taken_at = self.log.machine.active_time();
        let origin = Origin { taken_at, ..origin(9, self.sequence, self.sequence) };
        self.log.request(origin, id, operation)
    }

    fn keyed(&mut self, key: &str, operation: Operation) -> Outcome {
        self.send(Some(RequestId::Key(key.to_owned())), operation)
    }

    fn numbered(&mut self, sequence: u64, low_water: u64, operation: Operation) -> Outcome {
        self.send(Some(RequestId::Numbered { client: 5, sequence, low_water }), operation)
    }

    fn at(&mut self, stamp: u64) {
        self.log.at(stamp).append(Payload::Empty);
    }

    fn known(&self) -> usize {
        let mut count = 0;
        let mut cursor = None;
        while let Some((at, _)) = self.log.machine.requests.record_after(cursor.as_ref()) {
            (count, cursor) = (count + 1, Some(at));
        }
        count
    }
}

fn owner(name: &str) -> Owner {
    Owner { principal: "p".to_owned(), name: name.to_owned() }
}

fn ask(who: &str, name: &str, mode: Mode, ttl_ms: u64, via: u64) -> Operation {
    let item = LockItem { name: name.to_owned(), mode, permits: 1, permits_max: 1 };
    let attachment = Some(Attachment { boot: BootId(9), number: via });
    let (owner, items, ttl_ms) = (owner(who), vec![item], Some(ttl_ms));
    Operation::lock(LockOperation::Acquire(Acquire {
        owner,
        items,
        ttl_ms,
        queue: true,
        attachment,
    }))
}

fn of(hold: HoldId) -> HoldRef {
    HoldRef { principal: "p".to_owned(), hold, name: None }
}

fn granted(outcome: &Outcome) -> HoldId {
    let Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { hold, .. })) = outcome else {
        panic!("not granted: {outcome:?}")
    };
    *hold
}

/// A copy that lay about somewhere while the cluster was quiet, before or after the original was
/// settled, must not be taken for a new request once the original is forgotten.
#[test]
fn a_copy_of_a_request_is_void_before_the_request_is_forgotten_however_quiet_it_is() {
    let mut stage = Stage::new();
    let retention_ms = stage.log.machine.settings().unwrap().requests.id_retention_ms;
    let taken_at = stage.log.machine.active_time();
    stage.at(3_600_000);
    let id = || Some(RequestId::Key("k".to_owned()));
    let hold = granted(&stage.send(id(), ask("ann", "x", Mode::Exclusive, 0, 1)));
    stage.at(7_200_000);
    stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(hold))));
    stage.at(7_200_000 + retention_ms - 1);
    assert_eq!(stage.known(), 1);
    let copy = Origin { taken_at, ..origin(9, 1_000, 1) };
    stage.log.at(7_200_000 + retention_ms);
    let late = stage.log.request(copy, id(), ask("ann", "x", Mode::Exclusive, 0, 1));
    assert_eq!((late, stage.known()), (Outcome::Void, 0));
    assert_eq!(stage.log.machine.locks().names(), 0);
}

const WAITING: fn(&Outcome) -> bool = |outcome| {
    matches!(outcome, Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Waiting { .. })))
};
const ENDED: Outcome = Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Ended));

#[test]
fn a_repeated_acquire_is_answered_with_the_hold_as_it_is_now() {
    let mut stage = Stage::new();
    let first = stage.keyed("k", ask("ann", "x", Mode::Exclusive, 1_000, 1));
    stage.log.at(400);
    let again = stage.keyed("k", ask("ann", "x", Mode::Exclusive, 1_000, 2));
    assert_eq!(again, first, "the same hold and token, and the lease is renewed");
    stage.at(1_399);
    assert!(stage.log.machine.locks().hold(granted(&first)).is_some());
}

#[test]
fn an_acquire_whose_hold_has_ended_is_never_granted_again() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 1_000, 1)));
    stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(hold))));
    assert_eq!(stage.keyed("k", ask("ann", "x", Mode::Exclusive, 1_000, 2)), ENDED);
    let other = stage.keyed("l", ask("ann", "x", Mode::Exclusive, 1_000, 3));
    assert_ne!(granted(&other), hold);
    assert_eq!(stage.keyed("k", ask("ann", "x", Mode::Exclusive, 1_000, 4)), ENDED);
}

#[test]
fn an_acquire_that_waits_keeps_its_place_when_it_is_repeated() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("a", ask("ann", "x", Mode::Exclusive, 0, 1)));
    assert!(WAITING(&stage.keyed("b", ask("bob", "x", Mode::Exclusive, 0, 2))));
    assert!(WAITING(&stage.keyed("c", ask("cid", "x", Mode::Exclusive, 0, 3))));
    assert!(WAITING(&stage.keyed("b", ask("bob", "x", Mode::Exclusive, 0, 4))));
    stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(hold))));
    granted(&stage.keyed("b", ask("bob", "x", Mode::Exclusive, 0, 5)));
    assert!(WAITING(&stage.keyed("c", ask("cid", "x", Mode::Exclusive, 0, 6))));
}

#[test]
fn an_acquire_that_left_its_queue_does_not_come_back_into_it() {
    let mut stage = Stage::new();
    stage.keyed("a", ask("ann", "x", Mode::Exclusive, 0, 1));
    assert!(WAITING(&stage.keyed("b", ask("bob", "x", Mode::Exclusive, 0, 2))));
    stage.send(
        None,
        Operation::lock(LockOperation::Leave(Attachment { boot: BootId(9), number: 2 })),
    );
    let left = Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Left));
    assert_eq!(stage.keyed("b", ask("bob", "x", Mode::Exclusive, 0, 3)), left);
}

/// Its client has to know that it still has the shared hold.
#[test]
fn an_upgrade_that_left_is_told_so_and_not_that_its_hold_has_ended() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("a", ask("ann", "x", Mode::Shared, 0, 1)));
    stage.keyed("b", ask("bob", "x", Mode::Shared, 0, 2));
    let upgrade = |number| {
        let attachment = Some(Attachment { boot: BootId(9), number });
        Operation::lock(LockOperation::Upgrade(Upgrade {
            hold: of(hold),
            ttl_ms: None,
            queue: true,
            attachment,
        }))
    };
    assert!(WAITING(&stage.keyed("u", upgrade(3))));
    stage.send(
        None,
        Operation::lock(LockOperation::Leave(Attachment { boot: BootId(9), number: 3 })),
    );
    assert_eq!(
        stage.keyed("u", upgrade(4)),
        Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Left))
    );
    let renewed = Outcome::Lock(LockOutcome::Hold(HoldOutcome::Renewed { remaining_ms: None }));
    let renew = Operation::lock(LockOperation::Renew(Renew { hold: of(hold), ttl_ms: None }));
    assert_eq!(stage.send(None, renew), renewed);
}

/// The client is told to send the very same again.
#[test]
fn what_a_limit_refused_is_asked_anew_under_its_id() {
    let mut stage = Stage::new();
    let first = granted(&stage.keyed("a", ask("ann", "x", Mode::Exclusive, 0, 1)));
    let founded = stage.log.machine.founded.clone().unwrap();
    let mut settings = founded.settings.clone();
    settings.locks.owner_holds_max = 1;
    stage.log.machine.founded = Some(Arc::new(Founded { settings, ..(*founded).clone() }));
    let again = || ask("ann", "y", Mode::Exclusive, 0, 2);
    let refused = stage.keyed("b", again());
    assert!(matches!(
        refused,
        Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Refused(LockRefusal::Limit { .. })))
    ));
    stage.keyed("r", Operation::lock(LockOperation::ReleaseHold(of(first))));
    granted(&stage.keyed("b", again()));
}

#[test]
fn a_hold_that_was_made_shared_is_not_made_exclusive_by_a_late_repeat() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 1)));
    stage.send(None, Operation::lock(LockOperation::Downgrade(of(hold))));
    granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 2)));
    let lock = stage.log.machine.locks().get("x").unwrap();
    assert_eq!(lock.holders[0].mode, Mode::Shared);
    assert!(lock.waiters.is_empty());
}

#[test]
fn an_upgrade_that_was_granted_is_not_granted_again_after_a_downgrade() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Shared, 0, 1)));
    let upgrade = || {
        let attachment = Some(Attachment { boot: BootId(9), number: 7 });
        Operation::lock(LockOperation::Upgrade(Upgrade {
            hold: of(hold),
            ttl_ms: None,
            queue: true,
            attachment,
        }))
    };
    granted(&stage.keyed("u", upgrade()));
    granted(&stage.keyed("u", upgrade()));
    stage.send(None, Operation::lock(LockOperation::Downgrade(of(hold))));
    assert_eq!(stage.keyed("u", upgrade()), ENDED);
    assert_eq!(stage.log.machine.locks().get("x").unwrap().holders[0].mode, Mode::Shared);
    stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(hold))));
    assert_eq!(stage.keyed("u", upgrade()), ENDED);
}

/// Else its client would take the lock to be its own: the answer says no mode.
#[test]
fn an_upgrade_that_was_undone_is_not_said_to_be_granted() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Shared, 0, 1)));
    let attachment = Attachment { boot: BootId(9), number: 7 };
    let upgrade = || {
        let attachment = Some(attachment);
        Operation::lock(LockOperation::Upgrade(Upgrade {
            hold: of(hold),
            ttl_ms: None,
            queue: true,
            attachment,
        }))
    };
    granted(&stage.keyed("u", upgrade()));
    stage.send(None, Operation::lock(LockOperation::Leave(attachment)));
    assert_eq!(stage.keyed("u", upgrade()), ENDED);
}

/// It is an upgrade in other words: the shared hold that its owner has is not what it asks for.
#[test]
fn an_exclusive_ask_by_a_reader_is_not_said_to_be_granted_when_it_is_repeated() {
    let mut stage = Stage::new();
    granted(&stage.keyed("a", ask("ann", "x", Mode::Shared, 0, 1)));
    let other = granted(&stage.keyed("b", ask("bob", "x", Mode::Shared, 0, 2)));
    let alone = || ask("ann", "x", Mode::Exclusive, 0, 3);
    let waits = |outcome| {
        matches!(outcome, Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Waiting { .. })))
    };
    assert!(waits(stage.keyed("u", alone())));
    assert!(waits(stage.keyed("u", alone())));
    stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(other))));
    stage.send(
        None,
        Operation::lock(LockOperation::Leave(Attachment { boot: BootId(9), number: 3 })),
    );
    assert_eq!(stage.keyed("u", alone()), ENDED);
}

/// The first copy's connection is found broken when the repeat has been answered long ago.
#[test]
fn an_upgrade_that_was_told_again_is_undone_only_when_nobody_is_left_who_told_it() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("a", ask("ann", "x", Mode::Shared, 0, 1)));
    let alone = |number| ask("ann", "x", Mode::Exclusive, 0, number);
    let leave =
        |number| Operation::lock(LockOperation::Leave(Attachment { boot: BootId(9), number }));
    assert_eq!(granted(&stage.keyed("u", alone(3))), hold);
    assert_eq!(granted(&stage.keyed("u", alone(4))), hold);
    assert_eq!(
        stage.send(None, leave(3)),
        Outcome::Lock(LockOutcome::Leave(LeaveOutcome::Superseded))
    );
    assert_eq!(granted(&stage.keyed("u", alone(5))), hold);
    assert_eq!(
        stage.send(None, leave(4)),
        Outcome::Lock(LockOutcome::Leave(LeaveOutcome::Superseded))
    );
    assert_eq!(
        stage.send(None, leave(5)),
        Outcome::Lock(LockOutcome::Leave(LeaveOutcome::Released))
    );
    let ended = Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Ended));
    assert_eq!(stage.keyed("u", alone(6)), ended);
}

/// Its client counts from the repeat.
#[test]
fn a_repeated_renewal_tells_what_is_left_now() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 1_000, 1)));
    let renew = || Operation::lock(LockOperation::Renew(Renew { hold: of(hold), ttl_ms: None }));
    let all = || {
        let (owner, expected) = (owner("ann"), vec![hold]);
        Operation::lock(LockOperation::RenewAll(RenewAll { owner, ttl_ms: None, expected }))
    };
    let renewed =
        |ms| Outcome::Lock(LockOutcome::Hold(HoldOutcome::Renewed { remaining_ms: Some(ms) }));
    let kept = |ms| {
        let kept = vec![(hold, Some(ms))];
        Outcome::Lock(LockOutcome::RenewAll(RenewAllOutcome { kept, ..RenewAllOutcome::default() }))
    };
    assert_eq!(stage.keyed("r", renew()), renewed(1_000));
    assert_eq!(stage.keyed("a", all()), kept(1_000));
    let now = stage.log.machine.time().0;
    stage.at(now + 400);
    assert_eq!(stage.keyed("r", renew()), renewed(600));
    assert_eq!(stage.keyed("a", all()), kept(600));
    stage.at(now + 1_000);
    assert_eq!(stage.keyed("r", renew()), Outcome::Lock(LockOutcome::Hold(HoldOutcome::NotHeld)));
    let lost = RenewAllOutcome { lost: vec![hold], ..RenewAllOutcome::default() };
    assert_eq!(stage.keyed("a", all()), Outcome::Lock(LockOutcome::RenewAll(lost)));
}

#[test]
fn a_repeated_release_is_answered_like_the_first() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 1)));
    let released = Outcome::Lock(LockOutcome::Hold(HoldOutcome::Released));
    assert_eq!(stage.keyed("r", Operation::lock(LockOperation::ReleaseHold(of(hold)))), released);
    assert_eq!(stage.keyed("r", Operation::lock(LockOperation::ReleaseHold(of(hold)))), released);
    let unnamed = stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(hold))));
    assert_eq!(unnamed, Outcome::Lock(LockOutcome::Hold(HoldOutcome::NotHeld)));
}

#[test]
fn another_body_under_the_same_id_is_refused_and_changes_nothing() {
    let mut stage = Stage::new();
    granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 1)));
    let other = stage.keyed("k", ask("bob", "x", Mode::Exclusive, 0, 2));
    assert_eq!(other, Outcome::RequestRefused(RequestRefusal::OtherBody));
    assert!(stage.log.machine.locks().get("x").unwrap().waiters.is_empty());
}

#[test]
fn a_key_is_another_one_for_another_lock_or_operation() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 1)));
    granted(&stage.keyed("k", ask("ann", "y", Mode::Exclusive, 0, 2)));
    let renew = Operation::lock(LockOperation::Renew(Renew { hold: of(hold), ttl_ms: Some(5) }));
    assert!(matches!(
        stage.keyed("k", renew),
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::Renewed { .. }))
    ));
}

#[test]
fn a_request_is_remembered_while_it_holds_and_for_the_retention_after() {
    let mut stage = Stage::new();
    let hold = granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 1)));
    stage.at(1_000_000);
    assert_eq!(stage.known(), 1);
    stage.send(None, Operation::lock(LockOperation::ReleaseHold(of(hold))));
    stage.at(1_299_999);
    assert_eq!(stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 2)), ENDED);
    stage.at(1_300_000);
    assert_eq!(stage.known(), 0);
    granted(&stage.keyed("k", ask("ann", "x", Mode::Exclusive, 0, 3)));
}

#[test]
fn what_a_client_will_not_ask_again_is_forgotten_at_once_and_refused() {
    let mut stage = Stage::new();
    for number in 1..=9 {
        let name = format!("l{number}");
        granted(&stage.numbered(number, 1, ask("ann", &name, Mode::Exclusive, 0, number)));
    }
    assert_eq!(stage.known(), 10, "nine requests, and the client's mark");
    granted(&stage.numbered(10, 9, ask("ann", "l10", Mode::Exclusive, 0, 10)));
    assert_eq!(stage.known(), 3, "the ninth and the tenth, and the mark");
    let late = stage.numbered(3, 1, ask("ann", "l3", Mode::Exclusive, 0, 11));
    assert_eq!(late, Outcome::RequestRefused(RequestRefusal::Forgotten));
}

#[test]
fn a_mark_that_rises_over_many_requests_removes_a_bounded_number_per_entry() {
    let mut stage = Stage::new();
    for sequence in 1..=1000 {
        let wish = ask("ann", &format!("l{sequence}"), Mode::Exclusive, 0, sequence);
        stage.numbered(sequence, 1, wish);
    }
    let all = stage.known();
    let next = ask("ann", "last", Mode::Exclusive, 0, 1001);
    stage.numbered(1001, 1001, next);
    assert!(stage.known() > all - 600, "{all} {}", stage.known());
    let late = stage.numbered(900, 1, ask("ann", "l900", Mode::Exclusive, 0, 900));
    assert_eq!(late, Outcome::RequestRefused(RequestRefusal::Forgotten));
    while stage.log.machine.next_due() <= Some(stage.log.machine.time()) {
        stage.log.append(Payload::Empty);
    }
    assert_eq!(stage.known(), 2, "the last one, and the mark");
}

#[test]
fn at_the_limit_new_ids_are_refused_and_none_is_forgotten() {
    let mut stage = Stage::new();
    let founded = stage.log.machine.founded.clone().unwrap();
    let mut settings = founded.settings.clone();
    settings.requests.ids_max = 1;
    stage.log.machine.founded = Some(Arc::new(Founded { settings, ..(*founded).clone() }));
    let first = stage.keyed("a", ask("ann", "x", Mode::Exclusive, 0, 1));
    let full = stage.keyed("b", ask("bob", "y", Mode::Exclusive, 0, 2));
    assert_eq!(full, Outcome::RequestRefused(RequestRefusal::Full));
    assert_eq!(stage.keyed("a", ask("ann", "x", Mode::Exclusive, 0, 3)), first);
    granted(&stage.send(None, ask("bob", "y", Mode::Exclusive, 0, 4)));
}

//! What is shown moves when something happens, and not otherwise.

use serde_json::json;

use super::*;
use crate::observe::{Answers, observe};
use crate::plan::plan as decide;
use crate::validate::{Surroundings, validate};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn look(old: Option<&DSyncClusterStatus>, now: Timestamp) -> DSyncClusterStatus {
    look_with(old, now, |_| {})
}

/// The status of a founded cluster of which nothing is there but what is changed in the picture.
fn look_with(
    old: Option<&DSyncClusterStatus>,
    now: Timestamp,
    change: impl FnOnce(&mut Picture),
) -> DSyncClusterStatus {
    let cluster = serde_json::from_value(json!({
        "apiVersion": "dsync.io/v1alpha1", "kind": "DSyncCluster",
        "metadata": { "name": "locks", "namespace": "default", "uid": "u" }, "spec": {},
    }))
    .unwrap();
    let valid = validate(&cluster, &Surroundings::default()).unwrap();
    let marks = Marks { phase: Phase::Founded, cluster_id: Some("a".to_owned()) };
    let found = crate::dereference::Found::default();
    let mut picture = observe(&valid, &marks, &found, &Answers::default());
    change(&mut picture);
    status(&valid, Some(1), &marks, &picture, &decide(&picture.observed), old, now)
}

#[test]
fn a_second_look_at_the_same_writes_the_same() {
    let first = look(None, at(100));
    assert_eq!(look(Some(&first), at(200)), first);
}

#[test]
fn a_change_has_its_own_time() {
    let mut before = look(None, at(100));
    let ready = before.conditions.iter_mut().find(|one| one.type_ == READY).unwrap();
    ready.status = "True".to_owned();
    let after = look(Some(&before), at(200));
    let time = |type_: &str| {
        after.conditions.iter().find(|one| one.type_ == type_).unwrap().last_transition_time.0
    };
    assert_eq!((time(READY), time(DEGRADED)), (at(200), at(100)));
}

/// Members that a quorum named stay shown while no quorum answers: they are what is missed.
#[test]
fn members_are_kept_while_nobody_confirms_them() {
    let mut before = look(None, at(100));
    before.members.push(crate::crd::Member {
        name: "locks-0".into(),
        node_id: "1".into(),
        role: crate::crd::MemberRole::Voter,
        ready: true,
        claim_uid: None,
        machine: None,
    });
    assert_eq!(look(Some(&before), at(200)).members, before.members);
}

#[test]
fn every_condition_says_which_generation_it_is_about() {
    assert!(look(None, at(1)).conditions.iter().all(|one| one.observed_generation == Some(1)));
}

/// The StatefulSet was changed a moment ago: its pods are ready, and still compared with the template
/// before.
#[test]
fn pods_of_a_template_that_was_not_taken_in_are_not_yet_what_was_asked_for() {
    let ready = |template_known| {
        let status = look_with(None, at(1), |picture| {
            picture.problems.clear();
            picture.redis = RedisState::Ready;
            picture.observed.template_known = template_known;
            picture.observed.seats.iter_mut().for_each(|seat| seat.health = Health::Ready);
        });
        let ready = status.conditions.into_iter().find(|one| one.type_ == READY).unwrap();
        (ready.status, ready.reason)
    };
    assert_eq!(ready(false), ("False".to_owned(), "Rolling".to_owned()));
    assert_eq!(ready(true), ("True".to_owned(), "Ready".to_owned()));
}

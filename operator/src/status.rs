//! What is shown of a cluster, from what was seen. Pure but for the time that it is given.
//!
//! Nothing in it moves while nothing happens: times are those of a change, kept from the last status
//! otherwise, and a status that is the same is not written.

use dsync_core::contract::kubernetes::COMPONENT_NODE;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::crd::{
    AVAILABLE, CLAIM_TERMINATING, DEGRADED, DSyncClusterStatus, PROGRESSING, Plan, QUORUM_HEALTHY,
    READY, REDIS_READY,
};
use crate::marks::{Marks, Phase};
use crate::observe::{Picture, Problem, RedisState, SHARED_MACHINE};
use crate::plan::{Action, Health, How};
use crate::validate::Validated;

/// How a condition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn verdict(
    type_: &'static str,
    is: bool,
    reason: &'static str,
    message: impl Into<String>,
) -> Verdict {
    Verdict { type_, status: if is { "True" } else { "False" }, reason, message: message.into() }
}

/// The status of a cluster that could be looked at.
#[must_use]
pub fn status(
    cluster: &Validated,
    generation: Option<i64>,
    marks: &Marks,
    picture: &Picture,
    action: &Action,
    old: Option<&DSyncClusterStatus>,
    now: Timestamp,
) -> DSyncClusterStatus {
    let ready = picture.observed.seats.iter().filter(|seat| seat.health == Health::Ready).count();
    let mut verdicts = vec![
        is_ready(cluster, marks, picture, action),
        is_available(marks, picture),
        is_progressing(cluster, picture, action),
        is_degraded(picture),
        is_quorum_healthy(picture),
        is_redis_ready(picture.redis),
    ];
    verdicts.extend(claim_terminating(cluster, picture));
    DSyncClusterStatus {
        observed_generation: generation,
        cluster_id: marks.cluster_id.clone(),
        replicas: count(picture.pods),
        ready_replicas: count(ready),
        selector: Some(cluster.names.selector_text(COMPONENT_NODE)),
        leader: picture.leader.clone(),
        version: (!picture.versions.is_empty()).then(|| picture.versions.join(",")),
        // A look without a quorum does not know better than the last one.
        members: match picture.members.is_empty() {
            true => old.map(|old| old.members.clone()).unwrap_or_default(),
            false => picture.members.clone(),
        },
        plan: plan(cluster, action, old, now),
        conditions: conditions(&verdicts, generation, old, now),
    }
}

/// The status of a cluster that must not be touched: what was known, and why it is left alone.
#[must_use]
pub fn refused(
    generation: Option<i64>,
    problem: &Problem,
    old: Option<&DSyncClusterStatus>,
    now: Timestamp,
) -> DSyncClusterStatus {
    let verdicts = [
        verdict(READY, false, problem.reason, &problem.message),
        verdict(PROGRESSING, false, problem.reason, &problem.message),
        verdict(DEGRADED, true, problem.reason, &problem.message),
    ];
    let mut status = old.cloned().unwrap_or_default();
    let mut conditions = conditions(&verdicts, generation, old, now);
    let kept = status
        .conditions
        .iter()
        .filter(|one| verdicts.iter().all(|verdict| verdict.type_ != one.type_));
    conditions.extend(kept.cloned());
    status.observed_generation = generation;
    status.conditions = conditions;
    status.plan = plan_of("wait", Some(problem.message.clone()), old, now);
    status
}

fn is_ready(cluster: &Validated, marks: &Marks, picture: &Picture, action: &Action) -> Verdict {
    let observed = &picture.observed;
    let not_ready = observed.seats.iter().filter(|seat| seat.health != Health::Ready).count();
    if observed.hibernate {
        let asleep = *action == Action::Rest;
        let reason = if asleep { "Hibernating" } else { "GoingToSleep" };
        return verdict(
            READY,
            asleep,
            reason,
            "spec.hibernate is true: no pods run, the disks are kept",
        );
    }
    let problem = picture.problems.iter().find(|problem| problem.reason != SHARED_MACHINE);
    if let Some(problem) =
        problem.filter(|problem| problem.reason != "PodCannotRun" || not_ready > 0)
    {
        return verdict(READY, false, problem.reason, &problem.message);
    }
    if marks.phase == Phase::Founding {
        return verdict(READY, false, "Founding", "the nodes are founding the cluster");
    }
    if not_ready > 0 {
        let message = format!("{not_ready} of {} nodes are not ready", cluster.replicas);
        return verdict(READY, false, "NodesNotReady", message);
    }
    // Until Kubernetes has seen a changed template, no pod is known to be of the newest one: who waits
    // for Ready after a change would be told of the pods before it.
    if !observed.template_known || observed.seats.iter().any(|seat| seat.outdated) {
        return verdict(READY, false, "Rolling", "not all pods are of the newest template");
    }
    match picture.redis {
        RedisState::NotReady => verdict(READY, false, "RedisNotReady", "Redis is not ready"),
        RedisState::Ready | RedisState::External | RedisState::None => {
            verdict(READY, true, "Ready", "all that the spec asks for is there")
        }
    }
}

fn is_available(marks: &Marks, picture: &Picture) -> Verdict {
    match (picture.available, marks.phase) {
        _ if picture.observed.hibernate => verdict(AVAILABLE, false, "Hibernating", "no pods run"),
        (true, _) => verdict(AVAILABLE, true, "QuorumServes", "a quorum serves"),
        (false, Phase::Founding) => {
            verdict(AVAILABLE, false, "Founding", "the cluster is not founded yet")
        }
        (false, Phase::Founded) => {
            verdict(AVAILABLE, false, "NoQuorum", "no node reaches a quorum of the members")
        }
    }
}

fn is_progressing(cluster: &Validated, picture: &Picture, action: &Action) -> Verdict {
    match action {
        Action::Rest if picture.redis == RedisState::NotReady && !cluster.spec.hibernate => {
            verdict(PROGRESSING, true, "RedisNotReady", "Redis has to become ready")
        }
        Action::Rest => verdict(PROGRESSING, false, "AsAsked", "nothing is left to do"),
        Action::Wait(crate::plan::Blocked::Paused) => {
            verdict(PROGRESSING, false, "Paused", "spec.pause is true: nothing is changed")
        }
        Action::Wait(blocked) => verdict(PROGRESSING, true, "Waiting", format!("{blocked}")),
        Action::Restart { .. } => {
            verdict(PROGRESSING, true, "Rolling", describe(cluster, action).0)
        }
    }
}

fn is_degraded(picture: &Picture) -> Verdict {
    let serious = |problem: &&Problem| problem.reason != SHARED_MACHINE;
    let problems = picture.problems.iter().filter(serious).collect::<Vec<_>>();
    let all = picture.problems.iter().map(|problem| problem.message.as_str());
    let message = all.collect::<Vec<_>>().join("; ");
    match (problems.first(), picture.problems.first()) {
        (Some(first), _) => verdict(DEGRADED, true, first.reason, message),
        (None, Some(note)) => verdict(DEGRADED, false, note.reason, message),
        (None, None) => verdict(DEGRADED, false, "AsExpected", "nothing needs attention"),
    }
}

fn is_quorum_healthy(picture: &Picture) -> Verdict {
    let seats = &picture.observed.seats;
    let ready = seats.iter().filter(|seat| seat.health == Health::Ready).count();
    let whole = picture.available && ready == seats.len();
    let reason = match (whole, picture.available) {
        (true, _) => "AllMembersTakePart",
        (false, true) => "MembersMissing",
        (false, false) => "NoQuorum",
    };
    verdict(QUORUM_HEALTHY, whole, reason, format!("{ready} of {} members take part", seats.len()))
}

fn is_redis_ready(redis: RedisState) -> Verdict {
    match redis {
        RedisState::Ready => verdict(REDIS_READY, true, "Ready", "Redis answers"),
        RedisState::NotReady => verdict(REDIS_READY, false, "NotReady", "Redis does not answer"),
        RedisState::External => verdict(
            REDIS_READY,
            true,
            "External",
            "Redis is not the operator's; it is not looked at",
        ),
        RedisState::None => verdict(REDIS_READY, true, "None", "the spec asks for no Redis"),
    }
}

fn claim_terminating(cluster: &Validated, picture: &Picture) -> Option<Verdict> {
    let seats = picture.observed.seats.iter().enumerate();
    let claims = seats.filter(|(_, seat)| seat.claim_terminating);
    let names = claims.map(|(at, _)| cluster.names.claim(at)).collect::<Vec<_>>();
    (!names.is_empty()).then(|| {
        let message = format!(
            "{}: deleted as soon as its pod ends, with the disk; its pod is left alone",
            names.join(", ")
        );
        verdict(CLAIM_TERMINATING, true, "DeletedByHand", message)
    })
}

/// The next step and what it waits for, in words.
fn describe(cluster: &Validated, action: &Action) -> (String, Option<String>) {
    match action {
        Action::Rest => ("rest".to_owned(), None),
        Action::Wait(blocked) => ("wait".to_owned(), Some(blocked.to_string())),
        Action::Restart { ordinal, how } => {
            let how = match how {
                How::Evict => "evict",
                How::Delete => "delete",
            };
            (format!("{how} pod {}", cluster.names.node(*ordinal)), None)
        }
    }
}

fn plan(
    cluster: &Validated,
    action: &Action,
    old: Option<&DSyncClusterStatus>,
    now: Timestamp,
) -> Option<Plan> {
    match describe(cluster, action) {
        (_, None) if *action == Action::Rest => None,
        (action, blocked_on) => plan_of(&action, blocked_on, old, now),
    }
}

fn plan_of(
    action: &str,
    blocked_on: Option<String>,
    old: Option<&DSyncClusterStatus>,
    now: Timestamp,
) -> Option<Plan> {
    let old = old.and_then(|old| old.plan.as_ref());
    let same = old.filter(|old| old.action == action && old.blocked_on == blocked_on);
    let since = same.and_then(|old| old.since.clone()).unwrap_or_else(|| seconds(now).to_string());
    Some(Plan { action: action.to_owned(), blocked_on, since: Some(since) })
}

fn conditions(
    verdicts: &[Verdict],
    generation: Option<i64>,
    old: Option<&DSyncClusterStatus>,
    now: Timestamp,
) -> Vec<Condition> {
    let draw = |verdict: &Verdict| {
        let old = old.and_then(|old| old.conditions.iter().find(|one| one.type_ == verdict.type_));
        let same = old.filter(|old| old.status == verdict.status);
        Condition {
            type_: verdict.type_.to_owned(),
            status: verdict.status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.clone(),
            observed_generation: generation,
            last_transition_time: same
                .map_or_else(|| Time(seconds(now)), |old| old.last_transition_time.clone()),
        }
    };
    verdicts.iter().map(draw).collect()
}

/// The API server keeps whole seconds.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "status_test.rs"]
mod tests;

//! From pods, claims and the nodes' answers to what the plan and the status are made from. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::crd::{Member, MemberRole};
use crate::dereference::{Found, is_terminating};
use crate::kind::Kind;
use crate::marks::{Marks, Phase};
use crate::names::NODE_CONTAINER;
use crate::nodes::NodeReport;
use crate::plan::{Health, Observed, Seat};
use crate::validate::{ValidRedis, Validated};

/// What pods carry of the StatefulSet's revision.
const REVISION_LABEL: &str = "controller-revision-hash";

/// Everything that was seen in one look.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What the plan needs.
    pub observed: Observed,
    /// Pods that exist.
    pub pods: usize,
    /// Name of the leader that a quorum confirms.
    pub leader: Option<String>,
    /// A quorum answered just now.
    pub available: bool,
    /// Members, as the quorum knows them.
    pub members: Vec<Member>,
    /// Releases that the nodes run, without repetition, in order.
    pub versions: Vec<String>,
    /// How the Redis is.
    pub redis: RedisState,
    /// What needs somebody's attention.
    pub problems: Vec<Problem>,
}

/// How the Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisState {
    /// The operator's own, and it answers.
    Ready,
    /// The operator's own, and it does not.
    NotReady,
    /// Somebody else's.
    External,
    /// There is none.
    None,
}

/// Something that needs somebody's attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word, as a condition's reason.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What nodes said.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Their own words, by ordinal.
    pub reports: Vec<Option<NodeReport>>,
    /// What a quorum confirms.
    pub confirmed: Option<NodeReport>,
}

/// Puts together what was seen.
#[must_use]
pub fn observe(cluster: &Validated, marks: &Marks, found: &Found, answers: &Answers) -> Picture {
    let set = found.get(Kind::StatefulSet, &cluster.names.cluster);
    let pods = pods_by_ordinal(cluster, found);
    let lost = |at: usize| disk_is_lost(cluster, marks, answers, at);
    let seat = |at: usize| {
        let pod = pods.get(&at).copied();
        let report = answers.reports.get(at).and_then(Option::as_ref);
        Seat {
            health: health(pod, report),
            outdated: pod.is_some_and(|pod| is_outdated(pod, set)),
            claim_terminating: claim(cluster, found, at).is_some_and(is_terminating),
            disk_lost: lost(at),
        }
    };
    let leader = answers.confirmed.as_ref().and_then(|answer| answer.leader.clone());
    let observed = Observed {
        phase: marks.phase,
        template_known: set.is_some_and(is_taken_in),
        seats: (0..cluster.replicas).map(seat).collect(),
        leader: leader.as_deref().and_then(|name| cluster.names.ordinal(name)),
        hibernate: cluster.spec.hibernate,
        pause: cluster.spec.pause,
    };
    Picture {
        problems: problems(cluster, marks, answers, &observed, &pods),
        members: members(cluster, found, answers, &observed, &pods),
        pods: pods.len(),
        available: leader.is_some(),
        leader,
        versions: versions(answers),
        redis: redis(cluster, found),
        observed,
    }
}

fn pods_by_ordinal<'a>(cluster: &Validated, found: &'a Found) -> BTreeMap<usize, &'a Pod> {
    let ordinal = |pod: &Pod| cluster.names.ordinal(pod.metadata.name.as_deref()?);
    found.pods.iter().filter_map(|pod| Some((ordinal(pod)?, pod))).collect()
}

fn claim<'a>(cluster: &Validated, found: &'a Found, at: usize) -> Option<&'a Value> {
    found.get(Kind::Claim, &cluster.names.claim(at))
}

/// Two opinions make a node ready; see [`crate::plan`].
fn health(pod: Option<&Pod>, report: Option<&NodeReport>) -> Health {
    let Some(pod) = pod else { return Health::Missing };
    if pod.metadata.deletion_timestamp.is_some() {
        return Health::Terminating;
    }
    if !is_running(pod) {
        return Health::Down;
    }
    match (is_ready(pod), report.is_some_and(|report| report.ready)) {
        (true, true) => Health::Ready,
        (false, false) => Health::Lagging,
        (true, false) | (false, true) => Health::Unsure,
    }
}

fn is_running(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let node = statuses.and_then(|all| all.iter().find(|status| status.name == NODE_CONTAINER));
    node.and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn is_outdated(pod: &Pod, set: Option<&Value>) -> bool {
    let newest = set.and_then(|set| set["status"]["updateRevision"].as_str());
    let labels = pod.metadata.labels.as_ref();
    let own = labels.and_then(|labels| labels.get(REVISION_LABEL)).map(String::as_str);
    newest.is_some() && own != newest
}

/// Kubernetes has seen the newest template, so its revision can be compared with the pods'.
fn is_taken_in(set: &Value) -> bool {
    let generation = set["metadata"]["generation"].as_i64();
    !is_terminating(set)
        && set["status"]["updateRevision"].is_string()
        && set["status"]["observedGeneration"].as_i64() >= generation
}

/// Its disk is empty although the cluster exists, or has another identity than the one that a quorum
/// knows under its name.
fn disk_is_lost(cluster: &Validated, marks: &Marks, answers: &Answers, at: usize) -> bool {
    let Some(report) = answers.reports.get(at).and_then(Option::as_ref) else { return false };
    if marks.phase == Phase::Founding {
        return false;
    }
    if report.cluster_id.is_none() {
        return true;
    }
    let name = cluster.names.node(at);
    let members = answers.confirmed.as_ref().map(|answer| &answer.members);
    let known = members.and_then(|all| all.iter().find(|member| member.name == name));
    known.is_some_and(|member| member.id != report.node.id)
}

fn versions(answers: &Answers) -> Vec<String> {
    let mut versions = answers
        .reports
        .iter()
        .flatten()
        .map(|report| report.node.version.clone())
        .collect::<Vec<_>>();
    versions.sort();
    versions.dedup();
    versions
}

fn members(
    cluster: &Validated,
    found: &Found,
    answers: &Answers,
    observed: &Observed,
    pods: &BTreeMap<usize, &Pod>,
) -> Vec<Member> {
    let Some(answer) = &answers.confirmed else { return Vec::new() };
    let mut members = answer
        .members
        .iter()
        .map(|member| {
            let at = cluster.names.ordinal(&member.name);
            let seat = at.and_then(|at| observed.seats.get(at));
            let uid = at
                .and_then(|at| claim(cluster, found, at))
                .and_then(|claim| claim["metadata"]["uid"].as_str().map(str::to_owned));
            Member {
                name: member.name.clone(),
                node_id: member.id.clone(),
                role: if member.part == "voter" { MemberRole::Voter } else { MemberRole::Learner },
                ready: seat.is_some_and(|seat| seat.health == Health::Ready),
                claim_uid: uid,
                machine: at.and_then(|at| machine(pods.get(&at)?)),
            }
        })
        .collect::<Vec<_>>();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    members
}

fn machine(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

fn redis(cluster: &Validated, found: &Found) -> RedisState {
    match cluster.redis {
        ValidRedis::None => RedisState::None,
        ValidRedis::External(_) => RedisState::External,
        ValidRedis::Managed { .. } => {
            let deployment = found.get(Kind::Deployment, &cluster.names.redis());
            let ready = deployment.is_some_and(|deployment| {
                let status = &deployment["status"];
                status["readyReplicas"].as_i64() >= Some(1)
                    && status["updatedReplicas"].as_i64() >= Some(1)
                    && status["observedGeneration"].as_i64()
                        >= deployment["metadata"]["generation"].as_i64()
            });
            if ready { RedisState::Ready } else { RedisState::NotReady }
        }
    }
}

fn problems(
    cluster: &Validated,
    marks: &Marks,
    answers: &Answers,
    observed: &Observed,
    pods: &BTreeMap<usize, &Pod>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(data_lost(marks, answers, observed));
    if problems.is_empty() {
        problems.extend(disks_lost(cluster, answers, observed));
    }
    problems.extend(no_quorum(marks, answers, observed));
    problems.extend(cannot_run(cluster, observed, pods));
    problems.extend(shared_machine(cluster, observed, pods));
    problems
}

/// Every node answers, and none of them holds anything of what was founded.
fn data_lost(marks: &Marks, answers: &Answers, observed: &Observed) -> Option<Problem> {
    let empty = |report: &Option<NodeReport>| {
        report.as_ref().is_some_and(|report| report.cluster_id.is_none())
    };
    let all = answers.reports.len() == observed.seats.len() && answers.reports.iter().all(empty);
    (marks.phase == Phase::Founded && all && !answers.reports.is_empty()).then(|| Problem {
        reason: "DataLost",
        message: format!(
            "all disks of cluster {} are empty; it is not founded again under its name. Restore the \
             volumes, or delete this resource and its claims to begin anew",
            marks.cluster_id.as_deref().unwrap_or("(unknown)")
        ),
    })
}

fn disks_lost(cluster: &Validated, answers: &Answers, observed: &Observed) -> Option<Problem> {
    let lost = observed.seats.iter().enumerate().filter(|(_, seat)| seat.disk_lost);
    let name = |(at, _): (usize, &Seat)| {
        let report = answers.reports.get(at).and_then(Option::as_ref);
        let id = report.map_or("unknown", |report| report.node.id.as_str());
        format!("pod {} (claim {}, node id {id})", cluster.names.node(at), cluster.names.claim(at))
    };
    let names = lost.map(name).collect::<Vec<_>>();
    (!names.is_empty()).then(|| Problem {
        reason: "DiskLost",
        message: format!("not the disk that the cluster knows: {}", names.join(", ")),
    })
}

fn no_quorum(marks: &Marks, answers: &Answers, observed: &Observed) -> Option<Problem> {
    let asleep = observed.hibernate || marks.phase == Phase::Founding;
    if asleep || answers.confirmed.is_some() {
        return None;
    }
    let ready = observed.seats.iter().filter(|seat| seat.health == Health::Ready).count();
    Some(Problem {
        reason: "NoQuorum",
        message: format!(
            "no node reaches {} of {} members ({ready} are ready); nothing is lost while their disks \
             are there, and nothing but waiting for their pods is safe to do",
            observed.quorum(),
            observed.seats.len()
        ),
    })
}

/// Why a pod does not run, in Kubernetes' own words.
fn cannot_run(
    cluster: &Validated,
    observed: &Observed,
    pods: &BTreeMap<usize, &Pod>,
) -> Option<Problem> {
    let down = |(at, seat): (usize, &Seat)| {
        (seat.health == Health::Down).then_some(())?;
        let reason = trouble(pods.get(&at)?)?;
        Some(format!("{}: {reason}", cluster.names.node(at)))
    };
    let all = observed.seats.iter().enumerate().filter_map(down).collect::<Vec<_>>();
    (!all.is_empty()).then(|| Problem { reason: "PodCannotRun", message: all.join("; ") })
}

fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let scheduled = status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled");
    if let Some(refused) = scheduled.filter(|one| one.status == "False") {
        return Some(refused.message.clone().unwrap_or_else(|| "cannot be scheduled".to_owned()));
    }
    let containers = status.container_statuses.iter().flatten();
    let mut waiting = containers.filter_map(|one| one.state.as_ref()?.waiting.as_ref());
    // An image that is being pulled, a container that is being made: no trouble.
    let stuck = waiting.find(|one| {
        !matches!(one.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"))
    })?;
    let message = stuck.message.as_deref().unwrap_or_default();
    Some(format!("{}: {message}", stuck.reason.as_deref().unwrap_or_default()))
}

/// Two voters on one machine are lost together.
fn shared_machine(
    cluster: &Validated,
    observed: &Observed,
    pods: &BTreeMap<usize, &Pod>,
) -> Option<Problem> {
    let mut machines = BTreeMap::<String, Vec<String>>::new();
    for at in 0..observed.seats.len() {
        if let Some(machine) = pods.get(&at).and_then(|pod| machine(pod)) {
            machines.entry(machine).or_default().push(cluster.names.node(at));
        }
    }
    let shared = machines
        .iter()
        .filter(|(_, pods)| pods.len() > 1)
        .map(|(machine, pods)| format!("{} on {machine}", pods.join(" and ")))
        .collect::<Vec<_>>();
    (!shared.is_empty()).then(|| Problem {
        reason: SHARED_MACHINE,
        message: format!("lost together if the machine is: {}", shared.join("; ")),
    })
}

/// Reported, and no reason to call a cluster degraded: a test cluster of one machine is whole.
pub const SHARED_MACHINE: &str = "SharedMachine";

#[cfg(test)]
#[path = "observe_test.rs"]
mod tests;

//! `GET /v1/cluster`: members, leader, settings; and the answering node's own place in it.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::machine::{Machine, Settings};
use dsync_core::raft::{Membership, RoleKind};
use dsync_core::types::NodeId;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::settings;
use super::problems::ReadProblems;
use super::read::Snapshot;
use crate::handle::NodeStatus;
use crate::handle::ReadState;
use crate::http::envelope::{RequestContext, leader_name};
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::{Site, locks_view};

/// The cluster as one node knows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClusterAnswer {
    /// The cluster, in hex; null: not founded yet.
    cluster_id: Option<String>,
    /// The leader's name; its id if the name is not known; null: there is none, as far as is known.
    leader: Option<String>,
    /// Raft's term.
    term: u64,
    /// Members in the order of their ids.
    members: Vec<MemberAnswer>,
    /// The node that answers.
    node: NodeAnswer,
    /// The settings in force, the same on every node, in one group a service.
    #[schema(value_type = Object)]
    settings: Settings,
    /// How much is in the lock table. Some of it may have just ended.
    locks: LockCounts,
    /// How many records the audit trail has: the number of the newest event.
    events: u64,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// A member.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MemberAnswer {
    /// Its name.
    name: String,
    /// Its id, in hex: that of its disk.
    id: String,
    /// `voter`, `learner` (receives the log and does not count), or `leaving`.
    part: &'static str,
    /// It leads, as far as is known.
    leader: bool,
    /// Its newest registered process, in hex; null: none yet.
    boot_id: Option<String>,
    /// How many processes its disk has seen; null: none is registered yet.
    boot_count: Option<u64>,
}

/// The node that answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeAnswer {
    /// Its name.
    name: String,
    /// Its id, in hex.
    id: String,
    /// Its process, in hex.
    boot_id: String,
    /// The release that it runs.
    version: &'static str,
    /// `LEADER`, `FOLLOWER`, `CANDIDATE`, ...
    #[schema(value_type = String)]
    role: RoleKind,
    /// It has registered itself in the log and can send commands.
    registered: bool,
    /// Why it does not take part; null: it does.
    outside: Option<String>,
    /// First entry still in its log.
    log_start: u64,
    /// Last entry of its log.
    log_end: u64,
    /// Last entry that is synced here.
    durable_index: u64,
    /// Last entry that it knows to be committed.
    commit_index: u64,
    /// Last entry that it has applied.
    applied_index: u64,
}

/// How much is in the lock table.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LockCounts {
    /// Locks that are held or waited for.
    names: usize,
    /// Holds, claims included.
    holds: usize,
    /// Waits.
    waits: usize,
}

/// Members, leader, settings.
#[utoipa::path(
    get, path = "/v1/cluster", operation_id = "get_cluster", tag = "cluster",
    params(super::schemas::ConsistencyParam),
    responses((status = 200, description = "The cluster.", body = ClusterAnswer), ReadProblems),
)]
pub async fn cluster(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_cluster(&site, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_cluster(site: &Site, uri: &Uri) -> Result<Response, Fault> {
    let params = Params::read(uri, &["consistency"])?;
    let snapshot = Snapshot::take(site, &params).await?;
    let answer = draw(&snapshot.state, &site.node.status());
    Ok(snapshot.mark(typed_answer(&answer)))
}

fn draw(state: &ReadState, status: &NodeStatus) -> ClusterAnswer {
    let (index, time) = locks_view::position(state);
    let machine = &*state.machine;
    let locks = machine.locks();
    ClusterAnswer {
        cluster_id: status.cluster_id.map(|id| id.to_string()),
        leader: leader_name(status),
        term: status.raft.term.0,
        members: status.membership.as_ref().map_or_else(Vec::new, |all| {
            all.names.keys().map(|id| member(machine, status, all, *id)).collect()
        }),
        node: node(status),
        settings: settings(machine),
        locks: LockCounts { names: locks.names(), holds: locks.holds(), waits: locks.waits() },
        events: machine.audit().count,
        index: index.0,
        time_ms: time.0,
    }
}

fn member(machine: &Machine, status: &NodeStatus, all: &Membership, id: NodeId) -> MemberAnswer {
    let boot = machine.boots().find(|(node, ..)| *node == id);
    let part = if all.voters.contains(&id) {
        "voter"
    } else if all.learners.contains(&id) {
        "learner"
    } else {
        "leaving"
    };
    MemberAnswer {
        name: all.names.get(&id).map_or_else(String::new, ToString::to_string),
        id: id.to_string(),
        part,
        leader: status.raft.leader == Some(id),
        boot_id: boot.map(|(_, boot, _)| boot.to_string()),
        boot_count: boot.map(|(_, _, count)| count.0),
    }
}

fn node(status: &NodeStatus) -> NodeAnswer {
    let raft = &status.raft;
    NodeAnswer {
        name: status.name.to_string(),
        id: status.node_id.to_string(),
        boot_id: status.boot_id.to_string(),
        version: crate::VERSION,
        role: raft.role,
        registered: status.registered,
        outside: status.outside.clone(),
        log_start: raft.log_start.0,
        log_end: raft.last.0,
        durable_index: raft.durable.0,
        commit_index: raft.commit.0,
        applied_index: raft.applied.0,
    }
}

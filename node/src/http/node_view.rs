//! `GET /status`: one node's own view, from its applied state, without asking anybody.
//!
//! It may be behind the cluster by what has not reached this node yet, and it is all there is when
//! the quorum is gone: the first thing to look at when something is wrong.

use axum::extract::State;
use axum::response::Response;
use dsync_core::locks::Owner;
use dsync_core::machine::Machine;
use dsync_core::types::{NodeId, NodeName};
use serde_json::{Map, Value, json};

use super::Site;
use super::envelope::leader_name;
use super::locks_view;
use super::problem::json_answer;
use crate::handle::NodeStatus;

/// Most holders, and most waiters, that are listed.
pub const LIST_MAX: usize = 10_000;

/// `GET /status`
pub async fn status(State(site): State<Site>) -> Response {
    // The machine first: the status, read later, is then never behind the locks shown beside it.
    let machine = site.node.machine();
    let status = site.node.status();
    let mut body = node(&status);
    body.insert("locks".to_owned(), locks(&machine));
    json_answer(body)
}

fn node(status: &NodeStatus) -> Map<String, Value> {
    let raft = &status.raft;
    let view = json!({
        "node_id": status.name,
        "id": status.node_id.to_string(),
        "boot_id": status.boot_id.to_string(),
        "boot_count": status.boot_count,
        "cluster_id": status.cluster_id.map(|id| id.to_string()),
        "state": raft.role,
        "term": raft.term,
        "leader": leader_name(status),
        "log_length": raft.last,
        "log_start": raft.log_start,
        "durable_index": raft.durable,
        "commit_index": raft.commit,
        "applied_index": raft.applied,
        "members": members(status),
        "registered": status.registered,
        "outside": status.outside,
    });
    match view {
        Value::Object(view) => view,
        _ => Map::new(),
    }
}

/// Every member by name, with its id and its part in the decisions.
fn members(status: &NodeStatus) -> Value {
    let Some(membership) = &status.membership else { return Value::Null };
    let member = |(id, name): (&NodeId, &NodeName)| {
        let part = if membership.is_voter(*id) { "voter" } else { "learner" };
        json!({ "node_id": name, "id": id.to_string(), "part": part })
    };
    membership.names.iter().map(member).collect()
}

/// Stops at the first lock that does not fit: a table of millions must not be walked for an answer.
fn locks(machine: &Machine) -> Value {
    let (mut active, mut waiting) = (Capped::default(), Capped::default());
    for lock in locks_view::locks(machine) {
        if let Some(first) = lock.holders.first() {
            let owners = lock.holders.iter().map(|holder| &holder.owner);
            active.add(
                &lock.name,
                owners,
                |owners| json!({ "type": first.mode, "owners": owners }),
            );
        }
        if !lock.waiters.is_empty() {
            let owners = lock.waiters.iter().map(|waiter| &waiter.owner);
            waiting.add(&lock.name, owners, |owners| owners);
        }
        if active.truncated || waiting.truncated {
            break;
        }
    }
    let truncated = active.truncated || waiting.truncated;
    json!({ "active_locks": active.lists, "wait_list": waiting.lists, "truncated": truncated })
}

/// Lists of owners by lock, with [`LIST_MAX`] owners in all of them together.
#[derive(Default)]
struct Capped {
    lists: Map<String, Value>,
    owners: usize,
    truncated: bool,
}

impl Capped {
    fn add<'a>(
        &mut self,
        lock: &str,
        owners: impl ExactSizeIterator<Item = &'a Owner>,
        draw: impl FnOnce(Value) -> Value,
    ) {
        let room = LIST_MAX - self.owners;
        self.truncated |= owners.len() > room;
        if room > 0 {
            self.owners += owners.len().min(room);
            let owners = owners.take(room).map(|owner| owner.name.clone()).collect();
            self.lists.insert(lock.to_owned(), draw(owners));
        }
    }
}

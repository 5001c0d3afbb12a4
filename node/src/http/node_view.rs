//! `GET /status`: one node's own view, from its applied state, without asking anybody.
//!
//! It may be behind the cluster by what has not reached this node yet, and it is all there is when
//! the quorum is gone: the first thing to look at when something is wrong.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Site;
use super::envelope::leader_name;
use super::locks_view::{self, LockView};
use super::problem::json_answer;
use crate::handle::NodeStatus;

/// Most entries of each list.
pub const LIST_MAX: usize = 10_000;

/// `GET /status`
pub async fn status(State(site): State<Site>) -> Response {
    // The machine first: the status, read later, is then never behind the locks shown beside it.
    let machine = site.node.machine();
    let status = site.node.status();
    let mut body = node(&status);
    let (locks, truncated) = locks_view::locks(&machine, LIST_MAX);
    body.insert("locks".to_owned(), locks_json(&locks, truncated));
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
    let member = |(id, name): (&dsync_core::types::NodeId, &dsync_core::types::NodeName)| {
        let part = if membership.is_voter(*id) { "voter" } else { "learner" };
        json!({ "node_id": name, "id": id.to_string(), "part": part })
    };
    membership.names.iter().map(member).collect()
}

fn locks_json(locks: &[(String, LockView)], mut truncated: bool) -> Value {
    let (mut active, mut waiting) = (Map::new(), Map::new());
    for (name, lock) in locks {
        if let Some(first) = lock.holders.first() {
            let owners = capped(lock.holders.iter().map(|h| &h.owner.name), &mut truncated);
            active.insert(name.clone(), json!({ "type": first.mode, "owners": owners }));
        }
        if !lock.waiters.is_empty() {
            let owners = capped(lock.waiters.iter().map(|w| &w.owner.name), &mut truncated);
            waiting.insert(name.clone(), owners);
        }
    }
    json!({ "active_locks": active, "wait_list": waiting, "truncated": truncated })
}

fn capped<'a>(owners: impl ExactSizeIterator<Item = &'a String>, truncated: &mut bool) -> Value {
    *truncated |= owners.len() > LIST_MAX;
    owners.take(LIST_MAX).cloned().collect()
}

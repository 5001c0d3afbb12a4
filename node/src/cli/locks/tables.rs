//! Locks as tables for people.

use dsync_client::{Holder, Lock, Mode};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::output::{length, table};
use crate::cli::visible;

/// Owners that one cell names.
const NAMED_MAX: usize = 3;

/// One reason for waiting.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Edge {
    owner: String,
    waits_for: String,
    blocker: String,
    holds: bool,
}

/// One line for each lock.
pub(super) fn list(locks: &[Lock]) -> String {
    let row = |lock: &Lock| {
        let left = lock.holders.iter().filter_map(|holder| holder.remaining_ms).max();
        let token = lock.holders.iter().map(|holder| holder.token).max();
        [
            lock.name.clone(),
            mode(lock),
            owners(lock),
            token.map_or_else(none, |token| token.to_string()),
            left.map_or_else(none, length),
            lock.waiters_count.max(lock.waiters.len() as u64).to_string(),
        ]
    };
    let headings = ["NAME", "MODE", "HELD BY", "TOKEN", "LEASE LEFT", "WAITING"];
    table(headings, locks.iter().map(row).collect())
}

/// One line for each holder and waiter.
pub(super) fn lock(lock: &Lock) -> String {
    let mut rows: Vec<[String; 7]> = lock.holders.iter().map(holder).collect();
    rows.extend(lock.waiters.iter().map(|waiter| {
        let state = if waiter.upgrade { "waits to upgrade" } else { "waits" };
        [
            state.to_owned(),
            waiter.owner.clone(),
            word(waiter.mode, waiter.permits),
            waiter.waited_ms.map_or_else(none, length),
            none(),
            none(),
            none(),
        ]
    }));
    if rows.is_empty() {
        return format!("{} is free\n", visible::cell(&lock.name));
    }
    table(["STATE", "OWNER", "MODE", "FOR", "LEASE LEFT", "TOKEN", "HOLD"], rows)
}

fn holder(holder: &Holder) -> [String; 7] {
    let state = match &holder.revoked {
        Some(reason) => format!("revoked: {reason}"),
        None if holder.claim => "claims".to_owned(),
        None => "holds".to_owned(),
    };
    [
        state,
        holder.owner.clone(),
        word(holder.mode, holder.permits),
        holder.held_ms.map_or_else(none, length),
        holder.remaining_ms.map_or_else(none, length),
        holder.token.to_string(),
        holder.hold.clone(),
    ]
}

/// The edges of the answer.
pub(super) fn edges(document: &Value) -> Result<Vec<Edge>, serde_json::Error> {
    Vec::deserialize(&document["edges"])
}

/// One line for each reason.
pub(super) fn graph(edges: &[Edge]) -> String {
    let row = |edge: &Edge| {
        let by = if edge.holds { "holds it" } else { "came first" };
        [edge.owner.clone(), edge.waits_for.clone(), edge.blocker.clone(), by.to_owned()]
    };
    table(["OWNER", "WAITS FOR", "BECAUSE OF", "WHO"], edges.iter().map(row).collect())
}

/// Everybody who waits, once.
pub(super) fn waiters(edges: &[Edge]) -> Vec<String> {
    let mut owners: Vec<String> = edges.iter().map(|edge| edge.owner.clone()).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

fn mode(lock: &Lock) -> String {
    match (lock.permits_max, lock.holders.first()) {
        (Some(max), _) => {
            let taken: u32 = lock.holders.iter().map(|holder| holder.permits).sum();
            format!("{taken} of {max}")
        }
        (None, Some(holder)) => word(holder.mode, holder.permits),
        (None, None) => none(),
    }
}

fn owners(lock: &Lock) -> String {
    let count = lock.holders_count.max(lock.holders.len() as u64);
    let named: Vec<String> = lock.holders.iter().take(NAMED_MAX).map(owner).collect();
    let more = count - named.len() as u64;
    let suffix = if more > 0 { format!(" and {more} more") } else { String::new() };
    if named.is_empty() { none() } else { named.join(", ") + &suffix }
}

/// Who has it, and that it will not for long.
fn owner(holder: &Holder) -> String {
    let name = &holder.owner;
    match (&holder.revoked, holder.claim) {
        (Some(_), _) => format!("{name} (revoked)"),
        (None, true) => format!("{name} (claim)"),
        (None, false) => name.clone(),
    }
}

fn word(mode: Mode, permits: u32) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Permits => format!("{permits} permits"),
    }
}

fn none() -> String {
    "-".to_owned()
}

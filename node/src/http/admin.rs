//! The probes of the admin port, in the manner of Kubernetes: `ok`, or 503 and the list of checks;
//! with `?verbose` the list either way.
//!
//! | probe | fails when | what Kubernetes does |
//! |---|---|---|
//! | livez | the driver's loop or a sync of the log is stuck | restarts the process |
//! | startupz | the log is not recovered or the ports are not open yet | waits |
//! | readyz | a client would be better off at another node | sends no clients |
//!
//! livez never depends on other nodes: a node without a quorum is alive, and restarting it helps
//! nobody. readyz ends with a read barrier: the only proof that this node is a member, knows a
//! leader that a quorum follows, and has applied what was committed before the probe. A rejected
//! idea was to compare indexes: a node that lags cannot know by how much.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Site;
use crate::handle::NodeStatus;
use crate::health::{Health, STUCK_AFTER};

/// One check and why it fails, if it does.
type Check = (&'static str, Result<(), String>);

/// `GET /livez`
pub async fn livez(State(site): State<Site>, query: RawQuery) -> Response {
    draw("livez", &alive(&site.health), &query)
}

/// `GET /startupz`
pub async fn startupz(State(site): State<Site>, query: RawQuery) -> Response {
    let started = site.health.is_started();
    draw("startupz", &[("started", check(started, || "the log is being recovered".into()))], &query)
}

/// `GET /readyz`
pub async fn readyz(State(site): State<Site>, query: RawQuery) -> Response {
    let mut checks = member(&site.health, &site.node.status());
    checks.push(("caught-up", caught_up(&site, &checks).await));
    draw("readyz", &checks, &query)
}

fn alive(health: &Health) -> [Check; 2] {
    [
        ("driver", not_stuck("the driver has not turned", health.beat_age())),
        ("disk", not_stuck("a sync of the log has not returned", health.sync_age())),
    ]
}

fn not_stuck(what: &str, age: Option<Duration>) -> Result<(), String> {
    let age = age.unwrap_or_default();
    check(age < STUCK_AFTER, || format!("{what} for {} s", age.as_secs()))
}

fn member(health: &Health, status: &NodeStatus) -> Vec<Check> {
    let outside = status.outside.clone();
    let membership = status.membership.as_ref();
    vec![
        ("started", check(health.is_started(), || "the log is being recovered".into())),
        ("not-draining", check(!health.is_draining(), || "the node is shutting down".into())),
        ("inside", outside.map_or(Ok(()), Err)),
        (
            "member",
            check(membership.is_some_and(|m| m.contains(status.node_id)), || {
                "this node is not in the configuration that it knows".into()
            }),
        ),
        ("leader", check(status.raft.leader.is_some(), || "no leader is known".into())),
        (
            "registered",
            check(status.registered, || "this process is not registered in the log yet".into()),
        ),
    ]
}

async fn caught_up(site: &Site, before: &[Check]) -> Result<(), String> {
    if before.iter().any(|(_, result)| result.is_err()) {
        return Err("not asked: an earlier check failed".into());
    }
    match site.read_within(site.limits.ready_deadline).await {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(format!("no read barrier within {:?}: {error}", site.limits.ready_deadline))
        }
    }
}

fn check(good: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(reason()) }
}

fn draw(probe: &str, checks: &[Check], RawQuery(query): &RawQuery) -> Response {
    let good = checks.iter().all(|(_, result)| result.is_ok());
    let verbose = query.as_deref().is_some_and(|query| {
        query.split('&').any(|part| part.split('=').next() == Some("verbose"))
    });
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = if good && !verbose { "ok\n".to_owned() } else { list(probe, checks, good) };
    (status, text).into_response()
}

fn list(probe: &str, checks: &[Check], good: bool) -> String {
    let mut text = String::new();
    for (name, result) in checks {
        let _ = match result {
            Ok(()) => writeln!(text, "[+]{name} ok"),
            Err(reason) => writeln!(text, "[-]{name} failed: {reason}"),
        };
    }
    let _ = writeln!(text, "{probe} check {}", if good { "passed" } else { "failed" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_or_a_sync_is_stuck_only_after_long() {
        assert_eq!(not_stuck("it", None), Ok(()));
        assert_eq!(not_stuck("it", Some(STUCK_AFTER - Duration::from_millis(1))), Ok(()));
        assert_eq!(not_stuck("it", Some(STUCK_AFTER)), Err("it for 30 s".to_owned()));
    }
}

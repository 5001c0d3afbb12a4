//! Looks at one node from outside, as a probe and a client would.

use std::time::Duration;

use dsync_core::contract::READYZ_PATH;
use dsync_core::raft::RoleKind;
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Event;
use super::plan::NodePlan;
use crate::cli::http_get::get;

const PAUSE: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(1);

/// What a node shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// It serves.
    pub ready: bool,
    /// Role and term, if it answers clients.
    pub role: Option<(RoleKind, u64)>,
}

/// The part of `/status` that is shown.
#[derive(Deserialize)]
struct Status {
    state: RoleKind,
    term: u64,
}

/// Tells every change of what the node shows, for ever.
pub async fn watch(plan: NodePlan, events: mpsc::Sender<Event>) {
    let mut last = View::default();
    loop {
        let view = look(&plan).await;
        if view != last && events.send(Event::Seen { node: plan.number, view }).await.is_err() {
            return;
        }
        last = view;
        sleep(PAUSE).await;
    }
}

async fn look(plan: &NodePlan) -> View {
    let ready = get(&plan.ports.admin.to_string(), READYZ_PATH, DEADLINE).await;
    let ready = matches!(ready, Ok((StatusCode::OK, _)));
    let status = get(&plan.ports.client.to_string(), "/status", DEADLINE).await;
    let role = status.ok().and_then(|(_, body)| serde_json::from_slice::<Status>(&body).ok());
    View { ready, role: role.map(|status| (status.state, status.term)) }
}

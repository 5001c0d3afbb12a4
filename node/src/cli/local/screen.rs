//! What the terminal shows: one line for each thing that happens to the cluster.

use std::io::{self, Write};

use dsync_core::raft::RoleKind;

use super::folder::Folder;
use super::plan::NodePlan;
use super::supervisor::Order;
use super::watcher::View;
use super::{Event, NODES};

/// The terminal. Writing to one that has gone is no reason to stop the nodes: errors are dropped.
#[derive(Debug)]
pub struct Screen<W = io::Stdout> {
    out: W,
    folder: String,
    nodes: Vec<Node>,
    invited: bool,
    /// From here on it is no news that a node is not ready.
    stopping: bool,
}

/// What has been said of one node.
#[derive(Debug)]
struct Node {
    url: String,
    log: String,
    pid: u32,
    /// The last one that was shown.
    shown: View,
    /// It has been ready since its process started.
    was_ready: bool,
    /// Deaths in a row without having been ready.
    failures: u32,
}

impl Screen {
    /// A screen on standard output.
    pub fn new(folder: &Folder, plans: &[NodePlan]) -> Self {
        Self::on(io::stdout(), folder, plans)
    }
}

impl<W: Write> Screen<W> {
    fn on(out: W, folder: &Folder, plans: &[NodePlan]) -> Self {
        let nodes = plans.iter().map(|plan| Node {
            url: format!("http://{}", plan.ports.client),
            log: plan.log.display().to_string(),
            pid: 0,
            shown: View::default(),
            was_ready: false,
            failures: 0,
        });
        let folder = folder.path().display().to_string();
        Self { out, folder, nodes: nodes.collect(), invited: false, stopping: false }
    }

    /// The first lines.
    pub fn greet(&mut self) {
        self.line(&format!("Starting {NODES} nodes. Data: {}", self.folder));
        for number in 1..=self.nodes.len() {
            let log = self.nodes[number - 1].log.clone();
            self.line(&format!("node {number}  log: {log}"));
        }
    }

    /// Says that the nodes are being stopped.
    pub fn stopping(&mut self, order: Order) {
        self.stopping = true;
        self.line(match order {
            Order::Kill => "Killing the nodes.",
            Order::Run | Order::Stop => "Stopping the nodes. Once more kills them.",
        });
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Started { node, pid } => {
                let node = &mut self.nodes[node - 1];
                (node.pid, node.was_ready) = (*pid, false);
            }
            Event::Seen { .. } if self.stopping => (),
            Event::Seen { node, view } => self.seen(*node, *view),
            Event::Died { node, how, log_tail, restarts } => {
                self.died(*node, how, log_tail, *restarts);
            }
            Event::Killed { node } => self.line(&format!("node {node}  killed")),
        }
    }

    fn seen(&mut self, number: usize, view: View) {
        let node = &mut self.nodes[number - 1];
        let before = std::mem::replace(&mut node.shown, view);
        match view {
            View { ready: true, role: Some((role, term)) } => {
                (node.was_ready, node.failures) = (true, 0);
                let line = format!(
                    "node {number}  ready  {}  {:<9}  term {term}  pid {}",
                    node.url,
                    role_name(role),
                    node.pid
                );
                self.line(&line);
                self.invite();
            }
            View { ready: false, .. } if before.ready => {
                self.line(&format!("node {number}  not ready"));
            }
            View { .. } => (),
        }
    }

    /// Once all are ready for the first time: what to try.
    fn invite(&mut self) {
        if self.invited || !self.nodes.iter().all(|node| node.shown.ready) {
            return;
        }
        self.invited = true;
        let [first, second, third] = [0, 1, 2].map(|at: usize| self.nodes[at].url.clone());
        self.line("\nAll nodes are ready. Try:");
        self.line(&format!(
            r#"  curl -d '{{"resource_id":"orders","client_id":"me","lock_type":"exclusive"}}' {first}/lock/acquire"#
        ));
        self.line(&format!("  curl {second}/status"));
        self.line(&format!(
            r#"  curl -d '{{"resource_id":"orders","client_id":"me"}}' {third}/lock/release"#
        ));
        self.line("or, from a shell:  dsync lock orders -- sleep 10    dsync locks list");
        self.line("Ctrl-C stops all.\n");
    }

    /// The log's end is shown where it explains something and only once: a node that cannot start
    /// would fill the screen with it every two seconds.
    fn died(&mut self, number: usize, how: &str, log_tail: &[String], restarts: bool) {
        let node = &mut self.nodes[number - 1];
        node.shown = View::default();
        node.failures += u32::from(!node.was_ready);
        let (was_ready, failures) = (node.was_ready, node.failures);
        let log = node.log.clone();
        let what = if was_ready { "died" } else { "died before it was ready" };
        let next = if restarts { "starting it again in 2 s" } else { "it stays down" };
        self.line(&format!("node {number}  {what}: {how}; {next}"));
        if failures == 1 && !was_ready {
            self.line(&format!("  the end of {log}:"));
            for line in log_tail {
                self.line(&format!("  | {line}"));
            }
        }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

fn role_name(role: RoleKind) -> &'static str {
    match role {
        RoleKind::Leader => "LEADER",
        RoleKind::Follower => "FOLLOWER",
        RoleKind::Candidate => "CANDIDATE",
    }
}

#[cfg(test)]
#[path = "screen_test.rs"]
mod tests;

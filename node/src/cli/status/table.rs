//! The report as a table for people.

use dsync_client::RoleKind;

use super::{Health, Node, Report, Row};
use crate::cli::output;

const HEADINGS: [&str; 9] =
    ["NODE", "STATE", "TERM", "LEADER", "COMMIT", "LOG", "LOCKS", "WAITING", "REACHABLE"];

/// The table, then one sentence on the whole and one for each node that has something to explain.
pub fn print(report: &Report) -> String {
    let mut text = output::table(HEADINGS, report.nodes.iter().map(cells).collect());
    text.push('\n');
    text.push_str(&summary(report));
    for row in &report.nodes {
        if let Some(trouble) = trouble(row) {
            text.push_str(&format!("{}: {trouble}\n", row.server));
        }
    }
    text
}

fn cells(row: &Row) -> [String; 9] {
    let none = || "-".to_owned();
    let Some(node) = &row.node else {
        let mut cells = HEADINGS.map(|_| none());
        cells[0].clone_from(&row.server);
        let reachable = if row.reachable { "refuses" } else { "no" };
        cells[HEADINGS.len() - 1] = reachable.to_owned();
        return cells;
    };
    [
        node.node.clone(),
        state(node).to_owned(),
        node.term.to_string(),
        node.leader.clone().unwrap_or_else(none),
        node.commit.to_string(),
        node.log.to_string(),
        counted(node.locks, node.truncated),
        counted(node.waiting, node.truncated),
        "yes".to_owned(),
    ]
}

fn state(node: &Node) -> &'static str {
    match node.state {
        _ if node.outside.is_some() => "OUTSIDE",
        RoleKind::Leader => "LEADER",
        RoleKind::Follower => "FOLLOWER",
        RoleKind::Candidate => "CANDIDATE",
    }
}

fn counted(number: usize, truncated: bool) -> String {
    if truncated { format!(">={number}") } else { number.to_string() }
}

fn summary(report: &Report) -> String {
    match (report.health, &report.leader) {
        (Health::Ok, Some(leader)) if report.not_asked.is_empty() => {
            format!("All nodes follow {leader}.\n")
        }
        (Health::Ok, Some(leader)) => {
            let others = report.not_asked.join(", ");
            format!("Who was asked follows {leader}; of the members, nobody asked {others}.\n")
        }
        (_, Some(leader)) => format!("{leader} leads, but not all nodes follow it.\n"),
        (Health::Unknown, None) => "No server said who leads.\n".to_owned(),
        (_, None) => "No leader is known.\n".to_owned(),
    }
}

fn trouble(row: &Row) -> Option<&str> {
    let outside = row.node.as_ref().and_then(|node| node.outside.as_deref());
    outside.or(row.error.as_deref())
}

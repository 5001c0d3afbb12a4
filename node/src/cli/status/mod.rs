//! `dsync status`: what each node says of itself, side by side.
//!
//! Every node answers from its own applied state, so rows may differ by what is under way. The
//! cluster's health is read from them together, and is the exit code:
//!
//! | code | health | meaning |
//! |---|---|---|
//! | 0 | ok | every server answered, takes part, and names the same leader |
//! | 3 | degraded | there is a leader, but a server did not answer, is outside or is behind in its term |
//! | 4 | no leader | servers answered, and none knows a leader |
//! | 5 | unknown | no server said anything of the cluster: none answered, or they have no connection left |

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dsync_client::{Client, ClientSettings, Error, RoleKind, Status};
use serde::Serialize;

use super::output;
use super::servers::ServerArgs;
use crate::config::parse_duration;

mod table;

/// `dsync status`.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit code: 0 all well, 3 a leader but not all nodes, 4 no leader, 5 nobody said."
)]
pub struct StatusArgs {
    #[command(flatten)]
    servers: ServerArgs,

    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,

    /// How long to wait for a node.
    #[arg(long, env = "DSYNC_TIMEOUT", value_name = "DURATION", default_value = "2s",
          value_parser = parse_duration)]
    timeout: Duration,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

/// How the cluster is, as far as the servers asked can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    Degraded,
    NoLeader,
    Unknown,
}

/// All that is printed.
#[derive(Debug, Serialize)]
struct Report {
    health: Health,
    /// Who leads the highest term that was seen.
    leader: Option<String>,
    nodes: Vec<Row>,
    /// Members that none of the rows is about.
    not_asked: Vec<String>,
}

/// One server's answer, or why there is none.
#[derive(Debug, Serialize)]
struct Row {
    server: String,
    /// It answered, if only to refuse.
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    node: Option<Node>,
}

/// What a node says of itself, without the names of its locks.
#[derive(Debug, Serialize)]
struct Node {
    node: String,
    state: RoleKind,
    term: u64,
    leader: Option<String>,
    commit: u64,
    log: u64,
    /// Locks that are held.
    locks: usize,
    /// Owners that wait.
    waiting: usize,
    /// Both counts are of a list that the node cut short.
    truncated: bool,
    /// The members as it knows them.
    #[serde(skip)]
    members: Vec<String>,
    /// Why the node does not take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<String>,
}

/// Asks every server once and prints what they say.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let settings = ClientSettings {
        deadline: args.timeout,
        connect_timeout: args.timeout,
        request_timeout: args.timeout,
        ..ClientSettings::default()
    };
    let client = Client::with_settings(args.servers.addresses(), settings)?;
    let answers = super::runtime(None)?.block_on(client.statuses());
    let rows = answers
        .into_iter()
        .map(|(server, answer)| Row::new(server.as_str().trim_end_matches('/'), answer));
    let report = Report::new(rows.collect());
    output::write(&report.print(args.output)?)?;
    Ok(report.health.exit_code())
}

impl Health {
    fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Ok => 0,
            Self::Degraded => 3,
            Self::NoLeader => 4,
            Self::Unknown => 5,
        })
    }
}

impl Row {
    fn new(server: &str, answer: Result<Status, Error>) -> Self {
        let server = server.to_owned();
        match answer {
            Ok(status) => {
                Self { server, reachable: true, error: None, node: Some(Node::new(status)) }
            }
            Err(error) => {
                let reachable = error.last().is_none_or(|last| last.answered);
                // Each is asked once: how long it was tried says nothing.
                let why = error.last().map_or_else(|| error.to_string(), |it| it.reason.clone());
                Self { server, reachable, error: Some(why), node: None }
            }
        }
    }
}

impl Node {
    fn new(status: Status) -> Self {
        Self {
            node: status.node_id,
            state: status.state,
            term: status.term,
            leader: status.leader,
            commit: status.commit_index,
            log: status.log_length,
            locks: status.locks.active_locks.len(),
            waiting: status.locks.wait_list.values().map(Vec::len).sum(),
            truncated: status.locks.truncated,
            members: status.members.into_iter().flatten().map(|member| member.node_id).collect(),
            outside: status.outside,
        }
    }
}

/// A silent server may be any of them: then nobody can say.
fn not_asked(rows: &[Row]) -> Vec<String> {
    let said = || rows.iter().filter_map(|row| row.node.as_ref());
    let answered = |name: &String| said().any(|node| node.node == *name);
    let mut members: Vec<String> = said().flat_map(|node| node.members.clone()).collect();
    members.sort_unstable();
    members.dedup();
    if rows.len() >= members.len() {
        return Vec::new();
    }
    members.retain(|name| !answered(name));
    members
}

impl Report {
    fn new(nodes: Vec<Row>) -> Self {
        let said = || nodes.iter().filter_map(|row| row.node.as_ref());
        let newest = said().filter(|node| node.leader.is_some()).max_by_key(|node| node.term);
        let (term, leader) = match newest {
            Some(node) => (node.term, node.leader.clone()),
            None => (0, None),
        };
        let agrees = |row: &Row| {
            row.node.as_ref().is_some_and(|node| {
                node.term == term && node.leader == leader && node.outside.is_none()
            })
        };
        let health = match leader {
            None if said().next().is_none() => Health::Unknown,
            None => Health::NoLeader,
            Some(_) if nodes.iter().all(agrees) => Health::Ok,
            Some(_) => Health::Degraded,
        };
        let not_asked = not_asked(&nodes);
        Self { health, leader, nodes, not_asked }
    }

    fn print(&self, output: Output) -> anyhow::Result<String> {
        Ok(match output {
            Output::Table => table::print(self),
            Output::Json => output::json(self)?,
            Output::Yaml => output::yaml(self)?,
        })
    }
}

#[cfg(test)]
#[path = "status_test.rs"]
mod tests;

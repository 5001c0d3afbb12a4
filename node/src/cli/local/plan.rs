//! What each of the three nodes is started with.

use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::{NODES, NodePorts};

/// Small enough that making the first files of three logs is not felt on a laptop.
const SEGMENT_BYTES: &str = "16MiB";

/// One node as it is started, again and again.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// 1, 2 or 3.
    pub number: usize,
    /// Where it listens.
    pub ports: NodePorts,
    /// Where its output goes.
    pub log: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// What this program is called with.
    pub arguments: Vec<String>,
}

/// The three nodes. Makes their folders and their secret.
///
/// # Errors
/// If a folder or the secret cannot be made, or a path is not UTF-8.
pub fn nodes(
    folder: &Folder,
    program: &Path,
    ports: &[NodePorts; NODES],
    redis: Option<&str>,
) -> anyhow::Result<Vec<NodePlan>> {
    let secret = text(&folder.secret()?)?;
    let peers = peers(ports);
    let mut plans = Vec::new();
    for (number, ports) in (1..).zip(ports) {
        let home = folder.node(number)?;
        let data = text(&home.join("data"))?;
        let mut arguments = arguments(number, ports, &data, &peers, &secret);
        arguments
            .extend(redis.into_iter().flat_map(|url| ["--redis-url".to_owned(), url.to_owned()]));
        plans.push(NodePlan {
            number,
            ports: *ports,
            log: home.join("node.log"),
            program: program.to_owned(),
            arguments,
        });
    }
    Ok(plans)
}

/// Everything that the environment could set otherwise is said, but for the log filter, the timing, the
/// allowed hosts and the Redis: those are the user's to change.
fn arguments(
    number: usize,
    ports: &NodePorts,
    data: &str,
    peers: &str,
    secret: &str,
) -> Vec<String> {
    let (client, peer, admin) =
        (ports.client.to_string(), ports.peer.to_string(), ports.admin.to_string());
    let (name, founders, threads) = (name(number), NODES.to_string(), threads().to_string());
    let pairs = [
        ("--name", name.as_str()),
        ("--data", data),
        ("--peers", peers),
        ("--founders", &founders),
        ("--listen-client", &client),
        ("--listen-peer", &peer),
        ("--listen-admin", &admin),
        ("--secret-file", secret),
        ("--segment-bytes", SEGMENT_BYTES),
        ("--threads", &threads),
        ("--log-format", "text"),
    ];
    let words = pairs.iter().flat_map(|(flag, value)| [*flag, value]);
    ["node", "--exit-with-parent"].into_iter().chain(words).map(str::to_owned).collect()
}

/// Three nodes share the processors. More threads than there are only wake each other.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |all| (all.get() / NODES).max(1))
}

fn name(number: usize) -> String {
    format!("local-{number}")
}

fn peers(ports: &[NodePorts; NODES]) -> String {
    let words: Vec<_> =
        (1..).zip(ports).map(|(number, node)| format!("{}={}", name(number), node.peer)).collect();
    words.join(",")
}

fn text(path: &Path) -> anyhow::Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => anyhow::bail!("{} is not UTF-8: choose another folder with --data", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn every_node_is_started_with_settings_that_a_node_takes() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(temporary.path().to_owned())).unwrap();
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let ports =
            [1, 2, 3].map(|n| NodePorts { client: at(n), peer: at(10 + n), admin: at(20 + n) });
        let plans = nodes(&folder, Path::new("/bin/dsync"), &ports, Some("redis://127.0.0.1:6379"))
            .unwrap();
        assert_eq!(plans.len(), 3);
        for plan in plans {
            let words = ["dsync".to_owned()].into_iter().chain(plan.arguments);
            let Command::Node(node) = Cli::try_parse_from(words).unwrap().command else {
                panic!("not a node")
            };
            let config = node.validate().unwrap();
            assert_eq!(config.name.0, format!("local-{}", plan.number));
            assert_eq!(config.founders, 3);
            assert!(config.exit_with_parent && config.data.starts_with(folder.path()));
            assert!(config.threads.is_some_and(|threads| threads > 0));
            assert!(config.listen_client.ip().is_loopback());
            assert!(config.listen_peer.ip().is_loopback());
            assert!(config.listen_admin.ip().is_loopback());
        }
    }
}

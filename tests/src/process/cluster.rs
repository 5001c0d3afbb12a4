//! Three nodes on this machine, each a process, in a folder that vanishes with them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;
use tempfile::TempDir;

use super::node::Node;
use super::until::until;

/// How many nodes: the fewest of which one may be lost.
pub const NODES: usize = 3;

/// A cluster. When the test panics, the ends of the nodes' logs are printed.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, `n1` first.
    pub nodes: [Node; NODES],
    folder: TempDir,
}

impl Cluster {
    /// Three nodes that have founded a cluster and serve.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, each with more flags.
    #[must_use]
    pub fn start_with(flags: &[&str]) -> Self {
        let mut cluster = Self::prepare();
        cluster.nodes.iter_mut().for_each(|node| node.add_flags(flags));
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.await_ready();
        cluster
    }

    /// Three nodes that know of each other; none is started.
    ///
    /// # Panics
    /// If there is no room for their folders.
    #[must_use]
    pub fn prepare() -> Self {
        let folder = tempfile::Builder::new().prefix("dsync-process-").tempdir().unwrap();
        let nodes = ["n1", "n2", "n3"].map(|name| Node::new(folder.path(), name));
        let mut cluster = Self { nodes, folder };
        let secret = cluster.write_secret("secret", "the secret of the process suites");
        let peers = cluster.peers();
        for node in &mut cluster.nodes {
            node.join(&peers, NODES, &secret);
        }
        cluster
    }

    /// Writes a file with a secret that only its owner may read.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn write_secret(&self, file: &str, secret: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        fs::write(&path, format!("{secret}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// What a node is told of all nodes.
    #[must_use]
    pub fn peers(&self) -> String {
        let peers = self.nodes.each_ref().map(|node| format!("{}={}", node.name, node.peer));
        peers.join(",")
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub fn clients(&self) -> [SocketAddr; NODES] {
        self.nodes.each_ref().map(|node| node.client)
    }

    /// Waits until all three serve.
    pub fn await_ready(&self) {
        for node in &self.nodes {
            until(&format!("{} is ready", node.name), || node.is_ready().then_some(()));
        }
    }

    /// The number of the node that leads, once there is exactly one and all agree on it.
    #[must_use]
    pub fn leader(&self) -> usize {
        until("all nodes name one leader", || {
            let statuses: Vec<Value> =
                self.nodes.iter().map(Node::status).collect::<Option<_>>()?;
            let leads = |at: &usize| statuses[*at]["state"] == "LEADER";
            let leader = (0..NODES).find(leads)?;
            let name = self.nodes[leader].name.as_str();
            let agree = statuses.iter().all(|status| {
                status["leader"] == name && status["term"] == statuses[leader]["term"]
            });
            agree.then_some(leader)
        })
    }

    /// The number of a node that follows.
    #[must_use]
    pub fn follower(&self) -> usize {
        (self.leader() + 1) % NODES
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for node in &self.nodes {
            eprintln!("---- the end of the log of {} ----\n{}", node.name, node.log_tail());
        }
        if std::env::var_os("DSYNC_KEEP").is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("kept: {}", self.folder.path().display());
        }
    }
}

//! `dsync local` as a person at a terminal has it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::Signal;

use super::until::until;
use super::{ports, process_table, program};

/// `dsync local` prefers peer and admin ports that are 10 and 20 above the client's.
const OTHER_PORTS: u16 = 25;

/// A `dsync local` and its three nodes. They end with it.
#[derive(Debug)]
pub struct Local {
    /// Ports for clients.
    pub client_ports: [u16; 3],
    screen: PathBuf,
    child: Option<Child>,
}

impl Local {
    /// Starts it on `folder`, with more arguments.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(folder: &Path, client_ports: [u16; 3], more: &[&str]) -> Self {
        let screen = folder.join(format!("screen-{}", ports::free().port()));
        let file = File::create(&screen).unwrap();
        let ports = client_ports.map(|port| port.to_string()).join(",");
        let child = Command::new(program::path())
            .arg("local")
            .args(["--address", &ports::host().to_string(), "--client-ports", &ports, "--data"])
            .arg(folder.join("local"))
            .args(more)
            .env("DSYNC_LEASE_MIN", "1ms")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("the program can be started");
        Self { client_ports, screen, child: Some(child) }
    }

    /// Three ports that nobody listens on, with room behind them for the nodes' other ports: a port
    /// that another test took while its node is down would keep that from coming back.
    #[must_use]
    pub fn free_ports() -> [u16; 3] {
        let ports = [(); 3].map(|()| ports::free().port());
        while ports::free().port().abs_diff(ports[2]) < OTHER_PORTS {}
        ports
    }

    /// What it has shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        fs::read_to_string(&self.screen).unwrap_or_default()
    }

    /// Waits until it has shown `words`, `count` times.
    pub fn await_words(&self, words: &str, count: usize) {
        until(&format!("the screen says {words:?}"), || {
            (self.screen().matches(words).count() >= count).then_some(())
        });
    }

    /// Waits until all nodes are ready.
    pub fn await_ready(&self) {
        self.await_words("All nodes are ready", 1);
    }

    /// The process ids of the nodes as the screen shows them, each node's latest.
    ///
    /// # Panics
    /// If a node has not been ready yet.
    #[must_use]
    pub fn node_pids(&self) -> [u32; 3] {
        let screen = self.screen();
        [1, 2, 3].map(|number| {
            let ready = format!("node {number}  ready");
            let line = screen.lines().rfind(|line| line.starts_with(&ready));
            let pid = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
            pid.unwrap_or_else(|| panic!("node {number} was not ready:\n{screen}"))
        })
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub fn clients(&self) -> [SocketAddr; 3] {
        self.client_ports.map(|port| SocketAddr::from((ports::host(), port)))
    }

    /// Sends a signal to it, not to its nodes.
    ///
    /// # Panics
    /// If it does not run.
    pub fn signal(&self, signal: Signal) {
        process_table::signal(self.child.as_ref().expect("it runs").id(), signal);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = until("`dsync local` ends", || child.try_wait().unwrap());
        self.child = None;
        status
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- the screen of dsync local ----\n{}", self.screen());
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! One node: its process, its folder, its ports.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::http::HttpClient;
use super::until::until;
use super::{ports, process_table, program};

/// For a probe: a node that is under stress may be slow, one that is stopped never answers.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a log is shown.
const LOG_TAIL_LINES: usize = 60;
/// Small, so that many logs can be made quickly.
const SEGMENT_BYTES: &str = "2MiB";

/// A node. Its process ends with it, and with the process that started it.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where the other nodes do.
    pub peer: SocketAddr,
    /// Where its probes are.
    pub admin: SocketAddr,
    /// Its data.
    pub data: PathBuf,
    home: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// The node ends when this is closed, so it outlives nobody.
    _lifeline: Option<ChildStdin>,
}

impl Node {
    /// A node that has not been started, with a folder of its own in `folder`.
    ///
    /// # Panics
    /// If the folder cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let home = folder.join(name);
        fs::create_dir_all(&home).unwrap();
        Self {
            name: name.to_owned(),
            client: ports::free(),
            peer: ports::free(),
            admin: ports::free(),
            data: home.join("data"),
            home,
            arguments: Vec::new(),
            process: None,
        }
    }

    /// Says who the others are and what proves that.
    pub fn join(&mut self, peers: &str, founders: usize, secret: &Path) {
        let [client, peer, admin] = [self.client, self.peer, self.admin].map(|a| a.to_string());
        let (data, secret) = (self.data.display().to_string(), secret.display().to_string());
        let founders = founders.to_string();
        let pairs = [
            ("--name", self.name.as_str()),
            ("--data", &data),
            ("--peers", peers),
            ("--founders", &founders),
            ("--listen-client", &client),
            ("--listen-peer", &peer),
            ("--listen-admin", &admin),
            ("--secret-file", &secret),
            ("--segment-bytes", SEGMENT_BYTES),
            ("--log-format", "text"),
        ];
        let words = pairs.iter().flat_map(|(flag, value)| [*flag, value]).map(str::to_owned);
        self.arguments = ["node".to_owned(), "--exit-with-parent".to_owned()].into_iter().collect();
        self.arguments.extend(words);
    }

    /// Starts the process. What it says goes to the end of its log.
    ///
    /// # Panics
    /// If it runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = self.open_log();
        let mut child = Command::new(program::path())
            .args(&self.arguments)
            .env("DSYNC_LEASE_MIN", "1ms")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the program can be started");
        let lifeline = child.stdin.take();
        self.process = Some(Process { child, _lifeline: lifeline });
    }

    /// Kills the process (SIGKILL) without waiting for its end.
    pub fn kill_at_once(&mut self) {
        let process = self.process.as_mut().expect("it runs");
        process.child.kill().expect("it can be killed");
    }

    /// Waits until the process has ended, however it does.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it was started");
        until(&format!("{} ends", self.name), || process.child.try_wait().unwrap())
    }

    /// Kills the process and waits for its end.
    pub fn kill(&mut self) {
        self.kill_at_once();
        self.wait();
    }

    /// Asks the process to stop (SIGTERM) and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        process_table::signal(self.pid(), signal);
    }

    /// The process's id.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").child.id()
    }

    /// Bytes of memory that the process has.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        process_table::resident_bytes(self.pid())
    }

    /// `GET /status`, if it answers.
    #[must_use]
    pub fn status(&self) -> Option<Value> {
        let response = HttpClient::new(self.client, PROBE_TIMEOUT).get("/status").ok()?;
        (response.status == 200).then(|| response.json())
    }

    /// `GET /readyz?verbose`: whether it serves, and what it says.
    #[must_use]
    pub fn readiness(&self) -> Option<(bool, String)> {
        let answer = HttpClient::new(self.admin, PROBE_TIMEOUT).get("/readyz?verbose").ok()?;
        Some((answer.status == 200, answer.text()))
    }

    /// True if it serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().is_some_and(|(ready, _)| ready)
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of that.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("node.log")
    }

    fn open_log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

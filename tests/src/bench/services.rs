//! The services that are measured: started afresh, ended by their process ids.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::http::HttpClient;
use crate::process::ports;

const NODES: usize = 3;
/// For a cluster to find its leader, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A cluster that runs.
pub trait Cluster {
    /// Where clients reach it, the leader first; `None`: there is no leader now.
    fn servers(&self) -> Option<Vec<SocketAddr>>;
}

/// A cluster with one of the interfaces that it has.
pub struct Service {
    name: &'static str,
    api: String,
    cluster: Rc<dyn Cluster>,
}

impl Service {
    /// A cluster by one of its interfaces.
    pub fn new(name: &'static str, api: &str, cluster: impl Cluster + 'static) -> Self {
        Self { name, api: api.to_owned(), cluster: Rc::new(cluster) }
    }

    /// Etcd by both of its interfaces.
    pub fn both_of_etcd(etcd: Etcd) -> [Self; 2] {
        let cluster: Rc<dyn Cluster> = Rc::new(etcd);
        ["etcd-lock", "etcd-mutex"].map(|api| Self {
            name: api,
            api: api.to_owned(),
            cluster: Rc::clone(&cluster),
        })
    }

    /// Its word in tables.
    pub fn word(&self) -> &'static str {
        self.name
    }

    /// Measures it and gives back what `dsync bench locks --json` says.
    ///
    /// # Errors
    /// If there is no leader, or nothing works.
    pub fn bench(&self, program: &Path, clients: usize, duration: &str) -> anyhow::Result<Value> {
        let servers = await_some("a leader", || self.cluster.servers())?;
        let servers: Vec<_> = servers.iter().map(|server| format!("http://{server}")).collect();
        let arguments = format!("bench locks --json --clients {clients} --duration {duration}");
        let output = Command::new(program)
            .args(arguments.split(' '))
            .args(["--api", &self.api, "--server", &servers.join(",")])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        if !output.status.success() {
            bail!("`{} {arguments}` failed: {}", program.display(), output.status);
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// `dsync local`.
pub struct Local {
    _process: Process,
    nodes: [SocketAddr; NODES],
}

impl Local {
    /// Starts it with its data in `folder`.
    ///
    /// # Errors
    /// If it cannot be started or does not find a leader.
    pub fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let nodes = [(); NODES].map(|()| ports::free());
        let ports = nodes.map(|node| node.port().to_string()).join(",");
        let address = ports::host().to_string();
        let mut command = Command::new(program);
        command
            .args(["local", "--address", &address, "--client-ports", &ports, "--data"])
            .arg(folder.join("dsync"));
        let process = Process::start(command, &folder.join("dsync.log"))?;
        let local = Self { _process: process, nodes };
        await_some("dsync to find a leader", || local.servers())?;
        Ok(local)
    }
}

impl Cluster for Local {
    fn servers(&self) -> Option<Vec<SocketAddr>> {
        let status = |node: SocketAddr| get(node, "/status");
        leader_first(&self.nodes, |node| {
            let status = status(node)?;
            Some((status["state"] == "LEADER", status["leader"].is_string()))
        })
    }
}

/// Three etcd members.
pub struct Etcd {
    _processes: Vec<Process>,
    members: [SocketAddr; NODES],
}

impl Etcd {
    /// Starts them with their data in `folder`; `None`: etcd is not installed.
    ///
    /// # Errors
    /// If they cannot be started or do not find a leader.
    pub fn start(folder: &Path) -> anyhow::Result<Option<Self>> {
        if !is_installed() {
            return Ok(None);
        }
        let members = [(); NODES].map(|()| ports::free());
        let peers = [(); NODES].map(|()| ports::free());
        let mut processes = Vec::new();
        for (number, client) in members.iter().enumerate() {
            let command = member(folder, number, client, &peers);
            processes.push(Process::start(command, &folder.join(format!("etcd{number}.log")))?);
        }
        let etcd = Self { _processes: processes, members };
        await_some("etcd to find a leader", || etcd.servers())?;
        Ok(Some(etcd))
    }
}

impl Cluster for Etcd {
    fn servers(&self) -> Option<Vec<SocketAddr>> {
        leader_first(&self.members, |member| {
            let mut client = HttpClient::new(member, PROBE_TIMEOUT);
            let answer = client.post("/v3/maintenance/status", &json!({})).ok()?;
            let status: Value = serde_json::from_slice(&answer.body).ok()?;
            let leader = status["leader"].as_str().filter(|leader| *leader != "0");
            Some((
                leader.is_some() && status["header"]["member_id"] == status["leader"],
                leader.is_some(),
            ))
        })
    }
}

fn is_installed() -> bool {
    let ask = Command::new("etcd").arg("--version").stdout(Stdio::null()).status();
    ask.is_ok_and(|status| status.success())
}

/// All settings but names and addresses are etcd's own: every write is synced.
fn member(
    folder: &Path,
    number: usize,
    client: &SocketAddr,
    peers: &[SocketAddr; NODES],
) -> Command {
    let url = |address: &SocketAddr| format!("http://{address}");
    let all = peers.iter().enumerate().map(|(n, peer)| format!("e{n}={}", url(peer)));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.join(format!("etcd{number}")));
    for (flag, value) in [
        ("--name", format!("e{number}")),
        ("--listen-client-urls", url(client)),
        ("--advertise-client-urls", url(client)),
        ("--listen-peer-urls", url(&peers[number])),
        ("--initial-advertise-peer-urls", url(&peers[number])),
        ("--initial-cluster", all.collect::<Vec<_>>().join(",")),
    ] {
        command.arg(flag).arg(value);
    }
    command
}

/// All nodes, the leader first, if there is exactly one and every node knows a leader.
fn leader_first(
    nodes: &[SocketAddr; NODES],
    ask: impl Fn(SocketAddr) -> Option<(bool, bool)>,
) -> Option<Vec<SocketAddr>> {
    let answers: Vec<_> = nodes.iter().map(|node| ask(*node)).collect::<Option<_>>()?;
    let leads = |at: &usize| answers[*at].0;
    let mut leaders = (0..NODES).filter(leads);
    let leader = leaders.next()?;
    let settled = leaders.next().is_none() && answers.iter().all(|(_, knows)| *knows);
    let mut sorted = nodes.to_vec();
    sorted.rotate_left(leader);
    settled.then_some(sorted)
}

fn get(node: SocketAddr, path: &str) -> Option<Value> {
    let response = HttpClient::new(node, PROBE_TIMEOUT).get(path).ok()?;
    serde_json::from_slice(&response.body).ok()
}

fn await_some<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} for {what}");
        }
        sleep(PAUSE);
    }
}

/// A child that is asked to stop, and made to, when this is dropped.
struct Process(Child);

impl Process {
    fn start(mut command: Command, log: &PathBuf) -> anyhow::Result<Self> {
        let said = File::create(log)?;
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let program = command.get_program().to_owned();
        Ok(Self(command.spawn().with_context(|| format!("cannot start {}", program.display()))?))
    }

    fn ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !self.ended()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = await_some("its end", || self.ended().then_some(()));
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_comes_first_once_all_agree_that_there_is_one() {
        let nodes = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let sorted = leader_first(&nodes, |node| Some((node == nodes[1], true))).unwrap();
        assert_eq!(sorted, [nodes[1], nodes[2], nodes[0]]);
        assert_eq!(leader_first(&nodes, |node| Some((node == nodes[1], node != nodes[2]))), None);
        assert_eq!(leader_first(&nodes, |_| Some((true, true))), None);
        assert_eq!(leader_first(&nodes, |node| (node != nodes[0]).then_some((true, true))), None);
    }
}

//! The supervisor against a shell in the place of a node.

use std::path::{Path, PathBuf};

use super::super::NodePorts;
use super::*;

struct Rig {
    home: tempfile::TempDir,
    events: mpsc::Receiver<Event>,
    order: watch::Sender<Order>,
    kept: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// A supervisor whose node is this shell script, run in a folder of its own.
fn supervise(script: &str, restart: bool) -> Rig {
    let home = tempfile::tempdir().unwrap();
    let (told, events) = mpsc::channel(8);
    let (order, orders) = watch::channel(Order::Run);
    let supervisor = Supervisor::new(plan(home.path(), script), told, orders, restart);
    Rig { home, events, order, kept: tokio::spawn(supervisor.keep()) }
}

fn plan(home: &Path, script: &str) -> NodePlan {
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    NodePlan {
        number: 1,
        ports: NodePorts { client: at, peer: at, admin: at },
        log: home.join("node.log"),
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".to_owned(), format!("cd '{}'; {script}", home.display())],
    }
}

impl Rig {
    async fn started(&mut self) -> u32 {
        match self.events.recv().await {
            Some(Event::Started { pid, .. }) => pid,
            other => panic!("{other:?}"),
        }
    }

    async fn died(&mut self) -> (String, Vec<String>) {
        match self.events.recv().await {
            Some(Event::Died { how, log_tail, .. }) => (how, log_tail),
            other => panic!("{other:?}"),
        }
    }

    async fn file(&self, name: &str) {
        let path = self.home.path().join(name);
        while !path.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn runs(pid: u32) -> bool {
    // A zombie has no memory, so its command line is empty.
    fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"))
        .is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn a_node_that_fails_is_reported_with_the_end_of_its_log() {
    let mut rig = supervise("echo 'the disk is on fire' >&2; exit 7", false);
    rig.started().await;
    let (how, log_tail) = rig.died().await;
    assert_eq!(how, "exit code 7");
    assert_eq!(log_tail, ["the disk is on fire"]);
    rig.kept.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_is_killed_is_reported_by_its_signal() {
    let mut rig = supervise("kill -9 $$", false);
    rig.started().await;
    assert_eq!(rig.died().await.0, "signal 9 (SIGKILL)");
    rig.kept.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_died_is_started_again() {
    let mut rig = supervise("exit 1", true);
    let first = rig.started().await;
    rig.died().await;
    assert_ne!(rig.started().await, first);
    rig.order.send_replace(Order::Stop);
    rig.kept.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_stops_in_good_order() {
    let mut rig = supervise("trap 'touch drained; exit 0' TERM; touch up; read line", true);
    rig.started().await;
    rig.file("up").await;
    rig.order.send_replace(Order::Stop);
    rig.kept.await.unwrap().unwrap();
    assert!(rig.home.path().join("drained").exists());
    assert!(rig.events.recv().await.is_none(), "a stop is not a death");
}

#[tokio::test]
async fn a_node_that_does_not_stop_is_killed_by_the_second_order() {
    let mut rig = supervise("trap '' TERM; touch up; while :; do read line || sleep 1; done", true);
    let pid = rig.started().await;
    rig.file("up").await;
    rig.order.send_replace(Order::Stop);
    rig.order.send_replace(Order::Kill);
    rig.kept.await.unwrap().unwrap();
    assert!(matches!(rig.events.recv().await, Some(Event::Killed { node: 1 })));
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_node_sees_the_end_of_its_input_when_its_keeper_has_gone() {
    let home = tempfile::tempdir().unwrap();
    let (told, _events) = mpsc::channel(1);
    let (_order, orders) = watch::channel(Order::Run);
    let plan = plan(home.path(), "read line; touch orphaned");
    let mut running = Supervisor::new(plan, told, orders, false).start().unwrap();
    assert!(running.child.try_wait().unwrap().is_none(), "the pipe is open while we live");
    // What the system does to the pipe when this process ends, however it ends.
    drop(running.lifeline);
    running.child.wait().await.unwrap();
    assert!(home.path().join("orphaned").exists());
}

//! What a person reads.

#![allow(clippy::cast_possible_truncation)]

use std::path::PathBuf;

use super::super::NodePorts;
use super::*;

fn screen() -> Screen<Vec<u8>> {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::open(Some(home.path().to_owned())).unwrap();
    let plans: Vec<_> = (1..=3).map(plan).collect();
    Screen::on(Vec::new(), &folder, &plans)
}

fn plan(number: usize) -> NodePlan {
    let at = |base: usize| std::net::SocketAddr::from(([127, 0, 0, 1], (base + number) as u16));
    NodePlan {
        number,
        ports: NodePorts { client: at(5000), peer: at(5010), admin: at(5020) },
        log: PathBuf::from(format!("/logs/node-{number}/node.log")),
        program: PathBuf::from("dsync"),
        arguments: Vec::new(),
    }
}

impl Screen<Vec<u8>> {
    fn text(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    fn ready(&mut self, node: usize, role: RoleKind, term: u64) {
        self.show(&Event::Started { node, pid: 100 + node as u32 });
        self.show(&Event::Seen { node, view: View { ready: true, role: Some((role, term)) } });
    }

    fn dies(&mut self, node: usize) {
        let log_tail = vec!["no space left".to_owned()];
        let how = "exit code 1".to_owned();
        self.show(&Event::Died { node, how, log_tail, restarts: true });
    }
}

#[test]
fn a_ready_node_is_one_line_with_its_address_role_and_process() {
    let mut screen = screen();
    screen.ready(2, RoleKind::Leader, 7);
    assert_eq!(screen.text(), "node 2  ready  http://127.0.0.1:5002  LEADER     term 7  pid 102\n");
}

#[test]
fn what_to_try_is_said_once_and_only_when_all_are_ready() {
    let mut screen = screen();
    screen.ready(1, RoleKind::Leader, 1);
    screen.ready(2, RoleKind::Follower, 1);
    assert!(!screen.text().contains("curl"));
    screen.ready(3, RoleKind::Follower, 1);
    let text = screen.text();
    assert_eq!(text.matches("  curl ").count(), 3, "{text}");
    screen.dies(3);
    screen.ready(3, RoleKind::Follower, 1);
    assert!(!screen.text().contains("curl"));
}

#[test]
fn a_node_that_cannot_start_shows_the_end_of_its_log_once() {
    let mut screen = screen();
    screen.show(&Event::Started { node: 1, pid: 1 });
    screen.dies(1);
    let text = screen.text();
    assert!(text.contains("node 1  died before it was ready: exit code 1; starting it again"));
    assert!(text.contains("/logs/node-1/node.log") && text.contains("| no space left"), "{text}");
    screen.show(&Event::Started { node: 1, pid: 2 });
    screen.dies(1);
    assert_eq!(screen.text().lines().count(), 1);
}

#[test]
fn a_node_that_dies_after_it_served_is_one_line() {
    let mut screen = screen();
    screen.ready(1, RoleKind::Leader, 1);
    screen.text();
    screen.dies(1);
    assert_eq!(screen.text(), "node 1  died: exit code 1; starting it again in 2 s\n");
}

#[test]
fn nodes_that_are_being_stopped_are_not_reported_as_not_ready() {
    let mut screen = screen();
    screen.ready(1, RoleKind::Leader, 1);
    screen.stopping(Order::Stop);
    screen.text();
    screen.show(&Event::Seen { node: 1, view: View::default() });
    assert_eq!(screen.text(), "");
}

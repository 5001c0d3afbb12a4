//! `dsync node` as a process: the modes of its files, and the signals that end it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../client/testing/output.rs"]
mod output;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use output::{Output, await_end};
use rustix::process::{Pid, Signal, kill_process};

/// A cluster of one.
struct Node {
    process: Child,
    log: Output,
}

impl Node {
    /// Started by a shell that runs `before` first.
    fn start(data: &Path, secret: &Path, before: &str) -> Self {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("{before}; exec \"$0\" \"$@\" 2>&1"),
            env!("CARGO_BIN_EXE_dsync"),
        ]);
        command.args(["node", "--name", "n1", "--founders", "1", "--log-format", "json"]);
        command.arg("--data").arg(data).arg("--secret-file").arg(secret);
        for port in ["--listen-client", "--listen-peer", "--listen-admin"] {
            command.args([port, "127.0.0.1:0"]);
        }
        command.args(["--segment-bytes", "1MiB"]).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let log = Output::of(process.stdout.take().unwrap());
        Self { process, log }
    }

    /// All lines up to one with this text.
    fn says(&self, text: &str) -> String {
        let mut said = String::new();
        loop {
            let line = self.log.line();
            assert!(!line.is_empty(), "it ended without {text:?}: {said}");
            said.push_str(&line);
            if line.contains(text) {
                return said;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        await_end(&mut self.process).code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn secret(folder: &Path, mode: u32) -> std::path::PathBuf {
    let path = folder.join("secret");
    fs::write(&path, "sixteen bytes ok\n").unwrap();
    set_mode(&path, mode);
    path
}

/// Every file and folder below, with its mode.
fn modes_below(folder: &Path) -> Vec<(std::path::PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push((entry.path(), mode(&entry.path())));
        if entry.path().is_dir() {
            found.extend(modes_below(&entry.path()));
        }
    }
    found
}

#[test]
fn what_a_node_makes_is_its_users_alone_and_the_root_of_a_volume_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, new) = (folder.path().join("volume"), folder.path().join("new/data"));
    fs::create_dir(&volume).unwrap();
    set_mode(&volume, 0o775);
    fs::create_dir(volume.join("lost+found")).unwrap();
    set_mode(&volume.join("lost+found"), 0o700);
    let secret = secret(folder.path(), 0o440);
    for (data, its_mode) in [(&volume, 0o775), (&new, 0o700)] {
        let mut node = Node::start(data, &secret, "umask 022");
        let said = node.says("ports are open");
        assert!(!said.contains("may read the cluster secret"), "{said}");
        assert_eq!(mode(data), its_mode);
        let found = modes_below(data);
        assert!(found.len() > 5, "{found:?}");
        for (path, mode) in found {
            let right = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, right, "{}", path.display());
        }
        node.signal(Signal::TERM);
        assert_eq!(node.code(), Some(0));
    }
}

#[test]
fn a_secret_that_others_may_write_is_refused_and_one_that_all_may_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let node = Node::start(&data, &secret(folder.path(), 0o644), "umask 077");
    assert!(node.says("ports are open").contains("may read the cluster secret"));
    drop(node);
    let mut node = Node::start(&data, &secret(folder.path(), 0o660), "true");
    assert!(node.says("--secret-file").contains("chmod 600"));
    assert_eq!(node.code(), Some(1));
}

#[test]
fn a_folder_with_other_files_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path(), 0o600);
    let mut node = Node::start(folder.path(), &secret, "true");
    assert!(node.says("not dsync's").contains("secret"));
    assert_eq!(node.code(), Some(1));
}

#[test]
fn a_hang_up_drains_a_node_as_term_does_unless_nohup_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret(folder.path(), 0o600);
    let mut node = Node::start(&folder.path().join("a"), &secret, "true");
    node.says("ports are open");
    node.signal(Signal::HUP);
    assert_eq!(node.code(), Some(0));
    assert!(node.log.rest().contains("SIGHUP"));

    let mut node = Node::start(&folder.path().join("b"), &secret, "trap '' HUP");
    node.says("ports are open");
    node.signal(Signal::HUP);
    node.signal(Signal::TERM);
    assert_eq!(node.code(), Some(0));
    let said = node.log.rest();
    assert!(said.contains("SIGTERM") && !said.contains("SIGHUP"), "{said}");
}

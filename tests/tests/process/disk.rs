//! A disk that was wiped, and a disk that two processes want.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::locks::{LockClient, Mode};
use dsync_tests::process::node::Node;
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};

use crate::turns;

const TIMEOUT: Duration = PATIENCE;

#[test]
fn a_wiped_node_stays_outside_and_says_why_and_the_others_serve() {
    let _turn = turns::together();
    let mut cluster = Cluster::start();
    let wiped = cluster.leader();
    let other = (wiped + 1) % cluster.nodes.len();
    let mut client = LockClient::new(cluster.nodes[other].client, TIMEOUT);
    client.acquire("before", "o", Mode::Exclusive).unwrap();
    let old_id = cluster.nodes[wiped].status().unwrap()["id"].clone();

    cluster.nodes[wiped].stop();
    fs::remove_dir_all(&cluster.nodes[wiped].data).unwrap();
    cluster.nodes[wiped].start();

    let node = &cluster.nodes[wiped];
    let outside = until("/status says why the wiped node is outside", || {
        let outside = node.status()?["outside"].as_str()?.to_owned();
        outside.contains("empty").then_some(outside)
    });
    let ready = until("/readyz says the same", || {
        let (ready, text) = node.readiness()?;
        (!ready && text.contains(&outside)).then_some(text)
    });
    assert!(ready.contains("[-]inside failed"), "{ready}");
    let status = node.status().unwrap();
    assert_ne!(status["id"], old_id, "a wiped disk is another one");
    assert_eq!(status["cluster_id"], serde_json::Value::Null, "{status}");

    until("the others serve", || client.acquire("after", "o", Mode::Exclusive).ok());
    let before = until("they are asked for a lock", || client.look("before").ok());
    assert_eq!(before.holders.len(), 1);
    let mut turned_away = LockClient::new(node.client, TIMEOUT);
    assert!(turned_away.acquire("other", "o", Mode::Exclusive).is_err());
    // And it stays so: the two others cannot be outvoted by a stranger with an old name.
    until("one of the others leads", || {
        let leaders = cluster.nodes.iter().filter_map(Node::status);
        let count = leaders.filter(|status| status["state"] == "LEADER").count();
        assert!(count <= 1, "{count} lead");
        (count == 1).then_some(())
    });
    measured(&format!("wiped node: {outside}"));
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_serves_on() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let first = &cluster.nodes[0];
    let folder = tempfile::tempdir().unwrap();
    let secret = cluster.write_secret("secret-2", "the secret of the process suites");
    let mut second = Node::new(folder.path(), "n1");
    second.data.clone_from(&first.data);
    let peers = cluster.peers().replace(&first.peer.to_string(), &second.peer.to_string());
    second.join(&peers, cluster.nodes.len(), &secret);
    second.start();
    let status = second.wait();
    assert_eq!(status.code(), Some(1), "{}", second.log());
    let log = second.log();
    let folder = first.data.display().to_string();
    assert!(log.contains("in use by another process") && log.contains(&folder), "{log}");
    until("the first is ready", || first.is_ready().then_some(()));
}

#[test]
fn a_copy_of_a_running_nodes_folder_is_kept_out_and_the_original_serves_on() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let original = &cluster.nodes[cluster.follower()];
    let mut client = LockClient::new(original.client, TIMEOUT);
    client.acquire("before", "o", Mode::Exclusive).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let secret = cluster.write_secret("secret-2", "the secret of the process suites");
    let mut copy = Node::new(folder.path(), &original.name);
    copy_folder(&original.data, &copy.data);
    let peers = cluster.peers().replace(&original.peer.to_string(), &copy.peer.to_string());
    copy.join(&peers, cluster.nodes.len(), &secret);
    copy.start();

    // It asks again and again, and says why it is outside.
    let why = || {
        let outside = copy.status()?["outside"].as_str()?.to_owned();
        outside.contains("node_id_in_use").then_some(outside)
    };
    let outside = until("the copy says that its node id is in use", why);
    for turn in 0..100 {
        client.acquire(&format!("after-{turn}"), "o", Mode::Exclusive).unwrap();
    }
    assert!(!copy.is_ready());
    assert!(original.is_ready(), "{}", original.log_tail());
    for node in &cluster.nodes {
        assert!(!node.log().contains("disk_refused"), "{}", node.log_tail());
    }
    measured(&format!("copy of a running node: {outside}"));
}

/// The newest segment that is in use, and how many of its bytes.
fn newest_segment(data: &Path) -> (PathBuf, u64) {
    let files = fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "segment")).collect();
    segments.sort();
    let used = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    // A segment that is only prepared has nothing but its header, of 64 bytes.
    let in_use = segments.into_iter().rev().map(|path| (used(&path), path));
    in_use.map(|(used, path)| (path, used)).find(|(_, used)| *used > 64).unwrap()
}

#[test]
fn a_log_that_lost_its_tail_is_damaged_and_says_where() {
    let _turn = turns::together();
    let mut cluster = Cluster::start();
    cluster.nodes[2].kill();
    let mut client = LockClient::new(cluster.nodes[0].client, TIMEOUT);
    for lock in 0..20 {
        until("a lock is granted by two nodes", || {
            client.acquire(&format!("lock-{lock}"), "o", Mode::Exclusive).ok()
        });
    }
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let (segment, used) = newest_segment(&cluster.nodes[1].data);
    fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(used / 2).unwrap();
    cluster.nodes[2].start();
    for _ in 0..2 {
        cluster.nodes[1].start();
        assert_eq!(cluster.nodes[1].wait().code(), Some(1));
    }
    let log = cluster.nodes[1].log();
    let place = format!("log damaged: {} at byte {}", segment.display(), used / 2);
    assert!(log.contains(&place), "{place}: {log}");
}

#[test]
fn a_disk_that_was_set_back_is_refused_at_every_start_and_no_grant_is_lost() {
    let _turn = turns::together();
    let mut cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    cluster.nodes[1].stop();
    copy_folder(&cluster.nodes[1].data, &copy);
    cluster.nodes[1].start();
    cluster.await_ready();
    // n3 has applied what n2 has said of itself before it served.
    let mut third = LockClient::new(cluster.nodes[2].client, TIMEOUT);
    until("n3 has caught up", || third.look("lock-0").ok());
    cluster.nodes[2].kill();
    let mut client = LockClient::new(cluster.nodes[0].client, TIMEOUT);
    for lock in 0..20 {
        until("a lock is granted by two nodes", || {
            client.acquire(&format!("lock-{lock}"), "o", Mode::Exclusive).ok()
        });
    }
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    fs::remove_dir_all(&cluster.nodes[1].data).unwrap();
    copy_folder(&copy, &cluster.nodes[1].data);

    cluster.nodes[2].start();
    for start in 0..6 {
        cluster.nodes[1].start();
        assert_eq!(cluster.nodes[1].wait().code(), Some(1), "start {start}");
    }
    let log = cluster.nodes[1].log();
    assert!(log.contains("boot_superseded"), "{log}");
    assert!(log.matches("disk_refused").count() >= 4, "{log}");
    assert!(cluster.nodes[1].data.join("refused").exists());

    cluster.nodes[0].start();
    for lock in 0..20 {
        let held = until("the rest of the cluster is asked for a lock", || {
            client.look(&format!("lock-{lock}")).ok()
        });
        assert_eq!(held.holders.len(), 1, "lock-{lock}");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_everybody_was_asked_to_stop() {
    let _turn = turns::together();
    let mut cluster = Cluster::start();
    let mut client = LockClient::new(cluster.nodes[0].client, TIMEOUT);
    client.acquire("kept", "o", Mode::Exclusive).unwrap();
    client.acquire("gone", "o", Mode::Exclusive).unwrap();
    client.release("gone", "o").unwrap();
    for node in &mut cluster.nodes {
        let status = node.stop();
        assert!(status.success(), "{} {status}: {}", node.name, node.log_tail());
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.await_ready();
    for node in &cluster.nodes {
        let mut client = LockClient::new(node.client, TIMEOUT);
        let kept = until("a node is asked for a lock", || client.look("kept").ok());
        assert_eq!(kept.holders.len(), 1);
        let gone = until("a node is asked for another", || client.look("gone").ok());
        assert_eq!(gone.holders, []);
        assert_eq!(node.status().unwrap()["boot_count"], 2);
    }
}

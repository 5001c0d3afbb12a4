//! A disk that was wiped, and a disk that two processes want.

use std::fs;
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

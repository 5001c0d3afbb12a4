//! The probes of the admin port.

use dsync_core::types::NodeId;

use super::fake_node::FakeNode;
use crate::handle::{NodeStatus, SubmitError};

#[tokio::test]
async fn a_node_without_a_quorum_is_alive_and_not_ready() {
    let node = FakeNode::granting();
    node.set_status(|status| status.raft.leader = None);
    *node.barrier.lock().unwrap() = Err(SubmitError::NoLeader { sent: false });
    assert_eq!(node.admin("/livez").await.status, 200);
    let ready = node.admin("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("[-]leader failed: no leader is known\n"), "{}", ready.text());
}

#[tokio::test]
async fn a_healthy_node_is_ready_and_lists_its_checks_when_asked() {
    let node = FakeNode::granting();
    let plain = node.admin("/readyz").await;
    assert_eq!((plain.status.as_u16(), plain.text().as_str()), (200, "ok\n"));
    for path in ["/readyz?verbose", "/readyz?a=b&verbose=true"] {
        let verbose = node.admin(path).await.text();
        assert!(verbose.contains("[+]caught-up ok\n"), "{verbose}");
        assert!(verbose.ends_with("readyz check passed\n"), "{verbose}");
    }
}

#[tokio::test]
async fn readiness_says_which_check_fails() {
    type Change = fn(&mut NodeStatus);
    let changes: [(Change, &str); 4] = [
        (
            |s| s.outside = Some("the disk is empty".to_owned()),
            "[-]inside failed: the disk is empty",
        ),
        (|s| s.membership = None, "[-]member failed"),
        (|s| s.node_id = NodeId(9), "[-]member failed"),
        (|s| s.registered = false, "[-]registered failed"),
    ];
    for (change, line) in changes {
        let node = FakeNode::granting();
        node.set_status(change);
        let ready = node.admin("/readyz").await;
        assert_eq!(ready.status, 503, "{line}");
        assert!(ready.text().contains(line), "{}", ready.text());
        assert!(ready.text().contains("[-]caught-up failed: not asked"), "{}", ready.text());
    }
}

#[tokio::test]
async fn a_node_that_gets_no_read_barrier_is_not_ready() {
    let node = FakeNode::granting();
    *node.barrier.lock().unwrap() = Err(SubmitError::Unknown);
    let ready = node.admin("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("[-]caught-up failed: no read barrier"), "{}", ready.text());
}

#[tokio::test]
async fn a_draining_node_is_alive_and_not_ready() {
    let node = FakeNode::granting();
    node.site.health.set_draining();
    assert_eq!(node.admin("/livez").await.status, 200);
    assert_eq!(node.admin("/readyz").await.status, 503);
}

#[tokio::test]
async fn startup_waits_for_the_log() {
    let mut node = FakeNode::granting();
    node.site.health = crate::health::Health::new();
    assert_eq!(node.admin("/startupz").await.status, 503);
    node.site.health.set_started();
    assert_eq!(node.admin("/startupz").await.status, 200);
}

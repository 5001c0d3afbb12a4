//! `GET /status`.

use dsync_core::raft::RoleKind;
use dsync_core::types::NodeId;
use serde_json::json;

use super::fake_node::FakeNode;

#[tokio::test]
async fn status_names_the_node_and_the_leader_in_one_notation() {
    let status = FakeNode::granting().get("/status").await.json();
    assert_eq!(status["node_id"], "n2");
    assert_eq!(status["leader"], "n1");
    assert_eq!(status["id"], "0000000000000002");
    assert_eq!(status["state"], "FOLLOWER");
    assert_eq!(status["term"], 5);
    assert_eq!(status["log_length"], 12);
    assert_eq!(status["commit_index"], 11);
    assert_eq!(status["locks"]["active_locks"], json!({}));
    assert_eq!(status["locks"]["wait_list"], json!({}));
    assert_eq!(status["locks"]["truncated"], false);
    assert_eq!(status["outside"], json!(null));
}

#[tokio::test]
async fn each_role_has_its_original_word() {
    let node = FakeNode::granting();
    for (role, word) in [
        (RoleKind::Leader, "LEADER"),
        (RoleKind::Follower, "FOLLOWER"),
        (RoleKind::Candidate, "CANDIDATE"),
    ] {
        node.set_status(|status| status.raft.role = role);
        assert_eq!(node.get("/status").await.json()["state"], word);
    }
}

#[tokio::test]
async fn a_node_that_is_outside_says_why() {
    let node = FakeNode::granting();
    node.set_status(|status| {
        status.outside = Some("its disk was empty; its seat belongs to another disk".to_owned());
        status.membership = None;
        status.raft.leader = None;
    });
    let status = node.get("/status").await.json();
    assert_eq!(status["outside"], "its disk was empty; its seat belongs to another disk");
    assert_eq!(status["leader"], json!(null));
}

#[tokio::test]
async fn a_leader_whose_name_is_not_known_is_named_by_its_id() {
    let node = FakeNode::granting();
    node.set_status(|status| status.raft.leader = Some(NodeId(0xabc)));
    assert_eq!(node.get("/status").await.json()["leader"], "0000000000000abc");
}

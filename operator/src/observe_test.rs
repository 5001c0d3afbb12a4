//! Two opinions make a node ready.

use serde_json::json;

use super::*;
use crate::nodes::ReportedNode;

fn pod(running: bool, ready: bool) -> Pod {
    let state = if running {
        json!({ "running": {} })
    } else {
        json!({ "waiting": { "reason": "CrashLoopBackOff" } })
    };
    serde_json::from_value(json!({
        "metadata": { "name": "locks-0" },
        "status": {
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
            "containerStatuses": [{
                "name": "node", "image": "", "imageID": "", "ready": ready, "restartCount": 0, "state": state,
            }],
        },
    }))
    .unwrap()
}

fn report(ready: bool) -> NodeReport {
    NodeReport {
        cluster_id: None,
        leader: None,
        members: Vec::new(),
        node: ReportedNode {
            name: "locks-0".into(),
            id: "1".into(),
            version: "1".into(),
            outside: None,
        },
        ready,
    }
}

#[test]
fn the_kubelet_and_the_node_have_to_agree() {
    let of = |kubelet: bool, node: bool| health(Some(&pod(true, kubelet)), Some(&report(node)));
    assert_eq!(of(true, true), Health::Ready);
    assert_eq!(of(false, false), Health::Lagging);
    assert_eq!(of(true, false), Health::Unsure);
    assert_eq!(of(false, true), Health::Unsure);
    assert_eq!(health(Some(&pod(true, true)), None), Health::Unsure, "cut off from the node");
    assert_eq!(health(Some(&pod(false, false)), None), Health::Down);
    assert_eq!(health(None, None), Health::Missing);
}

#[test]
fn a_container_that_is_being_made_is_no_trouble() {
    let mut starting = pod(false, false);
    let statuses = starting.status.as_mut().unwrap().container_statuses.as_mut().unwrap();
    let waiting = statuses[0].state.as_mut().unwrap().waiting.as_mut().unwrap();
    waiting.reason = Some("ContainerCreating".to_owned());
    assert_eq!(trouble(&starting), None);
    assert!(trouble(&pod(false, false)).unwrap().starts_with("CrashLoopBackOff"));
}

#[test]
fn a_template_is_known_once_its_generation_was_seen() {
    let set = |seen: i64| {
        json!({
            "metadata": { "generation": 3 }, "status": { "observedGeneration": seen, "updateRevision": "r" },
        })
    };
    assert!(is_taken_in(&set(3)) && !is_taken_in(&set(2)));
}

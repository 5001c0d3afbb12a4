//! The original routes and the lock reads over a real lock table: what one client does is what
//! another one sees. There is no consensus here: each operation is applied at once.

use serde_json::{Value, json};

use super::fake_node::FakeNode;
use super::real_locks::node;

async fn acquire(node: &FakeNode, lock: &str, client: &str, lock_type: &str) -> Value {
    let body = json!({"resource_id": lock, "client_id": client, "lock_type": lock_type});
    let reply = node.post("/lock/acquire", &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn release(node: &FakeNode, lock: &str, client: &str) -> Value {
    let body = json!({"resource_id": lock, "client_id": client});
    let reply = node.post("/lock/release", &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn locks(node: &FakeNode) -> Value {
    node.get("/status").await.json()["locks"].clone()
}

#[tokio::test]
async fn a_lock_passes_from_one_client_to_the_next_in_sight_of_all() {
    let node = node();
    let first = acquire(&node, "x", "a", "exclusive").await;
    assert_eq!(first["success"], true);
    let active = json!({"x": {"type": "exclusive", "owners": ["a"]}});
    assert_eq!(locks(&node).await["active_locks"], active);

    let waits = acquire(&node, "x", "b", "exclusive").await;
    assert_eq!(waits["success"], false);
    assert!(waits["message"].as_str().unwrap().contains("wait list"));
    assert_eq!(locks(&node).await["wait_list"], json!({"x": ["b"]}));
    let read = node.get("/v1/locks/x").await.json();
    assert_eq!(read["holders"][0]["owner"], "a");
    assert_eq!(read["holders"][0]["token"], first["token"]);
    assert_eq!(read["holders"][0]["hold"], first["hold_id"]);
    assert_eq!(read["holders"][0]["claim"], false);
    assert_eq!(read["holders"][0]["remaining_ms"], json!(null));
    assert_eq!(read["waiters"][0]["owner"], "b");
    assert_eq!(read["waiters"][0]["mode"], "exclusive");
    assert_eq!(read["waiters"][0]["attached"], false);

    assert_eq!(release(&node, "x", "a").await["success"], true);
    let claim = node.get("/v1/locks/x").await.json();
    assert_eq!(claim["holders"][0]["owner"], "b");
    assert_eq!(claim["holders"][0]["claim"], true);
    assert!(claim["holders"][0]["remaining_ms"].is_u64());
    let second = acquire(&node, "x", "b", "exclusive").await;
    assert_eq!(second["success"], true);
    assert!(second["token"].as_u64() > first["token"].as_u64());

    assert_eq!(release(&node, "x", "b").await["success"], true);
    assert_eq!(locks(&node).await["active_locks"], json!({}));
    assert_eq!(release(&node, "x", "b").await["success"], false);
}

#[tokio::test]
async fn readers_share_a_lock_and_its_type_says_so() {
    let node = node();
    for client in ["a", "b"] {
        assert_eq!(acquire(&node, "x", client, "shared").await["success"], true);
    }
    let active = json!({"x": {"type": "shared", "owners": ["a", "b"]}});
    assert_eq!(locks(&node).await["active_locks"], active);
    let upgrade = acquire(&node, "x", "a", "exclusive").await;
    assert_eq!(upgrade["success"], false);
    assert!(upgrade["message"].as_str().unwrap().contains("wait list"), "{upgrade}");
    assert_eq!(locks(&node).await["wait_list"], json!({"x": ["a"]}));
    assert_eq!(release(&node, "x", "b").await["success"], true);
    let upgraded = acquire(&node, "x", "a", "exclusive").await;
    assert_eq!(upgraded["success"], true, "{upgraded}");
    let active = json!({"x": {"type": "exclusive", "owners": ["a"]}});
    assert_eq!(locks(&node).await["active_locks"], active);
}

#[tokio::test]
async fn a_waiter_may_leave_the_queue() {
    let node = node();
    acquire(&node, "x", "a", "exclusive").await;
    acquire(&node, "x", "b", "exclusive").await;
    assert_eq!(release(&node, "x", "b").await["success"], true);
    assert_eq!(locks(&node).await["wait_list"], json!({}));
}

#[tokio::test]
async fn who_closes_a_ring_of_waits_is_refused_with_the_ring_and_the_others_go_on() {
    for size in [2, 3, 20] {
        let node = node();
        let client = |n: usize| format!("c{:02}", n % size);
        let lock = |n: usize| format!("l{:02}", n % size);
        for n in 0..size {
            assert_eq!(acquire(&node, &lock(n), &client(n), "exclusive").await["success"], true);
        }
        for n in 0..size - 1 {
            let waits = acquire(&node, &lock(n + 1), &client(n), "exclusive").await;
            assert!(waits["message"].as_str().unwrap().contains("wait list"), "{waits}");
        }
        let last = size - 1;
        let refused = acquire(&node, &lock(0), &client(last), "exclusive").await;
        assert_eq!(refused["success"], false);
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("Deadlock detected: "), "{message}");
        let cycle = refused["cycle"].as_array().unwrap();
        assert_eq!(cycle.len(), size, "{refused}");
        assert_eq!(cycle[0], json!({"client_id": client(last), "waits_for": lock(0)}));
        for n in 0..size {
            assert!(message.contains(&client(n)), "{message}");
        }
        // The refused one is not queued, gives back what it has, and the one behind it gets it.
        assert_eq!(release(&node, &lock(last), &client(last)).await["success"], true);
        let next = acquire(&node, &lock(last), &client(last - 1), "exclusive").await;
        assert_eq!(next["success"], true, "{next}");
    }
}

#[tokio::test]
async fn a_lease_ends_with_the_stamps_and_the_lock_is_free() {
    let node = node();
    let body = r#"{"resource_id":"x","client_id":"a","lock_type":"exclusive","ttl":3}"#;
    let held = node.post("/lock/acquire", body).await.json();
    assert_eq!(held["remaining_ms"], 3);
    for _ in 0..3 {
        // Each entry is a millisecond.
        acquire(&node, "other", "c", "exclusive").await;
    }
    assert_eq!(acquire(&node, "x", "b", "exclusive").await["success"], true);
}

#[tokio::test]
async fn long_lists_are_cut_and_say_so() {
    let node = node();
    for n in 0..10_001 {
        acquire(&node, &format!("l{n}"), &format!("c{n}"), "exclusive").await;
        if n == 9_999 {
            assert_eq!(locks(&node).await["truncated"], false);
        }
    }
    let cut = locks(&node).await;
    assert_eq!(cut["truncated"], true);
    assert_eq!(cut["active_locks"].as_object().unwrap().len(), 10_000);
}

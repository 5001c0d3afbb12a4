//! The life of a message over a real machine.

use axum::body::Body;
use dsync_core::machine::Settings;
use dsync_core::queue::{Consumer, Rules};
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::super::fake_node::{FakeNode, Reply};
use super::super::real_locks::node_with;
use super::{node, ok, problem, refused};

pub async fn push(node: &FakeNode, topic: &str, messages: Value) -> Value {
    ok(node, &format!("/v1/queues/{topic}/push"), json!({ "messages": messages })).await
}

pub async fn receive(node: &FakeNode, topic: &str, body: Value) -> Vec<Value> {
    let answer = ok(node, &format!("/v1/queues/{topic}/receive"), body).await;
    answer["messages"].as_array().unwrap().clone()
}

async fn settle(node: &FakeNode, topic: &str, items: Value) -> Value {
    let answer = ok(node, &format!("/v1/queues/{topic}/settle"), json!({ "items": items })).await;
    answer["results"].clone()
}

async fn get(node: &FakeNode, path: &str) -> Value {
    let reply = node.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

pub fn small(change: impl FnOnce(&mut Rules)) -> FakeNode {
    let mut settings = Settings::default();
    change(&mut settings.queues);
    node_with(settings)
}

async fn with_key(node: &FakeNode, path: &str, key: &str, body: &Value) -> Reply {
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .unwrap();
    node.send(request).await
}

#[tokio::test]
async fn a_message_is_delivered_as_it_was_pushed() {
    let node = node();
    let text = r#"{"messages":[{"body":{"b": 1.50,"a":[]},"headers":{"h":"v"},"priority":3,"group":"g"},
        {"base64":"3q2+7w=="}]}"#;
    let reply =
        node.send(super::super::fake_node::json_request("/v1/queues/a%2Fb/push", text)).await;
    let pushed = reply.json();
    assert_eq!(pushed["durability"], "quorum");
    let messages = receive(&node, "a%2Fb", json!({ "max": 10, "visibility": "1m" })).await;
    assert_eq!(messages.len(), 2);
    let first = &messages[0];
    assert_eq!(first["id"], pushed["results"][0]["id"]);
    assert_eq!(first["body"], json!({ "b": 1.5, "a": [] }));
    assert_eq!((&first["headers"], &first["priority"]), (&json!({ "h": "v" }), &json!(3)));
    assert_eq!((&first["group"], &first["deliveries"]), (&json!("g"), &json!(1)));
    assert_eq!(first["remaining_ms"], 60_000);
    assert_eq!(messages[1]["base64"], "3q2+7w==");
    assert!(messages[1].get("body").is_none());
    // To the byte.
    let shown = node.get("/v1/queues/a%2Fb/messages").await.text();
    assert!(shown.contains(r#""body":{"b": 1.50,"a":[]}"#), "{shown}");
}

#[tokio::test]
async fn a_header_may_have_any_name() {
    let node = node();
    push(&node, "t", json!([{ "body": 1, "headers": { "body": "x", "base64": "y" } }])).await;
    let messages = receive(&node, "t", json!({})).await;
    assert_eq!(messages[0]["headers"], json!({ "body": "x", "base64": "y" }));
}

#[tokio::test]
async fn an_empty_answer_has_looked_past_all_that_had_expired() {
    let node = node();
    let expiring: Vec<_> = (0..1000).map(|n| json!({ "body": n, "ttl": "1ms" })).collect();
    push(&node, "t", json!(expiring)).await;
    push(&node, "t", json!([{ "body": "last" }])).await;
    let messages = receive(&node, "t", json!({})).await;
    assert_eq!(messages[0]["body"], "last");
}

#[tokio::test]
async fn falsy_values_are_messages_and_null_is_none() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }, { "body": false }, { "body": "" }])).await;
    let bodies: Vec<Value> = receive(&node, "t", json!({ "max": 9 })).await;
    let bodies: Vec<&Value> = bodies.iter().map(|it| &it["body"]).collect();
    assert_eq!(bodies, [&json!(0), &json!(false), &json!("")]);
    let body = json!({ "messages": [{ "body": null }] });
    let said = refused(&node, "/v1/queues/t/push", body, 400, "invalid_field").await;
    assert_eq!(said["field"], "messages[0].body");
}

#[tokio::test]
async fn deliveries_are_settled_each_with_a_result_of_its_own() {
    let node = node();
    push(&node, "t", json!([{ "body": 1 }, { "body": 2 }, { "body": 3 }, { "body": 4 }])).await;
    let messages = receive(&node, "t", json!({ "max": 4 })).await;
    let receipt = |at: usize| messages[at]["receipt"].clone();
    let results = settle(
        &node,
        "t",
        json!([
            { "receipt": receipt(0), "action": "ack" },
            { "receipt": receipt(1), "action": "nack", "delay": "5s", "reason": "later" },
            { "receipt": receipt(2), "action": "extend", "visibility": "1h" },
            { "receipt": receipt(3), "action": "reject", "reason": "never" },
            { "receipt": receipt(0), "action": "ack" },
        ]),
    )
    .await;
    assert_eq!(results[0], json!({ "receipt": receipt(0), "outcome": "acked" }));
    assert_eq!(
        (&results[1]["outcome"], &results[1]["delay_ms"]),
        (&json!("nacked"), &json!(5_000))
    );
    assert_eq!(results[2]["remaining_ms"], 3_600_000);
    assert_eq!(results[3]["outcome"], "dead");
    assert_eq!(results[4]["error"]["code"], "stale_receipt");
    let topic = get(&node, "/v1/queues/t").await;
    assert_eq!(topic["main"], json!({ "ready": 0, "delayed": 1, "in_flight": 1 }));
    assert_eq!(topic["dead"], json!({ "ready": 1, "delayed": 0, "in_flight": 0 }));
    let dead = receive(&node, "t", json!({ "sub_queue": "dead" })).await;
    assert_eq!(dead[0]["death"]["cause"], "rejected");
    assert_eq!(dead[0]["failures"]["last"]["reason"], "never");
    let sum = get(&node, "/v1/queues/t/conservation").await;
    assert_eq!((&sum["holds"], &sum["pushed"]), (&json!(true), &json!(4)));
    assert_eq!((&sum["acked"], &sum["dead"], &sum["in_flight"]), (&json!(1), &json!(1), &json!(1)));
}

#[tokio::test]
async fn a_settle_that_settles_nothing_is_the_problem_of_its_first_item() {
    let node = node();
    push(&node, "t", json!([{ "body": 1 }])).await;
    let receipt = receive(&node, "t", json!({})).await[0]["receipt"].clone();
    let body = json!({ "items": [{ "receipt": receipt, "action": "ack" }] });
    ok(&node, "/v1/queues/t/settle", body.clone()).await;
    let said = refused(&node, "/v1/queues/t/settle", body.clone(), 409, "stale_receipt").await;
    assert_eq!(said["results"][0]["receipt"], receipt);
    refused(&node, "/v1/queues/none/settle", body, 404, "no_such_topic").await;
}

#[tokio::test]
async fn a_topic_is_made_by_a_push_or_its_settings_and_never_by_a_receive() {
    let node = node();
    refused(&node, "/v1/queues/t/receive", json!({}), 404, "no_such_topic").await;
    let waits = json!({ "wait": "1ms" });
    refused(&node, "/v1/queues/t/receive", waits, 404, "no_such_topic").await;
    problem(&node.get("/v1/queues/t").await, 404, "no_such_topic");
    let reply = node.patch_json("/v1/queues/t/settings", &json!({ "paused": true })).await.json();
    assert_eq!((&reply["created"], &reply["settings"]["paused"]), (&json!(true), &json!(true)));
    push(&node, "t", json!([{ "body": 1 }])).await;
    assert_eq!(receive(&node, "t", json!({})).await, Vec::<Value>::new(), "it is paused");
    let change = json!({ "paused": false, "nack_backoff": { "base": "2s" }, "expired": "dead" });
    let reply = node.patch_json("/v1/queues/t/settings", &change).await.json();
    assert_eq!(reply["created"], false);
    assert_eq!(reply["settings"]["nack_backoff"]["max_ms"], 2_000);
    assert_eq!(get(&node, "/v1/queues/t/settings").await["settings"], reply["settings"]);
    assert_eq!(receive(&node, "t", json!({})).await.len(), 1);
}

#[tokio::test]
async fn a_push_that_is_sent_again_under_its_id_pushes_nothing_twice() {
    let node = node();
    let body = json!({ "messages": [{ "body": 1 }, { "body": 2 }] });
    let first = with_key(&node, "/v1/queues/t/push", "k", &body).await.json();
    let again = with_key(&node, "/v1/queues/t/push", "k", &body).await.json();
    assert_eq!(again["results"], first["results"]);
    assert_eq!(get(&node, "/v1/queues/t").await["totals"]["pushed"], 2);
    let other = json!({ "messages": [{ "body": 3 }] });
    let reply = with_key(&node, "/v1/queues/t/push", "k", &other).await;
    problem(&reply, 422, "request_id_reused");
    let reply = with_key(&node, "/v1/queues/t/purge", "k", &json!({})).await;
    assert_eq!(problem(&reply, 400, "invalid_field")["field"], "idempotency-key");
}

#[tokio::test]
async fn a_key_makes_one_message_of_two_pushes_and_another_content_is_refused() {
    let node = node();
    let item = json!({ "body": 1, "dedupe_key": "d" });
    let first = push(&node, "t", json!([item])).await;
    let again = push(&node, "t", json!([item])).await;
    assert_eq!(again["results"][0]["id"], first["results"][0]["id"]);
    assert_eq!(again["results"][0]["duplicate"], true);
    let other = json!({ "messages": [{ "body": 2, "dedupe_key": "d" }] });
    refused(&node, "/v1/queues/t/push", other, 422, "dedupe_key_reused").await;
}

#[tokio::test]
async fn a_full_topic_takes_what_fits_and_refuses_the_rest_with_429() {
    let node = small(|rules| rules.messages_max = 2);
    let answer = push(&node, "t", json!([{ "body": 1 }, { "body": 2 }, { "body": 3 }])).await;
    let error = &answer["results"][2]["error"];
    assert_eq!((&error["code"], &error["status"]), (&json!("limit_reached"), &json!(429)));
    assert_eq!((&error["setting"], &error["limit"]), (&json!("queue_messages_max"), &json!(2)));
    let body = json!({ "messages": [{ "body": 4 }] });
    let reply = node.post_json("/v1/queues/t/push", &body).await;
    assert_eq!(problem(&reply, 429, "limit_reached")["retryable"], true);
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn a_delayed_message_is_cancelled_by_its_id() {
    let node = node();
    let id =
        push(&node, "t", json!([{ "body": 1, "delay": "1d" }])).await["results"][0]["id"].clone();
    let path = format!("/v1/queues/t/messages/{}", id.as_str().unwrap());
    let message = get(&node, &path).await["message"].clone();
    assert_eq!((&message["state"], &message["sub_queue"]), (&json!("delayed"), &json!("main")));
    assert!(message["remaining_ms"].as_u64().unwrap() > 86_000_000);
    let removed = node.delete(&path).await.json();
    assert_eq!((&removed["id"], &removed["removed"]), (&id, &json!(true)));
    problem(&node.delete(&path).await, 404, "no_such_message");
    problem(&node.get(&path).await, 404, "no_such_message");
    assert_eq!(get(&node, "/v1/queues/t/conservation").await["purged"], 1);
}

#[tokio::test]
async fn lists_come_in_pages_and_a_peek_changes_nothing() {
    let node = node();
    let items: Vec<Value> = (0..5).map(|n| json!({ "body": n, "priority": n })).collect();
    push(&node, "t", json!(items)).await;
    let first = get(&node, "/v1/queues/t/messages?limit=3").await;
    assert_eq!(first["messages"].as_array().unwrap().len(), 3);
    let next = first["continue"].as_str().unwrap();
    let rest = get(&node, &format!("/v1/queues/t/messages?limit=3&continue={next}")).await;
    assert_eq!(rest["messages"].as_array().unwrap().len(), 2);
    assert_eq!(rest["continue"], json!(null));
    let peeked = get(&node, "/v1/queues/t/peek?limit=2").await;
    let bodies: Vec<_> =
        peeked["messages"].as_array().unwrap().iter().map(|it| &it["body"]).collect();
    assert_eq!(bodies, [&json!(4), &json!(3)]);
    assert_eq!(get(&node, "/v1/queues/t").await["totals"]["delivered"], 0);
    receive(&node, "t", json!({})).await;
    let flying = get(&node, "/v1/queues/t/messages?state=in_flight").await;
    assert_eq!(flying["messages"][0]["deliveries"], 1);
}

#[tokio::test]
async fn topics_are_listed_by_prefix_page_by_page() {
    let node = node();
    for topic in ["a", "b1", "b2", "b3", "c"] {
        push(&node, topic, json!([{ "body": 1 }])).await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let topics = answer["topics"].as_array().unwrap().iter();
        topics.map(|it| it["topic"].as_str().unwrap().to_owned()).collect()
    };
    let first = get(&node, "/v1/queues?prefix=b&limit=2").await;
    assert_eq!(names(&first), ["b1", "b2"]);
    let next = first["continue"].as_str().unwrap();
    let rest = get(&node, &format!("/v1/queues?prefix=b&limit=2&continue={next}")).await;
    assert_eq!((names(&rest), &rest["continue"]), (vec!["b3".to_owned()], &json!(null)));
}

#[tokio::test]
async fn only_an_empty_topic_is_deleted_and_a_purge_empties_it() {
    let node = small(|rules| rules.step_max = 2);
    push(&node, "t", json!([{ "body": 1 }, { "body": 2 }, { "body": 3 }])).await;
    let full = problem(&node.delete("/v1/queues/t").await, 409, "not_empty");
    assert_eq!(full["messages"], 3);
    let purged = ok(&node, "/v1/queues/t/purge", json!({})).await;
    assert_eq!((&purged["messages"], &purged["more"]), (&json!(3), &json!(false)));
    assert_eq!(node.delete("/v1/queues/t").await.json()["deleted"], true);
    problem(&node.delete("/v1/queues/t").await, 404, "no_such_topic");
}

#[tokio::test]
async fn dead_messages_are_moved_back_all_or_by_id() {
    let node = small(|rules| rules.step_max = 2);
    push(&node, "t", json!([{ "body": 1 }, { "body": 2 }, { "body": 3 }, { "body": 4 }])).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        for message in receive(&node, "t", json!({ "max": 2 })).await {
            let items = json!([{ "receipt": message["receipt"], "action": "reject" }]);
            settle(&node, "t", items).await;
            ids.push(message["id"].clone());
        }
    }
    let body = json!({ "messages": [ids[3], "1.0"] });
    let answer = ok(&node, "/v1/queues/t/redrive", body).await;
    assert_eq!(answer["results"][0], json!({ "id": ids[3], "moved": true }));
    assert_eq!(answer["results"][1]["error"]["code"], "not_dead");
    let none = json!({ "messages": ["1.0"] });
    refused(&node, "/v1/queues/t/redrive", none, 409, "not_dead").await;
    let all = ok(&node, "/v1/queues/t/redrive", json!({})).await;
    assert_eq!(
        (&all["messages"], &all["more"], &all["full"]),
        (&json!(3), &json!(false), &json!(false))
    );
    assert_eq!(get(&node, "/v1/queues/t").await["main"]["ready"], 4);
}

#[tokio::test]
async fn what_administrators_do_is_among_the_audited_events_and_what_flows_is_not() {
    let node = node();
    let before = node.machine.load().audit().count;
    push(&node, "t", json!([{ "body": 1 }])).await;
    receive(&node, "t", json!({})).await;
    assert_eq!(node.machine.load().audit().count, before + 1, "the topic was made");
    ok(&node, "/v1/queues/t/purge", json!({})).await;
    assert_eq!(node.machine.load().audit().count, before + 2);
}

#[tokio::test]
async fn a_consumer_of_the_original_routes_is_shown() {
    let node = node();
    push(&node, "t", json!([{ "body": 1 }])).await;
    node.get("/queue/pop/t/me").await;
    let listed = get(&node, "/v1/queues/t/messages").await;
    assert_eq!(listed["messages"][0]["consumer"], "me");
    let consumer = Consumer { principal: "anonymous".to_owned(), name: "me".to_owned() };
    let machine = node.machine.load();
    let id = listed["messages"][0]["id"].as_str().unwrap().parse().unwrap();
    let view = machine.queues().message("t", id).unwrap();
    let flying = matches!(view.state,
        dsync_core::queue::StateView::InFlight { consumer: Some(ref it), .. } if *it == consumer);
    assert!(flying);
}

//! Push, receive, settle and the rest, against nodes that say what they are told to say.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Backoff, Body, Expired, Growth, ListMessages, Message, SettingsChange, Settle, Settlement,
    StateKind, SubQueue,
};
use crate::fake_node::{FakeNode, Say, ok, problem};
use crate::{Client, ClientSettings, Error};

fn client(nodes: &[&FakeNode]) -> Client {
    // A silent node is asked for so seldom that a slow machine hears each question before the next.
    let settings =
        ClientSettings { probe_interval: Duration::from_millis(500), ..Default::default() };
    Client::with_settings(nodes.iter().map(|node| &node.address), settings).unwrap()
}

fn pushed(ids: &[&str]) -> Say {
    let results: Vec<_> = ids.iter().map(|id| json!({ "id": id, "duplicate": false })).collect();
    ok(&json!({ "results": results, "durability": "quorum", "index": 812 }))
}

fn delivered(body: &str) -> Say {
    Say::Answer(
        200,
        format!(
            "{{\"messages\":[{{\"id\":\"812.1\",\"receipt\":\"812.1-815.0-1c\",{body},\"headers\":\
             {{\"trace\":\"7\"}},\"deliveries\":2,\"remaining_ms\":30000,\"pushed_ms\":90000,\
             \"age_ms\":120,\"priority\":3,\"group\":\"ann\",\"failures\":{{\"first\":{{\"cause\":\
             \"nacked\",\"reason\":\"no\",\"delivery\":1,\"at_ms\":7}},\"last\":{{\"cause\":\
             \"timed_out\",\"reason\":null,\"delivery\":1,\"at_ms\":8}}}},\"death\":null}}],\
             \"index\":815}}"
        ),
    )
}

fn item_error(code: &str, status: u16, retryable: bool) -> Value {
    json!({ "error": { "code": code, "title": code, "status": status, "detail": format!("it is {code}"),
                       "retryable": retryable, "limit": 7 } })
}

/// The problem of a batch of which nothing was taken.
fn none_taken(status: u16, code: &str, items: usize) -> Say {
    let results = vec![item_error(code, status, false); items];
    let body = json!({ "title": code, "detail": format!("it is {code}"), "code": code,
                       "retryable": false, "request_id": "r", "results": results });
    Say::Answer(status, body.to_string())
}

#[tokio::test]
async fn a_message_is_pushed_as_it_is_written_to_the_byte() {
    let node = FakeNode::scripted([pushed(&["812.0"])]);
    let body = "{\"b\":1.0, \"a\":12345678901234567890123}";
    let message = Message::json_text(body)
        .unwrap()
        .header("trace", "7")
        .delay(Duration::from_secs(5))
        .ttl(Duration::from_secs(60))
        .priority(3)
        .group("ann")
        .dedupe_key("invoice-17");
    assert_eq!(client(&[&node]).queue("a/b").push(message).await.unwrap().id, "812.0");
    let asked = &node.requests()[0];
    assert_eq!(asked.line, "POST /v1/queues/a%2Fb/push");
    assert!(asked.written.contains(body), "{}", asked.written);
    let sent = &asked.body["messages"][0];
    assert_eq!(
        (&sent["delay"], &sent["ttl"], &sent["priority"]),
        (&json!(5_000), &json!(60_000), &json!(3))
    );
    assert_eq!((&sent["group"], &sent["dedupe_key"]), (&json!("ann"), &json!("invoice-17")));
    assert_eq!(sent["headers"], json!({ "trace": "7" }));
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let node = FakeNode::scripted([pushed(&["1.0"]), delivered("\"base64\":\"3q2+7w==\"")]);
    let queue = client(&[&node]).queue("mails");
    queue.push(Message::bytes([0xde, 0xad, 0xbe, 0xef])).await.unwrap();
    assert_eq!(node.requests()[0].body, json!({ "messages": [{ "base64": "3q2+7w==" }] }));
    let received = queue.receive().messages().await.unwrap();
    assert_eq!(received[0].body, Body::Bytes(vec![0xde, 0xad, 0xbe, 0xef]));
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_sent_again_under_its_number() {
    for say in [Say::HangUp, problem(504, "outcome_unknown", false), Say::Answer(502, "?".into())] {
        let (bad, good) = (FakeNode::scripted([say]), FakeNode::scripted([pushed(&["812.0"])]));
        let queue = client(&[&bad, &good]).queue("mails");
        queue.push(Message::json(&1).unwrap()).await.unwrap();
        let (first, again) = (&bad.requests()[0], &good.requests()[0]);
        assert!(first.id.is_some());
        assert_eq!((&first.id, &first.written), (&again.id, &again.written));
    }
}

#[tokio::test]
async fn a_key_of_the_callers_own_goes_instead_of_the_number() {
    let (bad, good) = (FakeNode::scripted([Say::HangUp]), FakeNode::scripted([pushed(&["1.0"])]));
    let queue = client(&[&bad, &good]).queue("mails");
    queue.batch([Message::json(&1).unwrap()]).key("run-7").push().await.unwrap();
    for asked in [&bad.requests()[0], &good.requests()[0]] {
        assert_eq!((asked.key.as_deref(), asked.id.as_deref()), (Some("run-7"), None));
    }
}

#[tokio::test]
async fn what_found_no_room_is_pushed_again_in_the_same_request() {
    let part = json!({ "results": [{ "id": "1.0", "duplicate": false }, item_error("limit_reached", 429, true)],
                       "durability": "quorum", "index": 1 });
    let node = FakeNode::scripted([ok(&part), ok(&part), pushed(&["1.0", "9.0"])]);
    let queue = client(&[&node]).queue("mails");
    let messages = [1, 2].map(|it| Message::json(&it).unwrap());
    let reply = queue.batch(messages).push().await.unwrap();
    let ids: Vec<_> = reply.results.iter().map(|it| it.as_ref().unwrap().id.clone()).collect();
    assert_eq!(
        (ids, reply.durability.as_deref()),
        (vec!["1.0".into(), "9.0".into()], Some("quorum"))
    );
    let asked = node.requests();
    assert_eq!(asked.len(), 3);
    assert!(
        asked.iter().all(|it| it.id.as_deref().map(number) == asked[0].id.as_deref().map(number))
    );
}

/// The client and the number of a request's id, without the mark.
fn number(id: &str) -> &str {
    id.rsplit_once('-').unwrap().0
}

#[tokio::test]
async fn what_is_refused_is_told_item_by_item_and_of_one_as_an_error() {
    let node = FakeNode::scripted([none_taken(422, "dedupe_key_reused", 2)]);
    let queue = client(&[&node]).queue("mails");
    let messages = [1, 2].map(|it| Message::json(&it).unwrap());
    let reply = queue.batch(messages).push().await.unwrap();
    let errors: Vec<_> = reply.results.iter().map(|it| it.as_ref().unwrap_err()).collect();
    assert!(errors.iter().all(|it| (it.code.as_str(), it.status) == ("dedupe_key_reused", 422)));
    assert_eq!(errors[0].members["limit"], 7);
    let error = queue.push(Message::json(&1).unwrap()).await.unwrap_err();
    assert_eq!(error.code(), Some("dedupe_key_reused"));
}

#[tokio::test]
async fn a_request_that_is_wrong_itself_is_an_error_that_names_the_field() {
    let body = json!({ "code": "invalid_field", "detail": "no", "field": "messages[1].delay",
                       "retryable": false });
    let node = FakeNode::scripted([Say::Answer(400, body.to_string())]);
    match client(&[&node]).queue("mails").batch([Message::json(&1).unwrap()]).push().await {
        Err(Error::Refused { field, .. }) => {
            assert_eq!(field.as_deref(), Some("messages[1].delay"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_delivery_has_all_that_the_answer_says_and_counts_from_the_sending() {
    let node = FakeNode::scripted([delivered("\"body\":{\"to\":1.0}")]);
    let queue = client(&[&node]).queue("mails");
    let receive = queue.receive().max(10).max_bytes(9).visibility(Duration::from_secs(30));
    let before = crate::BootInstant::now();
    let received = receive.sub_queue(SubQueue::Dead).messages().await.unwrap();
    let it = &received[0];
    assert_eq!(
        (it.id.as_str(), it.receipt.as_str(), it.deliveries),
        ("812.1", "812.1-815.0-1c", 2)
    );
    assert_eq!(
        (it.priority, it.group.as_deref(), it.headers["trace"].as_str()),
        (3, Some("ann"), "7")
    );
    assert_eq!(it.failures.as_ref().unwrap().first.reason.as_deref(), Some("no"));
    assert_eq!(it.body.as_bytes(), b"{\"to\":1.0}");
    assert!(it.ends_at() >= before.plus(Duration::from_millis(29_970)));
    assert!(it.ends_at() <= crate::BootInstant::now().plus(Duration::from_millis(29_970)));
    let expected = json!({ "max": 10, "max_bytes": 9, "visibility": 30_000, "sub_queue": "dead" });
    assert_eq!(node.requests()[0].body, expected);
    assert_eq!(node.requests()[0].id, None, "the route takes none");
}

#[tokio::test]
async fn a_receive_that_waits_at_a_node_that_falls_silent_goes_on_at_another() {
    let silent = FakeNode::scripted([Say::Nothing]);
    let good = FakeNode::scripted([delivered("\"body\":1")]);
    let queue = client(&[&silent, &good]).queue("mails");
    let received = queue.receive().wait(Duration::from_secs(60)).messages().await.unwrap();
    assert_eq!(received.len(), 1);
    silent.await_requests("/receive", 1);
    let wait = good.await_requests("/receive", 1)[0].body["wait"].as_u64().unwrap();
    assert!((1..60_000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn each_delivery_is_settled_as_it_is_said() {
    let results = json!({ "results": [
        { "receipt": "a", "outcome": "acked" }, { "receipt": "b", "outcome": "nacked", "delay_ms": 9 },
        { "receipt": "c", "outcome": "extended", "remaining_ms": 8 }, item_error("stale_receipt", 409, false),
    ], "index": 1 });
    let node = FakeNode::scripted([ok(&results)]);
    let items = [
        Settle::ack("a"),
        Settle::nack("b").delay(Duration::ZERO).reason("ä".repeat(600)),
        Settle::extend("c", Duration::from_secs(8)),
        Settle::reject("d").reason("never"),
    ];
    let settled = client(&[&node]).queue("mails").settle(items).await.unwrap();
    let of = |at: usize| settled[at].as_ref().unwrap();
    assert_eq!(of(0).outcome, Settlement::Acked);
    assert_eq!((of(1).outcome, of(1).delay_ms), (Settlement::Nacked, Some(9)));
    assert_eq!((of(2).outcome, of(2).remaining_ms), (Settlement::Extended, Some(8)));
    assert_eq!(settled[3].as_ref().unwrap_err().code, "stale_receipt");
    let asked = &node.requests()[0];
    assert!(asked.id.is_some(), "an ack that is sent again has one effect");
    assert_eq!(
        asked.body["items"],
        json!([
            { "receipt": "a", "action": "ack" },
            { "receipt": "b", "action": "nack", "delay": 0, "reason": "ä".repeat(512) },
            { "receipt": "c", "action": "extend", "visibility": 8_000 },
            { "receipt": "d", "action": "reject", "reason": "never" },
        ])
    );
}

#[tokio::test]
async fn a_stale_receipt_is_an_error_of_its_own() {
    let node = FakeNode::scripted([none_taken(409, "stale_receipt", 1)]);
    let error = client(&[&node]).queue("mails").ack("a").await.unwrap_err();
    assert_eq!(error.code(), Some("stale_receipt"));
    assert_eq!(node.asked(), 1);
}

fn stored() -> Value {
    json!({ "id": "8.0", "sub_queue": "main", "state": "in_flight", "remaining_ms": 5, "body": [1],
            "headers": {}, "deliveries": 1, "pushed_ms": 1, "age_ms": 2, "priority": 0, "group": null,
            "failures": null, "death": null, "expires_in_ms": null, "bytes": 3, "consumer": null })
}

#[tokio::test]
async fn messages_are_looked_at_one_by_one_in_pages_and_as_they_come_next() {
    let page = json!({ "messages": [stored()], "continue": "xyz", "index": 1, "time_ms": 1 });
    let one = ok(&json!({ "message": stored(), "index": 1, "time_ms": 1 }));
    let removed = ok(&json!({ "id": "8.0", "removed": true, "index": 1 }));
    let node = FakeNode::scripted([one, removed, ok(&page), ok(&page)]);
    let queue = client(&[&node]).queue("mails");
    let message = queue.get("8.0").await.unwrap();
    assert_eq!((message.state, message.remaining_ms), (StateKind::InFlight, Some(5)));
    assert_eq!(message.body().unwrap().json::<Vec<u8>>().unwrap(), [1]);
    assert_eq!(serde_json::to_value(&message).unwrap(), stored(), "it is printed as it stands");
    assert!(queue.remove("8.0").await.unwrap().removed);
    let which = ListMessages {
        sub_queue: Some(SubQueue::Dead),
        state: Some(StateKind::InFlight),
        limit: Some(7),
        next: Some("a b".to_owned()),
    };
    assert_eq!(queue.list(&which).await.unwrap().next.as_deref(), Some("xyz"));
    assert_eq!(queue.peek(SubQueue::Main, 3).await.unwrap().messages.len(), 1);
    let lines: Vec<_> = node.requests().into_iter().map(|it| it.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/queues/mails/messages/8.0",
            "DELETE /v1/queues/mails/messages/8.0",
            "GET /v1/queues/mails/messages?sub_queue=dead&state=in_flight&limit=7&continue=a+b",
            "GET /v1/queues/mails/peek?sub_queue=main&limit=3",
        ]
    );
}

fn settings() -> Value {
    json!({ "visibility_ms": 30_000, "deliveries_max": 20,
            "nack_backoff": { "growth": "exponential", "base_ms": 1_000, "max_ms": 60_000, "jitter_percent": 10 },
            "timeout_backoff": { "growth": "fixed", "base_ms": 0, "max_ms": 0, "jitter_percent": 0 },
            "paused": false, "messages_max": 0, "ttl_ms": 0, "expired": "drop", "dedupe_window_ms": 300_000 })
}

fn topic(name: &str) -> Value {
    json!({ "topic": name, "settings": settings(), "main": { "ready": 1, "delayed": 2, "in_flight": 3 },
            "dead": { "ready": 0, "delayed": 0, "in_flight": 0 },
            "totals": { "pushed": 6, "duplicates": 0, "delivered": 3, "given_back": 0, "acked": 0, "nacked": 0,
                        "timed_out": 0, "died": 0, "redriven": 0, "expired": 0, "purged": 0 },
            "bytes": 99, "oldest_age_ms": null })
}

#[tokio::test]
async fn topics_are_counted_listed_changed_and_deleted() {
    let pages = |name: &str, next: Value| ok(&json!({ "topics": [topic(name)], "continue": next }));
    let node = FakeNode::scripted([
        ok(&topic("mails")),
        pages("mails", json!("p2")),
        pages("maps", json!(null)),
        ok(&json!({ "topic": "mails", "created": true, "settings": settings(), "index": 1 })),
        ok(&json!({ "topic": "mails", "deleted": true, "index": 1 })),
    ]);
    let client = client(&[&node]);
    let queue = client.queue("mails");
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.main.all(), stats.totals.pushed, stats.bytes), (6, 6, 99));
    let topics = client.topics_all("ma").await.unwrap();
    assert_eq!(topics.iter().map(|it| it.topic.as_str()).collect::<Vec<_>>(), ["mails", "maps"]);
    let linear = Backoff { growth: Growth::Linear, base_ms: 1, max_ms: 2, jitter_percent: 3 };
    let change = SettingsChange::new()
        .visibility(Duration::from_secs(5))
        .nack_backoff(linear)
        .paused(true)
        .expired(Expired::Dead);
    assert_eq!(queue.configure(&change).await.unwrap().created, Some(true));
    assert!(queue.delete().await.unwrap().deleted);
    let asked = node.requests();
    assert_eq!(
        asked[3].body,
        json!({ "visibility": 5_000, "paused": true, "expired": "dead",
                "nack_backoff": { "growth": "linear", "base": 1, "max": 2, "jitter_percent": 3 } })
    );
    let lines: Vec<_> = asked.into_iter().map(|it| it.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/queues/mails",
            "GET /v1/queues?prefix=ma&limit=1000",
            "GET /v1/queues?prefix=ma&limit=1000&continue=p2",
            "PATCH /v1/queues/mails/settings",
            "DELETE /v1/queues/mails",
        ]
    );
}

#[tokio::test]
async fn a_purge_and_a_redrive_go_on_until_nothing_is_left_to_do() {
    let step = |messages: u64, more: bool, full: bool| {
        ok(&json!({ "messages": messages, "more": more, "full": full, "index": 1 }))
    };
    let node = FakeNode::scripted([
        step(1_000, true, false),
        step(7, false, false),
        step(1_000, true, false),
        step(3, true, true),
    ]);
    let queue = client(&[&node]).queue("mails");
    assert_eq!(queue.purge(SubQueue::Dead).await.unwrap().messages, 1_007);
    let redriven = queue.redrive().await.unwrap();
    assert_eq!((redriven.messages, redriven.full), (1_003, true));
    assert_eq!(node.requests()[0].body, json!({ "sub_queue": "dead" }));
}

#[tokio::test]
async fn a_redrive_by_id_says_what_became_of_each() {
    let mut failed = item_error("not_dead", 409, false);
    failed["id"] = json!("2.0");
    let results = json!([{ "id": "1.0", "moved": true }, failed]);
    let node = FakeNode::scripted([ok(
        &json!({ "messages": 1, "more": false, "full": false, "results": results, "index": 1 }),
    )]);
    let queue = client(&[&node]).queue("mails");
    let redriven = queue.redrive_messages(&["1.0".into(), "2.0".into()]).await.unwrap();
    let results = redriven.results.unwrap();
    assert!(results[0].moved && !results[1].moved);
    assert_eq!(results[1].error.as_ref().unwrap().code, "not_dead");
}

//! The life of a hold over a real lock table.

use serde_json::json;

use super::{acquire, node, ok, refused};

#[tokio::test]
async fn a_grant_names_its_hold_its_tokens_and_what_is_left() {
    let node = node();
    let body = json!({"owner": "a", "ttl": "30s"});
    let grant = ok(&node, "/v1/locks/a%2Fb%20%C3%BC/acquire", body).await;
    assert_eq!(grant["remaining_ms"], 30_000);
    assert_eq!(grant["ttl_ms"], 30_000);
    assert!(grant["token"].as_u64().unwrap() >= 1 << 22);
    let lock = json!({"name": "a/b ü", "mode": "exclusive", "permits": 1, "token": grant["token"]});
    assert_eq!(grant["locks"], json!([lock]));
    assert!(grant["index"].is_u64() && grant["waited_ms"].is_u64());
    let seen = node.get("/v1/locks/a%2Fb%20%C3%BC").await.json();
    assert_eq!(seen["holders"][0]["hold"], grant["hold"]);
}

#[tokio::test]
async fn without_a_ttl_the_lease_is_the_clusters_and_0_is_none() {
    let node = node();
    let grant = acquire(&node, "x", "a", "exclusive").await;
    assert_eq!(grant["remaining_ms"], 60_000);
    let grant = ok(&node, "/v1/locks/y/acquire", json!({"owner": "a", "ttl": 0})).await;
    assert_eq!(grant["remaining_ms"], json!(null));
    assert_eq!(grant["ttl_ms"], 0);
}

#[tokio::test]
async fn asking_again_is_the_same_hold_renewed() {
    let node = node();
    let first = acquire(&node, "x", "a", "exclusive").await;
    let second = acquire(&node, "x", "a", "exclusive").await;
    assert_eq!((&second["hold"], &second["token"]), (&first["hold"], &first["token"]));
    // Holding more than what is asked is told as it is.
    let shared = acquire(&node, "x", "a", "shared").await;
    assert_eq!(shared["locks"][0]["mode"], "exclusive");
}

#[tokio::test]
async fn a_hold_is_renewed_and_released_by_its_id_with_the_locks_name_or_without() {
    let node = node();
    for (renew, release) in
        [("/v1/locks/x/renew", "/v1/locks/x/release"), ("/v1/locks/renew", "/v1/locks/release")]
    {
        let hold = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
        let renewed = ok(&node, renew, json!({"hold": hold, "ttl": "90s"})).await;
        assert_eq!(renewed["remaining_ms"], 90_000);
        assert_eq!(renewed["hold"], hold);
        let released = ok(&node, release, json!({"hold": hold})).await;
        assert_eq!(released["released"], true);
        assert_eq!(node.get("/v1/locks/x").await.json()["holders_count"], 0);
    }
}

#[tokio::test]
async fn a_hold_that_has_ended_is_409_with_the_lock_as_it_is_now() {
    let node = node();
    let old = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    ok(&node, "/v1/locks/x/release", json!({"hold": old})).await;
    let new = acquire(&node, "x", "b", "exclusive").await["hold"].clone();
    for route in ["release", "renew", "upgrade", "downgrade"] {
        let path = format!("/v1/locks/x/{route}");
        let problem = refused(&node, &path, json!({"hold": old}), 409, "hold_ended").await;
        assert_eq!(problem["lock"]["holders"][0]["hold"], new, "{route}");
        assert_eq!(problem["lock"]["name"], "x", "{route}");
    }
    for route in ["release", "renew"] {
        let path = format!("/v1/locks/{route}");
        let problem = refused(&node, &path, json!({"hold": old}), 409, "hold_ended").await;
        assert_eq!(problem["lock"], json!(null));
    }
    // Another lock's hold is none of this lock's.
    refused(&node, "/v1/locks/y/release", json!({"hold": new}), 409, "hold_ended").await;
    assert_eq!(node.get("/v1/locks/x").await.json()["holders_count"], 1);
}

#[tokio::test]
async fn several_locks_are_one_hold_whose_tokens_are_named_by_lock() {
    let node = node();
    let body = json!({"owner": "a", "ttl": 0, "locks": [
        {"name": "y", "mode": "shared"},
        {"name": "s", "mode": "permits", "permits": 2, "permits_max": 3},
        {"name": "x"},
    ]});
    let grant = ok(&node, "/v1/locks/acquire", body).await;
    let locks: Vec<_> = grant["locks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|lock| (&lock["name"], &lock["mode"]))
        .collect();
    let [s, x, y] = [json!("s"), json!("x"), json!("y")];
    let [permits, exclusive, shared] = [json!("permits"), json!("exclusive"), json!("shared")];
    assert_eq!(locks, [(&s, &permits), (&x, &exclusive), (&y, &shared)]);
    assert_eq!(grant["token"], grant["locks"][0]["token"]);
    let semaphore = node.get("/v1/locks/s").await.json();
    assert_eq!((&semaphore["permits_max"], &semaphore["permits_free"]), (&json!(3), &json!(1)));
    assert_eq!(semaphore["holders"][0]["permits"], 2);
    ok(&node, "/v1/locks/release", json!({"hold": grant["hold"]})).await;
    assert_eq!(node.get("/v1/locks/y").await.json()["holders"], json!([]));
}

#[tokio::test]
async fn an_upgrade_mints_a_token_and_a_downgrade_keeps_it() {
    let node = node();
    let shared = acquire(&node, "x", "a", "shared").await;
    let body = json!({"hold": shared["hold"], "ttl": "2m"});
    let upgraded = ok(&node, "/v1/locks/x/upgrade", body).await;
    assert_eq!(upgraded["hold"], shared["hold"]);
    assert!(upgraded["token"].as_u64() > shared["token"].as_u64());
    assert_eq!(upgraded["remaining_ms"], 120_000);
    assert_eq!(upgraded["locks"][0]["mode"], "exclusive");
    let down = ok(&node, "/v1/locks/x/downgrade", json!({"hold": shared["hold"]})).await;
    assert_eq!(down["token"], upgraded["token"]);
    acquire(&node, "x", "b", "shared").await;
}

#[tokio::test]
async fn an_upgrade_that_is_tried_while_others_read_is_held() {
    let node = node();
    let mine = acquire(&node, "x", "a", "shared").await["hold"].clone();
    acquire(&node, "x", "b", "shared").await;
    let problem = refused(&node, "/v1/locks/x/upgrade", json!({"hold": mine}), 409, "held").await;
    assert_eq!(problem["holders"], json!([{"owner": "b"}]));
}

#[tokio::test]
async fn renew_all_names_what_is_kept_what_is_lost_and_what_was_taken() {
    let node = node();
    let kept = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    let lost = acquire(&node, "y", "a", "exclusive").await["hold"].clone();
    ok(&node, "/v1/locks/release", json!({"hold": lost})).await;
    let taken = acquire(&node, "z", "a", "exclusive").await["hold"].clone();
    ok(&node, "/v1/locks/z/force", json!({"reason": "stuck"})).await;
    let body = json!({"owner": "a", "ttl": "90s", "holds": [kept, lost, taken]});
    let answer = ok(&node, "/v1/locks/renew-all", body).await;
    assert_eq!(answer["kept"], json!([{"hold": kept, "remaining_ms": 90_000}]));
    assert_eq!(answer["lost"], json!([lost]));
    assert_eq!(answer["revoked"], json!([taken]));
}

#[tokio::test]
async fn a_forced_release_revokes_or_ends_at_once_and_says_which() {
    let node = node();
    let hold = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    let forced = ok(&node, "/v1/locks/x/force", json!({"reason": "stuck since noon"})).await;
    assert_eq!((&forced["count"], &forced["holds"]), (&json!(1), &json!([hold])));
    let seen = node.get("/v1/locks/x").await.json();
    assert_eq!(seen["holders"][0]["revoked"], "stuck since noon");
    let told = refused(&node, "/v1/locks/x/renew", json!({"hold": hold}), 409, "revoked").await;
    assert_eq!(told["reason"], "stuck since noon");
    assert_eq!(node.get("/v1/locks/x").await.json()["holders_count"], 0);

    let hold = acquire(&node, "x", "b", "exclusive").await["hold"].clone();
    ok(&node, "/v1/locks/x/force", json!({"reason": "r", "hold": hold, "now": true})).await;
    assert_eq!(node.get("/v1/locks/x").await.json()["holders_count"], 0);
    refused(&node, "/v1/locks/x/force", json!({"reason": "r"}), 409, "not_held").await;
    let body = json!({"reason": "r", "hold": hold});
    refused(&node, "/v1/locks/x/force", body, 409, "hold_ended").await;
}

#[tokio::test]
async fn a_token_is_checked_against_the_holds_of_now() {
    let node = node();
    let first = acquire(&node, "x", "a", "exclusive").await;
    let check = async |body| ok(&node, "/v1/locks/x/check", body).await;
    let good = check(json!({"token": first["token"]})).await;
    assert_eq!(good["valid"], true);
    assert_eq!(good["holder"]["owner"], "a");
    assert_eq!(check(json!({"hold": first["hold"]})).await["valid"], true);
    ok(&node, "/v1/locks/x/release", json!({"hold": first["hold"]})).await;
    let second = acquire(&node, "x", "b", "exclusive").await;
    let late = check(json!({"token": first["token"]})).await;
    assert_eq!(late["valid"], false);
    assert_eq!(late["holder"], json!(null));
    assert_eq!(late["token_max"], second["token"]);
    assert_eq!(check(json!({"hold": first["hold"]})).await["valid"], false);
}

#[tokio::test]
async fn the_token_of_a_claim_is_nobodys_yet() {
    let node = node();
    let hold = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    let body = r#"{"resource_id":"x","client_id":"b","lock_type":"exclusive"}"#;
    node.post("/lock/acquire", body).await;
    ok(&node, "/v1/locks/x/release", json!({"hold": hold})).await;
    let claim = node.get("/v1/locks/x").await.json()["holders"][0].clone();
    assert_eq!(claim["claim"], true);
    let body = json!({"token": claim["token"]});
    assert_eq!(ok(&node, "/v1/locks/x/check", body).await["valid"], false);
}

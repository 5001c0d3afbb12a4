//! Each rule of the resource takes something and refuses something, evaluated as the API server does.

use serde_json::{Value, json};

use super::DSyncCluster;

#[allow(clippy::needless_pass_by_value)] // every caller has just made it
fn cluster(spec: Value) -> DSyncCluster {
    named("locks", &spec)
}

fn named(name: &str, spec: &Value) -> DSyncCluster {
    serde_json::from_value(json!({
        "apiVersion": "dsync.io/v1alpha1",
        "kind": "DSyncCluster",
        "metadata": { "name": name },
        "spec": spec,
    }))
    .unwrap()
}

#[allow(clippy::needless_pass_by_value)]
fn accept(spec: Value) {
    let cluster = cluster(spec);
    assert!(cluster.validate_cel().is_ok(), "{:?}: {:?}", cluster.spec, cluster.validate_cel());
}

#[track_caller]
fn refuse(spec: Value, message: &str) {
    let error = cluster(spec).validate_cel().expect_err("accepted").to_string();
    assert!(error.contains(message), "{error}");
}

fn accept_change(old: Value, new: Value) {
    let result = cluster(new).validate_cel_update(&cluster(old));
    assert!(result.is_ok(), "{result:?}");
}

#[track_caller]
fn refuse_change(old: Value, new: Value, message: &str) {
    let error = cluster(new).validate_cel_update(&cluster(old)).expect_err("accepted").to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn an_empty_spec_is_three_nodes_with_a_redis_of_their_own() {
    let cluster = cluster(json!({}));
    assert!(cluster.validate_cel().is_ok());
    assert_eq!(cluster.spec.replicas, 3);
    assert!(cluster.spec.redis.internal.is_some() && cluster.spec.redis.external.is_none());
}

#[test]
fn an_even_number_of_nodes_is_refused() {
    for odd in [1, 3, 5, 7] {
        accept(json!({ "replicas": odd }));
    }
    for even in [2, 4, 6] {
        refuse(json!({ "replicas": even }), "must be odd");
    }
}

#[test]
fn a_name_that_is_no_service_name_is_refused() {
    for good in ["a", "locks", "locks-2", &"a".repeat(40)] {
        assert!(named(good, &json!({})).validate_cel().is_ok(), "{good}");
    }
    for bad in ["2locks", "locks.prod", "locks-", &"a".repeat(41)] {
        assert!(named(bad, &json!({})).validate_cel().is_err(), "{bad}");
    }
}

#[test]
fn a_disk_has_a_size_and_only_grows() {
    accept(json!({ "storage": { "size": "500M" } }));
    refuse(json!({ "storage": { "size": "plenty" } }), "size like 10Gi");
    refuse(json!({ "storage": { "size": "0" } }), "size like 10Gi");
    let of = |size: &str| json!({ "storage": { "size": size } });
    accept_change(of("1Gi"), of("1024Mi"));
    accept_change(of("1Gi"), of("2Gi"));
    refuse_change(of("2Gi"), of("1Gi"), "only grow");
}

#[test]
fn a_disk_keeps_its_class_whether_it_was_set_or_not() {
    let unset = || json!({});
    let set = |name: &str| json!({ "storage": { "className": name } });
    accept_change(unset(), unset());
    accept_change(set("fast"), set("fast"));
    refuse_change(set("fast"), set("slow"), "className cannot change");
    refuse_change(unset(), set("fast"), "className cannot change");
    refuse_change(set("fast"), unset(), "className cannot change");
}

#[test]
fn redis_is_either_internal_or_external_for_good() {
    let internal = || json!({ "redis": { "internal": {} } });
    let external = || json!({ "redis": { "external": { "url": "redis://cache:6379" } } });
    accept(internal());
    accept(external());
    refuse(json!({ "redis": {} }), "exactly one");
    refuse(
        json!({ "redis": { "internal": {}, "external": { "url": "redis://cache:6379" } } }),
        "exactly one",
    );
    accept_change(internal(), internal());
    refuse_change(internal(), external(), "cannot be switched");
    refuse_change(external(), internal(), "cannot be switched");
}

#[test]
fn a_redis_url_has_no_password_in_it() {
    let of = |url: &str| json!({ "redis": { "external": { "url": url } } });
    accept(of("redis://cache.data.svc:6379"));
    accept(of("rediss://cache:6380/2"));
    refuse(of("redis://user:pass@cache:6379"), "without user and password");
    refuse(of("http://cache:6379"), "without user and password");
}

#[test]
fn the_secret_generation_is_only_raised() {
    let of = |generation: i64| json!({ "secretGeneration": generation });
    accept_change(of(1), of(1));
    accept_change(of(1), of(2));
    refuse_change(of(2), of(1), "only be raised");
}

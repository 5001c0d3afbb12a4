//! Each rule of the resource takes something and refuses something, evaluated as the API server does.

use serde_json::{Value, json};

use super::{DSyncCluster, definition};

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
#[track_caller]
fn accept(spec: Value) {
    let cluster = cluster(spec);
    assert!(cluster.validate_cel().is_ok(), "{:?}: {:?}", cluster.spec, cluster.validate_cel());
}

#[track_caller]
fn refuse(spec: Value, message: &str) {
    let error = cluster(spec).validate_cel().expect_err("accepted").to_string();
    assert!(error.contains(message), "{error}");
}

#[track_caller]
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
    assert_eq!(cluster.spec.redis.mode, super::RedisMode::Managed);
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
fn the_number_of_nodes_stays() {
    let of = |replicas: i32| json!({ "replicas": replicas });
    accept_change(of(3), of(3));
    accept_change(json!({}), of(3));
    refuse_change(of(3), of(5), "cannot change yet");
    refuse_change(of(3), of(1), "cannot change yet");
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
fn a_disk_has_a_size_and_keeps_it() {
    accept(json!({ "storage": { "size": "500M" } }));
    refuse(json!({ "storage": { "size": "plenty" } }), "size like 10Gi");
    refuse(json!({ "storage": { "size": "0" } }), "size like 10Gi");
    let of = |size: &str| json!({ "storage": { "size": size } });
    accept_change(of("1Gi"), of("1024Mi"));
    refuse_change(of("1Gi"), of("2Gi"), "size cannot change yet");
    refuse_change(of("2Gi"), of("1Gi"), "size cannot change yet");
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

fn managed() -> Value {
    json!({ "redis": { "mode": "Managed", "managed": {} } })
}

fn external() -> Value {
    json!({ "redis": { "mode": "External", "external": { "urlSecret": { "name": "r", "key": "url" } } } })
}

fn none() -> Value {
    json!({ "redis": { "mode": "None" } })
}

#[test]
fn a_redis_says_what_its_mode_needs() {
    accept(managed());
    accept(external());
    accept(none());
    accept(json!({ "redis": { "mode": "Managed" } }));
    refuse(json!({ "redis": { "mode": "External" } }), "external is needed");
    let mut both = external();
    both["redis"]["mode"] = json!("Managed");
    refuse(both, "external is needed with mode External, and only there");
    refuse(json!({ "redis": { "mode": "None", "managed": {} } }), "managed may only be set");
}

#[test]
fn only_no_redis_becomes_a_managed_one() {
    accept_change(managed(), managed());
    accept_change(none(), managed());
    accept_change(json!({}), managed());
    refuse_change(none(), external(), "mode cannot change");
    refuse_change(managed(), external(), "mode cannot change");
    refuse_change(external(), managed(), "mode cannot change");
    refuse_change(managed(), none(), "mode cannot change");
    refuse_change(external(), none(), "mode cannot change");
}

/// Optional at two levels, so each way from and to "not set" is a change of its own.
#[test]
fn the_disk_of_a_managed_redis_stays() {
    let of = |storage: Value| json!({ "redis": { "mode": "Managed", "managed": { "storage": storage } } });
    let bare = || json!({ "redis": { "mode": "Managed" } });
    accept_change(bare(), managed());
    accept_change(managed(), of(json!({ "size": "1Gi" })));
    refuse_change(managed(), of(json!({ "size": "2Gi" })), "size cannot change");
    refuse_change(of(json!({ "size": "2Gi" })), bare(), "size cannot change");
    accept_change(of(json!({ "className": "a" })), of(json!({ "className": "a" })));
    refuse_change(bare(), of(json!({ "className": "a" })), "className cannot change");
    refuse_change(of(json!({ "className": "a" })), bare(), "className cannot change");
    refuse_change(
        of(json!({ "className": "a" })),
        of(json!({ "className": "b" })),
        "className cannot change",
    );
    let once = |mode: &str| of(json!({ "accessMode": mode }));
    accept_change(bare(), once("ReadWriteOnce"));
    refuse_change(bare(), once("ReadWriteOncePod"), "accessMode cannot change");
    refuse_change(once("ReadWriteOncePod"), bare(), "accessMode cannot change");
    accept_change(
        none(),
        of(json!({ "size": "2Gi", "className": "a", "accessMode": "ReadWriteOncePod" })),
    );
    refuse(of(json!({ "size": "much" })), "size like 10Gi");
}

fn schema() -> Value {
    let definition = serde_json::to_value(definition()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// `kubectl explain` is the first page of documentation that anybody reads.
#[test]
fn every_field_is_described() {
    fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(|text| text.len() < 5) {
                missing.push(path.clone());
            }
            walk(field, &path, missing);
            walk(&field["items"], &format!("{path}[]"), missing);
        }
    }
    let mut missing = Vec::new();
    for part in ["spec", "status"] {
        walk(&schema()["properties"][part], part, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// Whoever waits for Ready must not be told by its absence that there is nothing to wait for.
#[test]
fn a_new_resource_is_of_unknown_readiness() {
    let status = &schema()["properties"]["status"];
    assert_eq!(status["default"]["conditions"][0]["type"], "Ready");
    assert_eq!(status["default"]["conditions"][0]["status"], "Unknown");
    assert_ne!(status["nullable"], true);
}

#[test]
fn the_definition_is_small_enough_for_a_client_side_apply() {
    let bytes = serde_json::to_string(&definition()).unwrap().len();
    assert!(bytes < 200_000, "{bytes}");
}

#[test]
fn people_find_it_and_get_all_does_not() {
    let definition = definition();
    assert_eq!(definition.spec.names.categories, Some(vec!["dsync".to_owned()]));
    assert_eq!(definition.spec.names.short_names, Some(vec!["dsc".to_owned()]));
    let columns = definition.spec.versions[0].additional_printer_columns.as_ref().unwrap();
    let names = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>();
    assert_eq!(
        names,
        ["Ready", "Desired", "Leader", "Version", "Redis", "Status", "Plan", "Blocked-On", "Age"]
    );
}

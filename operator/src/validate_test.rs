//! What CEL cannot say, refused by the name of its field.

use serde_json::json;

use super::*;

pub(crate) fn cluster(spec: &Value) -> DSyncCluster {
    serde_json::from_value(json!({
        "apiVersion": "dsync.io/v1alpha1",
        "kind": "DSyncCluster",
        "metadata": { "name": "locks", "namespace": "default", "uid": "u-1", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

fn check(spec: &Value) -> Result<Validated, Invalid> {
    validate(&cluster(spec), &Surroundings::default())
}

#[track_caller]
fn refuse(spec: &Value, message: &str) {
    let error = check(spec).expect_err("accepted").to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn redis_may_use_three_quarters_of_its_limit() {
    let memory = |limit: &str| {
        check(
            &json!({ "redis": { "managed": { "resources": { "limits": { "memory": limit } } } } }),
        )
    };
    let Ok(Validated { redis: ValidRedis::Managed { maxmemory_bytes, resources, .. }, .. }) =
        memory("1000Mi")
    else {
        panic!("not managed")
    };
    assert_eq!(maxmemory_bytes, 750 << 20);
    assert_eq!(resources["limits"]["memory"], "1000Mi");
    assert!(memory("10Mi").unwrap_err().to_string().contains("at least 64Mi"));
    assert!(memory("lots").unwrap_err().to_string().contains("limits.memory"));
}

#[test]
fn a_small_request_is_filled_in_but_never_above_a_limit() {
    let of = |resources: Value| check(&json!({ "resources": resources })).unwrap().resources;
    assert_eq!(of(json!({}))["requests"], json!({ "cpu": "100m", "memory": "256Mi" }));
    let tight = of(json!({ "limits": { "memory": "128Mi" } }));
    assert_eq!(tight, json!({ "requests": { "cpu": "100m" }, "limits": { "memory": "128Mi" } }));
    refuse(
        &json!({ "resources": { "requests": { "cpu": 2 }, "limits": { "cpu": "1500m" } } }),
        "spec.resources.requests.cpu: is above the limit",
    );
}

#[test]
fn a_field_that_no_pod_has_is_named() {
    let of = |spec: Value| json!({ "podTemplate": { "spec": spec } });
    assert!(
        check(&of(json!({ "hostNetwork": true, "containers": [{ "name": "node", "tty": true }] })))
            .is_ok()
    );
    refuse(
        &of(json!({ "hostnetwork": true })),
        "spec.podTemplate.spec.hostnetwork: is not a field",
    );
    refuse(&of(json!({ "containers": [{ "name": "a", "imagee": "x" }] })), "containers[0].imagee");
    refuse(&of(json!({ "hostNetwork": "yes" })), "spec.podTemplate.spec: is not part of a pod");
    refuse(&of(json!({ "containers": {} })), "must be a list");
}

//! The definition of the resource, with what the derive cannot say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::DSyncCluster;

/// The definition of [`DSyncCluster`].
///
/// The schema gives a new resource a status of Ready=Unknown: whoever waits for Ready right after
/// writing it (`kubectl wait`, `helm --wait`) waits for the operator, and is not told by its absence
/// that there is nothing to wait for.
///
/// # Panics
/// If the definition is not what the derive has always given, which a test would show first.
#[must_use]
#[allow(clippy::expect_used, reason = "a fault of the types, shown by the tests beside them")]
pub fn definition() -> CustomResourceDefinition {
    let mut value =
        serde_json::to_value(DSyncCluster::crd()).expect("definitions have a JSON form");
    let schema = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let status = &mut schema["properties"]["status"];
    if let Some(status) = status.as_object_mut() {
        status.remove("nullable");
        status.insert("default".to_owned(), first_status());
    }
    shorten(schema);
    serde_json::from_value(value).expect("only what a definition may have was put in")
}

fn first_status() -> Value {
    json!({ "conditions": [{
        "type": super::READY,
        "status": "Unknown",
        "reason": "NotSeen",
        "message": "No operator has looked at this resource yet.",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }] })
}

/// Quantities carry a page of text about Go types; a reader of `kubectl explain` wants one line.
fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("x-kubernetes-int-or-string") {
                object
                    .insert("description".to_owned(), json!("An amount, like `500m` or `512Mi`."));
            }
            object.values_mut().for_each(shorten);
        }
        Value::Array(list) => list.iter_mut().for_each(shorten),
        _ => {}
    }
}

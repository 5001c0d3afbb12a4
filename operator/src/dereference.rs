//! Everything that exists of a cluster, read live. Decisions are not made on a cache: one that is a
//! second behind would let two pods be restarted at once.

use std::collections::BTreeMap;

use dsync_core::contract::kubernetes::{COMPONENT_NODE, LABEL_CLUSTER, LABEL_COMPONENT};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, TypeMeta};
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::kind::Kind;
use crate::names::Names;

/// All that exists, by kind and name.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Objects with the cluster's label.
    pub objects: BTreeMap<(Kind, String), Value>,
    /// Pods of the nodes.
    pub pods: Vec<Pod>,
}

impl Found {
    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// All of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        let of_kind = self.objects.iter().filter(move |((other, _), _)| *other == kind);
        of_kind.map(|((_, name), object)| (name.as_str(), object))
    }

    /// The claims of the nodes' disks. Redis has one too, which says nothing of the cluster.
    pub fn node_claims(&self) -> impl Iterator<Item = (&str, &Value)> {
        let node = |object: &Value| object["metadata"]["labels"][LABEL_COMPONENT] == COMPONENT_NODE;
        self.of_kind(Kind::Claim).filter(move |(_, claim)| node(claim))
    }
}

/// Reads it.
///
/// # Errors
/// If the API server does not answer one of the lists.
pub async fn dereference(client: &Client, names: &Names) -> Result<Found, kube::Error> {
    let selector = format!("{LABEL_CLUSTER}={}", names.cluster);
    let all = ListParams::default().labels(&selector);
    let mut found = Found::default();
    for kind in Kind::ALL {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &names.namespace, &kind.resource());
        for object in api.list(&all).await?.items {
            let name = object.name_any();
            found.objects.insert((kind, name), value(kind, object));
        }
    }
    let pods = ListParams::default().labels(&names.selector_text(COMPONENT_NODE));
    found.pods = Api::namespaced(client.clone(), &names.namespace).list(&pods).await?.items;
    Ok(found)
}

/// One object that may not carry the label.
///
/// # Errors
/// If the API server does not answer.
pub async fn find(
    client: &Client,
    names: &Names,
    kind: Kind,
    name: &str,
) -> Result<Option<Value>, kube::Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &names.namespace, &kind.resource());
    Ok(api.get_opt(name).await?.map(|object| value(kind, object)))
}

/// With its type: the items of a list come without, and would look changed.
fn value(kind: Kind, mut object: DynamicObject) -> Value {
    let resource = kind.resource();
    object.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
    serde_json::to_value(object).unwrap_or_default()
}

/// Who controls an object, by UID.
#[must_use]
pub fn controller_uid(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

/// It is on its way out.
#[must_use]
pub fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

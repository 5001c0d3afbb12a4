//! What the operator may do: what it does, and nothing else.

use serde_json::{Value, json};

use super::{Error, HEADER};

/// Rights in the namespaces of the clusters.
pub(super) fn in_clusters() -> Value {
    json!([
        // Finalizers stand in the resource itself, the rest in its status.
        rule("dsync.io", &["dsyncclusters"], &["get", "list", "watch", "patch"]),
        rule("dsync.io", &["dsyncclusters/status"], &["patch"]),
        rule("", &["configmaps", "serviceaccounts", "services"], CHILD),
        rule("apps", &["statefulsets", "deployments"], CHILD),
        rule("policy", &["poddisruptionbudgets"], CHILD),
        rule("networking.k8s.io", &["networkpolicies"], CHILD),
        // Never deleted by the operator: what is in them cannot be had again.
        rule("", &["secrets"], &["list", "watch", "create", "patch"]),
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "create", "patch"]),
        rule("", &["pods"], &["list", "watch", "delete"]),
        rule("", &["pods/eviction"], &["create"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ])
}

/// A server-side apply that makes an object needs `create` beside `patch`.
const CHILD: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Rights in the operator's own namespace: its Lease.
pub(super) fn at_home() -> Value {
    json!([rule("coordination.k8s.io", &["leases"], &["get", "list", "watch", "create", "patch"])])
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

/// For people who look after clusters, added to Kubernetes' own roles `view` and `edit`.
pub(super) fn for_people() -> [(&'static str, &'static str, Value); 2] {
    let look = ["get", "list", "watch"].as_slice();
    let write = ["create", "update", "patch", "delete", "deletecollection"].as_slice();
    [
        (
            "view",
            "rbac.authorization.k8s.io/aggregate-to-view",
            json!([rule("dsync.io", &["dsyncclusters", "dsyncclusters/status"], look),]),
        ),
        (
            "edit",
            "rbac.authorization.k8s.io/aggregate-to-edit",
            json!([
                rule("dsync.io", &["dsyncclusters"], write),
                rule("dsync.io", &["dsyncclusters/scale"], &["get", "update", "patch"]),
            ]),
        ),
    ]
}

/// The same rules for the chart's templates.
pub(super) fn chart_rules() -> Result<String, Error> {
    let define = |name: &str, rules: &Value| {
        Ok::<_, Error>(format!(
            "{{{{- define \"{name}\" -}}}}\n{}{{{{- end }}}}\n",
            super::yaml(rules)?
        ))
    };
    let comment = HEADER.trim_end().replace("# ", "").replace('\n', " ");
    let [(_, _, view), (_, _, edit)] = for_people();
    Ok(format!(
        "{{{{- /* {comment} */ -}}}}\n{}{}{}{}",
        define("dsync.rules", &in_clusters())?,
        define("dsync.homeRules", &at_home())?,
        define("dsync.viewRules", &view)?,
        define("dsync.editRules", &edit)?,
    ))
}

//! What the children of a cluster are called, and how they are labelled.
//!
//! Nothing in here ever changes for a cluster that exists: a StatefulSet cannot change its selector,
//! and claims outlive everything else.

use std::collections::BTreeMap;

use dsync_core::contract::kubernetes::{
    COMPONENT_NODE, COMPONENT_REDIS, LABEL_CLUSTER, LABEL_COMPONENT,
};

/// Owner of the fields that the operator sets.
pub const FIELD_MANAGER: &str = "dsync-operator";
/// Name of the claim template, so `data-NAME-0` is the claim of node 0.
pub const DATA_VOLUME: &str = "data";
/// Name of the container of a node.
pub const NODE_CONTAINER: &str = "node";
/// Finalizer of a cluster: generated Secrets have to be let go.
pub const CLUSTER_FINALIZER: &str = "dsync.io/cluster";
/// Finalizer of a generated Secret: it goes only while its twin is whole.
pub const SECRET_FINALIZER: &str = "dsync.io/generated";
/// Key of the cluster secret in the identity Secret.
pub const CLUSTER_SECRET_KEY: &str = "secret";
/// Key of the password in the Redis Secret.
pub const PASSWORD_KEY: &str = "password";

/// The names of one cluster's children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The cluster's name, and that of its StatefulSet and client service.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
}

impl Names {
    /// The names for a cluster.
    #[must_use]
    pub fn new(namespace: &str, cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), namespace: namespace.to_owned() }
    }

    /// The headless service, the ConfigMap and the policy of the nodes.
    #[must_use]
    pub fn nodes(&self) -> String {
        format!("{}-nodes", self.cluster)
    }

    /// The Deployment, service, claim, ConfigMap and policy of Redis.
    #[must_use]
    pub fn redis(&self) -> String {
        format!("{}-redis", self.cluster)
    }

    /// The Secret with the cluster secret, and the marks of the founding.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}-identity", self.cluster)
    }

    /// The Secret with Redis' password.
    #[must_use]
    pub fn redis_password(&self) -> String {
        format!("{}-redis-password", self.cluster)
    }

    /// The second copy of a generated Secret.
    #[must_use]
    pub fn twin(secret: &str) -> String {
        format!("{secret}-twin")
    }

    /// A node, and its pod.
    #[must_use]
    pub fn node(&self, ordinal: usize) -> String {
        format!("{}-{ordinal}", self.cluster)
    }

    /// The claim of a node's disk.
    #[must_use]
    pub fn claim(&self, ordinal: usize) -> String {
        format!("{DATA_VOLUME}-{}", self.node(ordinal))
    }

    /// The ordinal of a pod or claim of the nodes.
    #[must_use]
    pub fn ordinal(&self, name: &str) -> Option<usize> {
        let name = name.strip_prefix(&format!("{DATA_VOLUME}-")).unwrap_or(name);
        name.strip_prefix(&format!("{}-", self.cluster))?.parse().ok()
    }

    /// Selects what belongs to the component, now and for ever.
    #[must_use]
    pub fn selector(&self, component: &str) -> BTreeMap<String, String> {
        [(LABEL_CLUSTER, self.cluster.as_str()), (LABEL_COMPONENT, component)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// All labels of an object.
    #[must_use]
    pub fn labels(&self, component: &str) -> BTreeMap<String, String> {
        let common = [
            ("app.kubernetes.io/name", "dsync"),
            ("app.kubernetes.io/instance", self.cluster.as_str()),
            ("app.kubernetes.io/managed-by", FIELD_MANAGER),
        ];
        let mut labels = self.selector(component);
        labels.extend(common.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }

    /// Labels of a node's object.
    #[must_use]
    pub fn node_labels(&self) -> BTreeMap<String, String> {
        self.labels(COMPONENT_NODE)
    }

    /// Labels of an object of Redis.
    #[must_use]
    pub fn redis_labels(&self) -> BTreeMap<String, String> {
        self.labels(COMPONENT_REDIS)
    }

    /// The text form of a selector, for queries and for the scale subresource.
    #[must_use]
    pub fn selector_text(&self, component: &str) -> String {
        format!("{LABEL_CLUSTER}={},{LABEL_COMPONENT}={component}", self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinal_is_read_from_pods_and_claims_of_this_cluster_only() {
        let names = Names::new("default", "locks");
        assert_eq!(names.ordinal(&names.node(2)), Some(2));
        assert_eq!(names.ordinal(&names.claim(0)), Some(0));
        assert_eq!(names.ordinal("locks-redis"), None);
        assert_eq!(names.ordinal("other-1"), None);
    }
}

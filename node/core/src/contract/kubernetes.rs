//! Names on Kubernetes. Labels select and stay as they are for the life of an object; what changes is
//! an annotation.

/// Group of the resource.
pub const GROUP: &str = "dsync.io";

/// Label: which `DSyncCluster` an object belongs to.
pub const LABEL_CLUSTER: &str = "dsync.io/cluster";
/// Label: what an object is for: [`COMPONENT_NODE`] or [`COMPONENT_REDIS`].
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label on a claim and on the StatefulSet: id of the cluster whose data it holds, in hex. Written
/// when a quorum has confirmed it, and never changed.
pub const LABEL_CLUSTER_ID: &str = "dsync.io/cluster-id";

/// Value of [`LABEL_COMPONENT`]: the nodes.
pub const COMPONENT_NODE: &str = "node";
/// Value of [`LABEL_COMPONENT`]: the Redis of the queues.
pub const COMPONENT_REDIS: &str = "redis";

/// Annotation: [`PHASE_FOUNDING`] or [`PHASE_FOUNDED`].
pub const ANNOTATION_PHASE: &str = "dsync.io/phase";
/// The disks may all be empty: the nodes are to found a cluster.
pub const PHASE_FOUNDING: &str = "founding";
/// A quorum has confirmed the founding: nobody may found this cluster again.
pub const PHASE_FOUNDED: &str = "founded";

/// Name of the port for clients.
pub const CLIENT_PORT_NAME: &str = "client";
/// Name of the port for the other nodes.
pub const PEER_PORT_NAME: &str = "peer";
/// Name of the port for health, metrics and membership.
pub const ADMIN_PORT_NAME: &str = "admin";

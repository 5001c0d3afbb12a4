//! What the node, the operator, the client and the tests must agree on: ports, paths, names.
//!
//! [`admin`] has the calls by which an operator founds and looks after a cluster, [`environment`] the
//! variables that it sets on a node, [`kubernetes`] the labels and annotations of what it makes.

pub mod admin;
pub mod environment;
pub mod kubernetes;

/// Port for clients.
pub const CLIENT_PORT: u16 = 7070;
/// Port for the other nodes.
pub const PEER_PORT: u16 = 7071;
/// Port for health, metrics and membership.
pub const ADMIN_PORT: u16 = 7072;
/// Client ports of the three nodes of `dsync local`.
pub const LOCAL_CLIENT_PORTS: [u16; 3] = [5001, 5002, 5003];

/// The process is not stuck and its disk works. Never depends on a quorum.
pub const LIVEZ_PATH: &str = "/livez";
/// The node can serve: it is a member, knows a leader and has caught up.
pub const READYZ_PATH: &str = "/readyz";
/// The log is recovered and the ports are open.
pub const STARTUPZ_PATH: &str = "/startupz";
/// Metrics of one node.
pub const METRICS_PATH: &str = "/metrics";

/// Names the node that led when a response was made.
pub const LEADER_HEADER: &str = "dsync-leader";

/// The image of the nodes, and of whatever else runs the `dsync` command: `node/Dockerfile`.
pub const NODE_IMAGE: &str = "dsync.io/node:0.1.0";
/// The image of the operator: `operator/Dockerfile`.
pub const OPERATOR_IMAGE: &str = "dsync.io/operator:0.1.0";
/// The image of a managed Redis. What the operator may run in it: `redis-server` and `redis-cli` from
/// PATH, `sh` and `flock`; it runs as user 999.
pub const REDIS_IMAGE: &str = "docker.io/library/redis:7.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_images_have_the_version_of_the_code() {
        for image in [NODE_IMAGE, OPERATOR_IMAGE] {
            assert_eq!(image.split_once(':').unwrap().1, env!("CARGO_PKG_VERSION"));
        }
    }
}

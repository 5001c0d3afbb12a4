//! What the node, the operator, the client and the tests must agree on: ports, paths, names.

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

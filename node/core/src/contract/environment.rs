//! The environment of a node that somebody else starts. Each is also a flag of `dsync node`, except
//! those that say so.

/// Stable name of the node.
pub const NAME: &str = "DSYNC_NAME";
/// Folder of its disk state.
pub const DATA: &str = "DSYNC_DATA";
/// Where all nodes are found.
pub const PEERS: &str = "DSYNC_PEERS";
/// How many nodes found the cluster.
pub const FOUNDERS: &str = "DSYNC_FOUNDERS";
/// Who proposes the founding: see [`FOUNDING_AUTO`] and [`FOUNDING_ADMIN`].
pub const FOUNDING: &str = "DSYNC_FOUNDING";
/// File with the secret that all nodes share.
pub const SECRET_FILE: &str = "DSYNC_SECRET_FILE";
/// What a line of the log looks like.
pub const LOG_FORMAT: &str = "DSYNC_LOG_FORMAT";
/// Which lines are logged.
pub const LOG: &str = "DSYNC_LOG";
/// Nodes that the command line asks, so that `dsync status` works inside a pod. Not for `dsync node`.
pub const SERVERS: &str = "DSYNC_SERVERS";
/// Address of the Redis that holds the queues' messages, without a password.
pub const REDIS_URL: &str = "DSYNC_REDIS_URL";
/// File with that Redis' password.
pub const REDIS_PASSWORD_FILE: &str = "DSYNC_REDIS_PASSWORD_FILE";

/// Value of [`FOUNDING`]: empty disks that meet in the declared number found a cluster by themselves.
pub const FOUNDING_AUTO: &str = "auto";
/// Value of [`FOUNDING`]: an empty disk never proposes; it waits for whoever administers the cluster.
pub const FOUNDING_ADMIN: &str = "admin";

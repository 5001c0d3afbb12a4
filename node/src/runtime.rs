//! Joins the parts of a node and runs them until it is told to stop.

use crate::config::NodeConfig;

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// If a part cannot start or fails.
pub async fn run(config: NodeConfig) -> anyhow::Result<()> {
    anyhow::bail!("the runtime of {} is not part of this branch", config.name)
}

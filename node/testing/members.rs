#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! Whole members on this process's own loopback address, for unit tests.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::machine::Settings;
use dsync_core::raft::Timing;
use dsync_core::types::NodeName;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::audit::TrailOptions;
use crate::config::FoundingBy;
use crate::health::Health;
use crate::loopback::host;
use crate::member::{Member, MemberConfig};
use crate::metrics::Metrics;
use crate::peers::discovery::ListedPeer;
use crate::peers::{PeerLimits, PeerList, SecretSource, Secrets, SystemResolver};
use crate::storage::LogOptions;

pub(crate) const SNAPSHOT_EVERY_BYTES: u64 = 2_000;
/// Pause before a port is tried again.
const RETRY: Duration = Duration::from_millis(10);
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

fn config(data: &Path, name: usize, ports: &[u16]) -> MemberConfig {
    let listed = |(at, port): (usize, &u16)| ListedPeer {
        host: host().to_string(),
        name: Some(NodeName(format!("n{at}"))),
        port: *port,
    };
    let secret = b"0123456789abcdef0123456789abcdef";
    MemberConfig {
        name: NodeName(format!("n{name}")),
        data: data.join(format!("n{name}")),
        peers: PeerList::Listed(ports.iter().enumerate().map(listed).collect()),
        founders: ports.len(),
        settings: Settings::default(),
        founding: FoundingBy::Auto,
        secrets: SecretSource::fixed(Secrets::parse(secret).unwrap()),
        resolver: Arc::new(SystemResolver),
        peer_limits: PeerLimits::default(),
        timing: Timing::default(),
        log: LogOptions { segment_bytes: 1 << 20, ..LogOptions::new(7) },
        snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
        audit: TrailOptions::new(1 << 20, None),
    }
}

/// Starts the member of this number. Nobody else takes its port while it is away.
pub(crate) async fn start(data: &Path, name: usize, ports: &[u16], metrics: &Metrics) -> Member {
    let listener = loop {
        // The member that was there before may not have let go of it yet.
        match TcpListener::bind((host(), ports[name])).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => sleep(RETRY).await,
            bound => break bound.unwrap(),
        }
    };
    Member::start(config(data, name, ports), listener, metrics, &Health::new()).unwrap()
}

/// Stops a member in an orderly way.
pub(crate) async fn stop(member: Member) {
    member.handle.drain().await;
    member.driver.await.unwrap();
}

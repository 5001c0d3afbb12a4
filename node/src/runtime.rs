//! Puts a node together, runs it, and takes it apart again.
//!
//! Start: the ports are bound before anything on disk is touched, then the member, then the servers.
//! Stop: not ready, no new connections, hand the lead over while clients are still answered, end. A
//! node that must not go on (a failed disk, a refused identity) ends with an error that says so.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use dsync_core::cache::Limits;
use dsync_core::machine::Settings;
use dsync_core::raft::Timing;
use dsync_redis_store::{Address, RedisStore};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::audit::TrailOptions;
use crate::caches::Caches;
use crate::config::{NodeConfig, RedisConfig};
use crate::consensus::Stopped;
use crate::descriptors;
use crate::health::Health;
use crate::http::hosts::{AllowedHost, HostRules};
use crate::http::{RequestLimits, Server, ServerSettings, Site, admin_router, client_router};
use crate::member::{Member, MemberConfig, random};
use crate::metrics::Metrics;
use crate::peers::{PeerLimits, SecretSource, Secrets, SystemResolver};
use crate::signals::is_ignored;
use crate::storage::LogOptions;
use crate::telemetry;

/// A node that is asked to stop gives its clients and its successor this long.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// And the ring so long to let it go: its home lease, and an entry.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
/// Connections that may wait to be accepted: after a fail-over all clients come at once, and one
/// that finds the queue full waits a second.
const BACKLOG: u32 = 4_096;
/// The audit trail leaves the log so much of a disk: a segment to come, and another for a snapshot.
const SPARE_SEGMENTS: u64 = 2;
/// A snapshot is taken after so many bytes of log at least; a restart applies them again.
const SNAPSHOT_EVERY_BYTES: u64 = 8 << 20;

/// Runs a node until it is told to stop (SIGTERM, SIGHUP, Ctrl-C) or must not go on.
///
/// # Errors
/// If it cannot start, or had to stop by itself.
pub async fn run(config: NodeConfig) -> Result<()> {
    let client = listen("--listen-client", config.listen_client)?;
    let peer = listen("--listen-peer", config.listen_peer)?;
    let admin = listen("--listen-admin", config.listen_admin)?;
    let (metrics, health) = (Metrics::new(), Health::new());
    let mut member = Member::start(member_config(&config)?, peer, &metrics, &health)?;
    let caches = member.start_caches(cache_limits(&config), metrics.caches.clone())?;
    telemetry::identify(member.handle.status().node_id);
    let connections = Connections::allowed(descriptors::raise_limit());
    let limits = RequestLimits { waits_max: connections.waits, ..RequestLimits::default() };
    let site = Site::new(member.handle.clone(), metrics, health.clone(), limits)
        .with_audit(member.audit.clone())
        .with_caches(caches.clone());
    let servers = start_servers(client, admin, &site, &config.allowed_hosts, connections)?;
    // Before anybody is told that the node is there: whoever hears it may stop it at once.
    let shutdown = ShutdownSignal::catch()?;
    health.set_started();
    tracing::info!(client = %config.listen_client, peer = %config.listen_peer,
        admin = %config.listen_admin, "ports are open");
    run_until(member, caches, servers, &health, shutdown.caught()).await
}

/// Opens a listening socket.
fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A node that starts again must not wait for its old connections to be forgotten.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().with_context(|| format!("{flag}: cannot listen on {address}"))
}

/// Runs until `shutdown` or until the driver must stop.
async fn run_until(
    mut member: Member,
    caches: Caches,
    servers: Vec<Server>,
    health: &Health,
    shutdown: impl Future<Output = &'static str>,
) -> Result<()> {
    tokio::select! {
        reason = shutdown => {
            tracing::info!(reason, "shutting down");
            health.set_draining();
            shut_down(member, caches, servers).await
        }
        stopped = &mut member.driver => match stopped {
            Ok(stopped) => Err(anyhow::Error::new(stopped).context("the node must stop")),
            Err(panic) => bail!("the node's driver panicked: {panic}"),
        },
    }
}

/// Hands the lead over while clients are still answered, then ends.
async fn shut_down(member: Member, caches: Caches, servers: Vec<Server>) -> Result<()> {
    let serve_out = async {
        for server in servers {
            server.drain(DRAIN_LIMIT).await;
        }
    };
    let leave = async {
        // The ring is left by an entry, which needs the driver; without a leader it is not waited for.
        let left = timeout(LEAVE_LIMIT, caches.drain()).await;
        if left.is_err() {
            tracing::warn!("the ring was not left in time; the leader will find the lease over");
        }
        member.handle.drain().await;
    };
    tokio::join!(serve_out, leave);
    match member.driver.await {
        Ok(Stopped::Drained) => Ok(()),
        Ok(stopped) => Err(stopped.into()),
        Err(panic) => bail!("the node's driver panicked: {panic}"),
    }
}

/// Nothing is sent yet: a Redis that is away, or not what it should be, is found by those who need it.
fn redis_store(config: &RedisConfig) -> Result<Arc<RedisStore>> {
    let password = match &config.password_file {
        Some(path) => Some(read("--redis-password-file", path)?),
        None => None,
    };
    let password = password.map(String::from_utf8).transpose();
    let password = password.context("--redis-password-file: it is not UTF-8")?;
    let address = Address {
        url: config.url.clone(),
        password: password.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
        ca_pem: config.ca_file.as_ref().map(|path| read("--redis-ca-file", path)).transpose()?,
    };
    Ok(Arc::new(RedisStore::new(&address).context("--redis-url")?))
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{flag}: cannot read {}", path.display()))
}

fn member_config(config: &NodeConfig) -> Result<MemberConfig> {
    let secrets = match &config.secret_file {
        Some(path) => SecretSource::file(path).context("--secret-file")?,
        // Alone: nobody may connect, so nobody needs to know this.
        None => {
            let secret = format!("{:032x}", u128::from_le_bytes(random()?));
            SecretSource::fixed(Secrets::parse(secret.as_bytes())?)
        }
    };
    let election_min_ms = millis(config.election);
    let mut settings = Settings::default();
    settings.locks.lease_ms_min = millis(config.lease_min);
    Ok(MemberConfig {
        name: config.name.clone(),
        data: config.data.clone(),
        peers: config.peers.clone(),
        founders: config.founders,
        settings,
        founding: config.founding,
        secrets,
        resolver: Arc::new(SystemResolver),
        peer_limits: PeerLimits::default(),
        timing: Timing {
            heartbeat_ms: millis(config.heartbeat),
            election_min_ms,
            election_max_ms: 2 * election_min_ms,
        },
        log: LogOptions {
            segment_bytes: config.segment_bytes,
            salt: u64::from_le_bytes(random()?),
        },
        snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
        audit: TrailOptions {
            spare_bytes: SPARE_SEGMENTS * config.segment_bytes,
            ..TrailOptions::new(config.audit_bytes_max, config.audit_age_max.map(millis))
        },
        redis: config.redis.as_ref().map(redis_store).transpose()?,
    })
}

fn cache_limits(config: &NodeConfig) -> Limits {
    let number = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
    Limits { bytes_max: number(config.cache_bytes), entries_max: number(config.cache_entries) }
}

/// How many connections each port may hold, and how many of the clients' may wait for long.
#[derive(Clone, Copy, Debug)]
struct Connections {
    client: u32,
    admin: u32,
    waits: usize,
}

impl Connections {
    fn allowed(descriptors: u64) -> Self {
        let wanted = ServerSettings::default().connections_max;
        let client = descriptors::client_connections(wanted, descriptors);
        // The rest are for who renews and gives back.
        let waits = client as usize * 3 / 4;
        Self { client, admin: descriptors::admin_connections(descriptors), waits }
    }
}

fn start_servers(
    client: TcpListener,
    admin: TcpListener,
    site: &Site,
    allowed_hosts: &[AllowedHost],
    connections: Connections,
) -> Result<Vec<Server>> {
    let serve = |listener: TcpListener, router: fn(Site) -> Router, port, connections_max| {
        let rules = HostRules::new(listener.local_addr()?, allowed_hosts.to_vec());
        let request_id_prefix = site.node.status().boot_id.to_string();
        let settings = ServerSettings {
            port,
            connections_max,
            request_id_prefix,
            ..ServerSettings::default()
        };
        let router = router(site.clone().with_hosts(rules));
        Server::start(listener, router, settings, site.metrics.http.clone())
    };
    // The client port first: it closes first.
    Ok(vec![
        serve(client, client_router, "client", connections.client)?,
        serve(admin, admin_router, "admin", connections.admin)?,
    ])
}

/// The word to stop. (A parent that has ended makes itself known by SIGTERM too: see `cli/node.rs`.)
struct ShutdownSignal {
    terminate: Signal,
    interrupt: Signal,
    /// A terminal that is closed, or somebody who means "load the settings again": there is nothing to
    /// load, and to end without a drain would be worse. `None`: `nohup` wants it ignored.
    hangup: Option<Signal>,
}

impl ShutdownSignal {
    fn catch() -> Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch signals");
        let ignored = is_ignored(rustix::process::Signal::HUP);
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            hangup: (!ignored).then(|| catch(SignalKind::hangup())).transpose()?,
        })
    }

    /// Says which it was.
    async fn caught(mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
            _ = self.interrupt.recv() => "interrupt",
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

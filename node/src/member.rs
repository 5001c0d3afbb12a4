//! A node without its HTTP ports: disk, peers, driver. The real node puts servers in front of it
//! (`runtime.rs`); the power-cut tests run it as it is, on simulated disks and sockets.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use dsync_core::cache::{Limits, Process};
use dsync_core::machine::{Machine, Settings};
use dsync_core::proposer::Proposer;
use dsync_core::raft::{Fatal, HeldBoot, Introduction, Raft, RaftOptions, Timing};
use dsync_core::types::{BootCount, BootId, ClusterId, NodeId, NodeName};
use dsync_redis_store::RedisStore;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::{AuditPort, AuditReader, TrailOptions, filler};
use crate::caches::{CacheMetrics, CacheParts, Caches, LogHomes};
use crate::clock;
use crate::config::FoundingBy;
use crate::consensus::{
    Driver, DriverParts, Founder, Inbox, SnapshotEvent, Snapshotter, Stopped, load_snapshot,
};
use crate::handle::{NodeHandle, NodeStatus};
use crate::health::Health;
use crate::log_port::LogPort;
use crate::metrics::Metrics;
use crate::peers::net::TcpListener;
use crate::peers::{
    self, CacheLine, Heard, PeerConfig, PeerEvent, PeerLimits, PeerList, PeerServer, Peers,
    Resolver, SecretSource,
};
use crate::storage::{DataFolder, Log, LogOptions};

/// The core's clock beats this often.
const TICK: Duration = Duration::from_millis(10);
/// Requests and messages that may queue at the driver before their senders wait.
const QUEUE: usize = 4_096;
/// Messages from peers that may queue: each may be as large as a frame, so this bounds memory.
const PEER_QUEUE: usize = 128;

/// What a member needs to know.
#[derive(Debug)]
pub struct MemberConfig {
    /// Its stable name.
    pub name: NodeName,
    /// Folder of its disk state.
    pub data: PathBuf,
    /// Where the other nodes are found.
    pub peers: PeerList,
    /// How many nodes found the cluster.
    pub founders: usize,
    /// What the cluster shall begin with, if this node founds it.
    pub settings: Settings,
    /// Who proposes the founding.
    pub founding: FoundingBy,
    /// What proves that a node is of the cluster.
    pub secrets: SecretSource,
    /// What turns names into addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Times and sizes of the peer side.
    pub peer_limits: PeerLimits,
    /// Election clock.
    pub timing: Timing,
    /// The log on disk.
    pub log: LogOptions,
    /// A snapshot is taken after so many bytes of applied entries, or as many as the last one has.
    pub snapshot_every_bytes: u64,
    /// Bounds of the audit trail.
    pub audit: TrailOptions,
    /// Where topics may be that are not in the log.
    pub redis: Option<Arc<RedisStore>>,
}

/// A running member.
#[derive(Debug)]
pub struct Member {
    /// The way to it.
    pub handle: NodeHandle,
    /// What its audit trail has.
    pub audit: AuditReader,
    /// Ends when the member has drained, or must stop.
    pub driver: JoinHandle<Stopped>,
    /// The way to the other nodes' caches, until this node's have it.
    cache_line: Option<(CacheLine, mpsc::Receiver<Heard>)>,
    machine: Arc<ArcSwap<Machine>>,
    /// Held for its lock on the data folder.
    _folder: Arc<DataFolder>,
}

/// Who this process is.
#[derive(Clone, Debug)]
struct Identity {
    node_id: NodeId,
    name: NodeName,
    boot_id: BootId,
    boot_count: BootCount,
}

impl Member {
    /// Opens the disk, recovers, and begins to take part. Within a tokio runtime.
    ///
    /// # Errors
    /// If the data folder is in use, damaged, or cannot be written.
    pub fn start(
        config: MemberConfig,
        listener: TcpListener,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Self> {
        let fresh = random_u64()?;
        let folder = DataFolder::open(&config.data, || fresh)?;
        let identity = Identity {
            node_id: folder.node_id(),
            name: config.name.clone(),
            boot_id: BootId(random_u64()?),
            boot_count: folder.boot_count(),
        };
        let disk = Disk::open(&config, &folder, &identity, metrics, health)?;
        refuse_other_name(&disk.raft, &config.name)?;
        let published = Published::new(&identity, &disk);
        let (requests, request_inbox) = mpsc::channel(QUEUE);
        let (machine, status) = (published.machine.clone(), published.status.clone());
        let handle = NodeHandle::new(requests, machine, status, config.redis.clone());
        let introduction = introduction(&identity, &disk);
        let proposer = proposer(&config, &identity);
        let founder = founder(&config, &identity)?;
        let silence_limit_ms = 2 * config.timing.election_max_ms;
        let (peers, peer_inbox) =
            start_peers(config, introduction.clone(), disk.raft.held_boots(), listener)?;
        let (line, heard) = peers.audit_line();
        let writer = disk.audit.writer();
        line.spawn(filler::run(line.clone(), heard, disk.audit_reader.clone(), writer));
        let cache_line = Some(peers.cache_line());
        let machine = published.machine.clone();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let driver = Driver::new(DriverParts {
            raft: disk.raft,
            machine: disk.machine,
            proposer,
            founder,
            peers,
            introduction,
            writer: disk.writer,
            snapshotter: disk.snapshotter,
            audit: disk.audit,
            inbox: Inbox {
                disk: disk.events,
                snapshots: disk.snapshot_events,
                peers: peer_inbox,
                requests: request_inbox,
                ticks,
            },
            published_machine: published.machine,
            published_status: published.status,
            listeners: handle.listeners().clone(),
            queues: handle.queues().clone(),
            ring: handle.ring().clone(),
            events: handle.events().clone(),
            silence_limit_ms,
            metrics: metrics.clone(),
            health: health.clone(),
        });
        tracing::info!(
            node_id = %identity.node_id,
            boot_id = %identity.boot_id,
            boot_count = identity.boot_count.0,
            "member started"
        );
        let folder = Arc::new(folder);
        let driver = tokio::spawn(run(driver, folder.clone()));
        let audit = disk.audit_reader;
        Ok(Self { handle, audit, driver, cache_line, machine, _folder: folder })
    }
}

impl Member {
    /// Starts the caches, which enter the ring by themselves. Once.
    ///
    /// # Errors
    /// If they have been started before.
    pub fn start_caches(&mut self, limits: Limits, metrics: CacheMetrics) -> Result<Caches> {
        let (line, heard) = self.cache_line.take().context("the caches run already")?;
        let status = self.handle.status();
        let process = Process { node: status.node_id, boot: status.boot_id };
        let (ring, machine) = (self.handle.ring().clone(), self.machine.clone());
        let homes = LogHomes { process, ring, machine };
        let seed = random_u64()?;
        Ok(Caches::start(CacheParts { process, limits, seed, line, heard, homes, metrics }))
    }
}

/// Runs the driver. If it ends because the folder must not take part again, the folder says so from then
/// on.
async fn run(driver: Driver, folder: Arc<DataFolder>) -> Stopped {
    let stopped = driver.run().await;
    if let Stopped::Core(fatal @ Fatal::DiskRefused { .. }) = &stopped
        && let Err(error) = folder.note_refused(&fatal.to_string())
    {
        tracing::error!(%error, "the refusal of this data folder cannot be written down");
    }
    stopped
}

/// Everything that comes from and goes to the data folder.
struct Disk {
    raft: Raft,
    machine: Machine,
    writer: LogPort,
    events: mpsc::UnboundedReceiver<crate::consensus::DiskEvent>,
    snapshotter: Snapshotter,
    snapshot_events: mpsc::UnboundedReceiver<SnapshotEvent>,
    audit: AuditPort,
    audit_reader: AuditReader,
}

impl Disk {
    fn open(
        config: &MemberConfig,
        folder: &DataFolder,
        identity: &Identity,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Self> {
        let (log, recovered) = Log::open(&folder.log(), config.log.clone())?;
        folder.note_log_made()?;
        let machine = match &recovered.snapshot {
            Some(meta) => load_snapshot(&folder.snapshots(), meta)
                .with_context(|| format!("the snapshot of entry {} cannot be used", meta.index))?,
            None => Machine::default(),
        };
        let (snapshot_sender, snapshot_events) = mpsc::unbounded_channel();
        let (writer, events) = LogPort::start(log, metrics.log.clone(), health.clone())?;
        let (audit, audit_reader) = AuditPort::start(
            &folder.audit(),
            config.audit,
            machine.audit(),
            metrics.audit.clone(),
        )?;
        let snapshotter = Snapshotter::start(
            folder.snapshots(),
            snapshot_sender,
            config.snapshot_every_bytes,
            recovered.snapshot.as_ref(),
            audit.writer(),
        )?;
        let options = RaftOptions {
            timing: config.timing,
            boot: identity.boot_id,
            boot_count: identity.boot_count,
            ..RaftOptions::new(folder.node_id(), random_u64()?)
        };
        let raft = Raft::new(options, clock::now(), recovered);
        Ok(Self {
            raft,
            machine,
            writer,
            events,
            snapshotter,
            snapshot_events,
            audit,
            audit_reader,
        })
    }

    fn cluster_id(&self) -> Option<ClusterId> {
        self.machine.cluster_id().or(self.raft.cluster_id())
    }
}

/// A disk belongs to one name: swapped volumes would otherwise show wrong names everywhere.
fn refuse_other_name(raft: &Raft, name: &NodeName) -> Result<()> {
    match raft.membership().and_then(|members| members.names.get(&raft.id())) {
        Some(held) if held != name => bail!(
            "--name: this data folder belongs to the node {held}, not to {name}; \
             start it under that name, or on the folder of {name}"
        ),
        _ => Ok(()),
    }
}

/// Where the driver shows its state.
struct Published {
    machine: Arc<ArcSwap<Machine>>,
    status: Arc<ArcSwap<NodeStatus>>,
}

impl Published {
    fn new(identity: &Identity, disk: &Disk) -> Self {
        let status = NodeStatus {
            node_id: identity.node_id,
            name: identity.name.clone(),
            boot_id: identity.boot_id,
            boot_count: identity.boot_count,
            cluster_id: disk.cluster_id(),
            raft: disk.raft.status(),
            membership: disk.raft.membership().cloned(),
            outside: None,
            registered: false,
        };
        Self {
            machine: Arc::new(ArcSwap::from_pointee(disk.machine.clone())),
            status: Arc::new(ArcSwap::from_pointee(status)),
        }
    }
}

fn introduction(identity: &Identity, disk: &Disk) -> peers::Introduction {
    let founded = disk.raft.hard_state().founded;
    peers::Introduction {
        versions: peers::PROTOCOL,
        name: identity.name.clone(),
        node_id: identity.node_id,
        boot_id: identity.boot_id,
        cluster_id: disk.cluster_id().filter(|_| founded),
        empty: disk.raft.is_empty(),
        recovery: 0,
        boot_count: identity.boot_count,
        recovered_end: disk.raft.boot().recovered,
    }
}

fn proposer(config: &MemberConfig, identity: &Identity) -> Proposer {
    let retry_ms = config.timing.election_max_ms;
    Proposer::new(identity.node_id, identity.boot_id, identity.boot_count, retry_ms)
}

fn founder(config: &MemberConfig, identity: &Identity) -> Result<Founder> {
    let own = Introduction {
        name: identity.name.clone(),
        node_id: identity.node_id,
        boot_id: identity.boot_id,
        holds: None,
    };
    let cluster_id = ClusterId(u128::from_le_bytes(random()?));
    let founders = match config.founding {
        FoundingBy::Auto => config.founders,
        FoundingBy::Admin => 0,
    };
    Ok(Founder::new(own, founders, cluster_id, config.settings.clone()))
}

fn start_peers(
    config: MemberConfig,
    introduction: peers::Introduction,
    held: BTreeMap<NodeId, HeldBoot>,
    listener: TcpListener,
) -> Result<(Peers, mpsc::Receiver<PeerEvent>)> {
    let (events, inbox) = mpsc::channel(PEER_QUEUE);
    let config = PeerConfig {
        peers: config.peers,
        expected: config.founders.saturating_sub(1),
        secrets: config.secrets,
        introduction,
        held,
        resolver: config.resolver,
        limits: config.peer_limits,
    };
    let peers = Peers::start(config, events);
    PeerServer::start(listener, &peers).context("the peer port")?;
    Ok((peers, inbox))
}

/// Unpredictable bytes from the operating system.
///
/// # Errors
/// If it has none to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system has no randomness to give")?;
    Ok(bytes)
}

fn random_u64() -> Result<u64> {
    Ok(u64::from_le_bytes(random()?))
}

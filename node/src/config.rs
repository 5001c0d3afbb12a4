//! All settings of a node, validated once: what gets past [`NodeArgs::validate`] can be used without
//! another look.
//!
//! Every setting is a flag and an environment variable of the same name (`--listen-client` and
//! `DSYNC_LISTEN_CLIENT`); the flag wins. Numbers that decide how the log is *applied* are not here:
//! they are replicated state, so that two nodes can never differ on them.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dsync_core::contract::{ADMIN_PORT, CLIENT_PORT, PEER_PORT};
use dsync_core::types::NodeName;

use crate::http::hosts::AllowedHost;
use crate::peers::PeerList;

mod units;

pub use units::{duration_ms, format_duration, parse_bytes, parse_duration};

/// Sizes of a cluster: odd, since an even one survives no more losses than the odd one below it.
pub const FOUNDERS_ALLOWED: [usize; 4] = [1, 3, 5, 7];
/// An election may start only after this many heartbeats could have been lost, or a single late one
/// would depose a healthy leader.
const HEARTBEATS_PER_ELECTION_MIN: u32 = 3;
/// Below this the log's writer spends its time on making segments.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Above this one segment takes longer to zero than anybody waits for a start.
const SEGMENT_BYTES_MAX: u64 = 4 << 30;
/// Below this a trail is too short to look anything up in.
const AUDIT_BYTES_MIN: u64 = 1 << 20;
/// Below this a trail forgets faster than anybody can look.
const AUDIT_AGE_MIN: Duration = Duration::from_secs(60);
/// A cache below this keeps no more than a few of the largest values.
const CACHE_BYTES_MIN: u64 = 1 << 20;
/// The default lease has to be allowed.
const LEASE_MIN_MAX: Duration = Duration::from_secs(60);
/// Longest DNS name.
const NAME_BYTES_MAX: usize = 253;

/// The settings as given on the command line or in the environment.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// Stable name of this node: its DNS name on Kubernetes. A disk belongs to one name.
    #[arg(long, env = "DSYNC_NAME", value_name = "NAME")]
    pub name: String,

    /// Folder for the log, snapshots and this node's identity. Made if it does not exist.
    #[arg(long, env = "DSYNC_DATA", value_name = "DIR")]
    pub data: PathBuf,

    /// All nodes, this one included: a list `name=host:port,...` or `host:port,...`, or
    /// `dns:NAME:PORT` for a name that resolves to all of them. Needed unless --founders is 1.
    #[arg(long, env = "DSYNC_PEERS", value_name = "PEERS")]
    pub peers: Option<String>,

    /// How many nodes found the cluster (1, 3, 5 or 7), used once, when all their disks are empty.
    /// Default: the length of the list in --peers. Needed with `dns:`, where it is never guessed.
    #[arg(long, env = "DSYNC_FOUNDERS", value_name = "N")]
    pub founders: Option<usize>,

    /// Who proposes the founding: `auto`, the nodes themselves once as many empty disks have met as
    /// there are founders; `admin`, never this node: it waits to be told or to be taken in. Use
    /// `admin` once the cluster exists, so that disks that are all lost never become a new cluster.
    #[arg(long, env = "DSYNC_FOUNDING", value_name = "WHO", default_value = "auto")]
    pub founding: FoundingBy,

    /// Address for clients.
    #[arg(long, env = "DSYNC_LISTEN_CLIENT", value_name = "ADDR", default_value_t = any(CLIENT_PORT))]
    pub listen_client: SocketAddr,

    /// Host names under which clients and web pages may ask, besides localhost and addresses: `name` or
    /// `name:port`. A listener on loopback serves no others; a web page that did not come from this
    /// node is served nowhere without this.
    #[arg(long, env = "DSYNC_ALLOWED_HOSTS", value_name = "HOST,...", value_delimiter = ',')]
    pub allowed_hosts: Vec<AllowedHost>,

    /// Address for the other nodes.
    #[arg(long, env = "DSYNC_LISTEN_PEER", value_name = "ADDR", default_value_t = any(PEER_PORT))]
    pub listen_peer: SocketAddr,

    /// Address for health and metrics.
    #[arg(long, env = "DSYNC_LISTEN_ADMIN", value_name = "ADDR", default_value_t = any(ADMIN_PORT))]
    pub listen_admin: SocketAddr,

    /// File with the secret that all nodes of the cluster share. While it is replaced the file holds
    /// two lines, the new one first: both are accepted. Needed unless the node is alone.
    #[arg(long, env = "DSYNC_SECRET_FILE", value_name = "PATH")]
    pub secret_file: Option<PathBuf>,

    /// Pause between two heartbeats of a leader.
    #[arg(long, env = "DSYNC_HEARTBEAT", value_name = "DURATION", default_value = "80ms",
          value_parser = parse_duration)]
    pub heartbeat: Duration,

    /// Shortest silence of a leader after which another node stands for election; each waits a random
    /// time between this and twice this.
    #[arg(long, env = "DSYNC_ELECTION", value_name = "DURATION", default_value = "400ms",
          value_parser = parse_duration)]
    pub election: Duration,

    /// Shortest lease that may be asked for. Used once, when the cluster is founded, as --founders is;
    /// for tests: a lease below a second is over before its holder notices.
    #[arg(long, env = "DSYNC_LEASE_MIN", value_name = "DURATION", default_value = "1s",
          value_parser = parse_duration)]
    pub lease_min: Duration,

    /// Size of one file of the log; two are kept ready. Accepts KiB, MiB and GiB.
    #[arg(long, env = "DSYNC_SEGMENT_BYTES", value_name = "BYTES", default_value = "64MiB",
          value_parser = parse_bytes)]
    pub segment_bytes: u64,

    /// Size of the audit trail on this node's disk; its oldest files are deleted above this. Accepts
    /// KiB, MiB and GiB.
    #[arg(long, env = "DSYNC_AUDIT_BYTES_MAX", value_name = "BYTES", default_value = "1GiB",
          value_parser = parse_bytes)]
    pub audit_bytes_max: u64,

    /// How long audit records are kept at most, by this node's clock. Without it only their size
    /// counts.
    #[arg(long, env = "DSYNC_AUDIT_AGE_MAX", value_name = "DURATION",
          value_parser = parse_duration)]
    pub audit_age_max: Option<Duration>,

    /// Redis for the queues' messages: `redis://host:port`, or `rediss://host:port` for TLS. Topics are made
    /// there from then on; those that are in the log stay there. Without it all are in the log.
    #[arg(long, visible_alias = "redis", env = "DSYNC_REDIS_URL", value_name = "URL")]
    pub redis_url: Option<String>,

    /// File with that Redis' password.
    #[arg(long, env = "DSYNC_REDIS_PASSWORD_FILE", value_name = "PATH", requires = "redis_url")]
    pub redis_password_file: Option<PathBuf>,

    /// File with the certificates of those who may sign that Redis' certificate, as PEM. By default those
    /// that the system trusts.
    #[arg(long, env = "DSYNC_REDIS_CA_FILE", value_name = "PATH", requires = "redis_url")]
    pub redis_ca_file: Option<PathBuf>,
    /// Memory for cached values on this node, their keys and what it takes to find them included; the
    /// least recently used go first. Accepts KiB, MiB and GiB.
    #[arg(long, env = "DSYNC_CACHE_BYTES", value_name = "BYTES", default_value = "64MiB",
          value_parser = parse_bytes)]
    pub cache_bytes: u64,

    /// How many cached values this node keeps.
    #[arg(long, env = "DSYNC_CACHE_ENTRIES", value_name = "N", default_value_t = 1_000_000)]
    pub cache_entries: u64,

    /// Threads for requests and for consensus; by default as many as there are processors. (Those that
    /// wait for the disk come on top.) Fewer are better where several nodes share a machine.
    #[arg(long, env = "DSYNC_THREADS", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub threads: Option<u16>,

    /// What a line of the log looks like; `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, env = "DSYNC_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// Which lines are logged: a level, or a filter like `info,dsync_node::peers=debug`.
    #[arg(long = "log", env = "DSYNC_LOG", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,

    /// End when standard input ends, so that the node does not outlive the process that started it.
    #[arg(long)]
    pub exit_with_parent: bool,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who proposes the founding of a cluster of empty disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FoundingBy {
    /// The nodes, when they have met.
    #[default]
    Auto,
    /// Whoever administers the cluster; a node never does.
    Admin,
}

/// The settings of one node; every rule between them holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Stable name of this node.
    pub name: NodeName,
    /// Folder of its disk state.
    pub data: PathBuf,
    /// Where all nodes are found. An empty list: this node is alone.
    pub peers: PeerList,
    /// How many nodes found the cluster: 1, 3, 5 or 7.
    pub founders: usize,
    /// Who proposes the founding.
    pub founding: FoundingBy,
    /// Address for clients.
    pub listen_client: SocketAddr,
    /// Host names that are served besides localhost and addresses.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Address for the other nodes.
    pub listen_peer: SocketAddr,
    /// Address for health and metrics.
    pub listen_admin: SocketAddr,
    /// File with the shared secret. `None` only if `founders` is 1 and no peers were given.
    pub secret_file: Option<PathBuf>,
    /// Pause between two heartbeats; at most a third of `election`.
    pub heartbeat: Duration,
    /// Shortest election timeout; the longest is twice this.
    pub election: Duration,
    /// Shortest lease of a cluster that this node founds.
    pub lease_min: Duration,
    /// Size of one file of the log.
    pub segment_bytes: u64,
    /// Size of the audit trail.
    pub audit_bytes_max: u64,
    /// Age at which audit records are deleted.
    pub audit_age_max: Option<Duration>,
    /// The queues' Redis.
    pub redis: Option<RedisConfig>,
    /// Memory for cached values.
    pub cache_bytes: u64,
    /// How many are kept.
    pub cache_entries: u64,
    /// Threads of the runtime; `None`: as many as there are processors.
    pub threads: Option<u16>,
    /// How to log.
    pub log: LogConfig,
    /// End when standard input ends.
    pub exit_with_parent: bool,
}

/// Where the queues' Redis is, and how to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Its address.
    pub url: String,
    /// File with its password.
    pub password_file: Option<PathBuf>,
    /// File with the certificates of those who may sign its certificate.
    pub ca_file: Option<PathBuf>,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// What a line looks like.
    pub format: LogFormat,
    /// Which lines are logged.
    pub filter: String,
}

/// A setting that cannot be used. Names the flag and says what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    flag: &'static str,
    message: String,
}

impl ConfigError {
    /// The flag at fault, with its dashes.
    #[must_use]
    pub fn flag(&self) -> &'static str {
        self.flag
    }
}

fn refuse<T>(flag: &'static str, problem: impl Display) -> Result<T, ConfigError> {
    Err(ConfigError { flag, message: format!("{flag} {problem}") })
}

impl NodeArgs {
    /// Checks every setting and every rule between two.
    ///
    /// # Errors
    /// The first setting that cannot be used, by its flag.
    pub fn validate(self) -> Result<NodeConfig, ConfigError> {
        let name = validate_name(&self.name)?;
        let peers = self.validate_peers(&name)?;
        let founders = validate_founders(self.founders, &peers)?;
        self.validate_timing()?;
        self.validate_listeners()?;
        if self.secret_file.is_none() && !is_alone(&peers) {
            return refuse("--secret-file", "is needed as soon as there are --peers");
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return refuse("--segment-bytes", "must be between 1MiB and 4GiB");
        }
        if !(Duration::from_millis(1)..=LEASE_MIN_MAX).contains(&self.lease_min) {
            return refuse("--lease-min", "must be between 1ms and 60s");
        }
        if self.audit_bytes_max < AUDIT_BYTES_MIN {
            return refuse("--audit-bytes-max", "must be at least 1MiB");
        }
        if self.audit_age_max.is_some_and(|age| age < AUDIT_AGE_MIN) {
            return refuse("--audit-age-max", "must be at least 1m; leave it out to keep all ages");
        }
        if self.cache_bytes < CACHE_BYTES_MIN {
            return refuse("--cache-bytes", "must be at least 1MiB");
        }
        if self.cache_entries == 0 {
            return refuse("--cache-entries", "must be at least 1");
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            return refuse("--log", format!("cannot be read: {error}"));
        }
        let redis = self.redis_url.map(|url| RedisConfig {
            url,
            password_file: self.redis_password_file,
            ca_file: self.redis_ca_file,
        });
        Ok(NodeConfig {
            redis,
            name,
            data: self.data,
            peers,
            founders,
            founding: self.founding,
            listen_client: self.listen_client,
            allowed_hosts: self.allowed_hosts,
            listen_peer: self.listen_peer,
            listen_admin: self.listen_admin,
            secret_file: self.secret_file,
            heartbeat: self.heartbeat,
            election: self.election,
            lease_min: self.lease_min,
            segment_bytes: self.segment_bytes,
            audit_bytes_max: self.audit_bytes_max,
            audit_age_max: self.audit_age_max,
            cache_bytes: self.cache_bytes,
            cache_entries: self.cache_entries,
            threads: self.threads,
            log: LogConfig { format: self.log_format, filter: self.log_filter },
            exit_with_parent: self.exit_with_parent,
        })
    }

    fn validate_peers(&self, name: &NodeName) -> Result<PeerList, ConfigError> {
        let Some(text) = &self.peers else {
            return match self.founders {
                Some(1) => Ok(PeerList::Listed(Vec::new())),
                _ => refuse("--peers", "is needed, unless --founders 1 asks for a cluster of one"),
            };
        };
        let peers: PeerList = text
            .parse()
            .map_err(|error| ConfigError { flag: "--peers", message: format!("{error}") })?;
        match names_others_only(&peers, name) {
            true => refuse("--peers", format!("does not name this node, {name}")),
            false => Ok(peers),
        }
    }

    fn validate_timing(&self) -> Result<(), ConfigError> {
        if !(Duration::from_millis(5)..=Duration::from_secs(10)).contains(&self.heartbeat) {
            return refuse("--heartbeat", "must be between 5ms and 10s");
        }
        if self.election < self.heartbeat * HEARTBEATS_PER_ELECTION_MIN {
            let least = format_duration(self.heartbeat * HEARTBEATS_PER_ELECTION_MIN);
            return refuse(
                "--election",
                format!("must be at least 3 heartbeats ({least}), or a late one deposes a leader"),
            );
        }
        if self.election > Duration::from_secs(60) {
            return refuse("--election", "must be at most 60s");
        }
        Ok(())
    }

    fn validate_listeners(&self) -> Result<(), ConfigError> {
        let client = ("--listen-client", self.listen_client);
        let peer = ("--listen-peer", self.listen_peer);
        let admin = ("--listen-admin", self.listen_admin);
        for ((first, a), (second, b)) in [(client, peer), (client, admin), (peer, admin)] {
            if collide(a, b) {
                return refuse(second, format!("{b} collides with {first} {a}"));
            }
        }
        Ok(())
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Port 0 is a free port of the system's choice, and never collides.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_address = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_address
}

fn validate_name(name: &str) -> Result<NodeName, ConfigError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return refuse("--name", format!("must have 1 to {NAME_BYTES_MAX} characters"));
    }
    if let Some(strange) = name.chars().find(|c| !legal(*c)) {
        return refuse("--name", format!("{strange:?} is not a letter, digit, '-', '.' or '_'"));
    }
    Ok(NodeName(name.to_owned()))
}

fn is_alone(peers: &PeerList) -> bool {
    peers.listed() == Some(0)
}

/// A list with names has to name this node, or the others would never dial it.
fn names_others_only(peers: &PeerList, name: &NodeName) -> bool {
    let PeerList::Listed(list) = peers else { return false };
    !list.is_empty()
        && list.iter().all(|peer| peer.name.as_ref().is_some_and(|listed| listed != name))
}

fn validate_founders(given: Option<usize>, peers: &PeerList) -> Result<usize, ConfigError> {
    let founders = match (given, peers.listed()) {
        (None, None) => return refuse("--founders", "is needed with dns: it is never guessed"),
        (Some(given), Some(listed)) if given != listed && !is_alone(peers) => {
            return refuse("--founders", format!("is {given}, but --peers lists {listed} nodes"));
        }
        (Some(given), _) => given,
        (None, Some(listed)) => listed,
    };
    match FOUNDERS_ALLOWED.contains(&founders) {
        true => Ok(founders),
        false => refuse("--founders", format!("must be 1, 3, 5 or 7, not {founders}")),
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;

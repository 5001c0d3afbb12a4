//! Where the others may be found: a list, or the addresses behind one DNS name.
//!
//! A list is dialled as it stands. A DNS name (a headless service) is asked again and again; each
//! address found is dialled, and says in the handshake whose it is. An address that DNS no longer
//! names is given up only if DNS *answered* and nobody is connected there: a name that does not
//! resolve, or an answer that is late by a few seconds, takes nothing away.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use dsync_core::types::NodeName;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::dialler::{self, Target};
use super::introduction::Lane;

/// The value of `--peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerList {
    /// `name=host:port,...` or `host:port,...`
    Listed(Vec<ListedPeer>),
    /// `dns:NAME:PORT`: every address of the name is a node. Give it absolute, with a trailing dot.
    Dns {
        /// The name.
        host: String,
        /// The peer port of every node.
        port: u16,
    },
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPeer {
    /// Who has to answer there, if given.
    pub name: Option<NodeName>,
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// Its peer port.
    pub port: u16,
}

/// Why a value of `--peers` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePeerListError {
    /// Nothing between two commas, or nothing at all.
    #[error(
        "--peers has an empty entry; write NAME=HOST:PORT,... or HOST:PORT,... or dns:NAME:PORT"
    )]
    EmptyEntry,
    /// No port, or one that is none.
    #[error("--peers: {0:?} needs a port from 1 to 65535, as in HOST:PORT")]
    Port(String),
    /// No host, or an IPv6 address without brackets.
    #[error("--peers: {0:?} needs a host before its port, an IPv6 address in brackets")]
    Host(String),
    /// A name before `=` that is empty.
    #[error("--peers: {0:?} has nothing before its '='")]
    Name(String),
    /// The same name or the same address twice.
    #[error("--peers names {0} twice")]
    Twice(String),
}

impl PeerList {
    /// How many nodes the list names, this one included if it is in it; `None` for DNS, whose answers
    /// are never counted.
    #[must_use]
    pub fn listed(&self) -> Option<usize> {
        match self {
            Self::Listed(peers) => Some(peers.len()),
            Self::Dns { .. } => None,
        }
    }
}

impl FromStr for PeerList {
    type Err = ParsePeerListError;

    fn from_str(text: &str) -> Result<Self, ParsePeerListError> {
        if let Some(name) = text.trim().strip_prefix("dns:") {
            let (host, port) = parse_host_port(name)?;
            return Ok(Self::Dns { host, port });
        }
        let peers: Vec<ListedPeer> =
            text.split(',').map(|entry| entry.trim().parse()).collect::<Result<_, _>>()?;
        for (at, peer) in peers.iter().enumerate() {
            if peers[..at].iter().any(|other| other.clashes(peer)) {
                return Err(ParsePeerListError::Twice(peer.to_string()));
            }
        }
        Ok(Self::Listed(peers))
    }
}

impl fmt::Display for PeerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { host, port } => write!(f, "dns:{}", HostPort(host, *port)),
            Self::Listed(peers) => {
                let entries: Vec<String> = peers.iter().map(ToString::to_string).collect();
                f.write_str(&entries.join(","))
            }
        }
    }
}

impl ListedPeer {
    fn clashes(&self, other: &Self) -> bool {
        (self.name.is_some() && self.name == other.name)
            || (&self.host, self.port) == (&other.host, other.port)
    }

    fn target(self) -> Target {
        Target { name: self.name, host: self.host, port: self.port }
    }
}

impl FromStr for ListedPeer {
    type Err = ParsePeerListError;

    fn from_str(entry: &str) -> Result<Self, ParsePeerListError> {
        if entry.is_empty() {
            return Err(ParsePeerListError::EmptyEntry);
        }
        let (name, address) = match entry.split_once('=') {
            Some(("", _)) => return Err(ParsePeerListError::Name(entry.to_owned())),
            Some((name, address)) => (Some(NodeName(name.to_owned())), address),
            None => (None, entry),
        };
        let (host, port) = parse_host_port(address)?;
        Ok(Self { name, host, port })
    }
}

impl fmt::Display for ListedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        HostPort(&self.host, self.port).fmt(f)
    }
}

/// Host and port as people write them.
pub(super) struct HostPort<'a>(pub(super) &'a str, pub(super) u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

fn parse_host_port(text: &str) -> Result<(String, u16), ParsePeerListError> {
    let no_port = || ParsePeerListError::Port(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(no_port)?;
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6).map(|_| inside),
        None => Some(host).filter(|host| !host.contains([':', '[', ']', '/', ' '])),
    };
    let host = bare.filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| ParsePeerListError::Host(text.to_owned()))?;
    Ok((host.to_owned(), port))
}

/// Starts and stops diallers until the node stops.
pub(super) async fn run(shared: Arc<Shared>, peers: PeerList, expected: usize) {
    match peers {
        PeerList::Listed(peers) => {
            for peer in peers {
                Diallers::start(&shared, &peer.target());
            }
        }
        PeerList::Dns { host, port } => {
            tokio::select! {
                () = follow_dns(&shared, &host, port, expected) => {}
                () = shared.draining() => {}
            }
        }
    }
}

/// The two diallers of one target.
struct Diallers(Vec<AbortHandle>);

impl Diallers {
    fn start(shared: &Arc<Shared>, target: &Target) -> Self {
        let start = |lane| shared.spawn(dialler::run(shared.clone(), target.clone(), lane));
        Self([Lane::Urgent, Lane::Bulk].into_iter().filter_map(start).collect())
    }

    fn stop(&self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn follow_dns(shared: &Arc<Shared>, host: &str, port: u16, expected: usize) {
    let mut dialled = BTreeMap::new();
    let mut changes = shared.table.changes();
    loop {
        match shared.resolver.resolve(host, port).await {
            Ok(found) => follow(shared, &mut dialled, &found),
            Err(error) => tracing::debug!(host, %error, "peers' name does not resolve now"),
        }
        // At most one question in this time, however often connections come and go.
        sleep(shared.limits.resolve_missing).await;
        changes.mark_unchanged();
        if shared.is_settled(expected) {
            // A change means that somebody left, or that a node came which DNS may know by now.
            let _ = timeout(shared.limits.resolve_settled, changes.changed()).await;
        }
    }
}

/// Dials what is new, and gives up what is gone for certain.
fn follow(
    shared: &Arc<Shared>,
    dialled: &mut BTreeMap<SocketAddr, (Target, Diallers)>,
    found: &[SocketAddr],
) {
    for address in found {
        dialled.entry(*address).or_insert_with(|| {
            let host = address.ip().to_string();
            let target = Target { name: None, host, port: address.port() };
            let diallers = Diallers::start(shared, &target);
            (target, diallers)
        });
    }
    dialled.retain(|address, (target, diallers)| {
        let keep = found.contains(address) || shared.is_connected(target);
        if !keep {
            diallers.stop();
            shared.targets().remove(target);
        }
        keep
    });
}

impl Shared {
    /// Nobody is known to be missing.
    fn is_settled(&self, expected: usize) -> bool {
        let known = self.table.known();
        let connected = known.iter().filter(|peer| peer.is_connected()).count();
        connected >= expected
            && connected > 0
            && known.iter().filter(|peer| peer.is_connected()).all(|peer| peer.dialled > 0)
    }

    fn is_connected(&self, target: &Target) -> bool {
        self.targets().get(target).is_some_and(|status| status.connected.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PeerList, ParsePeerListError> {
        text.parse()
    }

    #[test]
    fn lists_and_dns_names_are_read_and_written_alike() {
        for text in [
            "dns:dsync-peers.default.svc.cluster.local.:7071",
            "a=host-a:7071,b=host-b:7071,c=10.0.0.3:7071",
            "127.0.0.1:7071,[::1]:7072",
            "n=[fd00::1]:7071",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse(" a:1 , b:2 ").unwrap().listed(), Some(2));
        assert_eq!(parse("dns:a:1").unwrap().listed(), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        use ParsePeerListError as E;
        let cases = [
            ("", E::EmptyEntry),
            ("a:1,", E::EmptyEntry),
            ("a", E::Port("a".into())),
            ("a:0", E::Port("a:0".into())),
            ("a:65536", E::Port("a:65536".into())),
            ("n=a:x", E::Port("a:x".into())),
            (":1", E::Host(":1".into())),
            ("::1:7071", E::Host("::1:7071".into())),
            ("[a]:1", E::Host("[a]:1".into())),
            ("http://a:1", E::Host("http://a:1".into())),
            ("=a:1", E::Name("=a:1".into())),
            ("a:1,b:1,a:1", E::Twice("a:1".into())),
            ("n=a:1,n=b:1", E::Twice("n=b:1".into())),
            ("dns:a", E::Port("a".into())),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }
}

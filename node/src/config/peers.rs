//! Where the other nodes are found: a list, or a name in DNS.
//!
//! Either gives addresses only. Who answers there is known from the handshake, who belongs to the
//! cluster from the log.

use std::collections::BTreeSet;
use std::fmt;

use dsync_core::types::NodeName;

/// Where all nodes are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Every node, this one included. Empty: this node is alone.
    List(Vec<PeerAddress>),
    /// A name that resolves (A and AAAA) to every node that runs.
    Dns {
        /// The name; absolute if it ends with a dot.
        name: String,
        /// The peer port at each address.
        port: u16,
    },
}

/// One node of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its name, if the list says it.
    pub name: Option<NodeName>,
    /// Host name or IP address (an IPv6 address without its brackets).
    pub host: String,
    /// Its peer port.
    pub port: u16,
}

/// Why a list of peers cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// Not `host:port`.
    #[error("{0:?} is not host:port")]
    NotHostPort(String),
    /// Not `dns:NAME:PORT`.
    #[error("{0:?} is not dns:NAME:PORT")]
    NotDns(String),
    /// The same node is listed twice.
    #[error("{0:?} is listed twice")]
    Twice(String),
    /// Some have names, others have none.
    #[error("either every node has a name (name=host:port) or none has")]
    SomeNamed,
}

impl Peers {
    /// No other nodes.
    #[must_use]
    pub fn none() -> Self {
        Self::List(Vec::new())
    }

    /// Reads `name=host:port,...`, `host:port,...` or `dns:NAME:PORT`.
    ///
    /// # Errors
    /// If a part cannot be read, stands twice, or only some nodes have names.
    pub fn parse(text: &str) -> Result<Self, PeersError> {
        if let Some(service) = text.strip_prefix("dns:") {
            let (name, port) =
                host_port(service).ok_or_else(|| PeersError::NotDns(text.to_owned()))?;
            return Ok(Self::Dns { name, port });
        }
        let list = text.split(',').map(parse_address).collect::<Result<Vec<_>, _>>()?;
        check_list(&list)?;
        Ok(Self::List(list))
    }

    /// How many nodes a list holds, this one included; `None` for DNS, which tells who runs, not who
    /// should.
    #[must_use]
    pub fn listed(&self) -> Option<usize> {
        match self {
            Self::List(list) if list.is_empty() => Some(1),
            Self::List(list) => Some(list.len()),
            Self::Dns { .. } => None,
        }
    }

    /// True if the list has names, but not this one.
    pub(super) fn names_without(&self, name: &NodeName) -> bool {
        let Self::List(list) = self else { return false };
        list.iter().any(|peer| peer.name.is_some())
            && !list.iter().any(|peer| peer.name.as_ref() == Some(name))
    }
}

/// The form that [`Peers::parse`] reads.
impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
            Self::List(list) => {
                let words: Vec<String> = list.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn parse_address(word: &str) -> Result<PeerAddress, PeersError> {
    let word = word.trim();
    let (name, address) = match word.split_once('=') {
        Some((name, address)) => (Some(NodeName(name.to_owned())), address),
        None => (None, word),
    };
    let (host, port) = host_port(address)
        .filter(|_| name.as_ref().is_none_or(|name| !name.0.is_empty()))
        .ok_or_else(|| PeersError::NotHostPort(word.to_owned()))?;
    Ok(PeerAddress { name, host, port })
}

fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        // A bare IPv6 address: its last group would be taken for the port.
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| (host.to_owned(), port))
}

fn check_list(list: &[PeerAddress]) -> Result<(), PeersError> {
    let named = list.iter().filter(|peer| peer.name.is_some()).count();
    if named != 0 && named != list.len() {
        return Err(PeersError::SomeNamed);
    }
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for peer in list {
        let name_twice = peer.name.as_ref().is_some_and(|name| !names.insert(name));
        if name_twice || !addresses.insert((&peer.host, peer.port)) {
            return Err(PeersError::Twice(peer.to_string()));
        }
    }
    Ok(())
}

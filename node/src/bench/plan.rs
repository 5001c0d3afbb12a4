//! What is to be measured, and where.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderValue, Uri};
use serde::Serialize;

use super::pace::Pace;

/// In which words a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// `POST /v1/locks/{name}/acquire` and `release`.
    V1,
    /// `POST /lock/acquire` and `/lock/release`.
    Original,
    /// etcd's lock service over gRPC: `v3lockpb.Lock/Lock` and `Unlock`.
    EtcdLock,
    /// What etcd's own Go library does for a mutex: a transaction and a delete, over gRPC.
    EtcdMutex,
}

/// A bench. See the module for what its parts mean.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In which words.
    pub api: Api,
    /// Client number i begins with server i (modulo their number); who loses its connection goes on
    /// to the next one. Not empty.
    pub servers: Vec<Server>,
    /// How many clients, each an owner of its own with a connection of its own. At least 1.
    pub clients: usize,
    /// How many threads share them. At least 1.
    pub threads: usize,
    /// When cycles begin.
    pub pace: Pace,
    /// Before anything counts.
    pub warmup: Duration,
    /// In which everything counts.
    pub duration: Duration,
    /// The lease of a hold; zero: none (etcd always has one).
    pub ttl: Duration,
    /// So many names that all clients share, drawn anew for each cycle; without, each client has a
    /// name of its own and nobody waits for anybody.
    pub names: Option<usize>,
    /// For one request.
    pub timeout: Duration,
    /// What every lock's and every owner's name begins with.
    pub prefix: String,
}

/// Where clients ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `host:port`, to dial and for the `Host` header.
    pub(super) authority: String,
    pub(super) host: HeaderValue,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an address like http://127.0.0.1:5001")]
pub struct ServerError(String);

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = || ServerError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        // Without TLS: its cost would be measured too, and hide what is asked for.
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        let authority = uri.authority().filter(|_| plain && uri.query().is_none());
        let authority = authority.filter(|authority| authority.port().is_some());
        let authority = authority.ok_or_else(wrong)?.as_str().to_owned();
        let host = HeaderValue::from_str(&authority).map_err(|_| wrong())?;
        Ok(Self { authority, host })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl Api {
    /// The word on the command line and in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Original => "original",
            Self::EtcdLock => "etcd-lock",
            Self::EtcdMutex => "etcd-mutex",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_plain_address_with_its_port() {
        for good in ["http://127.0.0.1:5001", "http://[::1]:5001/", "http://n1.example:80"] {
            let server: Server = good.parse().unwrap();
            assert_eq!(server.to_string(), good.trim_end_matches('/'));
        }
        for bad in
            ["127.0.0.1:5001", "https://127.0.0.1:1", "http://127.0.0.1", "http://h:1/x", "", "::"]
        {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }
}

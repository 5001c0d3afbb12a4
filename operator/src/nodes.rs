//! What nodes say of themselves, asked over HTTP at their pods' addresses.

use std::net::IpAddr;
use std::time::Duration;

use dsync_core::contract::{ADMIN_PORT, CLIENT_PORT, READYZ_PATH};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;

/// A node that does not answer within this is not answering: a reconciliation must end.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer that is read.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The route that tells all of a node; see `docs/protocol.md`.
const CLUSTER_PATH: &str = "/v1/cluster";

/// One node's answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeReport {
    /// The cluster that its disk belongs to; `None`: it holds nothing yet.
    pub cluster_id: Option<String>,
    /// Name of the leader, as far as it knows.
    pub leader: Option<String>,
    /// The members, as far as it knows.
    #[serde(default)]
    pub members: Vec<ReportedMember>,
    /// Itself.
    pub node: ReportedNode,
    /// Whether its readiness probe passes.
    #[serde(skip)]
    pub ready: bool,
}

/// A member in a node's answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReportedMember {
    /// Its name.
    pub name: String,
    /// Its disk, in hex.
    pub id: String,
    /// `voter`, `learner` or `leaving`.
    pub part: String,
}

/// The node that answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReportedNode {
    /// Its name.
    pub name: String,
    /// Its disk, in hex.
    pub id: String,
    /// The release that it runs.
    pub version: String,
    /// Why it does not take part; `None`: it does.
    pub outside: Option<String>,
}

/// Asks nodes. Played in tests.
pub trait Nodes: Send + Sync {
    /// The node's own view, without asking others, and its readiness. `None`: no answer.
    fn look(&self, address: IpAddr) -> BoxFuture<'_, Option<NodeReport>>;

    /// The cluster as a quorum confirms it now, asked through this node. `None`: no quorum answers.
    fn confirm(&self, address: IpAddr) -> BoxFuture<'_, Option<NodeReport>>;
}

/// Nodes at the ports of the contract.
#[derive(Clone, Debug)]
pub struct HttpNodes(reqwest::Client);

impl HttpNodes {
    /// A client without a proxy: pods are reached directly.
    ///
    /// # Errors
    /// If the system gives no TLS roots or no memory for a client.
    pub fn new() -> Result<Self, reqwest::Error> {
        reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map(Self)
    }

    async fn get(&self, address: IpAddr, port: u16, path: &str) -> Option<Vec<u8>> {
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let mut answer = self.0.get(format!("http://{host}:{port}{path}")).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                return None;
            }
        }
        Some(body)
    }

    async fn report(&self, address: IpAddr, consistency: &str) -> Option<NodeReport> {
        let path = format!("{CLUSTER_PATH}?consistency={consistency}");
        serde_json::from_slice(&self.get(address, CLIENT_PORT, &path).await?).ok()
    }
}

impl Nodes for HttpNodes {
    fn look(&self, address: IpAddr) -> BoxFuture<'_, Option<NodeReport>> {
        async move {
            let ready = self.get(address, ADMIN_PORT, READYZ_PATH);
            let (report, ready) = futures::join!(self.report(address, "stale"), ready);
            report.map(|report| NodeReport { ready: ready.is_some(), ..report })
        }
        .boxed()
    }

    fn confirm(&self, address: IpAddr) -> BoxFuture<'_, Option<NodeReport>> {
        self.report(address, "linearizable").boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_without_the_fields_that_nobody_needs() {
        let answer = r#"{
            "cluster_id": "0a", "leader": "locks-0", "term": 3,
            "members": [{ "name": "locks-0", "id": "01", "part": "voter", "leader": true, "boot_id": null, "boot_count": null }],
            "node": { "name": "locks-0", "id": "01", "boot_id": "02", "version": "0.1.0", "role": "LEADER",
                      "registered": true, "outside": null, "log_start": 1, "log_end": 2,
                      "durable_index": 2, "commit_index": 2, "applied_index": 2 },
            "settings": {}, "locks": { "names": 0, "holds": 0, "waits": 0 }, "events": 0, "index": 2, "time_ms": 5
        }"#;
        let report: NodeReport = serde_json::from_str(answer).unwrap();
        assert_eq!(report.leader.as_deref(), Some("locks-0"));
        assert_eq!((report.members.len(), report.node.outside), (1, None));
    }
}

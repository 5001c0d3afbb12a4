//! The client: one cluster, one agent, shared connections.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use crate::error::{Error, NodeError};
use crate::lock_request::LockRequest;
use crate::names::Names;
use crate::nodes::{Call, Failure, Nodes, name};
use crate::original::Original;
use crate::random;
use crate::status::Status;

/// How patient a client is.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// For one call, over all nodes and repeats; beside the time for which a call may wait for a lock.
    pub deadline: Duration,
    /// For one connection to one node.
    pub connect_timeout: Duration,
    /// For one request to one node. Above the time for which a node looks for a leader, or its
    /// answer would never be heard.
    pub request_timeout: Duration,
    /// How often a node that has a waiting request is asked whether it still lives. Two such times
    /// after it went silent, the request is sent to another node.
    pub probe_interval: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(7),
            probe_interval: Duration::from_secs(2),
        }
    }
}

/// A client of one cluster, and one *agent* there: the unit that holds and waits.
///
/// Clones are the same agent and share connections. An agent acts one step at a time, as a thread
/// does: everything that it holds counts as held by one when the cluster looks for deadlocks. Parts of
/// a program that work beside each other should be different agents: see
/// [`agent`](Client::agent).
///
/// Whatever a node does not answer, or cannot serve now, is asked again at the others, with a number
/// that makes it take effect once.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) agent: Arc<Agent>,
}

/// Who holds and waits.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) owner: String,
    pub(crate) names: Arc<Names>,
}

impl Client {
    /// A client of the nodes at these base addresses, with default settings.
    ///
    /// # Errors
    /// If no address is given, or one is not an `http` address.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        Self::with_settings(addresses, ClientSettings::default())
    }

    /// A client of the nodes at these base addresses.
    ///
    /// # Errors
    /// If no address is given, or one is not an `http` address.
    pub fn with_settings<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        settings: ClientSettings,
    ) -> Result<Self, Error> {
        let nodes = Arc::new(Nodes::new(addresses, settings)?);
        Ok(Self { nodes, agent: Agent::new(own_name()) })
    }

    /// A client that is put together piece by piece.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Another agent on the same connections, under this owner's name. The name has to be used by
    /// nobody else: to the cluster, the same owner asking again is a repeat and gets the same hold.
    #[must_use]
    pub fn with_owner(&self, owner: impl Into<String>) -> Self {
        Self { nodes: Arc::clone(&self.nodes), agent: Agent::new(owner.into()) }
    }

    /// Another agent on the same connections, with a name of its own.
    #[must_use]
    pub fn agent(&self) -> Self {
        self.with_owner(own_name())
    }

    /// The owner's name that this agent holds and waits under.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.agent.owner
    }

    /// Begins a request for a lock.
    pub fn lock(&self, name: impl Into<String>) -> LockRequest {
        LockRequest::new(self.clone(), name.into())
    }

    /// The view of the first node that answers.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn status(&self) -> Result<Status, Error> {
        self.nodes.call(&Call::get(&["status"])).await?.decode()
    }

    /// The view of every node, in the order of the addresses; each is asked once, all at once.
    pub async fn statuses(&self) -> Vec<(Url, Result<Status, Error>)> {
        let asked = self.nodes.urls().iter().cloned().enumerate().map(|(position, node)| {
            let nodes = Arc::clone(&self.nodes);
            (node, tokio::spawn(async move { status_of(&nodes, position).await }))
        });
        let mut views = Vec::new();
        for (node, view) in asked.collect::<Vec<_>>() {
            let failed = |error: tokio::task::JoinError| Error::Answer {
                node: name(&node),
                reason: error.to_string(),
            };
            let view = view.await.map_err(failed).and_then(|view| view);
            views.push((node, view));
        }
        views
    }

    /// The original routes.
    #[must_use]
    pub fn original(&self) -> Original<'_> {
        Original { nodes: &self.nodes }
    }
}

async fn status_of(nodes: &Nodes, position: usize) -> Result<Status, Error> {
    match nodes.ask(position, &Call::get(&["status"])).await {
        Ok(answer) => answer.decode(),
        Err(Failure::Final(error)) => Err(*error),
        Err(Failure::Unserved { last, .. } | Failure::Unknown(last)) => {
            Err(unavailable(nodes, last))
        }
    }
}

fn unavailable(nodes: &Nodes, last: NodeError) -> Error {
    Error::Unavailable { deadline: nodes.settings.request_timeout, last }
}

impl Agent {
    fn new(owner: String) -> Arc<Self> {
        Arc::new(Self { owner, names: Arc::default() })
    }
}

/// Host, process and a random part: a name that says where to look and that nobody else has.
fn own_name() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    format!("{host}:{}:{:08x}", std::process::id(), random::number() >> 32)
}

/// Puts a [`Client`] together.
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    servers: Vec<String>,
    settings: ClientSettings,
    owner: Option<String>,
}

impl ClientBuilder {
    /// Adds the base address of a node, like `http://127.0.0.1:5001`.
    #[must_use]
    pub fn server(mut self, address: impl Into<String>) -> Self {
        self.servers.push(address.into());
        self
    }

    /// Adds several.
    #[must_use]
    pub fn servers<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.servers.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// The owner's name; by default one made of host, process and a random part.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// How long one call may take, over all nodes and repeats.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// How long one node may take over one request.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// All of them at once.
    #[must_use]
    pub fn settings(mut self, settings: ClientSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// If no address was given, or one is not an `http` address.
    pub fn build(self) -> Result<Client, Error> {
        let client = Client::with_settings(self.servers, self.settings)?;
        Ok(match self.owner {
            Some(owner) => client.with_owner(owner),
            None => client,
        })
    }
}

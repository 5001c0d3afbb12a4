//! The process: one that acts, others that stand by.
//!
//! A Lease says which. It coordinates and does not fence: two that both believe to hold it for a moment
//! do no harm, since every write is either idempotent, guarded by a version or a UID, or a create.
//! Whoever loses it ends, and stands by after its restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use dsync_core::contract::{ADMIN_PORT, NODE_IMAGE, REDIS_IMAGE};
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube_lease_manager::LeaseManagerBuilder;
use tokio::sync::watch;

use crate::backoff::Backoffs;
use crate::controller::{self, Shared};
use crate::metrics::Metrics;
use crate::names::FIELD_MANAGER;
use crate::nodes::HttpNodes;
use crate::probes::{self, Health};
use crate::reconcile::Context;
use crate::validate::Surroundings;

/// After this long without a renewal another process may take over.
const LEASE_SECONDS: u64 = 15;
/// It is renewed this long before.
const LEASE_GRACE_SECONDS: u64 = 5;
/// Looks that have begun may end, within this.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// Settings of the operator, each a flag and an environment variable.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Namespaces whose clusters are looked after, separated by commas. Default: all.
    #[arg(long, env = "DSYNC_OPERATOR_NAMESPACES", value_name = "NAMES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Namespace that the operator runs in: its Lease is there, and its pods may use the admin port of
    /// the nodes.
    #[arg(
        long,
        env = "DSYNC_OPERATOR_NAMESPACE",
        value_name = "NAME",
        default_value = "dsync-system"
    )]
    pub namespace: String,

    /// Name of the Lease that says which of several operators acts.
    #[arg(long, env = "DSYNC_OPERATOR_LEASE", value_name = "NAME", default_value = FIELD_MANAGER)]
    pub lease: String,

    /// Name of this process among several, usually its pod's. Default: a random one.
    #[arg(long, env = "DSYNC_OPERATOR_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Domain of the Kubernetes cluster.
    #[arg(
        long,
        env = "DSYNC_OPERATOR_CLUSTER_DOMAIN",
        value_name = "DOMAIN",
        default_value = "cluster.local"
    )]
    pub cluster_domain: String,

    /// Image of nodes that do not name one.
    #[arg(long, env = "DSYNC_OPERATOR_NODE_IMAGE", value_name = "IMAGE", default_value = NODE_IMAGE)]
    pub node_image: String,

    /// Image of Redis where none is named.
    #[arg(long, env = "DSYNC_OPERATOR_REDIS_IMAGE", value_name = "IMAGE", default_value = REDIS_IMAGE)]
    pub redis_image: String,

    /// Address for probes and metrics.
    #[arg(long, env = "DSYNC_OPERATOR_LISTEN_ADMIN", value_name = "ADDR", default_value_t = admin())]
    pub listen_admin: SocketAddr,

    /// Which lines are logged: a level or a filter.
    #[arg(long = "log", env = "DSYNC_OPERATOR_LOG", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
}

fn admin() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], ADMIN_PORT))
}

/// Runs until SIGTERM, or until it must not act any longer.
///
/// # Errors
/// If the API server cannot be reached at the start, the port cannot be opened, or the Lease is lost.
pub async fn run(arguments: RunArgs) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log_filter).context("--log")?;
    // The library's spans repeat on every line what ours say where it matters.
    let lines = tracing_subscriber::fmt().json().with_current_span(false).with_span_list(false);
    lines.with_env_filter(filter).with_writer(std::io::stderr).init();
    let (health, metrics) = (Health::default(), Metrics::default());
    let probes = probes::serve(arguments.listen_admin, health.clone(), metrics.clone());
    let probes = tokio::spawn(probes);
    let client = Client::try_default().await.context("no way to the API server")?;
    client.apiserver_version().await.context("the API server does not answer")?;
    health.connected();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?arguments.namespaces, "started");
    tokio::select! {
        result = act(&arguments, client, &health, &metrics) => result,
        result = probes => match result {
            Ok(result) => result.with_context(|| format!("--listen-admin {}", arguments.listen_admin)),
            Err(panic) => bail!("the probes panicked: {panic}"),
        },
    }
}

/// Stands by until the Lease is ours, acts until it is lost or the process is told to stop.
async fn act(
    arguments: &RunArgs,
    client: Client,
    health: &Health,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    let identity = identity(arguments)?;
    let lease = LeaseManagerBuilder::new(client.clone(), &arguments.lease)
        .with_namespace(&arguments.namespace)
        .with_identity(&identity)
        .with_duration(LEASE_SECONDS)
        .with_grace(LEASE_GRACE_SECONDS)
        .build()
        .await
        .context("the Lease")?;
    let (mut leads, keeper) = lease.watch().await;
    let mut stop = std::pin::pin!(terminated());
    tracing::info!(identity, "standing by");
    let signal = tokio::select! {
        result = leads.wait_for(|leads| *leads) => {
            result.context("the Lease's keeper has ended")?;
            None
        }
        signal = &mut stop => Some(signal),
    };
    if let Some(signal) = signal {
        return release(leads, keeper, signal).await;
    }
    tracing::info!("acting");
    metrics.leader.set(1);
    health.heard(Instant::now());
    let (say_stop, stopped) = watch::channel(false);
    let shared = shared(arguments, client, health, metrics, identity)?;
    let mut controllers = tokio::spawn({
        let namespaces = arguments.namespaces.clone();
        async move { controller::run(shared, &namespaces, stopped).await }
    });
    let signal = tokio::select! {
        signal = &mut stop => signal,
        result = leads.wait_for(|leads| !*leads) => {
            // Not released, not finished: another one acts already.
            bail!("the Lease is lost: {result:?}", result = result.map(|leads| *leads));
        }
        result = &mut controllers => bail!("the controllers have ended: {result:?}"),
    };
    // The other end may have gone with its controllers.
    let _ = say_stop.send(true);
    if tokio::time::timeout(SHUTDOWN_LIMIT, controllers).await.is_err() {
        tracing::warn!("some looks did not end in time");
    }
    release(leads, keeper, signal).await
}

type Keeper = tokio::task::JoinHandle<kube_lease_manager::Result<kube_lease_manager::LeaseManager>>;

/// Gives the Lease back, so that another process need not wait for its end.
async fn release(
    leads: watch::Receiver<bool>,
    keeper: Keeper,
    signal: &'static str,
) -> anyhow::Result<()> {
    tracing::info!(signal, "stopping");
    drop(leads);
    match tokio::time::timeout(SHUTDOWN_LIMIT, keeper).await {
        Ok(Ok(Ok(_))) => {}
        result => tracing::warn!(ended = result.is_ok(), "the Lease was not given back"),
    }
    Ok(())
}

fn shared(
    arguments: &RunArgs,
    client: Client,
    health: &Health,
    metrics: &Metrics,
    identity: String,
) -> anyhow::Result<Arc<Shared>> {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity) };
    let context = Context {
        nodes: Arc::new(HttpNodes::new().context("no HTTP client")?),
        surroundings: Surroundings {
            cluster_domain: arguments.cluster_domain.clone(),
            operator_namespace: arguments.namespace.clone(),
            node_image: arguments.node_image.clone(),
            redis_image: arguments.redis_image.clone(),
        },
        recorder: Recorder::new(client.clone(), reporter),
        metrics: metrics.clone(),
        client,
    };
    Ok(Arc::new(Shared {
        context,
        backoffs: Backoffs::default(),
        health: health.clone(),
        lease: (arguments.namespace.clone(), arguments.lease.clone()),
    }))
}

fn identity(arguments: &RunArgs) -> anyhow::Result<String> {
    if let Some(identity) = &arguments.identity {
        return Ok(identity.clone());
    }
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("no randomness for an identity")?;
    Ok(format!("{FIELD_MANAGER}-{:016x}", u64::from_le_bytes(bytes)))
}

async fn terminated() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let term = async {
        match signal(SignalKind::terminate()) {
            Ok(mut term) => drop(term.recv().await),
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = term => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "interrupt",
    }
}

//! Watches everything that concerns clusters, and has each looked at when something happens to it.
//!
//! kube's controller merges all watches into one stream and, while one fails, waits for all: its
//! growing delay would leave connections unpolled until they fail in their turn, for ever. So the delay
//! is a constant second, and the process proves that it hears: the watch of its own Lease, which is
//! renewed every few seconds, is part of the same stream, and liveness is the age of the last word.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsync_core::contract::kubernetes::LABEL_CLUSTER;
use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Client, Resource, ResourceExt};

use crate::backoff::Backoffs;
use crate::crd::DSyncCluster;
use crate::kind::Kind;
use crate::metrics::ResultLabel;
use crate::probes::Health;
use crate::reconcile::{Context, Error, Outcome, reconcile};

/// What is watched. One that cannot be read spoils nothing but itself.
type Guarded = DeserializeGuard<DSyncCluster>;

/// While something is under way: nodes do not say when they change.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// At rest: only the nodes' own word can be news.
const LOOK_AT_REST: Duration = Duration::from_secs(10);
/// Of a failed watch.
const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// Clusters that are looked at side by side.
const CONCURRENCY: u16 = 16;
/// Events that come together cause one look.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// What all looks share.
pub struct Shared {
    /// What one look needs.
    pub context: Context,
    /// Failures in a row.
    pub backoffs: Backoffs,
    /// Told of every word from the watches.
    pub health: Health,
    /// Namespace and name of the Lease.
    pub lease: (String, String),
}

/// A pause of always the same length.
#[derive(Clone, Copy, Debug)]
struct Constant(Duration);

impl Iterator for Constant {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl kube::runtime::utils::Backoff for Constant {
    fn reset(&mut self) {}
}

/// Looks after the clusters of some namespaces, or of all if none is named, until `stop`.
pub async fn run(
    shared: Arc<Shared>,
    namespaces: &[String],
    stop: tokio::sync::watch::Receiver<bool>,
) {
    let mut scopes =
        namespaces.iter().map(|namespace| Some(namespace.as_str())).collect::<Vec<_>>();
    if scopes.is_empty() {
        scopes.push(None);
    }
    let controllers = scopes.into_iter().map(|scope| one(shared.clone(), scope, stop.clone()));
    futures::future::join_all(controllers).await;
}

fn one(
    shared: Arc<Shared>,
    scope: Option<&str>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    let client = shared.context.client.clone();
    let mut controller =
        Controller::<Guarded>::new(api(&client, scope), watcher::Config::default())
            .with_config(Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY))
            .trigger_backoff(Constant(WATCH_AGAIN))
            .graceful_shutdown_on(async move {
                // An error: whoever could say stop is gone.
                let _ = stop.wait_for(|stop| *stop).await;
            });
    controller = watch_lease(controller, &shared);
    controller = watch_pods(controller, &shared, scope);
    for kind in Kind::ALL {
        controller = watch_kind(controller, &shared, kind, scope);
    }
    let run = controller.run(look, retry, shared).for_each(|result| async move {
        if let Err(error) = result {
            tracing::warn!(%error, "a watch or a look failed");
        }
    });
    Box::pin(run)
}

fn api<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The operator's own Lease: what proves that the watches are heard.
fn watch_lease(controller: Controller<Guarded>, shared: &Arc<Shared>) -> Controller<Guarded> {
    let (namespace, name) = &shared.lease;
    let leases: Api<Lease> = Api::namespaced(shared.context.client.clone(), namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let health = shared.health.clone();
    controller.watches(leases, only, move |_| {
        health.heard(Instant::now());
        None
    })
}

fn watch_pods(
    controller: Controller<Guarded>,
    shared: &Arc<Shared>,
    scope: Option<&str>,
) -> Controller<Guarded> {
    let pods: Api<Pod> = api(&shared.context.client, scope);
    let ours = watcher::Config::default().labels(LABEL_CLUSTER);
    controller.watches(pods, ours, |pod| cluster_of(&pod))
}

fn watch_kind(
    controller: Controller<Guarded>,
    shared: &Arc<Shared>,
    kind: Kind,
    scope: Option<&str>,
) -> Controller<Guarded> {
    let (client, resource) = (shared.context.client.clone(), kind.resource());
    let api: Api<DynamicObject> = match scope {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let ours = watcher::Config::default().labels(LABEL_CLUSTER);
    controller.watches_with(api, resource, ours, |object| cluster_of(&object))
}

/// Whose an object is. By label: a claim has no owner, and a pod's is the StatefulSet.
fn cluster_of<K: ResourceExt>(object: &K) -> Option<ObjectRef<Guarded>> {
    let name = object.labels().get(LABEL_CLUSTER)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

async fn look(cluster: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, Error> {
    let began = Instant::now();
    let result = look_live(&cluster, &shared).await;
    let metrics = &shared.context.metrics;
    metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    let label = ResultLabel { result: if result.is_ok() { "ok" } else { "error" } };
    metrics.reconciles.get_or_create(&label).inc();
    if result.is_ok() {
        shared.backoffs.reset(&key(&cluster));
    }
    result
}

/// The watch's copy says which cluster; it may be older than our own last write.
async fn look_live(cluster: &Guarded, shared: &Shared) -> Result<Action, Error> {
    if let Err(error) = &cluster.0 {
        return Err(Error::Unreadable(error.error.clone()));
    }
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<DSyncCluster> = Api::namespaced(shared.context.client.clone(), &namespace);
    let Some(live) = api.get_opt(&cluster.name_any()).await? else {
        return Ok(Action::await_change());
    };
    Ok(match reconcile(&live, &shared.context).await? {
        Outcome::Settled => Action::requeue(LOOK_AT_REST),
        Outcome::Moving => Action::requeue(LOOK_AGAIN),
        Outcome::Gone => Action::await_change(),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "kube's signature")]
fn retry(cluster: Arc<Guarded>, error: &Error, shared: Arc<Shared>) -> Action {
    let key = key(&cluster);
    let delay = shared.backoffs.failed(&key);
    tracing::warn!(cluster = key, %error, delay_s = delay.as_secs(), "trying again later");
    Action::requeue(delay)
}

fn key(cluster: &Guarded) -> String {
    format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any())
}

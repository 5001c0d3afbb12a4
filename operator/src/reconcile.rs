//! One look at one cluster: read, check, write what differs, take one step, say what was seen.
//!
//! dereference -> validate -> build -> apply -> observe -> plan -> act -> update status. Everything
//! between the reads and the writes is pure. It may be ended after any write, by two operators at once
//! even: the next look starts from what is there.

use std::sync::Arc;

use dsync_core::contract::kubernetes::LABEL_CLUSTER_ID;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, EvictParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use crate::apply::{ApplyError, apply};
use crate::build::build;
use crate::crd::{DEGRADED, DSyncCluster, DSyncClusterStatus};
use crate::dereference::{Found, dereference};
use crate::founding::{confirmed_id, read_marks};
use crate::kind::Kind;
use crate::marks::{Marks, Phase};
use crate::metrics::Metrics;
use crate::names::{CLUSTER_FINALIZER, Names};
use crate::nodes::{NodeReport, Nodes};
use crate::observe::{Answers, Picture, Problem, observe};
use crate::plan::{Action, How, plan};
use crate::secrets::{self, Ensured, SecretsError};
use crate::status::{refused, status};
use crate::validate::{Surroundings, ValidRedis, Validated, validate};

/// Owner of the status: what is not said any more goes.
const STATUS_MANAGER: &str = "dsync-operator-status";
/// Too many requests: another eviction has to end first.
const TOO_MANY_REQUESTS: u16 = 429;

/// What a reconciliation works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The nodes.
    pub nodes: Arc<dyn Nodes>,
    /// What the operator was told.
    pub surroundings: Surroundings,
    /// Tells what was done as events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Metrics,
}

/// How soon to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as asked for: only to see what the nodes say.
    Settled,
    /// Something is under way.
    Moving,
    /// The resource goes.
    Gone,
}

/// Why a look ended early. It is made again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// A child cannot be had.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A generated Secret cannot be had.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The resource is not readable as one.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// One look.
///
/// # Errors
/// See [`Error`].
pub async fn reconcile(cluster: &DSyncCluster, context: &Context) -> Result<Outcome, Error> {
    let names = Names::new(&cluster.namespace().unwrap_or_default(), &cluster.name_any());
    if cluster.metadata.deletion_timestamp.is_some() {
        return clean_up(cluster, context, &names).await;
    }
    let look = Look { cluster, context };
    let valid = match validate(cluster, &context.surroundings) {
        Ok(valid) => valid,
        Err(invalid) => return look.refuse("InvalidSpec", invalid.to_string()).await,
    };
    let mut found = dereference(&context.client, &names).await?;
    let marks = match read_marks(&names, &found) {
        Ok(marks) => marks,
        Err(stale) => return look.refuse("StaleVolumes", stale.to_string()).await,
    };
    if !cluster.spec.pause {
        if look.prepare(&valid, &marks, &found).await? == Ensured::Changed {
            return Ok(Outcome::Moving);
        }
        match apply(&context.client, &valid, &build(&valid, &marks), &mut found).await {
            Ok(writes) => context.metrics.writes.inc_by(u64::from(writes)),
            Err(error) => return look.refuse_foreign(error).await,
        };
    }
    look.go_on(&valid, &marks, &found).await
}

/// One cluster, looked at.
struct Look<'a> {
    cluster: &'a DSyncCluster,
    context: &'a Context,
}

impl Look<'_> {
    /// What has to be there before anything else: the finalizer, the generated Secrets, their marks.
    async fn prepare(
        &self,
        valid: &Validated,
        marks: &Marks,
        found: &Found,
    ) -> Result<Ensured, Error> {
        let client = &self.context.client;
        if !self.cluster.finalizers().iter().any(|one| one == CLUSTER_FINALIZER) {
            self.set_finalizers(&valid.names, |all| all.push(CLUSTER_FINALIZER.to_owned())).await?;
            return Ok(Ensured::Changed);
        }
        let mut pairs = vec![secrets::identity(&valid.names)];
        if let ValidRedis::Managed { .. } = valid.redis {
            pairs.push(secrets::redis_password(&valid.names));
        }
        for pair in &pairs {
            if secrets::ensure(client, valid, pair, found, marks).await? == Ensured::Changed {
                return Ok(Ensured::Changed);
            }
        }
        let unmarked = secrets::unmarked(&valid.names, found, marks);
        for name in &unmarked {
            secrets::mark(client, &valid.names, name, marks).await?;
        }
        Ok(if unmarked.is_empty() { Ensured::Whole } else { Ensured::Changed })
    }

    async fn set_finalizers(
        &self,
        names: &Names,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Result<(), kube::Error> {
        let mut finalizers = self.cluster.finalizers().to_vec();
        change(&mut finalizers);
        // The version guards the list: another controller may have put its own in.
        let patch = Patch::Merge(json!({ "metadata": {
            "finalizers": finalizers,
            "resourceVersion": self.cluster.resource_version(),
        } }));
        let api: Api<DSyncCluster> = Api::namespaced(self.context.client.clone(), &names.namespace);
        api.patch_metadata(&names.cluster, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Looks at the nodes, takes one step, and says what was seen.
    async fn go_on(
        &self,
        valid: &Validated,
        marks: &Marks,
        found: &Found,
    ) -> Result<Outcome, Error> {
        let answers = self.ask(valid, found).await;
        let confirmed = confirmed_id(answers.confirmed.as_ref(), &answers.reports, valid.replicas);
        if let (Phase::Founding, Some(id), false) = (marks.phase, confirmed, valid.spec.pause) {
            return self.founded(valid, id).await;
        }
        if !valid.spec.pause {
            self.mark_claims(valid, marks, found, &answers).await?;
        }
        let picture = observe(valid, marks, found, &answers);
        let action = plan(&picture.observed);
        let blocked = self.act(valid, found, &action).await?;
        self.show(valid, marks, &picture, &action).await?;
        let settled = action == Action::Rest && !blocked && picture.problems.is_empty();
        Ok(if settled { Outcome::Settled } else { Outcome::Moving })
    }

    async fn ask(&self, valid: &Validated, found: &Found) -> Answers {
        let address = |at: usize| {
            let name = valid.names.node(at);
            let pod = found.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&name))?;
            pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
        };
        let nodes = &self.context.nodes;
        let addresses = (0..valid.replicas).map(address).collect::<Vec<_>>();
        let looks = addresses.iter().map(|address| async move {
            match address {
                Some(address) => nodes.look(*address).await,
                None => None,
            }
        });
        let reports = futures::future::join_all(looks).await;
        Answers { confirmed: self.confirm(&addresses, &reports).await, reports }
    }

    /// The leader can tell without asking anybody twice, so it is asked first.
    async fn confirm(
        &self,
        addresses: &[Option<std::net::IpAddr>],
        reports: &[Option<NodeReport>],
    ) -> Option<NodeReport> {
        let mut willing = reports
            .iter()
            .zip(addresses)
            .filter_map(|(report, address)| Some((report.as_ref()?, (*address)?)))
            .filter(|(report, _)| report.leader.is_some())
            .collect::<Vec<_>>();
        willing.sort_by_key(|(report, _)| report.leader.as_deref() != Some(&report.node.name));
        for (_, address) in willing {
            if let Some(answer) = self.context.nodes.confirm(address).await {
                return Some(answer);
            }
        }
        None
    }

    /// From here on nobody founds this cluster again.
    async fn founded(&self, valid: &Validated, id: String) -> Result<Outcome, Error> {
        let message = format!("cluster {id} is founded");
        let marks = Marks { phase: Phase::Founded, cluster_id: Some(id) };
        // The twin follows at the next look: one mark is enough.
        let identity = valid.names.identity();
        secrets::mark(&self.context.client, &valid.names, &identity, &marks).await?;
        self.tell(EventType::Normal, "Founded", "Found", message).await;
        Ok(Outcome::Moving)
    }

    /// A claim is marked when the node on it says that it holds this cluster: an empty disk that took
    /// the place of a lost one is not.
    async fn mark_claims(
        &self,
        valid: &Validated,
        marks: &Marks,
        found: &Found,
        answers: &Answers,
    ) -> Result<(), kube::Error> {
        let Some(id) = &marks.cluster_id else { return Ok(()) };
        let api: Api<PersistentVolumeClaim> =
            Api::namespaced(self.context.client.clone(), &valid.names.namespace);
        for (at, report) in answers.reports.iter().enumerate() {
            let holds =
                report.as_ref().is_some_and(|report| report.cluster_id.as_ref() == Some(id));
            let name = valid.names.claim(at);
            let Some(claim) = found.get(Kind::Claim, &name).filter(|_| holds) else { continue };
            if claim["metadata"]["labels"][LABEL_CLUSTER_ID].is_null() {
                let labels = json!({ LABEL_CLUSTER_ID: id });
                // The UID guards it: a claim of that name that was made since holds nothing yet.
                let metadata = json!({ "labels": labels, "uid": claim["metadata"]["uid"] });
                let patch = Patch::Merge(json!({ "metadata": metadata }));
                api.patch(&name, &PatchParams::default(), &patch).await?;
            }
        }
        Ok(())
    }

    /// Takes the step. True: somebody else has to be done first.
    async fn act(&self, valid: &Validated, found: &Found, action: &Action) -> Result<bool, Error> {
        let Action::Restart { ordinal, how } = action else { return Ok(false) };
        let name = valid.names.node(*ordinal);
        let pod = found.pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&name));
        let preconditions =
            Preconditions { uid: pod.and_then(ResourceExt::uid), resource_version: None };
        let delete = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &valid.names.namespace);
        let result = match how {
            How::Evict => {
                let evict = EvictParams { delete_options: Some(delete), ..EvictParams::default() };
                api.evict(&name, &evict).await.map(drop)
            }
            How::Delete => api.delete(&name, &delete).await.map(drop),
        };
        match result {
            Ok(()) => {
                self.context.metrics.restarts.inc();
                let message = format!("replacing pod {name}: it is not of the newest template");
                self.tell(EventType::Normal, "PodReplaced", "Roll", message).await;
                Ok(false)
            }
            // Gone, or another pod of that name by now: look again.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == TOO_MANY_REQUESTS => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn show(
        &self,
        valid: &Validated,
        marks: &Marks,
        picture: &Picture,
        action: &Action,
    ) -> Result<(), Error> {
        let generation = self.cluster.metadata.generation;
        let old = self.cluster.status.as_ref();
        let new = status(valid, generation, marks, picture, action, old, Timestamp::now());
        self.write_status(&new).await
    }

    async fn write_status(&self, new: &DSyncClusterStatus) -> Result<(), Error> {
        let old = self.cluster.status.as_ref();
        if old == Some(new) {
            return Ok(());
        }
        let patch = Patch::Apply(json!({
            "apiVersion": DSyncCluster::api_version(&()),
            "kind": DSyncCluster::kind(&()),
            "status": new,
        }));
        let namespace = self.cluster.namespace().unwrap_or_default();
        let api: Api<DSyncCluster> = Api::namespaced(self.context.client.clone(), &namespace);
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        api.patch_status(&self.cluster.name_any(), &parameters, &patch).await?;
        self.context.metrics.writes.inc();
        self.tell_trouble(old, new).await;
        Ok(())
    }

    /// An event when something begins to need attention, and when it has ended.
    async fn tell_trouble(&self, old: Option<&DSyncClusterStatus>, new: &DSyncClusterStatus) {
        let degraded = |status: &DSyncClusterStatus| {
            status
                .conditions
                .iter()
                .find(|one| one.type_ == DEGRADED && one.status == "True")
                .cloned()
        };
        match (old.and_then(degraded), degraded(new)) {
            (before, Some(now)) if before.as_ref().map(|one| &one.reason) != Some(&now.reason) => {
                self.tell(EventType::Warning, &now.reason, "Look", now.message).await;
            }
            (Some(before), None) => {
                let message = format!("no longer: {}", before.reason);
                self.tell(EventType::Normal, "Recovered", "Look", message).await;
            }
            _ => {}
        }
    }

    async fn tell(&self, type_: EventType, reason: &str, action: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        let reference = self.cluster.object_ref(&());
        // Told or not, what happened has happened.
        if let Err(error) = self.context.recorder.publish(&event, &reference).await {
            tracing::warn!(%error, reason, "cannot publish an event");
        }
    }

    /// Nothing is touched; it is said why.
    async fn refuse(&self, reason: &'static str, message: String) -> Result<Outcome, Error> {
        let problem = Problem { reason, message };
        let old = self.cluster.status.as_ref();
        let generation = self.cluster.metadata.generation;
        self.write_status(&refused(generation, &problem, old, Timestamp::now())).await?;
        Ok(Outcome::Moving)
    }

    /// What belongs to somebody else, or is going, is waited for; everything else is an error.
    async fn refuse_foreign(&self, error: ApplyError) -> Result<Outcome, Error> {
        match &error {
            ApplyError::Foreign { .. } => self.refuse("Conflict", error.to_string()).await,
            ApplyError::Terminating { .. } => {
                self.refuse("ChildTerminating", error.to_string()).await
            }
            ApplyError::Kube { source, .. } => {
                // What the API server finds wrong with a manifest is wrong in the spec it came from.
                if let kube::Error::Api(status) = source.as_ref()
                    && status.is_invalid()
                {
                    return self.refuse("Refused", error.to_string()).await;
                }
                Err(error.into())
            }
        }
    }
}

/// The resource goes: its generated Secrets may go, and then itself. Nothing here depends on nodes.
/// Everything else is deleted by Kubernetes, except claims, which stay.
async fn clean_up(
    cluster: &DSyncCluster,
    context: &Context,
    names: &Names,
) -> Result<Outcome, Error> {
    if !cluster.finalizers().iter().any(|one| one == CLUSTER_FINALIZER) {
        return Ok(Outcome::Gone);
    }
    let found = dereference(&context.client, names).await?;
    for (name, secret) in found.of_kind(Kind::Secret) {
        secrets::release(&context.client, names, name, secret).await?;
    }
    let look = Look { cluster, context };
    look.set_finalizers(names, |all| all.retain(|one| one != CLUSTER_FINALIZER)).await?;
    Ok(Outcome::Gone)
}

#[cfg(test)]
#[path = "reconcile_test/mod.rs"]
mod tests;

//! Secrets that the operator makes up: the cluster secret and Redis' password.
//!
//! What is in them cannot be had again, so each is *created*, never applied: of two operators that
//! race, one creates and the other reads. Each is immutable and has a twin. A finalizer keeps a deleted
//! one until the twin is whole; then it goes, and is made again from the twin. So no order of deletes
//! loses the content, as long as the operator sees them one by one.
//!
//! The decision is [`next`], pure; [`ensure`] carries out one step of it at a time.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dsync_core::contract::kubernetes::{ANNOTATION_PHASE, COMPONENT_NODE, LABEL_CLUSTER_ID};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::build::owner;
use crate::dereference::{Found, is_terminating};
use crate::kind::Kind;
use crate::marks::Marks;
use crate::names::{FIELD_MANAGER, Names, SECRET_FINALIZER};
use crate::validate::Validated;

/// Random bytes of a secret; written in hex, so that it is a line of text.
const SECRET_BYTES: usize = 32;

/// A generated Secret that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name; the twin's follows from it.
    pub name: String,
    /// The key of the value in it.
    pub key: &'static str,
    /// What it is for.
    pub component: &'static str,
}

/// One step towards two whole Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Both are there.
    Done,
    /// Neither is: make up a new value.
    Invent,
    /// One is: copy its value to the other.
    Copy {
        /// Which is missing.
        to: String,
        /// In base64, as it stands in the other.
        value: String,
    },
    /// A deleted one may go: its twin is whole.
    Release {
        /// Which.
        name: String,
    },
    /// They hold different values, or one holds none: nobody can say which is right.
    Conflict {
        /// Which pair.
        name: String,
    },
}

/// What to do about a pair.
#[must_use]
pub fn next(wanted: &Wanted, first: Option<&Value>, twin: Option<&Value>) -> Step {
    let value = |secret: &Value| secret["data"][wanted.key].as_str().map(str::to_owned);
    let twin_name = Names::twin(&wanted.name);
    match (first, twin) {
        (None, None) => Step::Invent,
        (Some(one), None) | (None, Some(one)) => match value(one) {
            Some(value) => {
                let to = if first.is_none() { wanted.name.clone() } else { twin_name };
                Step::Copy { to, value }
            }
            None => Step::Conflict { name: wanted.name.clone() },
        },
        (Some(first), Some(twin)) => match (value(first), value(twin)) {
            (Some(a), Some(b)) if a == b => {
                let leaving = |secret: &Value| is_terminating(secret) && is_held(secret);
                if leaving(first) && is_held(twin) {
                    Step::Release { name: wanted.name.clone() }
                } else if leaving(twin) && is_held(first) {
                    Step::Release { name: twin_name }
                } else {
                    Step::Done
                }
            }
            _ => Step::Conflict { name: wanted.name.clone() },
        },
    }
}

/// Its finalizer keeps it in being, even if it was deleted.
fn is_held(secret: &Value) -> bool {
    let finalizers = secret["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|all| all.iter().any(|one| one == SECRET_FINALIZER))
}

/// What came of one look at a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// Both are there.
    Whole,
    /// One was written: look again.
    Changed,
}

/// Why a pair cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// The system has no randomness to give.
    #[error("no randomness for a new secret: {0}")]
    Random(getrandom::Error),
    /// See [`Step::Conflict`].
    #[error(
        "the Secrets {0} and {0}-twin hold different values; delete the wrong one by hand, without its finalizer"
    )]
    Conflict(String),
}

/// One step towards the pair.
///
/// # Errors
/// See [`SecretsError`]. A lost race is none: it is a change that somebody else made.
pub async fn ensure(
    client: &Client,
    cluster: &Validated,
    wanted: &Wanted,
    found: &Found,
    marks: &Marks,
) -> Result<Ensured, SecretsError> {
    let first = found.get(Kind::Secret, &wanted.name);
    let twin = found.get(Kind::Secret, &Names::twin(&wanted.name));
    match next(wanted, first, twin) {
        Step::Done => Ok(Ensured::Whole),
        Step::Invent => {
            let value = STANDARD.encode(invent()?);
            create(client, cluster, wanted, &wanted.name, &value, marks).await
        }
        Step::Copy { to, value } => create(client, cluster, wanted, &to, &value, marks).await,
        Step::Release { name } => {
            if let Some(secret) = found.get(Kind::Secret, &name) {
                release(client, &cluster.names, &name, secret).await?;
            }
            Ok(Ensured::Changed)
        }
        Step::Conflict { name } => Err(SecretsError::Conflict(name)),
    }
}

fn invent() -> Result<String, SecretsError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(SecretsError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn create(
    client: &Client,
    cluster: &Validated,
    wanted: &Wanted,
    name: &str,
    value: &str,
    marks: &Marks,
) -> Result<Ensured, SecretsError> {
    let manifest = manifest(cluster, wanted, name, value, marks);
    let object: DynamicObject =
        serde_json::from_value(manifest).map_err(kube::Error::SerdeError)?;
    let parameters =
        PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    match secrets(client, &cluster.names).create(&parameters, &object).await {
        Ok(_) => Ok(Ensured::Changed),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Ensured::Changed),
        Err(error) => Err(error.into()),
    }
}

fn manifest(cluster: &Validated, wanted: &Wanted, name: &str, value: &str, marks: &Marks) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": cluster.names.namespace,
        "labels": cluster.names.labels(wanted.component),
        "ownerReferences": [owner(cluster)],
        "finalizers": [SECRET_FINALIZER],
    });
    if wanted.name == cluster.names.identity() {
        metadata["annotations"] = json!({ ANNOTATION_PHASE: marks.phase.as_str() });
        if let Some(id) = &marks.cluster_id {
            metadata["labels"][LABEL_CLUSTER_ID] = json!(id);
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": true,
        "data": BTreeMap::from([(wanted.key, value)]),
    })
}

/// Lets a generated Secret go. A Secret that is gone already is no error.
///
/// # Errors
/// If the API server refuses.
pub async fn release(
    client: &Client,
    names: &Names,
    name: &str,
    secret: &Value,
) -> Result<(), kube::Error> {
    if !is_held(secret) {
        return Ok(());
    }
    let finalizers = secret["metadata"]["finalizers"].as_array().into_iter().flatten();
    let others = finalizers.filter(|one| *one != SECRET_FINALIZER).collect::<Vec<_>>();
    // The version guards the list: somebody may have put a finalizer of theirs in.
    let patch = Patch::Merge(json!({ "metadata": {
        "finalizers": others,
        "resourceVersion": secret["metadata"]["resourceVersion"],
    } }));
    match secrets(client, names).patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The identity Secret and its twin, as far as they do not carry the marks yet.
#[must_use]
pub fn unmarked(names: &Names, found: &Found, marks: &Marks) -> Vec<String> {
    let identity = names.identity();
    let lacks = |name: &String| {
        found.get(Kind::Secret, name).is_some_and(|secret| {
            let metadata = &secret["metadata"];
            metadata["annotations"][ANNOTATION_PHASE] != marks.phase.as_str()
                || metadata["labels"][LABEL_CLUSTER_ID].as_str() != marks.cluster_id.as_deref()
        })
    };
    [Names::twin(&identity), identity].into_iter().rev().filter(lacks).collect()
}

/// Writes the marks on one of them. The first write counts: whoever reads takes the strictest.
///
/// # Errors
/// If the API server refuses.
pub async fn mark(
    client: &Client,
    names: &Names,
    name: &str,
    marks: &Marks,
) -> Result<(), kube::Error> {
    let patch = Patch::Merge(json!({ "metadata": {
        "annotations": { ANNOTATION_PHASE: marks.phase.as_str() },
        "labels": { LABEL_CLUSTER_ID: marks.cluster_id },
    } }));
    secrets(client, names).patch(name, &PatchParams::default(), &patch).await.map(drop)
}

/// The pair that every cluster has.
#[must_use]
pub fn identity(names: &Names) -> Wanted {
    Wanted {
        name: names.identity(),
        key: crate::names::CLUSTER_SECRET_KEY,
        component: COMPONENT_NODE,
    }
}

/// The pair that a managed Redis has.
#[must_use]
pub fn redis_password(names: &Names) -> Wanted {
    let component = dsync_core::contract::kubernetes::COMPONENT_REDIS;
    Wanted { name: names.redis_password(), key: crate::names::PASSWORD_KEY, component }
}

fn secrets(client: &Client, names: &Names) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &names.namespace, &Kind::Secret.resource())
}

#[cfg(test)]
#[path = "secrets_test.rs"]
mod tests;

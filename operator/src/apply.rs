//! Makes the children what they should be, and writes only what differs.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::build::Child;
use crate::compare::{has_all, surplus};
use crate::dereference::{Found, controller_uid, find, is_terminating};
use crate::kind::Kind;
use crate::names::{FIELD_MANAGER, Names};
use crate::validate::Validated;

/// What the operator wanted when it last wrote an object; see [`crate::compare`].
const HASH_ANNOTATION: &str = "dsync.io/manifest-hash";
/// Enough of a hash to tell two manifests apart.
const HASH_BYTES: usize = 16;

/// Why the children are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused or did not answer.
    #[error("{kind:?} {name}: {source}")]
    Kube {
        /// What was to be written.
        kind: Kind,
        /// Which.
        name: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// An object of that name belongs to somebody else. It is not taken over: nobody can know what it
    /// is for.
    #[error("{kind:?} {name} exists and is not this cluster's: it belongs to {owner}")]
    Foreign {
        /// What it is.
        kind: Kind,
        /// Which.
        name: String,
        /// Whose.
        owner: String,
    },
    /// The object is being deleted; it is made again when it is gone.
    #[error("{kind:?} {name} is being deleted")]
    Terminating {
        /// What it is.
        kind: Kind,
        /// Which.
        name: String,
    },
}

/// Brings all children to what they should be, and deletes those that are not wanted any more. Says
/// how many writes it took, and leaves in `found` what is there now.
///
/// # Errors
/// The first child that cannot be had. What comes before it is applied.
pub async fn apply(
    client: &Client,
    cluster: &Validated,
    children: &[Child],
    found: &mut Found,
) -> Result<u32, ApplyError> {
    let mut writes = 0;
    for child in children {
        writes += apply_one(client, cluster, child, found).await?;
    }
    Ok(writes + delete_orphans(client, cluster, children, found).await?)
}

async fn apply_one(
    client: &Client,
    cluster: &Validated,
    child: &Child,
    found: &mut Found,
) -> Result<u32, ApplyError> {
    let failed = |source| failed(child.kind, &child.name, source);
    let live = match found.get(child.kind, &child.name) {
        Some(live) => Some(live.clone()),
        None => find(client, &cluster.names, child.kind, &child.name).await.map_err(failed)?,
    };
    if let Some(live) = &live {
        refuse_foreign(cluster, child, live)?;
        // A claim that is being deleted still serves its pod.
        if is_terminating(live) {
            return match child.kind {
                Kind::Claim => Ok(0),
                kind => Err(ApplyError::Terminating { kind, name: child.name.clone() }),
            };
        }
    }
    let wanted = with_hash(&child.manifest);
    let mut writes = 0;
    let mut live = live.unwrap_or_default();
    if !has_all(&live, &wanted) {
        writes += 1;
        live = match write(client, cluster, child, &wanted).await {
            // Ours and theirs cannot stand side by side, as two ports of one name.
            Err(kube::Error::Api(status)) if status.is_invalid() => {
                let strange = surplus(&live, &wanted);
                if strange.is_empty() {
                    return Err(failed(kube::Error::Api(status)));
                }
                writes += 1;
                remove(client, cluster, child, &live, &strange).await.map_err(failed)?;
                write(client, cluster, child, &wanted).await.map_err(failed)?
            }
            result => result.map_err(failed)?,
        };
    }
    let strange = surplus(&live, &wanted);
    if !strange.is_empty() {
        live = remove(client, cluster, child, &live, &strange).await.map_err(failed)?;
        writes += 1;
    }
    found.objects.insert((child.kind, child.name.clone()), live);
    Ok(writes)
}

fn failed(kind: Kind, name: &str, source: kube::Error) -> ApplyError {
    ApplyError::Kube { kind, name: name.to_owned(), source: Box::new(source) }
}

/// An object without an owner is ours if it carries the cluster's labels: children that were orphaned
/// by a delete are adopted. One that carries neither is somebody's.
fn refuse_foreign(cluster: &Validated, child: &Child, live: &Value) -> Result<(), ApplyError> {
    let foreign = |owner: &str| ApplyError::Foreign {
        kind: child.kind,
        name: child.name.clone(),
        owner: owner.to_owned(),
    };
    match controller_uid(live) {
        Some(uid) if uid == cluster.uid => Ok(()),
        Some(_) if is_of_this_name(cluster, live) => {
            Err(foreign("an earlier resource of this name"))
        }
        Some(_) => Err(foreign("another controller")),
        None => {
            let labels = &child.manifest["metadata"]["labels"];
            let mine = labels.as_object().is_some_and(|wanted| {
                wanted.iter().any(|(key, value)| {
                    key.starts_with("dsync.io/") && live["metadata"]["labels"][key] == *value
                })
            });
            if mine { Ok(()) } else { Err(foreign("nobody that dsync knows")) }
        }
    }
}

fn is_of_this_name(cluster: &Validated, live: &Value) -> bool {
    let owners = live["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|all| {
        all.iter().any(|one| {
            one["kind"] == "DSyncCluster" && one["name"] == cluster.names.cluster.as_str()
        })
    })
}

fn with_hash(manifest: &Value) -> Value {
    let mut wanted = manifest.clone();
    let hash = Sha256::digest(manifest.to_string());
    let hash = hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect::<String>();
    wanted["metadata"]["annotations"][HASH_ANNOTATION] = json!(hash);
    wanted
}

async fn write(
    client: &Client,
    cluster: &Validated,
    child: &Child,
    wanted: &Value,
) -> Result<Value, kube::Error> {
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    tracing::info!(kind = ?child.kind, name = child.name, "applying");
    let api = api(client, &cluster.names, child.kind);
    read_back(&api.patch(&child.name, &parameters, &Patch::Apply(wanted)).await?)
}

/// A server-side apply leaves alone what others have added; here that could be a container.
async fn remove(
    client: &Client,
    cluster: &Validated,
    child: &Child,
    live: &Value,
    strange: &[Value],
) -> Result<Value, kube::Error> {
    let paths = strange.iter().map(|step| &step["path"]).collect::<Vec<_>>();
    tracing::info!(kind = ?child.kind, name = child.name, ?paths, "removing what was added");
    let version = &live["metadata"]["resourceVersion"];
    let mut steps =
        vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })];
    steps.extend(strange.iter().cloned());
    let patch = serde_json::from_value(Value::Array(steps)).map_err(kube::Error::SerdeError)?;
    let api = api(client, &cluster.names, child.kind);
    read_back(&api.patch(&child.name, &PatchParams::default(), &Patch::<()>::Json(patch)).await?)
}

fn read_back(object: &DynamicObject) -> Result<Value, kube::Error> {
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

/// What this cluster owns and does not want any more. Claims and generated Secrets never are.
async fn delete_orphans(
    client: &Client,
    cluster: &Validated,
    children: &[Child],
    found: &mut Found,
) -> Result<u32, ApplyError> {
    let wanted = |kind: Kind, name: &str| {
        children.iter().any(|child| child.kind == kind && child.name == name)
    };
    let orphans = found
        .objects
        .iter()
        .filter(|((kind, name), object)| {
            kind.may_be_orphaned()
                && !wanted(*kind, name)
                && controller_uid(object) == Some(cluster.uid.as_str())
                && !is_terminating(object)
        })
        .map(|((kind, name), object)| (*kind, name.clone(), object["metadata"]["uid"].clone()))
        .collect::<Vec<_>>();
    for (kind, name, uid) in &orphans {
        tracing::info!(?kind, name, "deleting what is not wanted any more");
        let preconditions =
            Preconditions { uid: uid.as_str().map(str::to_owned), resource_version: None };
        let parameters =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match api(client, &cluster.names, *kind).delete(name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(failed(*kind, name, error)),
        }
        found.objects.remove(&(*kind, name.clone()));
    }
    Ok(u32::try_from(orphans.len()).unwrap_or(u32::MAX))
}

fn api(client: &Client, names: &Names, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &names.namespace, &kind.resource())
}

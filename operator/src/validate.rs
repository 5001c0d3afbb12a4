//! From what a user wrote to what can be built: defaults, and the rules that CEL cannot say.
//!
//! Whatever is wrong is named by its field. Nothing is applied of a spec that is wrong in one place:
//! the cluster goes on as it was, and the condition Progressing says why.

use std::collections::BTreeMap;

use dsync_core::contract::{NODE_IMAGE, REDIS_IMAGE};
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use crate::crd::{
    DSyncCluster, DSyncClusterSpec, ExternalRedis, ManagedRedis, RedisMode, Resources,
};
use crate::names::Names;
use crate::quantity::Quantity;

/// Redis may use this much of its memory limit for messages; the rest is for buffers and a rewrite.
const REDIS_MEMORY_PERCENT: u128 = 75;
/// A Redis without a limit would be ended by the kernel instead of refusing a write.
const REDIS_MEMORY_DEFAULT: &str = "512Mi";
/// Below this Redis itself has hardly room.
const REDIS_MEMORY_BYTES_MIN: u128 = 64 << 20;

/// What makes a spec unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    field: String,
    problem: String,
}

fn refuse<T>(field: &str, problem: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field: field.to_owned(), problem: problem.into() })
}

/// What the operator itself was told, the same for all clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Domain of the Kubernetes cluster, without dots at its ends.
    pub cluster_domain: String,
    /// Namespace of the operator: its pods may use the admin ports.
    pub operator_namespace: String,
    /// Image of nodes that do not name one.
    pub node_image: String,
    /// Image of Redis where none is named.
    pub redis_image: String,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".to_owned(),
            operator_namespace: "dsync-system".to_owned(),
            node_image: NODE_IMAGE.to_owned(),
            redis_image: REDIS_IMAGE.to_owned(),
        }
    }
}

/// A cluster that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// What the children are called.
    pub names: Names,
    /// UID of the resource.
    pub uid: String,
    /// How many nodes.
    pub replicas: usize,
    /// Image of the nodes.
    pub image: String,
    /// What a node's container is given.
    pub resources: Value,
    /// Where queues keep their messages.
    pub redis: ValidRedis,
    /// The rest needs no second look.
    pub spec: DSyncClusterSpec,
    /// What the operator was told.
    pub surroundings: Surroundings,
}

/// Where queues keep their messages.
#[derive(Clone, Debug, PartialEq)]
pub enum ValidRedis {
    /// The operator runs it.
    Managed {
        /// As asked for, defaults filled in.
        spec: ManagedRedis,
        /// Its image.
        image: String,
        /// What its container is given.
        resources: Value,
        /// Memory for messages.
        maxmemory_bytes: u128,
    },
    /// It exists.
    External(ExternalRedis),
    /// No queues.
    None,
}

/// Checks a resource and fills in what it left out.
///
/// # Errors
/// The first field that cannot be used.
pub fn validate(cluster: &DSyncCluster, surroundings: &Surroundings) -> Result<Validated, Invalid> {
    let spec = &cluster.spec;
    let (Some(namespace), Some(uid)) = (cluster.namespace(), cluster.uid()) else {
        return refuse("metadata", "without namespace or uid");
    };
    let replicas = match spec.replicas {
        replicas @ (1 | 3 | 5 | 7) => usize::try_from(replicas).unwrap_or_default(),
        _ => return refuse("spec.replicas", "must be 1, 3, 5 or 7"),
    };
    check_pod_template(spec)?;
    let resources =
        resources("spec.resources", &spec.resources, &[("cpu", "100m"), ("memory", "256Mi")])?;
    Ok(Validated {
        names: Names::new(&namespace, &cluster.name_any()),
        uid,
        replicas,
        image: spec.image.clone().unwrap_or_else(|| surroundings.node_image.clone()),
        resources,
        redis: redis(spec, surroundings)?,
        spec: spec.clone(),
        surroundings: surroundings.clone(),
    })
}

fn redis(spec: &DSyncClusterSpec, surroundings: &Surroundings) -> Result<ValidRedis, Invalid> {
    match spec.redis.mode {
        RedisMode::None => Ok(ValidRedis::None),
        RedisMode::External => match &spec.redis.external {
            Some(external) => Ok(ValidRedis::External(external.clone())),
            None => refuse("spec.redis.external", "is needed with mode External"),
        },
        RedisMode::Managed => managed(spec.redis.managed.clone().unwrap_or_default(), surroundings),
    }
}

fn managed(mut spec: ManagedRedis, surroundings: &Surroundings) -> Result<ValidRedis, Invalid> {
    const FIELD: &str = "spec.redis.managed.resources";
    let limit = spec.resources.limits.entry("memory".to_owned());
    let limit =
        limit.or_insert_with(|| IntOrString::String(REDIS_MEMORY_DEFAULT.to_owned())).clone();
    let resources = resources(FIELD, &spec.resources, &[("cpu", "50m"), ("memory", "128Mi")])?;
    let bytes = amount(&format!("{FIELD}.limits.memory"), &limit)?.whole();
    if bytes < REDIS_MEMORY_BYTES_MIN {
        return refuse(&format!("{FIELD}.limits.memory"), "must be at least 64Mi");
    }
    let image = spec.image.clone().unwrap_or_else(|| surroundings.redis_image.clone());
    let maxmemory_bytes = bytes / 100 * REDIS_MEMORY_PERCENT;
    Ok(ValidRedis::Managed { spec, image, resources, maxmemory_bytes })
}

fn amount(field: &str, value: &IntOrString) -> Result<Quantity, Invalid> {
    let text = text(value);
    text.parse().or_else(|error| refuse(field, format!("{text:?}: {error}")))
}

fn text(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// The resources of a container. What is not asked for gets a small request, but never one above a
/// limit that was given: the API server would refuse the pod.
fn resources(field: &str, given: &Resources, defaults: &[(&str, &str)]) -> Result<Value, Invalid> {
    let mut requests = checked(&format!("{field}.requests"), &given.requests)?;
    let limits = checked(&format!("{field}.limits"), &given.limits)?;
    for (name, default) in defaults {
        let limit = given.limits.get(*name).map(|limit| amount(field, limit)).transpose()?;
        let fits = |default: Quantity| limit.is_none_or(|limit| default <= limit);
        let small = default.parse().is_ok_and(fits);
        if small {
            requests.entry(*name).or_insert_with(|| json!(default));
        }
    }
    for (name, limit) in &given.limits {
        let over = given.requests.get(name).map(|request| amount(field, request)).transpose()?;
        if over.is_some_and(|request| amount(field, limit).is_ok_and(|limit| request > limit)) {
            return refuse(&format!("{field}.requests.{name}"), "is above the limit");
        }
    }
    Ok(match limits.is_empty() {
        true => json!({ "requests": requests }),
        false => json!({ "requests": requests, "limits": limits }),
    })
}

fn checked(
    field: &str,
    given: &BTreeMap<String, IntOrString>,
) -> Result<Map<String, Value>, Invalid> {
    let check = |(name, value): (&String, &IntOrString)| {
        amount(&format!("{field}.{name}"), value)?;
        Ok((name.clone(), Value::String(text(value))))
    };
    given.iter().map(check).collect()
}

/// An unknown field would be dropped in silence by a server-side apply that does not validate, and
/// refused for the whole StatefulSet by one that does; here its name can be told.
fn check_pod_template(spec: &DSyncClusterSpec) -> Result<(), Invalid> {
    const FIELD: &str = "spec.podTemplate.spec";
    let mut given = spec.pod_template.spec.clone();
    let complete = given.entry("containers").or_insert_with(|| json!([]));
    if !complete.is_array() {
        return refuse(&format!("{FIELD}.containers"), "must be a list");
    }
    let given = Value::Object(given);
    let known: PodSpec = match serde_json::from_value(given.clone()) {
        Ok(known) => known,
        Err(error) => return refuse(FIELD, format!("is not part of a pod: {error}")),
    };
    let known = serde_json::to_value(known).unwrap_or_default();
    match first_unknown(&given, &known, FIELD) {
        Some(unknown) => refuse(&unknown, "is not a field of a pod"),
        None => Ok(()),
    }
}

/// The first field that did not survive being read as what it should be.
fn first_unknown(given: &Value, known: &Value, path: &str) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match known.get(key) {
                Some(known) => first_unknown(value, known, &path),
                None if is_nothing(value) => None,
                None => Some(path),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            given.iter().zip(known).enumerate().find_map(|(at, (given, known))| {
                first_unknown(given, known, &format!("{path}[{at}]"))
            })
        }
        _ => None,
    }
}

/// Optional fields that are null or empty are left out when they are written again.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "validate_test.rs"]
mod tests;

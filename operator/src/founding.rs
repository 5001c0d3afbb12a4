//! Whether a cluster is founded, and which one it is.
//!
//! In this version nodes found by themselves: [`dsync_core::contract::environment::FOUNDING`] says
//! `auto` until the founding is confirmed, and `admin` from then on. So what the operator does is to
//! look: it believes an id when a quorum confirms it *and* as many nodes as make a quorum report it
//! themselves. (The admin port's call will take the place of `auto`; nothing else changes by it.)
//! See `docs/decisions/0016`.

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::contract::kubernetes::{ANNOTATION_PHASE, LABEL_CLUSTER_ID};
use serde_json::Value;

use crate::dereference::Found;
use crate::kind::Kind;
use crate::marks::{Marks, Phase};
use crate::names::Names;
use crate::nodes::NodeReport;

/// Disks of more than one cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("objects of this name belong to different clusters: {}", list(.ids))]
pub struct StaleVolumes {
    /// Which object carries which id.
    pub ids: BTreeMap<String, String>,
}

fn list(ids: &BTreeMap<String, String>) -> String {
    ids.iter().map(|(name, id)| format!("{name} to {id}")).collect::<Vec<_>>().join(", ")
}

/// What the objects say, the strictest of them.
///
/// # Errors
/// If they name more than one cluster: nothing may be started on them.
pub fn read_marks(names: &Names, found: &Found) -> Result<Marks, StaleVolumes> {
    let mut ids = BTreeMap::new();
    let mut phase = Phase::Founding;
    for (name, object) in marked(names, found) {
        let metadata = &object["metadata"];
        phase = phase.max(Phase::read(metadata["annotations"][ANNOTATION_PHASE].as_str()));
        if let Some(id) = metadata["labels"][LABEL_CLUSTER_ID].as_str() {
            ids.insert(name, id.to_owned());
        }
    }
    let different = ids.values().cloned().collect::<BTreeSet<_>>();
    if different.len() > 1 {
        return Err(StaleVolumes { ids });
    }
    let cluster_id = different.into_iter().next();
    // An id is written only for what a quorum has confirmed.
    let phase = if cluster_id.is_some() { Phase::Founded } else { phase };
    Ok(Marks { phase, cluster_id })
}

fn marked<'a>(names: &Names, found: &'a Found) -> Vec<(String, &'a Value)> {
    let identity = names.identity();
    let secrets = [identity.clone(), Names::twin(&identity)];
    let mut objects = Vec::new();
    for name in secrets {
        objects.extend(
            found.get(Kind::Secret, &name).map(|object| (format!("Secret {name}"), object)),
        );
    }
    let set = found.get(Kind::StatefulSet, &names.cluster);
    objects.extend(set.map(|object| (format!("StatefulSet {}", names.cluster), object)));
    objects.extend(found.node_claims().map(|(name, claim)| (format!("claim {name}"), claim)));
    objects
}

/// The cluster that a quorum confirms. `confirmed` is a linearizable answer of one node, `reports` are
/// the nodes' own words, `replicas` how many there shall be.
#[must_use]
pub fn confirmed_id(
    confirmed: Option<&NodeReport>,
    reports: &[Option<NodeReport>],
    replicas: usize,
) -> Option<String> {
    let answer = confirmed?;
    let id = answer.cluster_id.as_ref()?;
    let say_so = |report: &&Option<NodeReport>| {
        report.as_ref().is_some_and(|report| report.cluster_id.as_ref() == Some(id))
    };
    let complete = answer.members.len() == replicas;
    let quorum = reports.iter().filter(say_so).count() > replicas / 2;
    (complete && quorum).then(|| id.clone())
}

#[cfg(test)]
#[path = "founding_test.rs"]
mod tests;

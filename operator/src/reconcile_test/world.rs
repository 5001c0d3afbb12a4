//! The rest of Kubernetes, and the nodes, played on the objects of the API server.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::{Recorder, Reporter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api::ApiServer;
use crate::crd::DSyncCluster;
use crate::metrics::Metrics;
use crate::nodes::{NodeReport, Nodes, ReportedMember, ReportedNode};
use crate::reconcile::{Context, Error, Outcome, reconcile};
use crate::validate::Surroundings;

/// What is on one claim's disk, by the claim's UID.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub node_id: String,
    pub cluster_id: Option<String>,
}

/// Everything around the operator.
#[derive(Clone)]
pub struct World {
    pub api: ApiServer,
    pub disks: Arc<Mutex<BTreeMap<String, Disk>>>,
    /// Members of the cluster, name and disk, once it is founded.
    pub members: Arc<Mutex<BTreeMap<String, String>>>,
    /// How many clusters were founded in this world.
    pub foundings: Arc<Mutex<u64>>,
}

impl World {
    pub fn new(spec: &Value) -> Self {
        let world = Self {
            api: ApiServer::default(),
            disks: Arc::default(),
            members: Arc::default(),
            foundings: Arc::default(),
        };
        world.create_cluster(spec);
        world
    }

    pub fn create_cluster(&self, spec: &Value) {
        self.api.create(
            "dsyncclusters",
            json!({
                "apiVersion": "dsync.io/v1alpha1",
                "kind": "DSyncCluster",
                "metadata": { "name": "locks" },
                "spec": spec,
            }),
        );
    }

    pub fn cluster(&self) -> Option<DSyncCluster> {
        Some(serde_json::from_value(self.api.get("dsyncclusters", "locks")?).unwrap())
    }

    fn context(&self) -> Context {
        let client = self.api.client();
        let reporter = Reporter { controller: "test".to_owned(), instance: None };
        Context {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            nodes: Arc::new(self.clone()),
            surroundings: Surroundings::default(),
            metrics: Metrics::default(),
        }
    }

    /// One look of a fresh operator, then whatever Kubernetes makes of it.
    pub async fn look(&self) -> Result<Outcome, Error> {
        let Some(cluster) = self.cluster() else { return Ok(Outcome::Gone) };
        let result = reconcile(&cluster, &self.context()).await;
        self.settle();
        result
    }

    /// Looks until nothing is left to do.
    pub async fn run(&self) {
        for _ in 0..60 {
            match self.look().await {
                Ok(Outcome::Settled | Outcome::Gone) => return,
                Ok(Outcome::Moving) | Err(_) => {}
            }
        }
        panic!("does not settle: {:#?}", self.cluster().map(|cluster| cluster.status));
    }

    /// Kubernetes' controllers, kubelets and the nodes do what they do.
    pub fn settle(&self) {
        self.stateful_set();
        self.deployment();
        self.found();
    }

    fn stateful_set(&self) {
        let Some(set) = self.api.get("statefulsets", "locks") else { return };
        if set["metadata"]["deletionTimestamp"].is_string() {
            return;
        }
        let revision = hash(&set["spec"]["template"]);
        let replicas = set["spec"]["replicas"].as_u64().unwrap();
        for at in 0..8 {
            let name = format!("locks-{at}");
            let pod = self.api.get("pods", &name);
            if at >= replicas {
                self.api.delete("pods", &name);
            } else if pod.is_none() {
                self.claim(&set, &name);
                self.pod(&set, &name, at, &revision);
            }
        }
        let status = json!({
            "updateRevision": revision, "observedGeneration": set["metadata"]["generation"],
        });
        if set["status"] != status {
            self.api.change("statefulsets", "locks", |set| set["status"] = status);
        }
    }

    fn claim(&self, set: &Value, pod: &str) {
        let name = format!("data-{pod}");
        if self.api.get("persistentvolumeclaims", &name).is_some() {
            return;
        }
        let template = &set["spec"]["volumeClaimTemplates"][0];
        self.api.create(
            "persistentvolumeclaims",
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "name": name, "labels": template["metadata"]["labels"] },
                "spec": template["spec"],
            }),
        );
        let claim = self.api.get("persistentvolumeclaims", &name).unwrap();
        let uid = claim["metadata"]["uid"].as_str().unwrap().to_owned();
        let disk = Disk { node_id: format!("disk-{uid}"), cluster_id: None };
        self.disks.lock().unwrap().insert(uid, disk);
    }

    fn pod(&self, set: &Value, name: &str, at: u64, revision: &str) {
        let template = &set["spec"]["template"];
        let bad = template["spec"]["containers"][0]["image"] == "bad";
        let mut labels = template["metadata"]["labels"].clone();
        labels["controller-revision-hash"] = json!(revision);
        let state = match bad {
            true => json!({ "waiting": { "reason": "ErrImagePull", "message": "no such image" } }),
            false => json!({ "running": {} }),
        };
        self.api.create("pods", json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": labels, "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "locks", "uid": set["metadata"]["uid"], "controller": true,
            }] },
            "spec": { "nodeName": format!("machine-{at}"), "containers": [] },
            "status": {
                "podIP": format!("10.0.0.{at}"),
                "conditions": [{ "type": "Ready", "status": if bad { "False" } else { "True" } }],
                "containerStatuses": [{
                    "name": "node", "image": "", "imageID": "", "ready": !bad, "restartCount": 0, "state": state,
                }],
            },
        }));
    }

    fn deployment(&self) {
        let Some(deployment) = self.api.get("deployments", "locks-redis") else { return };
        let replicas = deployment["spec"]["replicas"].clone();
        let generation = deployment["metadata"]["generation"].clone();
        let status = json!({
            "readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": generation,
        });
        if deployment["status"] != status {
            self.api.change("deployments", "locks-redis", |one| one["status"] = status);
        }
    }

    fn replicas(&self) -> Option<u64> {
        self.api.get("configmaps", "locks-nodes")?["data"]["DSYNC_FOUNDERS"].as_str()?.parse().ok()
    }

    /// Nodes that are to found by themselves do so when all have met and all disks are empty.
    fn found(&self) {
        let Some(config) = self.api.get("configmaps", "locks-nodes") else { return };
        let Some(replicas) = self.replicas() else { return };
        let disks = (0..replicas).map(|at| self.disk(at)).collect::<Option<Vec<_>>>();
        let Some(disks) = disks else { return };
        let empty = disks.iter().all(|(_, disk)| disk.cluster_id.is_none());
        if config["data"]["DSYNC_FOUNDING"] != "auto" || !empty {
            return;
        }
        let mut foundings = self.foundings.lock().unwrap();
        *foundings += 1;
        let mut members = self.members.lock().unwrap();
        members.clear();
        for (at, (uid, disk)) in disks.into_iter().enumerate() {
            members.insert(format!("locks-{at}"), disk.node_id);
            let mut all = self.disks.lock().unwrap();
            all.get_mut(&uid).unwrap().cluster_id = Some(format!("cluster{foundings}"));
        }
    }

    /// The disk of a node whose pod runs.
    fn disk(&self, at: u64) -> Option<(String, Disk)> {
        let pod: Pod =
            serde_json::from_value(self.api.get("pods", &format!("locks-{at}"))?).unwrap();
        pod.status?.container_statuses?[0].state.as_ref()?.running.as_ref()?;
        let claim = self.api.get("persistentvolumeclaims", &format!("data-locks-{at}"))?;
        let uid = claim["metadata"]["uid"].as_str()?.to_owned();
        let disk = self.disks.lock().unwrap().get(&uid)?.clone();
        Some((uid, disk))
    }

    /// Nodes that take part, by ordinal.
    fn taking_part(&self) -> Vec<u64> {
        let members = self.members.lock().unwrap().clone();
        let is_member = |at: &u64| {
            let disk = self.disk(*at);
            disk.is_some_and(|(_, disk)| members.get(&format!("locks-{at}")) == Some(&disk.node_id))
        };
        (0..self.replicas().unwrap_or(0)).filter(is_member).collect()
    }

    fn report(&self, address: IpAddr) -> Option<NodeReport> {
        let IpAddr::V4(address) = address else { return None };
        let at = u64::from(address.octets()[3]);
        let (_, disk) = self.disk(at)?;
        let members = self.members.lock().unwrap().clone();
        let part = self.taking_part();
        let quorum = !members.is_empty() && part.len() > members.len() / 2;
        let member = |(name, id): (&String, &String)| ReportedMember {
            name: name.clone(),
            id: id.clone(),
            part: "voter".to_owned(),
        };
        let inside = disk.cluster_id.is_some() && part.contains(&at);
        Some(NodeReport {
            cluster_id: disk.cluster_id.clone(),
            leader: (inside && quorum).then(|| format!("locks-{}", part[0])),
            members: members.iter().map(member).collect(),
            node: ReportedNode {
                name: format!("locks-{at}"),
                id: disk.node_id,
                version: "0.1.0".to_owned(),
                outside: None,
            },
            ready: inside && quorum,
        })
    }
}

impl Nodes for World {
    fn look(&self, address: IpAddr) -> BoxFuture<'_, Option<NodeReport>> {
        // The kubelet's opinion follows the node's at once here.
        let report = self.report(address);
        futures::future::ready(report).boxed()
    }

    fn confirm(&self, address: IpAddr) -> BoxFuture<'_, Option<NodeReport>> {
        let report = self.report(address).filter(|report| report.ready);
        futures::future::ready(report).boxed()
    }
}

fn hash(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// A condition's status and reason.
pub fn condition(cluster: &DSyncCluster, type_: &str) -> (String, String) {
    let conditions = &cluster.status.as_ref().unwrap().conditions;
    let one = conditions.iter().find(|one| one.type_ == type_);
    let one = one.unwrap_or_else(|| panic!("no condition {type_}"));
    (one.status.clone(), one.reason.clone())
}

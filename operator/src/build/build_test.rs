//! YAML in, manifests out.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::crd::DSyncCluster;
use crate::marks::Phase;
use crate::validate::{Surroundings, validate};

fn valid(spec: &str) -> Validated {
    let spec: Value = serde_saphyr::from_str(spec).unwrap();
    let cluster: DSyncCluster = serde_json::from_value(json!({
        "apiVersion": "dsync.io/v1alpha1",
        "kind": "DSyncCluster",
        "metadata": { "name": "locks", "namespace": "prod", "uid": "u-1" },
        "spec": spec,
    }))
    .unwrap();
    validate(&cluster, &Surroundings::default()).unwrap()
}

fn children(spec: &str) -> Vec<Child> {
    build(&valid(spec), &Marks::default())
}

fn one(children: &[Child], kind: Kind, name: &str) -> Value {
    let found = children.iter().find(|child| child.kind == kind && child.name == name);
    found.unwrap_or_else(|| panic!("no {kind:?} {name}")).manifest.clone()
}

const SPECS: [&str; 5] = [
    "{}",
    "replicas: 1\nredis: {mode: None}\nnetworkPolicies: {enabled: false}",
    "redis: {mode: External, external: {urlSecret: {name: r, key: u}, passwordSecret: {name: r, key: p}}}",
    "hibernate: true\nimagePullSecrets: [a]\nimagePullPolicy: Never\nlog: {level: debug, format: text}",
    "scheduling: {nodeSelector: {a: b}, priorityClassName: p, whenUnsatisfiable: DoNotSchedule, tolerations: [{key: k, operator: Exists}], affinity: {podAntiAffinity: {}}}\nservice: {type: LoadBalancer, annotations: {x: z}}\nstorage: {size: 1Gi, className: fast}",
];

/// A field that the type does not have would be dropped, or refused, by the API server.
#[test]
fn every_manifest_is_what_it_claims_to_be() {
    fn same<T: DeserializeOwned + Serialize>(manifest: &Value) {
        let typed: T = serde_json::from_value(manifest.clone()).unwrap();
        let again = serde_json::to_value(&typed).unwrap();
        assert!(crate::compare::has_all(&again, manifest), "{manifest:#}\n{again:#}");
    }
    for spec in SPECS {
        for child in children(spec) {
            let manifest = &child.manifest;
            match child.kind {
                Kind::ConfigMap => same::<ConfigMap>(manifest),
                Kind::Secret => panic!("secrets are created, not applied"),
                Kind::ServiceAccount => same::<ServiceAccount>(manifest),
                Kind::Service => same::<Service>(manifest),
                Kind::Claim => same::<PersistentVolumeClaim>(manifest),
                Kind::StatefulSet => same::<StatefulSet>(manifest),
                Kind::Deployment => same::<Deployment>(manifest),
                Kind::Budget => same::<PodDisruptionBudget>(manifest),
                Kind::NetworkPolicy => same::<NetworkPolicy>(manifest),
            }
        }
    }
}

#[test]
fn everything_but_claims_goes_with_the_cluster() {
    for spec in SPECS {
        for child in children(spec) {
            let owned = child.manifest["metadata"]["ownerReferences"][0]["uid"] == "u-1";
            assert_eq!(owned, child.kind != Kind::Claim, "{child:?}");
            assert_eq!(child.manifest["metadata"]["labels"]["dsync.io/cluster"], "locks");
        }
    }
}

#[test]
fn nodes_found_by_themselves_until_the_founding_is_confirmed() {
    let config = |marks: &Marks| {
        one(&build(&valid("{}"), marks), Kind::ConfigMap, "locks-nodes")["data"].clone()
    };
    let founding = config(&Marks::default());
    assert_eq!(founding["DSYNC_FOUNDING"], "auto");
    assert_eq!(founding["DSYNC_FOUNDERS"], "3");
    assert_eq!(founding["DSYNC_PEERS"], "dns:locks-nodes.prod.svc.cluster.local.:7071");
    assert_eq!(founding["DSYNC_REDIS_URL"], "redis://locks-redis.prod.svc.cluster.local:6379");
    let founded = config(&Marks { phase: Phase::Founded, cluster_id: Some("a1".to_owned()) });
    assert_eq!(founded["DSYNC_FOUNDING"], "admin");
}

/// The mark changes once in the life of a cluster, right after its first start.
#[test]
fn the_founding_restarts_nobody() {
    let set = |marks: &Marks| one(&build(&valid("{}"), marks), Kind::StatefulSet, "locks");
    let founded = Marks { phase: Phase::Founded, cluster_id: Some("a1".to_owned()) };
    assert_eq!(set(&Marks::default())["spec"], set(&founded)["spec"]);
    assert_eq!(set(&founded)["metadata"]["labels"]["dsync.io/cluster-id"], "a1");
}

#[test]
fn a_setting_of_the_nodes_is_rolled_out() {
    let template =
        |spec: &str| one(&children(spec), Kind::StatefulSet, "locks")["spec"]["template"].clone();
    assert_eq!(template("{}"), template("log: {level: info}"));
    assert_ne!(template("{}"), template("log: {level: debug}"));
}

#[test]
fn claims_are_kept_and_the_operator_decides_who_restarts() {
    let set = one(&children("{}"), Kind::StatefulSet, "locks")["spec"].clone();
    assert_eq!(set["podManagementPolicy"], "Parallel");
    assert_eq!(set["updateStrategy"]["type"], "OnDelete");
    let retention = &set["persistentVolumeClaimRetentionPolicy"];
    assert_eq!(
        (retention["whenDeleted"].as_str(), retention["whenScaled"].as_str()),
        (Some("Retain"), Some("Retain"))
    );
    let asleep = one(&children("hibernate: true"), Kind::StatefulSet, "locks");
    assert_eq!((set["replicas"].as_i64(), asleep["spec"]["replicas"].as_i64()), (Some(3), Some(0)));
}

#[test]
fn pods_are_as_restricted_as_the_standard_asks() {
    let all = children("{}");
    for (kind, name) in [(Kind::StatefulSet, "locks"), (Kind::Deployment, "locks-redis")] {
        let pod = one(&all, kind, name)["spec"]["template"]["spec"].clone();
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(pod["automountServiceAccountToken"], false);
    }
}

#[test]
fn one_node_has_no_budget_that_could_never_be_met() {
    let has = |spec: &str| children(spec).iter().any(|child| child.kind == Kind::Budget);
    assert!(has("{}") && !has("replicas: 1"));
}

#[test]
fn strangers_reach_the_client_port_only() {
    let policy = one(&children("{}"), Kind::NetworkPolicy, "locks-nodes");
    for rule in policy["spec"]["ingress"].as_array().unwrap() {
        let open = rule["from"].is_null();
        assert_eq!(open, rule["ports"][0]["port"] == "client", "{rule}");
    }
    let scraped = "networkPolicies: {scraperNamespaceLabels: {team: metrics}}";
    let policy = one(&children(scraped), Kind::NetworkPolicy, "locks-nodes");
    assert!(policy.to_string().contains(r#"{"team":"metrics"}"#));
}

#[test]
fn without_a_redis_nothing_of_it_is_there() {
    let none = children("redis: {mode: None}");
    assert!(none.iter().all(|child| !child.name.contains("redis")));
    assert!(!one(&none, Kind::StatefulSet, "locks").to_string().contains("REDIS"));
}

#[test]
fn a_redis_that_exists_is_named_by_secrets() {
    let set = one(&children(SPECS[2]), Kind::StatefulSet, "locks").to_string();
    assert!(
        set.contains(
            r#""name":"DSYNC_REDIS_URL","valueFrom":{"secretKeyRef":{"key":"u","name":"r"}}"#
        ),
        "{set}"
    );
    assert!(set.contains("DSYNC_REDIS_PASSWORD_FILE"));
    assert!(children(SPECS[2]).iter().all(|child| child.kind != Kind::Deployment));
}

#[test]
fn a_users_part_of_the_pod_is_laid_over_ours() {
    let spec = "podTemplate: {labels: {team: a, dsync.io/cluster: stolen}, annotations: {x: z}, spec: {terminationGracePeriodSeconds: 60, containers: [{name: node, env: [{name: RUST_BACKTRACE, value: '1'}]}, {name: sidecar, image: s}]}}";
    let template = one(&children(spec), Kind::StatefulSet, "locks")["spec"]["template"].clone();
    assert_eq!(template["metadata"]["labels"]["team"], "a");
    assert_eq!(template["metadata"]["labels"]["dsync.io/cluster"], "locks");
    assert_eq!(template["metadata"]["annotations"]["x"], "z");
    assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 60);
    let containers = template["spec"]["containers"].as_array().unwrap();
    assert_eq!((containers.len(), containers[0]["args"][0].as_str()), (2, Some("node")));
    let environment = containers[0]["env"].as_array().unwrap();
    assert!(environment.iter().any(|one| one["name"] == "RUST_BACKTRACE"));
    assert!(environment.iter().any(|one| one["name"] == "DSYNC_NAME"));
}

//! Whole looks, against an API server, a Kubernetes and nodes that are played in memory.

use serde_json::{Value, json};

use crate::crd::DSyncCluster;

mod api;
mod world;

use world::{World, condition};

fn ready(cluster: &DSyncCluster) -> (String, String) {
    condition(cluster, "Ready")
}

fn yes(reason: &str) -> (String, String) {
    ("True".to_owned(), reason.to_owned())
}

fn no(reason: &str) -> (String, String) {
    ("False".to_owned(), reason.to_owned())
}

async fn healthy() -> World {
    let world = World::new(&json!({}));
    world.run().await;
    world
}

#[tokio::test]
async fn a_new_resource_becomes_three_ready_nodes_and_a_redis() {
    let world = healthy().await;
    let cluster = world.cluster().unwrap();
    assert_eq!(ready(&cluster), yes("Ready"));
    assert_eq!(condition(&cluster, "Available"), yes("QuorumServes"));
    assert_eq!(condition(&cluster, "RedisReady"), yes("Ready"));
    let status = cluster.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (3, 3));
    assert_eq!(status.leader.as_deref(), Some("locks-0"));
    assert_eq!(status.cluster_id.as_deref(), Some("cluster1"));
    assert_eq!(status.members.len(), 3);
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(*world.foundings.lock().unwrap(), 1);
    for at in 0..3 {
        let claim = world.api.get("persistentvolumeclaims", &format!("data-locks-{at}")).unwrap();
        assert_eq!(claim["metadata"]["labels"]["dsync.io/cluster-id"], "cluster1");
    }
    let config = world.api.get("configmaps", "locks-nodes").unwrap();
    assert_eq!(config["data"]["DSYNC_FOUNDING"], "admin");
}

/// A patch that changes nothing is a write too.
#[tokio::test]
async fn at_rest_nothing_is_written() {
    let world = healthy().await;
    world.api.take_writes();
    for _ in 0..5 {
        world.look().await.unwrap();
    }
    assert_eq!(world.api.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn what_others_change_delete_or_add_is_put_right() {
    let world = healthy().await;
    world.api.change("statefulsets", "locks", |set| set["spec"]["replicas"] = json!(0));
    world.api.change("services", "locks", |service| service["spec"]["ports"][0]["port"] = json!(1));
    world.api.change("configmaps", "locks-nodes", |config| config["data"]["EXTRA"] = json!("x"));
    world.api.change("statefulsets", "locks", |set| {
        let containers = set["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
        containers.insert(0, json!({ "name": "stranger" }));
    });
    for (plural, name) in [
        ("services", "locks-nodes"),
        ("serviceaccounts", "locks"),
        ("poddisruptionbudgets", "locks"),
        ("networkpolicies", "locks-nodes"),
        ("deployments", "locks-redis"),
        ("secrets", "locks-identity"),
    ] {
        world.api.delete(plural, name);
    }
    let secret = || world.api.get("secrets", "locks-identity").map(|one| one["data"].clone());
    let before = secret();
    world.run().await;
    assert_eq!(world.api.get("statefulsets", "locks").unwrap()["spec"]["replicas"], 3);
    assert_eq!(world.api.get("services", "locks").unwrap()["spec"]["ports"][0]["port"], 7070);
    assert!(world.api.get("configmaps", "locks-nodes").unwrap()["data"]["EXTRA"].is_null());
    let set = world.api.get("statefulsets", "locks").unwrap();
    assert_eq!(set["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    assert!(world.api.get("poddisruptionbudgets", "locks").is_some());
    assert_eq!(secret(), before, "a deleted Secret comes back with its content");
    let identity = world.api.get("secrets", "locks-identity").unwrap();
    assert!(identity["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(*world.foundings.lock().unwrap(), 1);
}

#[tokio::test]
async fn what_the_spec_no_longer_asks_for_goes_and_claims_stay() {
    let world = World::new(&json!({ "networkPolicies": { "enabled": true } }));
    world.run().await;
    assert!(world.api.get("networkpolicies", "locks-nodes").is_some());
    world.api.change("dsyncclusters", "locks", |one| {
        one["spec"]["networkPolicies"]["enabled"] = json!(false);
    });
    world.run().await;
    assert!(world.api.get("networkpolicies", "locks-nodes").is_none());
    assert!(world.api.get("persistentvolumeclaims", "locks-redis").is_some());
}

#[tokio::test]
async fn a_new_image_goes_round_with_the_leader_last() {
    let world = healthy().await;
    world.api.take_writes();
    world.api.change("dsyncclusters", "locks", |one| one["spec"]["image"] = json!("next"));
    world.run().await;
    let pods = world.api.take_writes().into_iter().filter(|write| write.contains(" pods/"));
    assert_eq!(
        pods.collect::<Vec<_>>(),
        ["POST pods/locks-2", "POST pods/locks-1", "POST pods/locks-0"],
        "evicted one after the other"
    );
    assert_eq!(ready(&world.cluster().unwrap()), yes("Ready"));
}

#[tokio::test]
async fn a_bad_image_costs_one_pod_and_is_reverted_without_help() {
    let world = healthy().await;
    world.api.change("dsyncclusters", "locks", |one| one["spec"]["image"] = json!("bad"));
    for _ in 0..10 {
        world.look().await.unwrap();
    }
    let cluster = world.cluster().unwrap();
    assert_eq!(condition(&cluster, "Available"), yes("QuorumServes"));
    assert_eq!(condition(&cluster, "Degraded"), yes("PodCannotRun"));
    assert_eq!(cluster.status.unwrap().ready_replicas, 2);
    world.api.change("dsyncclusters", "locks", |one| {
        one["spec"].as_object_mut().unwrap().remove("image");
    });
    world.run().await;
    assert_eq!(ready(&world.cluster().unwrap()), yes("Ready"));
}

#[tokio::test]
async fn a_resource_applied_again_over_its_claims_is_the_same_cluster() {
    let world = healthy().await;
    world.api.delete("dsyncclusters", "locks");
    world.run().await;
    assert!(world.cluster().is_none(), "the finalizer lets go");
    assert!(world.api.get("statefulsets", "locks").is_none());
    assert!(world.api.get("secrets", "locks-identity").is_none());
    assert!(world.api.get("persistentvolumeclaims", "data-locks-0").is_some());
    world.create_cluster(&json!({}));
    world.run().await;
    let cluster = world.cluster().unwrap();
    assert_eq!(ready(&cluster), yes("Ready"));
    assert_eq!(cluster.status.unwrap().cluster_id.as_deref(), Some("cluster1"));
    assert_eq!(*world.foundings.lock().unwrap(), 1);
}

/// The worst that can happen to a name: it must not come up as a new, empty cluster.
#[tokio::test]
async fn a_founded_cluster_is_never_founded_again() {
    let world = healthy().await;
    for at in 0..3 {
        world.api.delete("persistentvolumeclaims", &format!("data-locks-{at}"));
        world.api.delete("pods", &format!("locks-{at}"));
    }
    for _ in 0..10 {
        world.look().await.unwrap();
    }
    assert_eq!(*world.foundings.lock().unwrap(), 1);
    let cluster = world.cluster().unwrap();
    assert_eq!(condition(&cluster, "Degraded"), yes("DataLost"));
    assert_eq!(ready(&cluster), no("DataLost"));
}

#[tokio::test]
async fn one_lost_disk_is_reported_and_nothing_voluntary_is_done() {
    let world = healthy().await;
    world.api.delete("persistentvolumeclaims", "data-locks-1");
    world.api.delete("pods", "locks-1");
    world.settle();
    world.api.change("dsyncclusters", "locks", |one| one["spec"]["image"] = json!("next"));
    world.api.take_writes();
    for _ in 0..5 {
        world.look().await.unwrap();
    }
    let cluster = world.cluster().unwrap();
    assert_eq!(condition(&cluster, "Degraded"), yes("DiskLost"));
    assert_eq!(condition(&cluster, "Available"), yes("QuorumServes"));
    let message = &cluster.status.as_ref().unwrap().conditions;
    assert!(message.iter().any(|one| one.message.contains("data-locks-1")));
    let writes = world.api.take_writes();
    assert!(
        !writes
            .iter()
            .any(|write| write.contains("pods/locks-0") || write.contains("pods/locks-2")),
        "{writes:?}"
    );
}

#[tokio::test]
async fn disks_of_two_clusters_are_named_and_not_started() {
    let world = World::new(&json!({}));
    for (at, id) in [(0, "a"), (1, "b")] {
        world.api.create("persistentvolumeclaims", json!({ "metadata": {
            "name": format!("data-locks-{at}"),
            "labels": { "dsync.io/cluster": "locks", "app.kubernetes.io/component": "node", "dsync.io/cluster-id": id },
        } }));
    }
    world.look().await.unwrap();
    assert_eq!(ready(&world.cluster().unwrap()), no("StaleVolumes"));
    assert!(world.api.get("statefulsets", "locks").is_none());
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_taken_over() {
    let world = World::new(&json!({}));
    let theirs = json!({ "metadata": { "name": "locks" }, "spec": { "ports": [] } });
    world.api.create("services", theirs);
    let before = world.api.get("services", "locks");
    for _ in 0..8 {
        world.look().await.unwrap();
    }
    assert_eq!(ready(&world.cluster().unwrap()), no("Conflict"));
    assert_eq!(world.api.get("services", "locks"), before);
}

#[tokio::test]
async fn hibernating_stops_the_pods_and_waking_finds_the_same_cluster() {
    let world = healthy().await;
    world.api.change("dsyncclusters", "locks", |one| one["spec"]["hibernate"] = json!(true));
    world.run().await;
    let cluster = world.cluster().unwrap();
    assert_eq!(ready(&cluster), yes("Hibernating"));
    assert!(world.api.get("pods", "locks-0").is_none());
    world.api.change("dsyncclusters", "locks", |one| one["spec"]["hibernate"] = json!(false));
    world.run().await;
    assert_eq!(ready(&world.cluster().unwrap()), yes("Ready"));
    assert_eq!(*world.foundings.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_paused_cluster_is_only_looked_at() {
    let world = healthy().await;
    world.api.change("dsyncclusters", "locks", |one| one["spec"]["pause"] = json!(true));
    world.look().await.unwrap();
    world.api.delete("services", "locks");
    world.api.take_writes();
    world.look().await.unwrap();
    assert_eq!(world.api.take_writes(), Vec::<String>::new());
    let plan = world.cluster().unwrap().status.unwrap().plan.unwrap();
    assert_eq!(plan.blocked_on.as_deref(), Some("spec.pause is true"));
}

#[tokio::test]
async fn a_spec_that_cannot_be_used_changes_nothing_and_is_named() {
    let world = healthy().await;
    world.api.change("dsyncclusters", "locks", |one| {
        one["spec"]["podTemplate"] = json!({ "spec": { "imagee": 1 } });
    });
    world.api.take_writes();
    world.look().await.unwrap();
    let cluster = world.cluster().unwrap();
    assert_eq!(condition(&cluster, "Progressing"), no("InvalidSpec"));
    let writes = world.api.take_writes();
    assert!(
        writes.iter().all(|write| write.contains("dsyncclusters") || write.contains("events")),
        "{writes:?}"
    );
}

/// What is there in the end, without what numbers and times it has.
fn essence(world: &World) -> Vec<(String, Value)> {
    let store = world.api.0.lock().unwrap();
    let strip = |object: &Value| {
        let mut object = object.clone();
        for field in ["uid", "resourceVersion", "generation"] {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
        object["metadata"]["ownerReferences"] = Value::Null;
        for random in ["data", "status"] {
            if object["kind"] != "ConfigMap" {
                object[random] = Value::Null;
            }
        }
        object
    };
    store
        .objects
        .iter()
        .map(|((plural, name), object)| (format!("{plural}/{name}"), strip(object)))
        .collect()
}

/// The operator is killed at each of its writes, before it has its effect and after, in the founding,
/// in a roll and in a clean-up; a fresh one goes on. It always comes to the same, founded once.
#[tokio::test]
async fn killed_at_any_write_it_comes_to_the_same() {
    let calm = healthy().await;
    let writes = calm.api.take_writes().iter().filter(|write| !write.contains("events")).count();
    let expected = essence(&calm);
    let mut kills = 0;
    for at in 1..=writes {
        for effect in [false, true] {
            let world = World::new(&json!({}));
            world.api.0.lock().unwrap().killed_at = Some((at, effect));
            for _ in 0..60 {
                if world.look().await.is_err() {
                    break;
                }
            }
            world.api.0.lock().unwrap().killed_at = None;
            world.run().await;
            assert_eq!(essence(&world), expected, "killed at write {at}, effect {effect}");
            assert_eq!(*world.foundings.lock().unwrap(), 1);
            kills += 1;
        }
    }
    println!("{kills} kills at {writes} writes");
    assert!(writes > 15, "{writes}");
}

//! What is lost comes back by itself, and takes no lock with it: a pod holds one through all of it,
//! and clients take and give back others, whose history is searched for a sequential order.

use std::time::Instant;

use crate::patience::until;

use crate::audit;
use crate::client::Holder;
use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::operator;

/// Locks that clients were given, enough to say that the cluster serves.
const GRANTS: usize = 20;
const ALL_AT_ONCE: usize = 3;

#[test]
fn pods_that_are_deleted_come_back_and_take_no_lock_with_them() {
    let namespace = Namespace::new("pods");
    let cluster = Cluster::start(&namespace);
    let holder = Holder::start(&namespace);
    let load = cluster.load();
    load.await_grants(GRANTS);

    let leader = cluster.leader();
    lose(&cluster, std::slice::from_ref(&leader));
    let other = Cluster::another(&leader);
    until("another node leads", || {
        let seen = namespace.dsync(&other, &["status", "-o", "json"]).json()?;
        (seen["leader"].is_string() && seen["leader"] != leader.as_str()).then_some(())
    });
    load.await_grants(GRANTS);
    cluster.await_ready();
    holder.check(&namespace, &leader);

    for _ in 0..ALL_AT_ONCE {
        let all = Cluster::pods().collect::<Vec<_>>();
        lose(&cluster, &all);
        let began = Instant::now();
        load.await_grants(GRANTS);
        println!("served again {:.1} s after the last pod was gone", began.elapsed().as_secs_f64());
        cluster.await_ready();
        holder.check(&namespace, "dsync-0");
    }

    let words = ["delete", "pod", "-l", "app.kubernetes.io/component=redis"];
    namespace.kubectl(&words).well();
    load.await_grants(GRANTS);
    cluster.await_ready();
    holder.check(&namespace, "dsync-1");
    println!("{:?}", load.finish());
    audit::nothing_was_refused(operator::NAMESPACE);
}

/// Ends pods at once, as a crash does, and waits until they are gone.
fn lose(cluster: &Cluster<'_>, pods: &[String]) {
    let before = cluster.uids();
    let words = ["delete", "pod", "--grace-period=0", "--force", "--wait=false"];
    let pods = pods.iter().map(String::as_str).collect::<Vec<_>>();
    // kubectl warns of every forced deletion, and is right.
    let said = cluster.namespace.kubectl(&[&words[..], &pods].concat());
    assert_eq!(said.code, 0, "{said:?}");
    until("they are gone", || {
        let now = cluster.uids();
        (before.iter().filter(|uid| now.contains(uid)).count() + pods.len() <= before.len())
            .then_some(())
    });
}

#[test]
fn a_change_is_rolled_out_and_a_bad_one_is_taken_back_without_help() {
    let namespace = Namespace::new("changed");
    let cluster = Cluster::start(&namespace);
    let holder = Holder::start(&namespace);
    let load = cluster.load();
    load.await_grants(GRANTS);
    let before = cluster.uids();

    cluster.change(r#"{"image":"dsync.io/node:no-such-version"}"#);
    cluster.await_condition("Degraded", "True", "PodCannotRun");
    load.await_grants(GRANTS);
    assert_eq!(
        before.iter().filter(|uid| cluster.uids().contains(uid)).count(),
        2,
        "one at a time"
    );
    cluster.change(r#"{"image":null}"#);
    let began = Instant::now();
    cluster.await_ready();
    println!("ready {:.1} s after the revert", began.elapsed().as_secs_f64());
    holder.check(&namespace, "dsync-0");

    let before = cluster.uids();
    cluster.change(r#"{"log":{"level":"debug"}}"#);
    cluster.await_ready();
    assert!(cluster.uids().iter().all(|uid| !before.contains(uid)), "every pod was replaced");
    holder.check(&namespace, "dsync-2");
    load.await_grants(GRANTS);
    println!("{:?}", load.finish());
    audit::nothing_was_refused(operator::NAMESPACE);
}

#[test]
fn a_resource_that_is_deleted_and_applied_again_is_the_same_cluster() {
    let namespace = Namespace::new("again");
    let cluster = Cluster::start(&namespace);
    let holder = Holder::start(&namespace);
    let id = cluster.field(".status.clusterId");

    namespace.kubectl(&["delete", "dsc", "dsync", "--timeout=120s"]).well();
    until("the children are gone", || {
        let words = ["get", "sts,deploy,svc,cm,secret,pod", "-l", "dsync.io/cluster", "-o", "name"];
        namespace.kubectl(&words).well().is_empty().then_some(())
    });
    let cluster = Cluster::start(&namespace);
    assert_eq!(cluster.field(".status.clusterId"), id);
    holder.check(&namespace, "dsync-0");

    // Behind the operator's back: the pods end, and are back.
    let before = cluster.uids();
    namespace.kubectl(&["scale", "statefulset/dsync", "--replicas=0"]).well();
    until("the pods were replaced", || {
        let now = cluster.uids();
        (now.len() == before.len() && now.iter().all(|uid| !before.contains(uid))).then_some(())
    });
    cluster.await_ready();
    assert_eq!(cluster.field(".status.clusterId"), id);
    holder.check(&namespace, "dsync-0");
    audit::nothing_was_refused(operator::NAMESPACE);
}

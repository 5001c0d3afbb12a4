//! Machines fail under the nodes. Only where machines can be stopped: not on kind.

use crate::client::Holder;
use crate::cluster::Cluster;
use crate::kubectl::{kubectl, run};
use crate::namespace::Namespace;

#[test]
#[ignore = "part of the long form: a lost machine is found after 20 s"]
fn a_machine_that_loses_power_takes_no_lock_with_it() {
    fail_under_the_leader(&Namespace::new("power-cut"), "stop", "start");
}

#[test]
#[ignore = "part of the long form: a lost machine is found after 20 s"]
fn a_machine_that_is_cut_off_takes_no_lock_with_it() {
    fail_under_the_leader(&Namespace::new("cut-off"), "cut", "heal");
}

fn fail_under_the_leader(namespace: &Namespace, fail: &str, mend: &str) {
    let cluster = Cluster::start(namespace);
    let leader = cluster.leader();
    let other = Cluster::another(&leader);
    let holder = Holder::start_beside(namespace, &other);
    let load = cluster.load();
    load.await_grants(20);
    let failing = namespace.field(&format!("pod/{leader}"), ".spec.nodeName");
    let number = failing.strip_prefix("node").unwrap();

    machine(fail, number);
    await_machine(&failing, "condition=Ready=unknown");
    holder.check(namespace, &other);
    cluster.await_condition("QuorumHealthy", "False", "");

    machine(mend, number);
    await_machine(&failing, "condition=Ready");
    cluster.await_ready();
    holder.check(namespace, &leader);
    load.await_grants(20);
    println!("{:?}", load.finish());
}

/// Does something to a machine: `stop`, `start`, `cut`, `heal`.
fn machine(event: &str, number: &str) {
    let program = std::env::var("DSYNC_XTASK").unwrap();
    let said = run(&program, &["machine", event, number], "");
    assert_eq!(said.code, 0, "machine {event} {number}: {said:?}");
}

fn await_machine(name: &str, condition: &str) {
    kubectl(&["wait", "--for", condition, "node", name, "--timeout=120s"], "").well();
}

//! Machines fail under the nodes. Only where machines can be stopped: not on kind.

use crate::client::Holder;
use crate::kubectl::{kubectl, machine};
use crate::namespace::Namespace;
use crate::three_nodes;

#[test]
fn a_machine_that_loses_power_takes_no_lock_with_it() {
    let namespace = Namespace::new("power-cut");
    fail_under_the_leader(&namespace, "stop", "start");
}

#[test]
#[ignore = "part of the long form: a second lost machine, found after 20 s as the first one"]
fn a_machine_that_is_cut_off_takes_no_lock_with_it() {
    let namespace = Namespace::new("cut-off");
    fail_under_the_leader(&namespace, "cut", "heal");
}

fn fail_under_the_leader(namespace: &Namespace, fail: &str, mend: &str) {
    three_nodes::start(namespace);
    let leader = three_nodes::leader(namespace);
    let other = three_nodes::pods().find(|pod| *pod != leader).unwrap();
    let holder = Holder::start(namespace, &other);
    let failing = three_nodes::machine_of(namespace, &leader);
    let number = failing.strip_prefix("node").unwrap();

    machine(fail, number);
    three_nodes::next_leader(namespace, &leader);
    holder.check(namespace, &other);
    await_machine(&failing, "condition=Ready=unknown");
    namespace.await_condition(&format!("pod/{leader}"), "condition=Ready=false");

    machine(mend, number);
    await_machine(&failing, "condition=Ready");
    three_nodes::await_ready(namespace);
    holder.check(namespace, &leader);
}

fn await_machine(name: &str, condition: &str) {
    kubectl(&["wait", "--for", condition, "node", name, "--timeout=120s"], "").well();
}

//! At rest the operator writes nothing but its Lease: a patch that changes nothing is a write too.

use crate::patience::until;

use crate::audit::{self, Request};
use crate::cluster::Cluster;
use crate::namespace::Namespace;

/// Renewals of the Lease: it is renewed every ten seconds.
const RENEWALS: usize = 3;

#[test]
fn a_cluster_at_rest_causes_no_write() {
    let namespace = Namespace::new("idle");
    let _cluster = Cluster::start(&namespace);
    // What belongs to the founding may still be on its way when Ready is seen.
    let begun = audit::requests().len();
    until("the operator comes to rest", || {
        (renewals_at_the_end(&requests(&namespace, begun)) >= 1).then_some(())
    });

    let begun = audit::requests().len();
    let seen = until("the Lease is renewed", || {
        let seen = requests(&namespace, begun);
        (seen.iter().filter(|one| one.is_renewal()).count() >= RENEWALS).then_some(seen)
    });
    let writes = seen.iter().filter(|one| one.is_write() && !one.is_renewal()).collect::<Vec<_>>();
    assert!(writes.is_empty(), "{writes:#?}");
    println!("{RENEWALS} renewals of the Lease, {} reads, no write", seen.len() - RENEWALS);
}

/// What the operator asked for since then, in this namespace or to renew its Lease: what an earlier
/// test has left is still being deleted, and the operator has to let go of it.
fn requests(namespace: &Namespace, begun: usize) -> Vec<Request> {
    let mut seen = audit::requests().split_off(begun);
    seen.retain(|one| one.namespace == namespace.name() || one.is_renewal());
    seen
}

/// Renewals of the Lease since the last other write.
fn renewals_at_the_end(requests: &[Request]) -> usize {
    let writes = requests.iter().rev().filter(|one| one.is_write());
    writes.take_while(|one| one.is_renewal()).count()
}

//! Queues on the cluster's Redis, through the service that clients use: the Redis pod and pods of nodes are lost
//! under load, and no message with them.

use crate::audit;
use crate::cluster::Cluster;
use crate::crew::{Crew, Store, TIMEOUT, check, get};
use crate::namespace::Namespace;
use crate::operator;

/// Messages that were worked on, enough to say that the queues serve.
const ACKED: usize = 100;

#[test]
fn the_redis_pod_is_lost_under_load_and_no_message_with_it() {
    let namespace = Namespace::new("queues");
    let cluster = Cluster::start(&namespace);
    let service = [cluster.service()];
    let crew = Crew::start(&service, Store::Redis, TIMEOUT);
    crew.go_on(ACKED);
    assert_eq!(get(service[0], "/v1/queues/work").unwrap()["store"], "redis");
    for component in ["redis", "node", "redis"] {
        let which = format!("app.kubernetes.io/component={component}");
        let words = ["delete", "pod", "--grace-period=0", "--force", "--wait=false", "-l", &which];
        // kubectl warns of every forced deletion, and is right.
        assert_eq!(namespace.kubectl(&words).code, 0);
        crew.go_on(ACKED);
        cluster.await_ready();
    }
    let book = crew.drain(&service);
    let totals = check(&service, &book);
    println!("{} messages through lost pods, {totals}", book.acked.len());
    audit::nothing_was_refused(operator::NAMESPACE);
}

//! The operator's network policies: strangers reach the client port, and nothing else.
//!
//! The tests themselves are the stranger: they run in the cluster's network, outside of every pod.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::patience::until;
use dsync_core::contract::{ADMIN_PORT, CLIENT_PORT, PEER_PORT};

use crate::cluster::Cluster;
use crate::namespace::Namespace;

const REDIS_PORT: u16 = 6379;

fn connects(address: &str, port: u16) -> bool {
    let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

#[test]
fn strangers_reach_the_client_port_and_nothing_else() {
    let namespace = Namespace::new("network");
    let _cluster = Cluster::start(&namespace);
    let words = ["get", "pods", "-l", "app.kubernetes.io/component=redis", "-o"];
    let redis =
        namespace.kubectl(&[&words[..], &["jsonpath={.items[0].status.podIP}"]].concat()).well();
    for pod in Cluster::pods() {
        let address = namespace.field(&format!("pod/{pod}"), ".status.podIP");
        for port in [PEER_PORT, ADMIN_PORT] {
            until("the port is closed to strangers", || (!connects(&address, port)).then_some(()));
        }
        assert!(connects(&address, CLIENT_PORT), "the client port is open to all");
    }
    until("Redis is closed to strangers", || (!connects(&redis, REDIS_PORT)).then_some(()));

    // The same ports without policies: the check above is about them, and not about a lost route.
    Cluster { namespace: &namespace }.change(r#"{"networkPolicies":{"enabled":false}}"#);
    until("Redis is open without a policy", || connects(&redis, REDIS_PORT).then_some(()));
    let policies = namespace.kubectl(&["get", "networkpolicy", "-o", "name"]).well();
    assert_eq!(policies, "", "what is not wanted any more is deleted");
}

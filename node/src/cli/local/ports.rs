//! Which ports the three nodes get, found out before anything starts.
//!
//! Client ports are promised to the user: one that is taken is an error. The others matter to nobody,
//! so ten and twenty above the client port are only preferred, being easy to remember and outside of
//! the range from which systems give out ports by themselves.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

use super::{NODES, NodePorts};

const PEER_PORT_OFFSET: u16 = 10;
const ADMIN_PORT_OFFSET: u16 = 20;

/// Takes the given ports for clients and finds others for peers and admin.
///
/// # Errors
/// If a client port is in use or cannot be had; names it.
pub fn choose(client_ports: [u16; NODES]) -> anyhow::Result<[NodePorts; NODES]> {
    // All are held until all are found, so that no two nodes get the same one.
    let mut held = Vec::new();
    for port in client_ports {
        held.push(take(port)?);
    }
    let mut chosen = Vec::new();
    for port in client_ports {
        let peer = prefer(port.checked_add(PEER_PORT_OFFSET))?;
        let admin = prefer(port.checked_add(ADMIN_PORT_OFFSET))?;
        chosen.push(NodePorts {
            client: loopback(port),
            peer: peer.local_addr()?,
            admin: admin.local_addr()?,
        });
        held.extend([peer, admin]);
    }
    chosen.try_into().ok().context("one set of ports for each node")
}

fn take(port: u16) -> anyhow::Result<TcpListener> {
    if port == 0 {
        bail!("--client-ports: port 0 is not a port that a client could call");
    }
    match TcpListener::bind(loopback(port)) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {port} on 127.0.0.1 is in use, or named twice: stop what uses it, or choose others, like --client-ports 6001,6002,6003"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on 127.0.0.1:{port}")),
    }
}

fn prefer(port: Option<u16>) -> anyhow::Result<TcpListener> {
    let preferred = port.and_then(|port| TcpListener::bind(loopback(port)).ok());
    match preferred {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(loopback(0)).context("no free port on 127.0.0.1"),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn three_free() -> ([TcpListener; 3], [u16; 3]) {
        let listeners = [0; 3].map(|any| TcpListener::bind(loopback(any)).unwrap());
        let ports = [0, 1, 2].map(|at: usize| listeners[at].local_addr().unwrap().port());
        (listeners, ports)
    }

    #[test]
    fn nine_different_ports_are_chosen() {
        let (listeners, ports) = three_free();
        drop(listeners);
        let chosen = choose(ports).unwrap();
        let all: BTreeSet<_> = chosen.iter().flat_map(|n| [n.client, n.peer, n.admin]).collect();
        assert_eq!(all.len(), 9);
        assert_eq!(chosen.map(|node| node.client.port()), ports);
    }

    #[test]
    fn a_client_port_in_use_is_named() {
        let (listeners, ports) = three_free();
        let [first, second, third] = listeners;
        drop((first, third));
        let error = choose(ports).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} ", ports[1])), "{error}");
        drop(second);
    }

    #[test]
    fn a_client_port_named_twice_is_refused() {
        let (listeners, ports) = three_free();
        drop(listeners);
        assert!(choose([ports[0], ports[1], ports[0]]).is_err());
    }

    #[test]
    fn a_taken_peer_port_gives_way() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(prefer(Some(port)).unwrap().local_addr().unwrap().port(), port);
        assert!(prefer(u16::MAX.checked_add(PEER_PORT_OFFSET)).is_ok());
    }
}

//! Which ports the three nodes get, found out before anything starts.
//!
//! Client ports are promised to the user: one that is taken is an error. The others matter to nobody,
//! so ten and twenty above the client port are only preferred, being easy to remember and outside of
//! the range from which systems give out ports by themselves.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

use super::{NODES, NodePorts};

const PEER_PORT_OFFSET: u16 = 10;
const ADMIN_PORT_OFFSET: u16 = 20;

/// Takes the given ports for clients and finds others for peers and admin.
///
/// # Errors
/// If a client port is in use or cannot be had; names it.
pub fn choose(address: IpAddr, client_ports: [u16; NODES]) -> anyhow::Result<[NodePorts; NODES]> {
    // All are held until all are found, so that no two nodes get the same one.
    let mut held = Vec::new();
    for port in client_ports {
        held.push(take((address, port).into())?);
    }
    let mut chosen = Vec::new();
    for port in client_ports {
        let peer = prefer(address, port.checked_add(PEER_PORT_OFFSET))?;
        let admin = prefer(address, port.checked_add(ADMIN_PORT_OFFSET))?;
        chosen.push(NodePorts {
            client: (address, port).into(),
            peer: peer.local_addr()?,
            admin: admin.local_addr()?,
        });
        held.extend([peer, admin]);
    }
    chosen.try_into().ok().context("one set of ports for each node")
}

fn take(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let (ip, port) = (address.ip(), address.port());
    if port == 0 {
        bail!("--client-ports: port 0 is not a port that a client could call");
    }
    match TcpListener::bind(address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {port} on {ip} is in use, or named twice: stop what uses it, or choose others, like --client-ports 6001,6002,6003"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}")),
    }
}

fn prefer(address: IpAddr, port: Option<u16>) -> anyhow::Result<TcpListener> {
    let preferred = port.and_then(|port| TcpListener::bind((address, port)).ok());
    match preferred {
        Some(listener) => Ok(listener),
        None => {
            TcpListener::bind((address, 0)).with_context(|| format!("no free port on {address}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::loopback::host;

    fn any() -> TcpListener {
        TcpListener::bind((host(), 0)).unwrap()
    }

    /// Three listeners and their ports, outside of what a system gives out by itself: one that is dropped
    /// stays free.
    fn three(first: u16) -> ([TcpListener; 3], [u16; 3]) {
        let ports = [first, first + 1, first + 2];
        (ports.map(|port| TcpListener::bind((host(), port)).unwrap()), ports)
    }

    #[test]
    fn nine_different_ports_are_chosen() {
        let ports = [21_000, 21_001, 21_002];
        let chosen = choose(host(), ports).unwrap();
        let all: BTreeSet<_> = chosen.iter().flat_map(|n| [n.client, n.peer, n.admin]).collect();
        assert_eq!(all.len(), 9);
        assert_eq!(chosen.map(|node| node.client.port()), ports);
        assert!(all.iter().all(|address| address.ip() == host()));
    }

    #[test]
    fn a_client_port_in_use_is_named() {
        let ([first, _second, third], ports) = three(22_000);
        drop((first, third));
        let error = choose(host(), ports).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} ", ports[1])), "{error}");
    }

    #[test]
    fn a_client_port_named_twice_is_refused() {
        let error = choose(host(), [23_000, 23_001, 23_000]).unwrap_err().to_string();
        assert!(error.contains("port 23000 ") && error.contains("named twice"), "{error}");
    }

    #[test]
    fn a_taken_peer_port_gives_way() {
        let taken = any();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(prefer(host(), Some(port)).unwrap().local_addr().unwrap().port(), port);
        assert!(prefer(host(), u16::MAX.checked_add(PEER_PORT_OFFSET)).is_ok());
    }
}

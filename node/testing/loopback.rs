//! An address of this process's own on the loopback network, for tests that give up a port and want it
//! to stay free: nothing else listens there, and outgoing connections start elsewhere.
//!
//! As tests/src/process/ports.rs, in a range of its own.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

/// 127.128.0.0 to 127.191.255.255, by process id; 127.0.0.1 on a system that has no other.
pub(crate) fn host() -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 128 | (high & 63), middle, low);
    let usable = TcpListener::bind((own, 0)).is_ok();
    if usable { own.into() } else { Ipv4Addr::LOCALHOST.into() }
}

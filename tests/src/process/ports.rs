//! Ports that a process can have again after it was killed.
//!
//! Rejected: the port that the system gives for port 0. It comes from the range of outgoing
//! connections, and a busy test opens thousands of those: while a node is down, its port would be
//! taken by one of them. So ports are taken from below that range, each once in a process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::Mutex;

const FIRST: u16 = 12_000;
const LAST: u16 = 29_999;
/// Tests that run at the same time begin at different places.
const STRIDE: u32 = 97;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// An address on the loopback interface that nobody listens on.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free() -> SocketAddr {
    let mut next = NEXT.lock().expect("nobody panics with this held");
    let mut port = next.unwrap_or_else(begin);
    for _ in FIRST..=LAST {
        port = if port >= LAST { FIRST } else { port + 1 };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            *next = Some(port);
            return address;
        }
    }
    panic!("no port is free");
}

fn begin() -> u16 {
    let range = u32::from(LAST - FIRST);
    FIRST + u16::try_from(process::id().wrapping_mul(STRIDE) % range).unwrap_or(0)
}

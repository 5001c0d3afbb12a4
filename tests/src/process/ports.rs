//! Addresses that a process can have again after it was killed, whatever else this machine does.
//!
//! The loopback network has 2^24 addresses, Linux at most 2^22 process ids: every test process takes
//! the address of its own id, so nothing but its own children listens there, and no two runs meet.
//! Outgoing connections start from 127.0.0.1, so they take no port there either. Ports are given out
//! once in a process, in order: that of a node that is down for a while stays its own.
//!
//! Where only 127.0.0.1 can be had (not on Linux), all share it, and what is in use is passed over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::{Mutex, OnceLock};

/// Below the range from which systems give out ports by themselves.
const FIRST: u16 = 12_000;
const LAST: u16 = 29_999;
/// For an address that is shared: tests that run at the same time begin at different places.
const STRIDE: u32 = 97;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// This process's own address on the loopback network.
#[must_use]
pub fn host() -> IpAddr {
    static HOST: OnceLock<IpAddr> = OnceLock::new();
    *HOST.get_or_init(|| {
        let own = address_of(process::id());
        let usable = TcpListener::bind((own, 0)).is_ok();
        if usable { own.into() } else { Ipv4Addr::LOCALHOST.into() }
    })
}

/// 127.64.0.0 to 127.127.255.255: none of them is 127.0.0.1.
fn address_of(process: u32) -> Ipv4Addr {
    let [_, high, middle, low] = process.to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), middle, low)
}

/// An address on the loopback network that nobody listens on.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free() -> SocketAddr {
    let mut next = NEXT.lock().expect("nobody panics with this held");
    let mut port = next.unwrap_or_else(begin);
    for _ in FIRST..=LAST {
        port = if port >= LAST { FIRST } else { port + 1 };
        let address = SocketAddr::from((host(), port));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_has_an_address_of_its_own() {
        assert_eq!(address_of(1), Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(address_of(4_194_303), Ipv4Addr::new(127, 127, 255, 255));
        assert_ne!(address_of(300), address_of(300 + 256));
    }

    #[test]
    fn addresses_are_on_it_and_each_is_given_once() {
        let (first, second) = (free(), free());
        assert_ne!(first, second);
        assert!(first.ip() == host() && host().is_loopback());
    }
}

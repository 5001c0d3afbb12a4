//! The only place of the peer side that names a socket type.
//!
//! With the feature `simulated` the same code runs on turmoil's network: the whole peer side, from
//! accept to keepalive, is then subject to simulated partitions and delays.

use std::io;
use std::net::SocketAddr;

#[cfg(not(feature = "simulated"))]
use tokio::net as sockets;
#[cfg(feature = "simulated")]
use turmoil::net as sockets;

pub use sockets::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub use sockets::{TcpListener, TcpStream};

/// Opens a connection that sends small frames at once.
///
/// # Errors
/// What the operating system says.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Without it, a heartbeat waits for the acknowledgement of the frame before it (Nagle).
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Every address of a name, IPv4 and IPv6, sorted and without doubles.
///
/// # Errors
/// If the name does not resolve now: that says nothing about who is a member.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = sockets::lookup_host((host, port)).await?.collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

//! The accept loop of the peer port.
//!
//! Everybody on the network can connect here, so what is unproven is bounded in number, in time and
//! in bytes. When all places are taken the *oldest* unproven connection gives way: a peer is proven
//! within a few round trips, a stranger that holds a place is the oldest soon. To refuse the newest
//! instead would let a handful of silent sockets lock the peers out.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::handshake::{self, HandshakeError, Proven};
use super::net::{TcpListener, TcpStream};
use super::{Peers, Shared, link};

/// Pause after a failed accept: it fails when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts the connections that other nodes dial.
#[derive(Debug)]
pub struct PeerServer {
    address: SocketAddr,
}

impl PeerServer {
    /// Starts to accept; stops when `peers` does.
    ///
    /// # Errors
    /// If the listener's address cannot be read.
    pub fn start(listener: TcpListener, peers: &Peers) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = peers.shared.clone();
        peers.shared.spawn(async move {
            tokio::select! {
                () = accept(&shared, &listener) => {}
                () = shared.draining() => {}
            }
        });
        Ok(Self { address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let unproven = Arc::new(Unproven::default());
    let mut last = 0_u64;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                last += 1;
                admit(shared, &unproven, last, stream, address);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer's connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(
    shared: &Arc<Shared>,
    unproven: &Arc<Unproven>,
    number: u64,
    stream: TcpStream,
    address: SocketAddr,
) {
    // Held until the connection is in the list, so that it cannot be proven before it is unproven.
    let mut waiting = unproven.lock();
    while waiting.len() >= shared.limits.unproven.max(1) {
        if let Some((_, oldest)) = waiting.pop_front() {
            oldest.abort();
            shared.metrics.evictions.one();
        }
    }
    let (of_task, list) = (shared.clone(), unproven.clone());
    let serving = async move { serve(&of_task, &list, number, stream, address).await };
    waiting.extend(shared.spawn(serving).map(|handle| (number, handle)));
}

async fn serve(
    shared: &Shared,
    unproven: &Unproven,
    number: u64,
    stream: TcpStream,
    address: SocketAddr,
) {
    let proven = tokio::select! {
        proven = prove(shared, stream) => proven,
        () = shared.draining() => Err(HandshakeError::Stopping),
    };
    unproven.lock().retain(|(waiting, _)| *waiting != number);
    shared.report_refusal(address, &proven).await;
    match proven {
        Ok(proven) => {
            link::run(shared, proven).await;
        }
        Err(error) => {
            shared.metrics.accept_failures.one();
            tracing::debug!(%address, %error, "an incoming connection was not proven");
        }
    }
}

async fn prove(shared: &Shared, stream: TcpStream) -> Result<Proven, HandshakeError> {
    stream.set_nodelay(true)?;
    let (table, secrets) = (&shared.table, shared.secrets.current());
    let limits = &shared.limits;
    let judge = |theirs| async move { table.judge(&theirs, None, limits.probe).await };
    let handshake = handshake::listen(stream, &secrets, limits.header, table.own(), judge);
    timeout(limits.handshake, handshake).await.map_err(|_| HandshakeError::TimedOut)?
}

/// Connections that have not proven themselves, oldest first.
#[derive(Debug, Default)]
struct Unproven(Mutex<VecDeque<(u64, AbortHandle)>>);

impl Unproven {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, AbortHandle)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The accept loop of both HTTP ports.
//!
//! Problem: a server is open to every peer that finds its port, and the cheap attack is to do
//! nothing: connect and stay silent, send half a head, ask and not read. The stock accept loop sets
//! no limit on any of these, and its header timer does not even start before the first byte.
//!
//! Idea: every wait for a peer has an end. A first byte and a head have [`ServerSettings::head_timeout`],
//! the gap between requests `idle_timeout`, a write `write_timeout`, a body the router's own limit.
//! A peer whose machine is gone says nothing, and a waiter may be silent for as long: TCP keepalive
//! finds it out within a minute.
//!
//! The number of connections has a cap, so that memory has one. Who comes above it gets the seat of the
//! connection that has been idle for longest (`idle.rs`); where all are busy it is told 503 and
//! when to come again, rather than left in the kernel's queue to guess. Requests that may be busy for
//! long, waits and watches, have a cap of their own below this one (`RequestLimits::waits_max`).
//!
//! Draining: the listener closes first, so that new clients go elsewhere at once. A request that is on
//! its way must not meet a closed socket, or its client could not know whether it was served: idle
//! connections stay open for [`ServerSettings::drain_linger`], and an answer closes them. Those with a
//! request under way finish it, and only it; after the limit they are cut.
//!
//! HTTP/1.1 only: what speaks HTTP/2 without TLS is rare, and one protocol has one set of limits.
//! What is no HTTP or too much of it (a head of 16 KiB, 100 fields) is answered by `bare.rs`.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::bare;
use super::connection::{self, End};
use super::idle::{Asked, Idle, Place};
use crate::metrics::{HttpMetrics, PortLabel};

/// How many of those above the cap are told so at the same time; the rest are only closed.
const REFUSALS_MAX: usize = 64;
/// A connection that was asked to go is gone by then, unless its peer does not read: the next is asked.
const LEAVE_TIME: Duration = Duration::from_millis(50);
/// A peer that is silent for so long is asked whether it is still there; then so often more.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(20);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;
/// Pause after a failure to accept (out of file descriptors, say) that will not pass by itself.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bounds on connections.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The port's word in the metrics: `client` or `admin`.
    pub port: &'static str,
    /// Most connections at once.
    pub connections_max: u32,
    /// From the connection, or from the first byte of a later request, to the end of the head.
    pub head_timeout: Duration,
    /// From the end of an answer to the next request. Above the time for which common clients keep
    /// a connection in their pools would be best for them; this is above most.
    pub idle_timeout: Duration,
    /// For a write to make progress.
    pub write_timeout: Duration,
    /// For a refused peer to stop sending before the connection is cut.
    pub linger: Duration,
    /// For a request that was sent before its client could know of the drain.
    pub drain_linger: Duration,
    /// Longest head in bytes.
    pub head_bytes_max: usize,
    /// What the ids of answers to no request begin with: the process.
    pub request_id_prefix: String,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            port: "client",
            connections_max: 10_000,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            drain_linger: Duration::from_millis(200),
            head_bytes_max: 16 << 10,
            request_id_prefix: String::new(),
        }
    }
}

/// How far a server is on its way out. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    Draining,
    Cut,
}

/// What became of the requests under way when a server was drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All of them were answered.
    Finished,
    /// Some took too long and were cut.
    Cut,
}

/// A listening server. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stage: watch::Sender<Stage>,
    /// One seat per connection.
    seats: Arc<Semaphore>,
    settings: ServerSettings,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `router` to whoever connects to `listener`, from now on.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start(
        listener: TcpListener,
        router: Router,
        settings: ServerSettings,
        metrics: HttpMetrics,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stage, stage_seen) = watch::channel(Stage::Serving);
        let seats = Arc::new(Semaphore::new(settings.connections_max as usize));
        let door = Door {
            router,
            seats: Arc::clone(&seats),
            idle: Idle::default(),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            settings: settings.clone(),
            metrics,
            stage: stage_seen,
        };
        let accepting = tokio::spawn(door.accept_all(listener));
        Ok(Self { address, stage, seats, settings, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish for at most `limit`, then cuts the rest.
    pub async fn drain(self, limit: Duration) -> Drained {
        self.stage.send_replace(Stage::Draining);
        // The loop holds the listener: when it has ended, no connection can take a seat any more.
        let _ = self.accepting.await;
        let all_seats = || self.seats.acquire_many(self.settings.connections_max);
        if timeout(limit, all_seats()).await.is_ok() {
            return Drained::Finished;
        }
        self.stage.send_replace(Stage::Cut);
        let _ = all_seats().await;
        Drained::Cut
    }
}

/// What the accept loop works with.
#[derive(Clone)]
struct Door {
    router: Router,
    seats: Arc<Semaphore>,
    /// Whose seat may be given to another.
    idle: Idle,
    refusals: Arc<Semaphore>,
    settings: ServerSettings,
    metrics: HttpMetrics,
    stage: watch::Receiver<Stage>,
}

impl Door {
    async fn accept_all(self, listener: TcpListener) {
        let mut stage = self.stage.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connection::leaves(&mut stage, Stage::Serving) => {
                    return self.admit_connected(listener).await;
                }
            };
            match accepted {
                Ok((stream, _)) => tokio::select! {
                    () = self.admit(stream) => {}
                    () = connection::leaves(&mut stage, Stage::Serving) => return,
                },
                // The peer was gone before it was accepted: its own affair.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, port = self.settings.port, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Those whom the kernel has told that they are connected: closing the listener resets them.
    /// Asked of the kernel itself, which may know of more than the runtime has heard.
    async fn admit_connected(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..self.settings.connections_max {
            let Ok((stream, _)) = listener.accept() else { return };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.admit(stream).await;
            }
        }
    }

    async fn admit(&self, stream: TcpStream) {
        let seat = match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(seat) => Some(seat),
            Err(_) => self.make_room().await,
        };
        match seat {
            Some(seat) => {
                // At once, so that this one, too, can be found when the next needs room.
                let place = self.idle.place();
                tokio::spawn(self.clone().serve(stream, seat, place));
            }
            None => self.refuse(stream),
        }
    }

    /// The seat of a connection that has been idle for longest; `None`: all are busy. Those who come
    /// meanwhile wait to be accepted, in their order.
    async fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        let mut seat = pin!(Arc::clone(&self.seats).acquire_owned());
        loop {
            let pause = match self.idle.ask_oldest_to_go(Instant::now()) {
                Asked::Nobody => return None,
                Asked::Oldest => LEAVE_TIME,
                Asked::NotYet { left } => left,
            };
            if let Ok(seat) = timeout(pause, seat.as_mut()).await {
                return seat.ok();
            }
        }
    }

    async fn serve(self, stream: TcpStream, seat: OwnedSemaphorePermit, place: Place) {
        prepare(&stream);
        let (metrics, port) = (self.metrics.clone(), self.port());
        let open = metrics.connections.get_or_create_owned(&port);
        open.inc();
        let served = connection::serve(stream, self.router, self.settings, place, self.stage);
        if served.await == End::TimedOut {
            metrics.connections_timed_out.get_or_create(&port).inc();
        }
        open.dec();
        drop(seat);
    }

    fn refuse(&self, stream: TcpStream) {
        self.metrics.connections_refused.get_or_create(&self.port()).inc();
        let Ok(seat) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let linger = self.settings.linger;
        let answer = bare::too_many_connections(&self.settings.request_id_prefix);
        tokio::spawn(async move {
            let _ = timeout(linger, say_refusal(stream, &answer)).await;
            drop(seat);
        });
    }

    fn port(&self) -> PortLabel {
        PortLabel { port: self.settings.port }
    }
}

/// A socket that can be none of this serves as well, only worse.
fn prepare(stream: &TcpStream) {
    // Answers are small and somebody waits for each of them.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Reads on after the answer until the peer closes, or a reset could overtake the answer.
async fn say_refusal(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    let mut scratch = [0; 4096];
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}

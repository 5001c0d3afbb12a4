//! Keeps one connection to one address alive, as long as the address is wanted.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::types::{NodeId, NodeName};
use tokio::time::{Instant, sleep, timeout};

use super::discovery::HostPort;
use super::handshake::{self, HandshakeError, Proven};
use super::introduction::{Lane, Refusal};
use super::link::{self, LinkEnd};
use super::{Shared, net};

/// Something to dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// Who has to answer, if that is known.
    pub(super) name: Option<NodeName>,
    /// A DNS name or an address; resolved at every dial.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    fn label(&self) -> String {
        HostPort(&self.host, self.port).to_string()
    }
}

/// An address that is dialled, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// Host and port.
    pub target: String,
    /// Who has to answer, if that was given.
    pub expected: Option<NodeName>,
    /// Who answers now.
    pub connected: Option<NodeName>,
    /// What is in the way, as one sentence, while nobody does.
    pub problem: Option<String>,
}

/// Kept by the diallers of the urgent lane.
pub(super) type Targets = BTreeMap<Target, TargetStatus>;

/// Dials `target`, runs the connection, and does so again, until the node stops.
pub(super) async fn run(shared: Arc<Shared>, target: Target, lane: Lane) {
    let mut dialler = Dialler { shared: &shared, target: &target, lane, failures: 0 };
    let mut pause = Backoff::new(&dialler);
    dialler.show(None, Some("not dialled yet".into()));
    loop {
        let dialled = tokio::select! {
            dialled = dialler.dial() => dialled,
            () = shared.draining() => break,
        };
        let wait = match dialled {
            // The connection goes on while the node drains: it writes what waits, and ends.
            Ok(proven) => dialler.work(proven, &mut pause).await,
            Err(error) => dialler.failed(&error),
        };
        tokio::select! {
            () = dialler.wait(wait, &mut pause) => {}
            () = shared.draining() => break,
        }
    }
    dialler.forget();
}

struct Dialler<'a> {
    shared: &'a Shared,
    target: &'a Target,
    lane: Lane,
    /// Handshakes and dials that failed. Each makes another address of the name the first to try: one
    /// that answers, but not as a peer, must not hide the others.
    failures: usize,
}

/// What to wait for before the next dial.
enum Wait {
    Pause,
    /// The address is this node's own.
    Own,
    /// Another address of the same node is connected.
    Connected(NodeId),
    /// Another process has this node's id. When it ends, this one shall be let in soon.
    InUse,
}

impl Dialler<'_> {
    async fn dial(&self) -> Result<Proven, HandshakeError> {
        let stream = self.connect().await?;
        let address = stream.peer_addr()?;
        let (table, secrets) = (&self.shared.table, self.shared.secrets.current());
        let (expected, probe) = (self.target.name.as_ref(), self.shared.limits.probe);
        let judge =
            |theirs| async move { table.judge_dialled(&theirs, expected, self.lane, probe).await };
        let handshake = handshake::dial(stream, &secrets, self.lane, table.own(), judge);
        let dialled = timeout(self.shared.limits.handshake, handshake).await;
        let dialled = dialled.unwrap_or(Err(HandshakeError::TimedOut));
        self.shared.report_refusal(address, &dialled).await;
        dialled
    }

    /// To the first of the name's addresses that takes the connection.
    async fn connect(&self) -> io::Result<net::TcpStream> {
        let Target { host, port, .. } = self.target;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut addresses = self.shared.resolver.resolve(host, *port).await?;
        let first = self.failures % addresses.len().max(1);
        addresses.rotate_left(first);
        for address in addresses {
            match timeout(self.shared.limits.connect, net::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn work(&self, proven: Proven, pause: &mut Backoff) -> Wait {
        self.show(Some(proven.theirs.name.clone()), None);
        let began = Instant::now();
        let end = link::run(self.shared, proven).await;
        // A connection that breaks at once is no better than one that fails.
        if began.elapsed() >= self.shared.limits.retry_max {
            pause.reset();
        }
        self.show(None, Some(end.to_string()));
        match end {
            LinkEnd::AlreadyDialled(node_id) => Wait::Connected(node_id),
            _ => Wait::Pause,
        }
    }

    fn failed(&mut self, error: &HandshakeError) -> Wait {
        self.failures = self.failures.wrapping_add(1);
        // A list of all nodes, or a name that resolves to all of them, has the node itself in it.
        let own = matches!(error, HandshakeError::Refused(Refusal::OwnAddress));
        self.show(None, (!own).then(|| error.to_string()));
        match error {
            HandshakeError::Refused(Refusal::OwnAddress) => Wait::Own,
            HandshakeError::Refused(Refusal::AlreadyConnected { node_id }) => {
                Wait::Connected(*node_id)
            }
            HandshakeError::RefusedByPeer(Refusal::NodeIdInUse { .. }) => Wait::InUse,
            _ => {
                self.shared.metrics.dial_failures.one();
                Wait::Pause
            }
        }
    }

    async fn wait(&self, wait: Wait, pause: &mut Backoff) {
        match wait {
            Wait::Pause => {}
            Wait::Own => sleep(self.shared.limits.own_address).await,
            Wait::Connected(node_id) => self.shared.table.undialled(node_id, self.lane).await,
            Wait::InUse => return sleep(self.shared.limits.retry_in_use).await,
        }
        sleep(pause.next()).await;
    }

    /// One lane speaks for both. A problem is logged when it is new, and not at every attempt.
    fn show(&self, connected: Option<NodeName>, problem: Option<String>) {
        if self.lane == Lane::Bulk {
            return;
        }
        let target = self.target.label();
        let expected = self.target.name.clone();
        let status = TargetStatus { target, expected, connected, problem };
        let before = self.shared.targets().insert(self.target.clone(), status.clone());
        if let Some(problem) = &status.problem
            && before.is_some_and(|before| before.problem.as_ref() != Some(problem))
        {
            tracing::info!(address = status.target, problem, "a peer is not connected");
        }
    }

    fn forget(&self) {
        if self.lane == Lane::Urgent {
            self.shared.targets().remove(self.target);
        }
    }
}

/// Pauses that double, each shortened by chance, so that nodes which lost each other at one moment do
/// not dial at one moment. The chance comes from who dials whom: a simulated run stays repeatable.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    chance: u64,
}

impl Backoff {
    fn new(dialler: &Dialler<'_>) -> Self {
        let (min, max) = (dialler.shared.limits.retry_min, dialler.shared.limits.retry_max);
        let mut hasher = DefaultHasher::new();
        (dialler.shared.table.own().boot_id, dialler.target.label(), dialler.lane)
            .hash(&mut hasher);
        Self { min, max, next: min, chance: hasher.finish() }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    /// Between half of the present pause and the whole of it.
    fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        // Knuth's MMIX generator; its high bits are good enough to spread dials.
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let thousandths = u32::try_from((self.chance >> 33) % 501).unwrap_or(0);
        whole / 2 + whole * thousandths / 1000
    }
}

#[cfg(test)]
mod backoff_tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again_after_a_reset() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut pause = Backoff { min, max, next: min, chance: 7 };
        let first = pause.next();
        assert!(first >= min / 2 && first <= min, "{first:?}");
        let later: Vec<Duration> = (0..20).map(|_| pause.next()).collect();
        assert!(later[10..].iter().all(|pause| *pause >= max / 2 && *pause <= max), "{later:?}");
        assert!(later[10..].iter().any(|pause| *pause != later[10]), "no jitter");
        pause.reset();
        assert!(pause.next() <= min);
    }
}

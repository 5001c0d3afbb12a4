//! What a client can do, whatever the service is called.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::plan::{Plan, Server};

/// Before a lock that is held by somebody else is asked for again; doubled from the first to the last.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// One owner with one connection. It dials by itself, when it has none.
pub(super) trait Protocol {
    /// Dials, if it has not. The first cycle would do it too, and be slow.
    async fn connect(&mut self) -> Result<(), Trouble>;

    /// Comes back when the lock is held, with how often it had to be asked for again.
    async fn acquire(&mut self, name: &str) -> Result<u64, Trouble>;

    /// Gives back what was acquired last.
    async fn release(&mut self, name: &str) -> Result<(), Trouble>;

    /// Leaves nothing behind that would go on by itself.
    async fn leave(&mut self) {}
}

/// Why a request did not work, as a word to count by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The service's own code where there is one.
    pub(super) code: Cow<'static, str>,
}

impl Trouble {
    /// The connection could not be made, or broke, or was silent.
    pub(super) const CONNECT: Self = Self { code: Cow::Borrowed("connect") };
    /// It broke.
    pub(super) const BROKEN: Self = Self { code: Cow::Borrowed("connection_broken") };
    /// No answer in time.
    pub(super) const TIMEOUT: Self = Self { code: Cow::Borrowed("timeout") };
    /// An answer that makes no sense here.
    pub(super) const NONSENSE: Self = Self { code: Cow::Borrowed("unexpected_answer") };

    /// With a code of the service.
    pub(super) fn of(code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)
    }
}

/// What one client knows of the plan.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// Its name as an owner.
    pub(super) owner: String,
    servers: Vec<Server>,
    /// Which of the servers is next.
    next: usize,
    pub(super) ttl: Duration,
    pub(super) timeout: Duration,
}

impl Seat {
    /// Client number `number`.
    pub(super) fn new(plan: &Plan, number: usize) -> Self {
        Self {
            owner: format!("{}-client-{number}", plan.prefix),
            servers: plan.servers.clone(),
            next: number,
            ttl: plan.ttl,
            timeout: plan.timeout,
        }
    }

    /// The server to dial now. The next call names the next one.
    pub(super) fn next_server(&mut self) -> Server {
        let server = self.servers[self.next % self.servers.len()].clone();
        self.next += 1;
        server
    }
}

/// The pauses between asking and asking again.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    /// How many there were.
    pub(super) count: u64,
}

impl Pauses {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { next: ASK_AGAIN.0, count: 0 }
    }

    /// The next pause, longer than the last.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(ASK_AGAIN.1);
        self.count += 1;
    }
}

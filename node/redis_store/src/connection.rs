//! The connection of a node to its Redis: one, shared by all, replaced when it breaks.
//!
//! Every new one is looked at first ([`server`](crate::server)). Whoever finds it broken replaces it, one at
//! a time, and not more often than the back-off allows; the others wait for that. No command here blocks in
//! Redis, so that nobody waits behind another's wait.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, RedisError, Value, cmd};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::problem::RedisProblem;
use crate::script::Text;
use crate::server::{Durability, judge};

/// How long a connection may take to come about, and an answer to come.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Where the Redis is, and how to be let in.
#[derive(Clone, Debug, Default)]
pub struct Address {
    /// `redis://host:port`, or `rediss://` for TLS.
    pub url: String,
    /// The password, if it needs one that is not in the URL.
    pub password: Option<String>,
    /// Certificates of those who may sign its certificate, as PEM; `None`: the machine's.
    pub ca_pem: Option<Vec<u8>>,
}

/// The URL cannot be one of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a Redis: {0}")]
pub struct BadAddress(String);

/// See the module.
pub(crate) struct Connection {
    client: Client,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    /// The connection, and how many there were before it.
    live: Option<Live>,
    made: u64,
    pause: Duration,
    next_try: Option<Instant>,
    problem: Option<RedisProblem>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    number: u64,
    durability: Durability,
}

impl Connection {
    pub(crate) fn new(address: &Address) -> Result<Self, BadAddress> {
        let client = client(address).map_err(|error| BadAddress(error.to_string()))?;
        Ok(Self { client, slot: Mutex::default() })
    }

    /// Runs a script.
    ///
    /// # Errors
    /// What is wrong. [`RedisProblem::Unanswered`] alone leaves open whether it was done.
    pub(crate) async fn run(
        &self,
        text: &Text,
        keys: &[String],
        args: &[Vec<u8>],
    ) -> Result<(Value, Durability), RedisProblem> {
        let mut live = self.live().await?;
        let answer = match invoke("EVALSHA", &text.sha, keys, args).query(&mut live).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                // It does not know the script (yet, any more): it is told it.
                invoke("EVAL", &text.code, keys, args).query(&mut live).await
            }
            answer => answer,
        };
        match answer {
            Ok(value) => Ok((value, live.durability)),
            Err(error) => Err(self.failed(&live, &error).await),
        }
    }

    /// The connection, made if there is none.
    async fn live(&self) -> Result<Live, RedisProblem> {
        let mut slot = self.slot.lock().await;
        if let Some(live) = &slot.live {
            return Ok(live.clone());
        }
        if slot.next_try.is_some_and(|at| Instant::now() < at) {
            let problem = slot.problem.clone();
            return Err(problem.unwrap_or_else(|| RedisProblem::Unreachable(String::new())));
        }
        match self.connect(slot.made).await {
            Ok(live) => {
                *slot = Slot { live: Some(live.clone()), made: slot.made + 1, ..Slot::default() };
                Ok(live)
            }
            Err(problem) => {
                slot.pause = (slot.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
                slot.next_try = Some(Instant::now() + slot.pause);
                slot.problem = Some(problem.clone());
                tracing::warn!(%problem, "no Redis for the queues");
                Err(problem)
            }
        }
    }

    async fn connect(&self, number: u64) -> Result<Live, RedisProblem> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| not_sent(&error))?;
        let info: String =
            cmd("INFO").query_async(&mut connection).await.map_err(|it| not_sent(&it))?;
        let mut config = cmd("CONFIG");
        config.arg("GET").arg("appendfsync");
        let appendfsync: Option<Vec<String>> = config.query_async(&mut connection).await.ok();
        let appendfsync = appendfsync.as_ref().and_then(|pair| pair.get(1));
        let server = judge(&info, appendfsync.map(String::as_str))?;
        Ok(Live { connection, number, durability: server.durability })
    }

    /// What an error means. A connection that is of no use any more is given up.
    async fn failed(&self, live: &Live, error: &RedisError) -> RedisProblem {
        let problem = RedisProblem::of(error);
        let again = matches!(problem, RedisProblem::Unanswered(_) | RedisProblem::ReadOnly);
        if again || error.is_unrecoverable_error() {
            let mut slot = self.slot.lock().await;
            if slot.live.as_ref().is_some_and(|it| it.number == live.number) {
                slot.live = None;
            }
        }
        problem
    }
}

fn client(address: &Address) -> Result<Client, RedisError> {
    // One provider of cryptography in a process; another part may have said so already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut info = address.url.as_str().into_connection_info()?;
    if let Some(password) = &address.password {
        let settings = info.redis_settings().clone().set_password(password);
        info = info.set_redis_settings(settings);
    }
    match address.ca_pem.clone() {
        None => Client::open(info),
        Some(ca) => {
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(ca) };
            Client::build_with_tls(info, certificates)
        }
    }
}

/// What an error means while nothing that counts was sent.
fn not_sent(error: &RedisError) -> RedisProblem {
    match RedisProblem::of(error) {
        RedisProblem::Unanswered(text) => RedisProblem::Unreachable(text),
        problem => problem,
    }
}

struct Invoke(Cmd);

impl Invoke {
    async fn query(self, live: &mut Live) -> Result<Value, RedisError> {
        self.0.query_async(&mut live.connection).await
    }
}

fn invoke(command: &str, script: &str, keys: &[String], args: &[Vec<u8>]) -> Invoke {
    let mut call = cmd(command);
    call.arg(script).arg(keys.len()).arg(keys);
    for arg in args {
        call.arg(arg.as_slice());
    }
    Invoke(call)
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

//! A client of dsync, by either of its lock interfaces.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::http_connection::HttpConnection;
use super::plan::Api;
use super::protocol::{Pauses, Protocol, Seat, Trouble};

/// See the module.
#[derive(Debug)]
pub(super) struct DsyncClient {
    seat: Seat,
    api: Api,
    connection: Option<HttpConnection>,
    /// What /v1 gave for the hold that is to be released next.
    hold: Option<String>,
}

/// What is looked at in an answer, of all interfaces.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    success: Option<bool>,
    hold: Option<String>,
    code: Option<String>,
    position: Option<u64>,
}

impl DsyncClient {
    /// A client that has not dialled.
    pub(super) fn new(seat: Seat, api: Api) -> Self {
        Self { seat, api, connection: None, hold: None }
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<(StatusCode, Answer), Trouble> {
        self.connect().await?;
        let Some(connection) = &mut self.connection else { return Err(Trouble::CONNECT) };
        let posted = connection.post(path, body.to_string().into_bytes());
        match timeout(self.seat.timeout, posted).await {
            Ok(Ok((status, body))) => Ok((status, read(&body))),
            Ok(Err(_)) => self.hang_up(Trouble::BROKEN),
            // A late answer must not be taken for the next one's.
            Err(_) => self.hang_up(Trouble::TIMEOUT),
        }
    }

    fn hang_up<T>(&mut self, trouble: Trouble) -> Result<T, Trouble> {
        self.connection = None;
        Err(trouble)
    }

    async fn acquire_original(&mut self, name: &str) -> Result<u64, Trouble> {
        let mut body = json!({
            "resource_id": name, "client_id": self.seat.owner, "lock_type": "exclusive",
        });
        if !self.seat.ttl.is_zero() {
            body["ttl"] = json!(self.seat.ttl.as_millis().to_string() + "ms");
        }
        let mut pauses = Pauses::new();
        loop {
            match self.post("/lock/acquire", &body).await? {
                (StatusCode::OK, Answer { success: Some(true), .. }) => return Ok(pauses.count),
                // Queued: this interface waits by being asked again.
                (StatusCode::OK, Answer { position: Some(_), .. }) => pauses.pause().await,
                (status, answer) => return Err(trouble(status, answer)),
            }
        }
    }

    async fn release_original(&mut self, name: &str) -> Result<(), Trouble> {
        let body = json!({ "resource_id": name, "client_id": self.seat.owner });
        match self.post("/lock/release", &body).await? {
            (StatusCode::OK, Answer { success: Some(true), .. }) => Ok(()),
            (status, answer) => Err(trouble(status, answer)),
        }
    }

    async fn acquire_v1(&mut self, name: &str) -> Result<u64, Trouble> {
        let wait_ms = self.seat.timeout.as_millis();
        let body = json!({
            "owner": self.seat.owner,
            "ttl": format!("{}ms", self.seat.ttl.as_millis()),
            // Answered before this client gives up by itself.
            "wait": format!("{}ms", wait_ms - wait_ms / 10),
        });
        let (status, answer) = self.post(&format!("/v1/locks/{name}/acquire"), &body).await?;
        match answer.hold {
            Some(hold) if status.is_success() => {
                self.hold = Some(hold);
                Ok(0)
            }
            _ => Err(trouble(status, answer)),
        }
    }

    async fn release_v1(&mut self, name: &str) -> Result<(), Trouble> {
        let body = json!({ "hold": self.hold.take() });
        let (status, answer) = self.post(&format!("/v1/locks/{name}/release"), &body).await?;
        if status.is_success() { Ok(()) } else { Err(trouble(status, answer)) }
    }
}

impl Protocol for DsyncClient {
    async fn connect(&mut self) -> Result<(), Trouble> {
        if self.connection.is_none() {
            self.connection = Some(HttpConnection::dial(&mut self.seat).await?);
        }
        Ok(())
    }

    async fn acquire(&mut self, name: &str) -> Result<u64, Trouble> {
        match self.api {
            Api::V1 => self.acquire_v1(name).await,
            _ => self.acquire_original(name).await,
        }
    }

    async fn release(&mut self, name: &str) -> Result<(), Trouble> {
        match self.api {
            Api::V1 => self.release_v1(name).await,
            _ => self.release_original(name).await,
        }
    }
}

fn read(body: &Bytes) -> Answer {
    serde_json::from_slice(body).unwrap_or_default()
}

/// The service's own word, else the status.
fn trouble(status: StatusCode, answer: Answer) -> Trouble {
    match answer.code {
        Some(code) => Trouble::of(code),
        None if status.is_success() => Trouble::NONSENSE,
        None => Trouble::of(format!("http_{}", status.as_u16())),
    }
}

//! One GET over plain HTTP: enough to ask a node how it is.

use std::time::Duration;

use anyhow::Context;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Larger than any answer to a status or a probe: lists in them are capped.
const BODY_BYTES_MAX: usize = 64 << 20;

/// GETs `path` from `authority` (`host:port`), all within `deadline`.
///
/// # Errors
/// If there is no whole answer within that time.
pub async fn get(
    authority: &str,
    path: &str,
    deadline: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    timeout(deadline, exchange(authority, path)).await.context("no answer in time")?
}

async fn exchange(authority: &str, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    connection.abort();
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}

//! The dialler's half of a handshake.

use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::{
    Challenge, HTTP_BUFFER_BYTES, HTTP_HEADERS_MAX, HandshakeError, Introduction, Judgement, Lane,
    NONCE_HEADER, NoBody, PROOF_HEADER, Proven, Role, STREAM_PATH, STREAM_PROTOCOL, Upgraded,
    hex_value, introduce, nonce_in, proofs_in, take_over,
};
use crate::peers::net::TcpStream;
use crate::peers::secret::{ClusterSecret, Secrets, random_bytes};

/// Proves this end on a fresh connection and has the other end prove itself. Without a deadline:
/// the caller sets one.
///
/// # Errors
/// See [`HandshakeError`]; the connection is closed then.
pub(in crate::peers) async fn dial<J: Judgement>(
    stream: TcpStream,
    secrets: &Secrets,
    lane: Lane,
    own: Introduction,
    judge: impl FnOnce(Introduction) -> J,
) -> Result<Proven, HandshakeError> {
    let upgraded = upgrade(stream, secrets).await?;
    introduce(upgraded, Role::Dialler, own, Some(lane), judge).await
}

async fn upgrade(stream: TcpStream, secrets: &Secrets) -> Result<Upgraded, HandshakeError> {
    let (mut requests, connection) = http1::Builder::new()
        .max_buf_size(HTTP_BUFFER_BYTES)
        .max_headers(HTTP_HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    // hyper moves bytes only while `connection` is polled. It ends when the stream is handed over;
    // a failure of either ends both.
    let driven = async { Ok(connection.with_upgrades().await?) };
    let ((), (response, secret, challenge)) =
        tokio::try_join!(driven, prove(&mut requests, secrets))?;
    let (stream, early) = take_over(hyper::upgrade::on(response)).await?;
    Ok(Upgraded { stream, early, secret, challenge })
}

/// Both requests. The secret that comes back is the one that the listener shares.
async fn prove(
    requests: &mut SendRequest<NoBody>,
    secrets: &Secrets,
) -> Result<(Response<Incoming>, ClusterSecret, Challenge), HandshakeError> {
    let nonce = random_bytes()?;
    let response = requests.send_request(request(&NONCE_HEADER, hex_value(&[nonce]))).await?;
    let challenge = match nonce_in(response.headers()) {
        Some(listener) if response.status() == StatusCode::UNAUTHORIZED => {
            Challenge { dialler: nonce, listener }
        }
        _ => return Err(HandshakeError::NotAPeer(response.status())),
    };

    let proofs = secrets.prove_all(Role::Dialler, &challenge);
    let mut second = request(&PROOF_HEADER, hex_value(&proofs));
    second.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    second.headers_mut().insert(UPGRADE, HeaderValue::from_static(STREAM_PROTOCOL));
    requests.ready().await?;
    let response = requests.send_request(second).await?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {}
        StatusCode::FORBIDDEN => return Err(HandshakeError::WrongSecret),
        other => return Err(HandshakeError::NotAPeer(other)),
    }
    let answer = proofs_in(response.headers()).unwrap_or_default();
    let secret = secrets
        .recognise(Role::Listener, &challenge, &answer)
        .cloned()
        .ok_or(HandshakeError::WrongSecret)?;
    Ok((response, secret, challenge))
}

fn request(name: &http::HeaderName, value: HeaderValue) -> Request<NoBody> {
    let mut request = Request::new(NoBody::new());
    *request.uri_mut() = http::Uri::from_static(STREAM_PATH);
    // HTTP/1.1 demands one. The address would tell the listener nothing that it does not know.
    request.headers_mut().insert(HOST, HeaderValue::from_static(STREAM_PROTOCOL));
    request.headers_mut().insert(name, value);
    request
}

//! The listener's half of a handshake: the whole of what a stranger can reach.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    Challenge, HTTP_BUFFER_BYTES, HTTP_HEADERS_MAX, HandshakeError, Introduction, Judgement,
    NONCE_HEADER, NoBody, PROOF_HEADER, Proven, Role, STREAM_PATH, STREAM_PROTOCOL, Upgraded,
    hex_value, introduce, nonce_in, proofs_in, take_over,
};
use crate::peers::net::TcpStream;
use crate::peers::secret::{ClusterSecret, Secrets, random_bytes};

/// Has the other end of a fresh connection prove itself, and proves this end. Without a deadline for
/// the whole: the caller sets one.
///
/// # Errors
/// See [`HandshakeError`]; the connection is closed then.
pub(in crate::peers) async fn listen<J: Judgement>(
    stream: TcpStream,
    secrets: &Secrets,
    header_timeout: Duration,
    own: Introduction,
    judge: impl FnOnce(Introduction) -> J,
) -> Result<Proven, HandshakeError> {
    let upgraded = upgrade(stream, secrets, header_timeout).await?;
    introduce(upgraded, Role::Listener, own, None, judge).await
}

async fn upgrade(
    stream: TcpStream,
    secrets: &Secrets,
    header_timeout: Duration,
) -> Result<Upgraded, HandshakeError> {
    let gate = Gate { secrets, stage: Mutex::default() };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HTTP_BUFFER_BYTES)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service_fn(|request| gate.answer(request)))
        .with_upgrades()
        .await;
    match gate.stage.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Stage::Proven { on_upgrade, secret, challenge } => {
            served?;
            let (stream, early) = take_over(on_upgrade).await?;
            Ok(Upgraded { stream, early, secret, challenge })
        }
        Stage::Failed => Err(HandshakeError::WrongSecret),
        Stage::Start | Stage::Challenged(_) => {
            served?;
            Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
        }
    }
}

/// How far one connection has come.
#[derive(Default)]
enum Stage {
    #[default]
    Start,
    Challenged(Challenge),
    Proven {
        on_upgrade: OnUpgrade,
        secret: ClusterSecret,
        challenge: Challenge,
    },
    Failed,
}

/// What stands before everything else on one connection.
struct Gate<'a> {
    secrets: &'a Secrets,
    stage: Mutex<Stage>,
}

impl Gate<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<NoBody>, std::io::Error> {
        if request.uri().path() != STREAM_PATH {
            return Ok(last_word(StatusCode::NOT_FOUND));
        }
        if request.method() != Method::GET {
            return Ok(last_word(StatusCode::METHOD_NOT_ALLOWED));
        }
        // No await while the lock is held, and requests on one connection come one by one.
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, so that a challenge is good for one try.
        match std::mem::take(&mut *stage) {
            Stage::Start => match nonce_in(request.headers()) {
                Some(dialler) => {
                    let listener = random_bytes()?;
                    *stage = Stage::Challenged(Challenge { dialler, listener });
                    Ok(challenge_response(&listener))
                }
                None => Ok(last_word(StatusCode::UNAUTHORIZED)),
            },
            Stage::Challenged(challenge) => {
                let (next, response) = self.verify(challenge, request);
                *stage = next;
                Ok(response)
            }
            Stage::Proven { .. } | Stage::Failed => Ok(last_word(StatusCode::BAD_REQUEST)),
        }
    }

    fn verify(
        &self,
        challenge: Challenge,
        request: Request<Incoming>,
    ) -> (Stage, Response<NoBody>) {
        let proofs = proofs_in(request.headers()).unwrap_or_default();
        let Some(secret) = self.secrets.recognise(Role::Dialler, &challenge, &proofs) else {
            return (Stage::Failed, last_word(StatusCode::FORBIDDEN));
        };
        if !asks_for_stream(request.headers()) {
            return (Stage::Failed, last_word(StatusCode::UPGRADE_REQUIRED));
        }
        let mut response = respond(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(STREAM_PROTOCOL));
        headers.insert(PROOF_HEADER, hex_value(&[secret.prove(Role::Listener, &challenge)]));
        let (secret, on_upgrade) = (secret.clone(), hyper::upgrade::on(request));
        (Stage::Proven { on_upgrade, secret, challenge }, response)
    }
}

fn asks_for_stream(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes() == STREAM_PROTOCOL.as_bytes())
}

fn challenge_response(nonce: &[u8; 32]) -> Response<NoBody> {
    let mut response = respond(StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(NONCE_HEADER, hex_value(&[*nonce]));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(STREAM_PROTOCOL));
    response
}

/// An answer after which the connection ends.
fn last_word(status: StatusCode) -> Response<NoBody> {
    let mut response = respond(status);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn respond(status: StatusCode) -> Response<NoBody> {
    let mut response = Response::new(NoBody::new());
    *response.status_mut() = status;
    response
}

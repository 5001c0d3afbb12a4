//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::Service;

use super::ahead::{self, Lookout};
use super::idle::Place;
use super::requests::{BodyState, Requests};
use super::server::{ServerSettings, Stage};
use super::timed_stream::{StreamLimits, TimedStream};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By the peer, by an answer that closes, by an error, or by the drain.
    Closed,
    /// The peer was silent or too slow.
    TimedOut,
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    settings: ServerSettings,
    place: Place,
    mut stage: watch::Receiver<Stage>,
) -> End {
    let requests = Arc::new(Requests::new(place));
    // hyper would not be asked to read anything before it has a byte to look at; waiting outside
    // also keeps its buffers from being made for a peer that says nothing.
    tokio::select! {
        first = first_byte(&stream, &settings) => if let Some(end) = first { return end },
        () = drained_and_silent(&mut stage, settings.drain_linger) => return End::Closed,
        () = requests.asked_to_go() => return End::Closed,
    }
    let limits = StreamLimits {
        head: settings.head_timeout,
        write: settings.write_timeout,
        linger: settings.linger,
        request_id_prefix: settings.request_id_prefix.clone(),
    };
    let (stream, lookout) = ahead::split(stream, Arc::clone(&requests));
    let stream = TimedStream::new(stream, Arc::clone(&requests), limits);
    let seen = stage.clone();
    let service = service_fn(|request| {
        let last = *seen.borrow() > Stage::Serving;
        answer(router.clone(), Arc::clone(&requests), request, last)
    });
    let mut connection = pin!(protocol(&settings).serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = go_on(connection.as_mut(), &lookout) => result,
        () = told_to_finish(&requests, &mut stage) => {
            // Asked to make room, with half a head or nothing: nobody waits for an answer.
            if *stage.borrow() == Stage::Serving && requests.is_quiet() {
                return End::Closed;
            }
            let finish = async {
                if requests.is_quiet() {
                    let late = go_on(connection.as_mut(), &lookout);
                    if let Ok(result) = timeout(settings.drain_linger, late).await {
                        return result;
                    }
                }
                connection.as_mut().graceful_shutdown();
                go_on(connection.as_mut(), &lookout).await
            };
            tokio::select! {
                result = finish => result,
                () = leaves(&mut stage, Stage::Draining) => return End::Closed,
            }
        }
    };
    match result {
        Some(Err(error)) if error.is_timeout() || requests.timed_out() => End::TimedOut,
        _ => End::Closed,
    }
}

/// Serves on until the connection ends, or, with `None`, until its peer has hung up on a request.
async fn go_on<C>(mut connection: Pin<&mut C>, lookout: &Lookout) -> Option<C::Output>
where
    C: Future,
{
    // The connection first: its steps decide whether anything is to be looked out for.
    poll_fn(|context| match connection.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => lookout.poll_hang_up(context).map(|()| None),
    })
    .await
}

/// Resolves when the connection may finish what is under way, and no more.
async fn told_to_finish(requests: &Requests, stage: &mut watch::Receiver<Stage>) {
    tokio::select! {
        () = requests.asked_to_go() => {}
        () = leaves(stage, Stage::Serving) => {}
    }
}

async fn first_byte(stream: &TcpStream, settings: &ServerSettings) -> Option<End> {
    match timeout(settings.head_timeout, stream.peek(&mut [0])).await {
        Ok(Ok(1..)) => None,
        Ok(_) => Some(End::Closed),
        Err(_) => Some(End::TimedOut),
    }
}

/// Resolves when the server's stage is past `from`, or the server is gone.
pub(super) async fn leaves(stage: &mut watch::Receiver<Stage>, from: Stage) {
    let _ = stage.wait_for(|stage| *stage > from).await;
}

/// Resolves when the server drains and no request has come for as long as one may be on its way.
async fn drained_and_silent(stage: &mut watch::Receiver<Stage>, linger: Duration) {
    leaves(stage, Stage::Serving).await;
    sleep(linger).await;
}

fn protocol(settings: &ServerSettings) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol
        // Without a timer hyper panics at the first timeout that it is given.
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout)
        .max_header_size(settings.head_bytes_max)
        .max_buf_size(settings.head_bytes_max.max(16 << 10) * 2);
    protocol
}

async fn answer(
    mut router: Router,
    requests: Arc<Requests>,
    request: Request<Incoming>,
    last: bool,
) -> Result<Response<CountedBody>, Infallible> {
    requests.begin();
    let underway = Underway(Arc::clone(&requests));
    let request = request.map(|body| Body::new(WatchedBody::new(body, requests)));
    let mut response = router.call(request).await?;
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    underway.0.set_refused(response.status().is_client_error());
    Ok(response.map(|body| CountedBody { body, _underway: underway }))
}

/// Ends its request when dropped: with the answer's last byte, or when the peer hung up.
struct Underway(Arc<Requests>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A request's body that says how far it was read.
struct WatchedBody {
    body: Incoming,
    requests: Arc<Requests>,
    done: bool,
}

impl WatchedBody {
    fn new(body: Incoming, requests: Arc<Requests>) -> Self {
        let mut body = Self { body, requests, done: false };
        body.note();
        body
    }

    fn note(&mut self) {
        if self.body.is_end_stream() {
            self.finish(BodyState::Read);
        }
    }

    fn finish(&mut self, state: BodyState) {
        if !self.done {
            self.done = true;
            self.requests.set_body(state);
        }
    }
}

impl hyper::body::Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match frame {
            None => this.finish(BodyState::Read),
            Some(_) => this.note(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.finish(BodyState::Dropped);
    }
}

/// An answer's body that knows when it is done.
struct CountedBody {
    body: Body,
    _underway: Underway,
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

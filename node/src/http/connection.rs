//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::Service;

use super::server::{ServerSettings, Stage};
use super::timed_stream::{Requests, StreamLimits, TimedStream};

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
    mut stage: watch::Receiver<Stage>,
) -> End {
    // hyper would not be asked to read anything before it has a byte to look at; waiting outside
    // also keeps its buffers from being made for a peer that says nothing.
    tokio::select! {
        first = first_byte(&stream, &settings) => if let Some(end) = first { return end },
        () = leaves(&mut stage, Stage::Serving) => return End::Closed,
    }
    let requests = Arc::new(Requests::default());
    let limits = StreamLimits {
        head: settings.head_timeout,
        write: settings.write_timeout,
        linger: settings.linger,
    };
    let stream = TimedStream::new(stream, Arc::clone(&requests), limits);
    let service = service_fn(|request| answer(router.clone(), Arc::clone(&requests), request));
    let mut connection = pin!(protocol(&settings).serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = leaves(&mut stage, Stage::Serving) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection.as_mut() => result,
                () = leaves(&mut stage, Stage::Draining) => return End::Closed,
            }
        }
    };
    match result {
        Err(error) if error.is_timeout() || requests.timed_out() => End::TimedOut,
        _ => End::Closed,
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
async fn leaves(stage: &mut watch::Receiver<Stage>, from: Stage) {
    let _ = stage.wait_for(|stage| *stage > from).await;
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
) -> Result<Response<CountedBody>, Infallible> {
    requests.begin();
    let underway = Underway(requests);
    let response = router.call(request.map(Body::new)).await?;
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

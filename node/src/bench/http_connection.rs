//! One kept HTTP/1.1 connection on which JSON is posted.
//!
//! Rejected: a pooled client. A pool finds a free connection for each request, and here each client
//! has exactly one; what the pool costs would be the servers' loss.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::plan::Server;
use super::protocol::{Seat, Trouble};

/// An answer to a lock request is far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    /// Reads and writes the socket.
    socket: JoinHandle<()>,
}

impl HttpConnection {
    /// Dials a seat's next server.
    pub(super) async fn dial(seat: &mut Seat) -> Result<Self, Trouble> {
        let server = seat.next_server();
        let dialled = timeout(seat.timeout, Self::open(&server)).await;
        dialled.ok().and_then(Result::ok).ok_or(Trouble::CONNECT)
    }

    async fn open(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&server.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let socket = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, host: server.host.clone(), socket })
    }

    /// Posts a body and gives back the whole answer. After an error the connection is of no use.
    pub(super) async fn post(
        &mut self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), hyper::Error> {
        self.sender.ready().await?;
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        // Paths are made of what has been escaped.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        // Too long: taken for an empty one, which is no sensible answer either.
        Ok((status, body.map(Collected::to_bytes).unwrap_or_default()))
    }
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.socket.abort();
    }
}

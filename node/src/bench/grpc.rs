//! One kept HTTP/2 connection on which gRPC calls are made, each with one message there and one back.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::plan::Server;
use super::protobuf::Message;
use super::protocol::{Seat, Trouble};

/// An answer to a lock request is far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;
/// A flag (compressed or not) and the length.
const PREFIX_BYTES: usize = 5;

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub(super) struct GrpcConnection {
    channel: Channel,
    /// Reads and writes the socket.
    socket: JoinHandle<()>,
}

/// A way to call over a connection, as long as that lives. Clones use the same connection.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl GrpcConnection {
    /// Dials a seat's next server.
    pub(super) async fn dial(seat: &mut Seat) -> Result<Self, Trouble> {
        let server = seat.next_server();
        let dialled = timeout(seat.timeout, Self::open(&server)).await;
        dialled.ok().and_then(Result::ok).ok_or(Trouble::CONNECT)
    }

    async fn open(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&server.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let socket = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { channel: Channel { sender, authority: server.authority.clone() }, socket })
    }

    /// A way to call.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

impl Drop for GrpcConnection {
    fn drop(&mut self) {
        self.socket.abort();
    }
}

impl Channel {
    /// Calls `/package.Service/Method` and gives back the answer's message.
    pub(super) async fn call(&mut self, path: &str, message: Message) -> Result<Bytes, Trouble> {
        self.sender.ready().await.map_err(|_| Trouble::BROKEN)?;
        let request = self.request(path, message)?;
        let response = self.sender.send_request(request).await.map_err(|_| Trouble::BROKEN)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Trouble::BROKEN)?;
        // A refusal may come without a body, and then has its status in the head.
        let status = body.trailers().unwrap_or(&head.headers);
        refusal(status).map_or(Ok(()), Err)?;
        let mut bytes = body.to_bytes();
        if bytes.len() < PREFIX_BYTES {
            return Err(Trouble::NONSENSE);
        }
        Ok(bytes.split_off(PREFIX_BYTES))
    }

    fn request(&self, path: &str, message: Message) -> Result<Request<Full<Bytes>>, Trouble> {
        let message = message.into_bytes();
        let length = u32::try_from(message.len()).map_err(|_| Trouble::NONSENSE)?;
        let body = [&[0], length.to_be_bytes().as_slice(), &message].concat();
        let uri = Uri::builder().scheme("http").authority(self.authority.as_str());
        let uri = uri.path_and_query(path).build().map_err(|_| Trouble::NONSENSE)?;
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        Ok(request)
    }
}

/// By number, since the text is for people and differs from case to case.
fn refusal(status: &HeaderMap) -> Option<Trouble> {
    match status.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => None,
        Some(code) => Some(Trouble::of(format!("grpc_{}", String::from_utf8_lossy(code)))),
        None => Some(Trouble::NONSENSE),
    }
}

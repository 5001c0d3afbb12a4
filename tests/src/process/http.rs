//! A client that says exactly what it is told to, over one connection that it keeps.
//!
//! Not the product's own client: that one retries, follows and hides, and here every single answer
//! counts. What matters most about a failure is whether the request may have been taken in:
//! [`Failure::NotSent`] is certain, [`Failure::Unknown`] is all the rest.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status, like 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection: nothing was taken in.
    #[error("not sent: {0}")]
    NotSent(io::Error),
    /// The connection broke or was too slow: the request may have been taken in.
    #[error("outcome unknown: {0}")]
    Unknown(io::Error),
}

/// A client of one node.
#[derive(Debug)]
pub struct HttpClient {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

impl HttpClient {
    /// A client that waits for an answer for `timeout`.
    #[must_use]
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout, connection: None }
    }

    /// `GET path`
    ///
    /// # Errors
    /// If there is no answer.
    pub fn get(&mut self, path: &str) -> Result<Response, Failure> {
        self.call("GET", path, &[], b"")
    }

    /// `POST path` with a JSON body and its type.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Response, Failure> {
        let json = [("content-type", "application/json")];
        self.call("POST", path, &json, body.to_string().as_bytes())
    }

    /// Any request. The length of the body is said by itself.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut connection = match self.connection.take().filter(is_open) {
            Some(connection) => connection,
            None => BufReader::new(self.connect().map_err(Failure::NotSent)?),
        };
        let request = self.request(method, path, headers, body);
        let response = connection
            .get_mut()
            .write_all(&request)
            .and_then(|()| match method {
                // It says the length of what GET would have got.
                "HEAD" => read_head(&mut connection, deadline),
                _ => read_response(&mut connection, deadline),
            })
            .map_err(Failure::Unknown)?;
        if response.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(stream)
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        [head.as_bytes(), body].concat()
    }
}

/// False if the node has closed the connection since the last answer, as one that stops does. (It may
/// do so a moment after this look too.)
fn is_open(connection: &BufReader<TcpStream>) -> bool {
    let stream = connection.get_ref();
    let look = || {
        stream.set_nonblocking(true)?;
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        seen
    };
    matches!(look(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// One whole answer, for those who write their request by hand.
///
/// # Errors
/// If the other end closes before, or the deadline passes.
pub fn read_response(
    connection: &mut BufReader<TcpStream>,
    deadline: Instant,
) -> io::Result<Response> {
    let mut response = read_head(connection, deadline)?;
    let length = response.header("content-length").and_then(|value| value.parse().ok());
    response.body = vec![0; length.unwrap_or(0)];
    let mut read = 0;
    while read < response.body.len() {
        limit(connection, deadline)?;
        match connection.read(&mut response.body[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
    }
    Ok(response)
}

fn read_head(connection: &mut BufReader<TcpStream>, deadline: Instant) -> io::Result<Response> {
    let status_line = read_line(connection, deadline)?;
    let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection, deadline)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Response { status, headers, body: Vec::new() })
}

fn read_line(connection: &mut BufReader<TcpStream>, deadline: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        limit(connection, deadline)?;
        let buffer = connection.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |at| at + 1);
        line.extend_from_slice(&buffer[..count]);
        connection.consume(count);
        if end.is_some() {
            return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }
}

fn limit(connection: &BufReader<TcpStream>, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    connection.get_ref().set_read_timeout(Some(left))
}

//! A node that says what a test tells it to: real HTTP on a loopback port, one thread per connection.
//!
//! Every request is handed to the test's function, in the order of arrival, and is kept for the test to
//! look at. A thread and plain sockets, so that the same node serves tests of async code and tests of
//! whole processes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;

/// Far above what anything here takes on a loaded machine: a test that waits in vain says so then.
const PATIENCE: Duration = Duration::from_secs(300);

/// One request as it came.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "each test looks at what it is about")]
pub struct Request {
    /// `POST /v1/locks/x/acquire`.
    pub line: String,
    /// The `Dsync-Request` header.
    pub id: Option<String>,
    /// The `Idempotency-Key` header.
    pub key: Option<String>,
    /// All headers, a line each.
    pub head: String,
    /// The body; null if there is none.
    pub body: Value,
    /// The body as it was written.
    pub written: String,
}

/// What to do with a request.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "not every test says everything")]
pub enum Say {
    /// Answer with this status and body.
    Answer(u16, String),
    /// Answer with this status, these headers and this body.
    WithHead(u16, &'static str, String),
    /// Close the connection.
    HangUp,
    /// Say nothing until the client hangs up.
    Nothing,
}

/// Answers 200 with a body.
#[allow(dead_code, reason = "not every test says everything")]
pub fn ok(body: &Value) -> Say {
    Say::Answer(200, body.to_string())
}

/// Answers with a problem.
#[allow(dead_code, reason = "not every test says everything")]
pub fn problem(status: u16, code: &str, retryable: bool) -> Say {
    let body = serde_json::json!({
        "title": code, "detail": format!("it is {code}"), "code": code, "retryable": retryable,
        "request_id": "r",
    });
    Say::Answer(status, body.to_string())
}

/// What has happened at a node.
#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    /// Clients that hung up while [`Say::Nothing`] was said.
    hang_ups: usize,
}

/// The node.
pub struct FakeNode {
    /// Its base address.
    pub address: String,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

#[allow(dead_code, reason = "not every test says everything")]
impl FakeNode {
    /// A node that answers as `script` says.
    pub fn new(script: impl FnMut(&Request) -> Say + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &script, &seen));
            }
        });
        Self { address, seen }
    }

    /// A node that gives one answer after the other, the last one for ever.
    pub fn scripted(script: impl IntoIterator<Item = Say>) -> Self {
        let script: Vec<_> = script.into_iter().collect();
        let mut turn = 0;
        Self::new(move |_| {
            turn += 1;
            script[(turn - 1).min(script.len() - 1)].clone()
        })
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.0.lock().unwrap().requests.clone()
    }

    /// How many requests there were.
    pub fn asked(&self) -> usize {
        self.seen.0.lock().unwrap().requests.len()
    }

    /// Blocks until the node has seen that many requests to this path.
    pub fn await_requests(&self, path_end: &str, count: usize) -> Vec<Request> {
        let found = |seen: &Seen| {
            let requests = seen.requests.iter().filter(|it| it.line.ends_with(path_end));
            requests.cloned().collect::<Vec<_>>()
        };
        let seen = self.await_seen(path_end, |seen| found(seen).len() >= count);
        found(&seen)
    }

    /// Blocks until that many clients have hung up on a node that says nothing.
    pub fn await_hang_ups(&self, count: usize) {
        drop(self.await_seen("hang-ups", |seen| seen.hang_ups >= count));
    }

    fn await_seen(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        let seen = self.seen.0.lock().unwrap();
        let waited = self.seen.1.wait_timeout_while(seen, PATIENCE, |seen| !is_so(seen));
        let (seen, late) = waited.unwrap();
        assert!(!late.timed_out(), "it has not seen enough of {what} within {PATIENCE:?}");
        seen
    }
}

fn serve(
    mut stream: TcpStream,
    script: &Mutex<impl FnMut(&Request) -> Say>,
    seen: &(Mutex<Seen>, Condvar),
) {
    let Some(request) = read_request(&mut stream) else { return };
    let say = {
        // Decided and noted together, so that the order of notes is the order of decisions.
        let mut script = script.lock().unwrap();
        let say = script(&request);
        seen.0.lock().unwrap().requests.push(request);
        seen.1.notify_all();
        say
    };
    match say {
        Say::Answer(status, body) => answer(&mut stream, status, "", &body),
        Say::WithHead(status, head, body) => answer(&mut stream, status, head, &body),
        Say::HangUp => {}
        Say::Nothing => {
            let _ = stream.read(&mut [0]);
            seen.0.lock().unwrap().hang_ups += 1;
            seen.1.notify_all();
        }
    }
}

fn answer(stream: &mut TcpStream, status: u16, head: &str, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\ndsync-leader: n1\r\n{head}\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes());
}

fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                head.lines().filter_map(|line| line.split_once(": ")).find(|it| it.0 == name)
            };
            let length = header("content-length").map_or(0, |it| it.1.parse().unwrap());
            if body.len() >= length {
                let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
                let said = |name: &str| header(name).map(|it| it.1.to_owned());
                return Some(Request {
                    line,
                    id: said("dsync-request"),
                    key: said("idempotency-key"),
                    head: head.to_owned(),
                    body: serde_json::from_str(body).unwrap_or_default(),
                    written: body.to_owned(),
                });
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            _ => return None,
        }
    }
}

//! A cluster whose locks, queues and caches are in use, for requests that must change nothing.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::description::{Route, routes};
use dsync_tests::process::http::{HttpClient, Response};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};
use serde_json::{Value, json};

const TIMEOUT: Duration = PATIENCE;
const JSON: (&str, &str) = ("content-type", "application/json");

/// It has a value.
const KEY: &str = "cached";
/// Messages of it are ready, in flight and dead.
const TOPIC: &str = "mails";

/// A cluster whose locks and queues are in use, and what it looked like at first.
pub struct Bench {
    cluster: Cluster,
    clients: Vec<HttpClient>,
    /// Every route of `/v1` that the node says it has.
    pub routes: Vec<Route>,
    /// Exclusive, and somebody waits for it.
    pub held: String,
    /// Shared by two; this is one of them.
    shared: String,
    /// Of the message in flight.
    receipt: String,
    /// Of the dead message.
    dead: String,
    before: Vec<Value>,
    /// What is cached, and in which epoch of the ring.
    cached: (String, Value),
    /// Whoever waits does so as long as this is open.
    _waits: TcpStream,
    asked: usize,
}

impl Bench {
    pub fn new() -> Self {
        let cluster = Cluster::start();
        let nodes = cluster.clients();
        let mut clients: Vec<_> =
            nodes.map(|node| HttpClient::new(node, TIMEOUT)).into_iter().collect();
        let held = take(&mut clients, "held", &json!({ "owner": "ann", "ttl": 0 }));
        let shared = json!({ "owner": "bob", "mode": "shared", "ttl": 0 });
        let shared = take(&mut clients, "shared", &shared);
        take(&mut clients, "shared", &json!({ "owner": "cid", "mode": "shared", "ttl": 0 }));
        let some = json!({ "owner": "dan", "mode": "permits", "permits_max": 2, "ttl": 0 });
        take(&mut clients, "permits", &some);
        let waits = wait(nodes[1], "held", "eve");
        until("somebody waits", || {
            let view = clients[0].get("/v1/locks/held").ok()?.json();
            (view["waiters_count"] == 1).then_some(())
        });
        let (receipt, dead) = fill_a_topic(&mut clients[0]);
        fill_a_cache(&mut clients);
        let routes = routes(&clients[0].get("/openapi.json").unwrap().json());
        let routes = routes.into_iter().filter(|route| route.path.starts_with("/v1/")).collect();
        let mut bench = Self {
            cluster,
            clients,
            routes,
            held,
            shared,
            receipt,
            dead,
            before: vec![],
            cached: Default::default(),
            _waits: waits,
            asked: 0,
        };
        bench.before = bench.picture();
        bench.cached = bench.cached();
        bench
    }

    /// A request of each changing route that would be taken, with every field in one of them.
    pub fn good(&self, path: &str) -> Vec<(String, Value)> {
        let bodies = match path.starts_with("/v1/queue") {
            true => self.good_for_queues(path),
            false => self.good_for_locks(path),
        };
        let name = match path.rsplit('/').next().unwrap() {
            "acquire" => "free",
            "upgrade" => "shared",
            _ => "held",
        };
        let path = self.place(&path.replace("{name}", name));
        bodies.into_iter().map(|body| (path.clone(), body)).collect()
    }

    fn good_for_locks(&self, path: &str) -> Vec<Value> {
        let lock = json!({ "name": "free", "mode": "permits", "permits": 1, "permits_max": 2 });
        let (held, shared) = (&self.held, &self.shared);
        let hold = json!({ "hold": held });
        match path.rsplit('/').next().unwrap() {
            "acquire" if path == "/v1/locks/acquire" => {
                vec![json!({ "owner": "ann", "locks": [lock], "ttl": "30s", "wait": "0s" })]
            }
            "acquire" => {
                let mut one = lock;
                one.as_object_mut().unwrap().remove("name");
                one["owner"] = json!("ann");
                (one["ttl"], one["wait"]) = (json!(30_000), json!(0));
                vec![one]
            }
            "release" | "downgrade" => vec![hold],
            "renew" => vec![json!({ "hold": held, "ttl": "1h" })],
            "renew-all" => vec![json!({ "owner": "ann", "ttl": "1h", "holds": [held] })],
            "upgrade" => vec![json!({ "hold": shared, "ttl": "1m", "wait": "1ms" })],
            "force" => vec![json!({ "reason": "why", "hold": held, "now": true })],
            // One or the other.
            "check" => vec![json!({ "token": 41 }), hold],
            other => panic!("nobody has thought of a request of {other}"),
        }
    }

    fn good_for_queues(&self, path: &str) -> Vec<Value> {
        let message = json!({
            "body": [1], "headers": { "h": "1" }, "delay": "1s", "ttl": "1h", "priority": 9,
            "group": "g", "dedupe_key": "k",
        });
        let item = |action: &str| json!({ "receipt": self.receipt, "action": action });
        let (mut nack, mut extend) = (item("nack"), item("extend"));
        (nack["delay"], nack["reason"]) = (json!("1s"), json!("why"));
        extend["visibility"] = json!("1h");
        let backoff = json!({ "growth": "linear", "base": "1s", "max": "2s", "jitter_percent": 1 });
        match path.rsplit('/').next().unwrap() {
            "push" => vec![json!({ "messages": [message] })],
            "receive" => vec![json!({
                "max": 1, "max_bytes": 1, "wait": 0, "visibility": "1h", "sub_queue": "dead",
            })],
            "settle" => vec![json!({ "items": [extend] }), json!({ "items": [nack] })],
            "queue-store" => vec![json!({ "default_store": "redis" })],
            "adopt" => vec![json!({ "redis_id": "5b0c3f8d9a1e47260f4ab7d1c2e38596" })],
            "purge" => vec![json!({ "sub_queue": "main" })],
            "redrive" => vec![json!({ "messages": [self.dead] })],
            "settings" => vec![json!({
                "visibility": "1m", "deliveries_max": 3, "nack_backoff": backoff,
                "timeout_backoff": backoff, "paused": true, "messages_max": 10, "ttl": "1h",
                "expired": "dead", "dedupe_window": "1h",
            })],
            other => panic!("nobody has thought of a request of {other}"),
        }
    }

    /// The path of what is in use.
    pub fn place(&self, path: &str) -> String {
        path.replace("{name}", "held")
            .replace("{topic}", TOPIC)
            .replace("{id}", &self.dead)
            .replace("{key}", KEY)
    }

    /// Every route that takes a body with each of its good requests.
    pub fn posts(&self) -> Vec<(Route, String, Value)> {
        let takes_body = |route: &&Route| ["POST", "PATCH"].contains(&route.method.as_str());
        let good = self.routes.iter().filter(takes_body).flat_map(|route| {
            let good = self.good(&route.path).into_iter();
            good.map(|(path, body)| (route.clone(), path, body))
        });
        good.collect()
    }

    /// Every route that takes a value as it is.
    pub fn puts(&self) -> Vec<(Route, String)> {
        let puts = self.routes.iter().filter(|route| route.method == "PUT");
        puts.map(|route| (route.clone(), self.place(&route.path))).collect()
    }

    /// Sends it to the next node.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.asked += 1;
        self.clients[self.asked % NODES].call(method, path, headers, body).unwrap()
    }

    /// Refused with this problem, which names this part of the request, if there is one to name.
    pub fn refused(&mut self, request: &Request<'_>, status: u16, code: &str, field: Option<&str>) {
        let Request { method, path, headers, body } = request;
        let response = self.send(method, path, headers, body);
        let start = &body[..body.len().min(300)];
        let sent = format!("{method} {path} {headers:?} {}", String::from_utf8_lossy(start));
        let said = response.text();
        assert_eq!(response.status, status, "{sent}: {said}");
        let content_type = response.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"), "{sent}: {said}");
        let problem = response.json();
        assert_eq!(
            (
                &problem["code"],
                &problem["status"],
                problem["field"].as_str(),
                &problem["retryable"]
            ),
            (&json!(code), &json!(status), field, &json!(false)),
            "{sent}: {said}"
        );
        assert_eq!(problem["request_id"].as_str(), response.header("x-request-id"), "{sent}");
        if let Some(field) = field {
            assert!(problem["detail"].as_str().unwrap().contains(field), "{sent}: {said}");
        }
    }

    pub fn bad_field(&mut self, path: &str, body: &Value, field: &str) {
        self.bad_text(path, &body.to_string(), field);
    }

    pub fn bad_text(&mut self, path: &str, body: &str, field: &str) {
        self.refused(&Request::change(path, body.as_bytes()), 400, "invalid_field", Some(field));
    }

    /// All locks and messages, and how much has happened, as each node says it.
    fn picture(&mut self) -> Vec<Value> {
        let all = |client: &mut HttpClient| {
            let mut read = |path: &str| {
                until("a node is looked at", || {
                    client.get(path).ok().filter(|answer| answer.status == 200)
                })
                .json()
            };
            let cluster = read("/v1/cluster");
            let mut locks = read("/v1/locks?limit=1000")["locks"].clone();
            forget_time(&mut locks);
            let queues = ["", "/settings", "/messages", "/messages?sub_queue=dead"];
            let mut queues = json!(queues.map(|part| read(&format!("/v1/queues/{TOPIC}{part}"))));
            forget_time(&mut queues);
            let topics = read("/v1/queues")["topics"].as_array().unwrap().len();
            json!({
                "locks": locks, "counts": cluster["locks"], "events": cluster["events"],
                "queues": queues, "topics": topics,
            })
        };
        self.clients.iter_mut().map(all).collect()
    }

    /// What is cached, by its version, and in which epoch of the ring.
    fn cached(&mut self) -> (String, Value) {
        let client = &mut self.clients[0];
        let cached = until("the cache is looked at", || {
            let answer = client.get(&format!("/v1/cache/{KEY}?consistency=verify")).ok()?;
            [200, 404].contains(&answer.status).then_some(answer)
        });
        let epoch = client.get("/v1/cache").unwrap().json()["epoch"].clone();
        (cached.header("etag").unwrap_or_default().to_owned(), epoch)
    }

    /// Everything is as before; and the good requests are good, which shows that it was the bad part.
    pub fn nothing_has_changed(mut self, about: &str) {
        let after = self.picture();
        assert_eq!(self.before, after);
        let cached = self.cached();
        // A ring that changes forgets: on a machine that is busy for long, a home may have lost its lease.
        let forgotten = cached.0.is_empty() && cached.1 != self.cached.1;
        assert!(forgotten || cached.0 == self.cached.0, "{cached:?}, before {:?}", self.cached);
        assert_eq!(after[0]["locks"].as_array().unwrap().len(), 3, "{}", after[0]);
        let main = json!({ "ready": 1, "delayed": 0, "in_flight": 1 });
        assert_eq!(after[0]["queues"][0]["main"], main, "{}", after[0]);
        let asked = self.asked;
        for (route, path, body) in self.posts() {
            let response = self.send(&route.method, &path, &[JSON], body.to_string().as_bytes());
            let taken = [200, 409].contains(&response.status);
            assert!(taken, "{path} {body}: {}", response.text());
        }
        assert_ne!(self.picture(), after, "requests that are taken leave no trace");
        for node in &self.cluster.nodes {
            assert!(!node.log().contains("panicked"), "{}", node.log_tail());
        }
        measured(&format!("bad input: {asked} requests with {about} changed nothing"));
    }
}

/// A request as it goes out.
#[derive(Clone)]
pub struct Request<'a> {
    pub method: &'a str,
    path: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// By the method that changes what stands at this path.
    pub fn change(path: &'a str, body: &'a [u8]) -> Self {
        let (path_only, changed) = (path.split('?').next().unwrap(), ["/settings", "/queue-store"]);
        let method = match changed.iter().any(|end| path_only.ends_with(end)) {
            true => "PATCH",
            false => "POST",
        };
        Self { method, path, headers: vec![JSON], body }
    }

    /// A value as it is.
    pub fn put(path: &'a str, body: &'a [u8]) -> Self {
        Self { method: "PUT", ..Self::change(path, body) }
    }

    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: vec![], body: b"" }
    }

    pub fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }
}

fn take(clients: &mut [HttpClient], name: &str, body: &Value) -> String {
    let path = format!("/v1/locks/{name}/acquire");
    // The same owner may ask again.
    let answer = until("a lock is taken", || {
        clients[0].post(&path, body).ok().filter(|answer| answer.status == 200)
    });
    answer.json()["hold"].as_str().unwrap().to_owned()
}

fn wait(node: SocketAddr, name: &str, owner: &str) -> TcpStream {
    let body = json!({ "owner": owner, "ttl": 0, "wait": "10m" }).to_string();
    let head = "HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length:";
    let request = format!("POST /v1/locks/{name}/acquire {head} {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(node).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The receipt of the message in flight and the id of the dead one; a third is ready.
fn fill_a_topic(client: &mut HttpClient) -> (String, String) {
    let mut ask = |what: &str, body: Value| {
        let path = format!("/v1/queues/{TOPIC}/{what}");
        until("a queue is served", || {
            client.post(&path, &body).ok().filter(|answer| answer.status == 200)
        })
        .json()
    };
    ask("push", json!({ "messages": [{ "body": 1 }, { "body": 2 }, { "body": 3 }] }));
    let delivered = ask("receive", json!({ "max": 2, "visibility": "12h" }));
    let text =
        |at: usize, field: &str| delivered["messages"][at][field].as_str().unwrap().to_owned();
    ask("settle", json!({ "items": [{ "receipt": text(1, "receipt"), "action": "reject" }] }));
    (text(0, "receipt"), text(1, "id"))
}

/// A value, once all nodes are homes: a ring that changes forgets.
fn fill_a_cache(clients: &mut [HttpClient]) {
    for client in &mut *clients {
        until("all nodes are homes", || {
            (client.get("/v1/cache").ok()?.json()["homes"] == NODES).then_some(())
        });
    }
    until("a value is put", || {
        let put = clients[0].call("PUT", &format!("/v1/cache/{KEY}"), &[JSON], b"[1]").ok()?;
        (put.status == 200).then_some(())
    });
}

/// Takes away what changes though nothing happens.
fn forget_time(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("index");
            fields.retain(|name, _| !name.ends_with("_ms") || name == "since_ms");
            fields.values_mut().for_each(forget_time);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_time),
        _ => {}
    }
}

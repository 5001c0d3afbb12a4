//! Fail-over, against servers that say what they are told to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dsync_core::locks::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Client, ClientSettings};
use crate::{Acquired, Error, Released};

const GRANT: &str =
    r#"{"success":true,"message":"","token":41,"hold_id":"7-0","remaining_ms":null,"index":7}"#;
const RELEASED: &str = r#"{"success":true,"message":"gone"}"#;
const NO_LEADER: &str =
    r#"{"success":false,"message":"no leader","code":"no_leader","retryable":true}"#;
const UNKNOWN: &str =
    r#"{"success":false,"message":"who knows","code":"outcome_unknown","retryable":false}"#;

const REFUSAL: &str = r#"{"title":"t","detail":"no","code":"invalid_field","field":"ttl","retryable":false,"requestId":"r"}"#;

/// A node that gives one answer after the other, the last one for ever.
struct Stub {
    address: String,
    asked: Arc<AtomicUsize>,
}

/// What a stub does with a request.
#[derive(Clone, Copy)]
enum Say {
    Answer(u16, &'static str),
    /// Read the request, close the connection.
    HangUp,
    /// Read the request, say nothing.
    Nothing,
}

impl Stub {
    async fn new(script: &'static [Say]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let turn = count.fetch_add(1, Ordering::SeqCst).min(script.len() - 1);
                tokio::spawn(act(stream, script[turn]));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// One request per connection.
async fn act(mut stream: TcpStream, say: Say) {
    read_request(&mut stream).await;
    match say {
        Say::Answer(status, body) => {
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        Say::HangUp => {}
        Say::Nothing => {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

async fn read_request(stream: &mut TcpStream) {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return;
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(count @ 1..) => text.push_str(std::str::from_utf8(&bytes[..count]).unwrap()),
            _ => return,
        }
    }
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn client(addresses: &[&str]) -> Client {
    Client::with_settings(addresses, ClientSettings::default()).unwrap()
}

fn hasty(addresses: &[&str]) -> Client {
    let settings = ClientSettings { deadline: Duration::from_millis(300), ..Default::default() };
    Client::with_settings(addresses, settings).unwrap()
}

async fn acquire(client: &Client) -> Result<Acquired, Error> {
    client.acquire("x", "a", Mode::Exclusive, None).await
}

#[tokio::test]
async fn a_node_that_is_down_or_without_a_leader_is_passed_over_and_not_asked_first_again() {
    let (down, leaderless) = (nobody().await, Stub::new(&[Say::Answer(503, NO_LEADER)]).await);
    let good = Stub::new(&[Say::Answer(200, GRANT)]).await;
    let client = client(&[&down, &leaderless.address, &good.address]);
    for _ in 0..2 {
        assert!(matches!(acquire(&client).await, Ok(Acquired::Held(hold)) if hold.token == 41));
    }
    assert_eq!((leaderless.asked(), good.asked()), (1, 2));
}

#[tokio::test]
async fn a_cluster_that_has_no_leader_for_a_while_is_asked_until_it_has() {
    let script =
        &[Say::Answer(503, NO_LEADER), Say::Answer(503, NO_LEADER), Say::Answer(200, GRANT)];
    let node = Stub::new(script).await;
    assert!(matches!(acquire(&client(&[&node.address])).await, Ok(Acquired::Held(_))));
    assert_eq!(node.asked(), 3);
}

#[tokio::test]
async fn an_acquire_is_repeated_when_its_outcome_is_unknown() {
    for say in [&[Say::HangUp], &[Say::Answer(504, UNKNOWN)], &[Say::Answer(502, "bad gateway")]] {
        let (bad, good) = (Stub::new(say).await, Stub::new(&[Say::Answer(200, GRANT)]).await);
        let client = client(&[&bad.address, &good.address]);
        assert!(matches!(acquire(&client).await, Ok(Acquired::Held(_))));
    }
}

#[tokio::test]
async fn a_release_is_not_repeated_when_its_outcome_is_unknown() {
    for say in [&[Say::HangUp], &[Say::Answer(504, UNKNOWN)], &[Say::Answer(502, "bad gateway")]] {
        let (bad, good) = (Stub::new(say).await, Stub::new(&[Say::Answer(200, RELEASED)]).await);
        let outcome = client(&[&bad.address, &good.address]).release("x", "a").await;
        assert!(matches!(outcome, Err(Error::OutcomeUnknown(_))), "{outcome:?}");
        assert_eq!(good.asked(), 0);
    }
}

#[tokio::test]
async fn a_release_is_repeated_where_nothing_can_have_been_applied() {
    let (down, leaderless) = (nobody().await, Stub::new(&[Say::Answer(503, NO_LEADER)]).await);
    let good = Stub::new(&[Say::Answer(200, RELEASED)]).await;
    let client = client(&[&down, &leaderless.address, &good.address]);
    assert_eq!(client.release("x", "a").await.unwrap(), Released::Ended);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let (bad, good) =
        (Stub::new(&[Say::Answer(400, REFUSAL)]).await, Stub::new(&[Say::HangUp]).await);
    match acquire(&client(&[&bad.address, &good.address])).await {
        Err(Error::Refused { status, code, message, field, request_id, .. }) => {
            assert_eq!((status, code.as_str(), message.as_str()), (400, "invalid_field", "no"));
            assert_eq!((field.as_deref(), request_id.as_deref()), (Some("ttl"), Some("r")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(good.asked(), 0);
}

#[tokio::test]
async fn at_the_deadline_the_last_reason_is_told() {
    let node = Stub::new(&[Say::Answer(503, NO_LEADER)]).await;
    match acquire(&hasty(&[&node.address])).await {
        Err(Error::Unavailable { last, .. }) => {
            assert_eq!(last.node, node.address);
            assert!(last.reason.contains("no leader"), "{last}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_release_that_is_never_answered_has_an_unknown_outcome() {
    let node = Stub::new(&[Say::Nothing]).await;
    let outcome = hasty(&[&node.address]).release("x", "a").await;
    assert!(matches!(outcome, Err(Error::OutcomeUnknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn an_answer_that_is_not_known_is_said_to_be() {
    let node = Stub::new(&[Say::Answer(200, "<html>")]).await;
    assert!(matches!(client(&[&node.address]).status().await, Err(Error::Answer { .. })));
}

#[tokio::test]
async fn each_node_is_asked_for_its_own_status() {
    let (first, second) = (nobody().await, Stub::new(&[Say::Answer(503, NO_LEADER)]).await);
    let views = client(&[&first, &second.address]).statuses().await;
    assert_eq!(views.len(), 2);
    assert!(views.iter().all(|(_, view)| matches!(view, Err(Error::Unavailable { .. }))));
    assert_eq!(second.asked(), 1);
}

#[test]
fn addresses_must_be_http() {
    for bad in ["", "127.0.0.1:5001", "ftp://n", "mailto:n"] {
        assert!(matches!(Client::new([bad]), Err(Error::Address(_))), "{bad}");
    }
    assert!(matches!(Client::new::<&str>([]), Err(Error::NoNodes)));
}

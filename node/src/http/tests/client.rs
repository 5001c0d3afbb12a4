//! The client crate against this server: both ends of the original routes and of `/v1/locks`, over
//! a real socket.

use dsync_client::original::{Acquired, Released};
use dsync_client::{Client, Error, Mode};
use dsync_core::locks::{
    AcquireOutcome, HoldId, LockOperation, LockOutcome, Owner, ReleaseOutcome,
};
use dsync_core::machine::{Operation, Outcome};
use dsync_core::types::Index;
use tokio::net::TcpListener;

use super::fake_node::{FakeNode, applied};
use crate::http::{Server, ServerSettings, client_router};

async fn serve(node: &FakeNode) -> (Server, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let router = client_router(node.site.clone());
    let metrics = node.site.metrics.http.clone();
    let server = Server::start(listener, router, ServerSettings::default(), metrics).unwrap();
    let client = Client::new([format!("http://{}", server.local_addr())]).unwrap();
    (server, client)
}

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

/// Grants `free`, queues for `held`, refuses `knot`.
fn by_name() -> FakeNode {
    FakeNode::new(|operation, _| {
        Ok(applied(match operation {
            Operation::Lock { operation: LockOperation::Acquire(acquire), .. } => {
                Outcome::Lock(LockOutcome::Acquire(match acquire.items[0].name.as_str() {
                    "free" => AcquireOutcome::Granted {
                        hold: HoldId { index: Index(7), position: 0 },
                        tokens: vec![41],
                        remaining_ms: acquire.ttl_ms.filter(|ttl_ms| *ttl_ms > 0),
                    },
                    "held" => AcquireOutcome::Waiting { ahead: 0, holders: vec![owner("a")] },
                    _ => AcquireOutcome::Deadlock { cycle: vec![(owner("b"), "knot".to_owned())] },
                }))
            }
            _ => Outcome::Lock(LockOutcome::Release(ReleaseOutcome::NotHolder)),
        }))
    })
}

#[tokio::test]
async fn the_client_reads_every_answer_of_the_server() {
    let node = by_name();
    let (_server, client) = serve(&node).await;
    let acquire =
        async |name, ttl_ms| client.original().acquire(name, "b", Mode::Exclusive, ttl_ms).await;
    let Acquired::Held(hold) = acquire("free", Some(9_000)).await.unwrap() else { panic!() };
    assert_eq!((hold.token, hold.hold_id.as_str(), hold.remaining_ms), (41, "7-0", Some(9_000)));
    let Acquired::Waiting(wait) = acquire("held", None).await.unwrap() else { panic!() };
    assert_eq!((wait.position, wait.owners), (1, vec!["a".to_owned()]));
    let Acquired::Deadlock(cycle) = acquire("knot", None).await.unwrap() else { panic!() };
    assert_eq!(cycle[0].waits_for, "knot");
    assert_eq!(client.original().release("free", "b").await.unwrap(), Released::NotHolder);
    assert_eq!(client.status().await.unwrap().leader.as_deref(), Some("n1"));
    assert_eq!(client.get("a/b ü").await.unwrap().name, "a/b ü");
}

#[tokio::test]
async fn the_client_passes_a_refusal_on_with_its_field() {
    let node = by_name();
    let (_server, client) = serve(&node).await;
    match client.original().acquire("", "b", Mode::Shared, None).await {
        Err(Error::Refused { status: 400, field: Some(field), .. }) => {
            assert_eq!(field, "resource_id");
        }
        other => panic!("{other:?}"),
    }
}

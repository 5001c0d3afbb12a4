#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! Homes of whole members on the loopback: they enter, keep their leases, leave; their node is lost, and
//! starts again.

use std::time::Duration;

use dsync_core::cache::{Incarnation, Placement, RingRefusal, Rules};
use dsync_core::types::LocalTime;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::RingError;
use crate::clock;
use crate::handle::NodeHandle;
use crate::member::Member;
use crate::members::{LIMIT, start, stop};
use crate::metrics::Metrics;

const PORTS: [u16; 3] = [24_010, 24_011, 24_012];

/// A home that does what caches do, and has no copies anywhere: it asks for its lease three times as often
/// as it ends, and releases whatever it loses. Gives back when its latest lease was asked for.
fn keep(handle: &NodeHandle, home: Incarnation) -> (JoinHandle<()>, watch::Receiver<LocalTime>) {
    let ring = handle.ring().clone();
    let (asked_at, latest) = watch::channel(LocalTime(0));
    let kept = tokio::spawn(async move {
        loop {
            let epoch = ring.placement().borrow().epoch();
            let _ = ring.release(home, epoch).await;
            if let Some(sent_at) = ring.lease(home).await {
                asked_at.send_replace(sent_at);
            }
            sleep(Duration::from_millis(Rules::default().home_lease_ms / 3)).await;
        }
    });
    (kept, latest)
}

async fn enter(handle: &NodeHandle) -> Incarnation {
    let entered = async {
        loop {
            match handle.ring().enter().await {
                Ok(home) => return home,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(LIMIT, entered).await.unwrap()
}

/// Waits until the node sees the ring so.
async fn until_homes(handle: &NodeHandle, wanted: &[Incarnation]) {
    let mut ring = handle.ring().placement();
    let mut wanted = wanted.to_vec();
    wanted.sort();
    let seen = ring.wait_for(|ring| ring.homes() == wanted && ring.settled());
    timeout(LIMIT, seen).await.unwrap().unwrap();
}

async fn granted(latest: &mut watch::Receiver<LocalTime>) {
    timeout(LIMIT, latest.wait_for(|at| at.0 > 0)).await.unwrap().unwrap();
}

/// As if its process were killed.
async fn lose(member: Member) {
    member.driver.abort();
    let _ = member.driver.await;
}

async fn leader(handle: &NodeHandle) -> usize {
    loop {
        let status = handle.status();
        let name = |id| status.membership.as_ref().and_then(|members| members.names.get(&id));
        if let Some(name) = status.raft.leader.and_then(name) {
            return name.0.trim_start_matches('n').parse().unwrap();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_enter_are_suspended_after_their_grants_return_as_others_and_leave() {
    let data = TempDir::new().unwrap();
    let metrics = Metrics::new();
    let mut members: Vec<Option<Member>> = Vec::new();
    for name in 0..3 {
        members.push(Some(start(data.path(), name, &PORTS, &metrics).await));
    }
    let handle =
        |members: &[Option<Member>], at: usize| members[at].as_ref().unwrap().handle.clone();

    let (mut homes, mut kept) = (Vec::new(), Vec::new());
    for at in 0..3 {
        let handle = handle(&members, at);
        let home = enter(&handle).await;
        assert_eq!((home.process.boot, home.returns), (handle.status().boot_id, 0));
        kept.push(keep(&handle, home));
        homes.push(home);
        until_homes(&handle, &homes).await;
    }
    for (_, latest) in &mut kept {
        granted(latest).await;
    }
    let refused = handle(&members, 0).ring().enter().await;
    assert_eq!(refused, Err(RingRefusal::InService(homes[0]).into()));

    // The leader's process is lost without a word, and is there again at once.
    let lost = leader(&handle(&members, 0)).await;
    let (others, rules): (Vec<usize>, Rules) =
        ((0..3).filter(|at| *at != lost).collect(), Rules::default());
    kept[lost].0.abort();
    lose(members[lost].take().unwrap()).await;
    let last_asked = *kept[lost].1.borrow();
    members[lost] = Some(start(data.path(), lost, &PORTS, &metrics).await);
    let again = enter(&handle(&members, lost)).await;
    assert!(clock::now() >= last_asked.plus(rules.home_lease_ms), "it could have served still");
    assert_ne!(again.process.boot, homes[lost].process.boot);
    homes[lost] = again;
    kept[lost] = keep(&handle(&members, lost), again);
    for at in 0..3 {
        until_homes(&handle(&members, at), &homes).await;
    }
    granted(&mut kept[lost].1).await;

    // Another one leaves: not before its own lease is over, and gets none any more.
    let leaving = others[0];
    let ring = handle(&members, leaving).ring().clone();
    let left = timeout(LIMIT, ring.leave(homes[leaving])).await.unwrap();
    assert_eq!(left, Ok(()));
    let last_asked = *kept[leaving].1.borrow();
    assert!(clock::now() >= last_asked.plus(rules.stretched(rules.home_lease_ms)));
    assert_eq!(ring.lease(homes[leaving]).await, None);
    assert_eq!(
        ring.leave(homes[leaving]).await,
        Err(RingError::Refused(RingRefusal::NotInService))
    );
    let stay: Vec<Incarnation> = [lost, others[1]].map(|at| homes[at]).to_vec();
    until_homes(&handle(&members, lost), &stay).await;
    // It may come back, as another one.
    assert_eq!(enter(&handle(&members, leaving)).await.returns, 1);

    let mut placement = ring.placement();
    for (kept, _) in kept {
        kept.abort();
    }
    for member in members.into_iter().flatten() {
        stop(member).await;
    }
    while placement.changed().await.is_ok() {}
}

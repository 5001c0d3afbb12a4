#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! Whole members on the loopback: a node that was away, and whose trail is gone, starts from a
//! snapshot, and fetches from the others what lies before it.

use std::path::Path;
use std::time::Instant;

use dsync_core::audit::AuditHead;
use dsync_core::locks::{Acquire, LockItem, LockOperation, Mode, Owner, Release};
use dsync_core::machine::Operation;
use tempfile::TempDir;

use super::verify::{Witness, verify_folder};
use crate::handle::{NodeHandle, SubmitError};
use crate::member::Member;
use crate::members::{LIMIT, start, stop};
use crate::metrics::Metrics;
use crate::storage::fs;

/// On this process's own address, where nobody else takes one while its member is away.
const PORTS: [u16; 3] = [24_000, 24_001, 24_002];

/// Until there is a cluster there is nothing to submit to.
async fn submit(handle: &NodeHandle, operation: Operation) {
    loop {
        match handle.submit(operation.clone(), Instant::now() + LIMIT).await {
            Ok(_) => return,
            Err(SubmitError::NotMember) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes and gives back so many locks: two records each.
async fn work(handle: &NodeHandle, from: usize, count: usize) {
    for number in from..from + count {
        let owner = Owner { principal: "p".into(), name: format!("o{number}") };
        let name = format!("lock-{number}");
        let (mode, permits, permits_max) = (Mode::Exclusive, 1, 1);
        let items = vec![LockItem { name: name.clone(), mode, permits, permits_max }];
        let (ttl_ms, queue, attachment) = (Some(0), false, None);
        let taken = Acquire { owner: owner.clone(), items, ttl_ms, queue, attachment };
        for operation in [
            Operation::lock(LockOperation::Acquire(taken)),
            Operation::lock(LockOperation::Release(Release { owner, name })),
        ] {
            submit(handle, operation).await;
        }
    }
}

/// Works until a node has deleted a snapshot, and so has a newer one that its log begins with. Gives
/// back how much that took.
async fn until_restarts_begin_with_a_snapshot(
    handle: &NodeHandle,
    data: &Path,
    name: usize,
) -> usize {
    let folder = data.join(format!("n{name}")).join("snapshots");
    let mut oldest = None;
    for done in 1..10_000 {
        work(handle, done - 1, 1).await;
        let complete = |name: &String| name.ends_with(".snapshot");
        let names = fs::list(&folder).unwrap().into_iter().filter(complete);
        match (&oldest, names.min()) {
            (None, now) => oldest = now,
            (was, now) if now != *was => return done,
            _ => {}
        }
    }
    panic!("no snapshot was deleted");
}

/// Waits until a member's trail is whole up to this head.
async fn whole(member: &Member, head: AuditHead) {
    let mut audit = member.audit.clone();
    tokio::time::timeout(LIMIT, async {
        while audit.catalog().last() < head.count || !audit.catalog().gaps(&head).is_empty() {
            assert!(audit.changed().await);
        }
    })
    .await
    .unwrap_or_else(|_| panic!("gaps {:?}", audit.catalog().own_gaps()));
}

fn check(folder: &Path, head: AuditHead) {
    let witness = Witness { said_by: "the cluster".into(), head };
    let verdict = verify_folder(folder, &[witness]).unwrap();
    assert_eq!((verdict.findings.as_slice(), verdict.missing.as_slice()), (&[][..], &[][..]));
    assert_eq!(verdict.records, head.count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_fetches_what_it_missed_and_all_trails_are_the_same() {
    let data = TempDir::new().unwrap();
    let metrics = [(); 4].map(|()| Metrics::new());
    let first = start(data.path(), 0, &PORTS, &metrics[0]).await;
    let second = start(data.path(), 1, &PORTS, &metrics[1]).await;
    let third = start(data.path(), 2, &PORTS, &metrics[2]).await;
    let before = until_restarts_begin_with_a_snapshot(&first.handle, data.path(), 2).await;
    stop(third).await;
    // Its disk forgets, too: it has to fetch what lies before its own snapshot.
    std::fs::remove_dir_all(data.path().join("n2").join("audit")).unwrap();
    work(&first.handle, before, 100).await;
    let third = start(data.path(), 2, &PORTS, &metrics[3]).await;
    work(&second.handle, before + 100, 5).await;
    let head = first.handle.read(Instant::now() + LIMIT).await.unwrap().machine.audit();
    assert_eq!(head.count, 2 * (before as u64 + 105));
    for member in [&first, &second, &third] {
        whole(member, head).await;
    }
    assert!(metrics[3].audit.filled.get() > 0, "it came from peers, not from the log");
    for member in [first, second, third] {
        stop(member).await;
    }
    for name in 0..3 {
        check(&data.path().join(format!("n{name}")).join("audit"), head);
    }
}

#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! The queue in front of the writer.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::audit::fixture::{Chain, numbers};
use crate::audit::trail::TrailOptions;

fn start(folder: &TempDir, head: AuditHead) -> (AuditPort, AuditReader) {
    let options = TrailOptions::new(1 << 20, None);
    AuditPort::start(folder.path(), options, head, AuditMetrics::default()).unwrap()
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), work).await.expect("in time")
}

#[tokio::test]
async fn what_is_handed_over_can_be_read_and_is_durable_after_a_sync() {
    let (folder, mut chain) = (TempDir::new().unwrap(), Chain::default());
    let (mut port, reader) = start(&folder, AuditHead::default());
    for _ in 0..20 {
        let records = chain.grow(3).to_vec();
        port.append(&records, chain.head);
    }
    let catalog = within(reader.reach(60)).await;
    assert_eq!(numbers(&catalog, &chain).len(), 60);
    assert!(port.writer().sync(None));
    let again = Trail::open(folder.path(), TrailOptions::new(1 << 20, None));
    assert_eq!(again.catalog().last(), 60);
}

#[tokio::test]
async fn records_that_find_the_queue_full_are_a_gap_and_the_next_ones_are_written() {
    let (folder, mut chain) = (TempDir::new().unwrap(), Chain::default());
    let (mut port, reader) = start(&folder, AuditHead::default());
    let append = |port: &mut AuditPort, chain: &mut Chain, count| {
        let records = chain.grow(count).to_vec();
        port.append(&records, chain.head);
    };
    append(&mut port, &mut chain, 10);
    port.writer().sync(None);
    // As if much were waiting.
    port.queued_bytes.fetch_add(1, Ordering::Relaxed);
    port.queue_bytes_max = 0;
    append(&mut port, &mut chain, 5);
    append(&mut port, &mut chain, 5);
    port.queued_bytes.store(0, Ordering::Relaxed);
    append(&mut port, &mut chain, 1);
    append(&mut port, &mut chain, 4);
    let catalog = within(reader.reach(25)).await;
    let gaps: Vec<_> = catalog.own_gaps().iter().map(|gap| (gap.from, gap.to)).collect();
    assert_eq!(gaps, [(11, 21)]);
    assert_eq!(numbers(&catalog, &chain), (1..=10).chain(22..=25).collect::<Vec<_>>());
    assert_eq!(port.metrics.overflowed.get(), 11);
}

#[tokio::test]
async fn a_trail_that_cannot_be_opened_stops_itself_and_nothing_else() {
    let (folder, mut chain) = (TempDir::new().unwrap(), Chain::default());
    std::fs::write(folder.path().join("audit"), b"in the way").unwrap();
    let metrics = AuditMetrics::default();
    let path = folder.path().join("audit");
    let options = TrailOptions::new(1 << 20, None);
    let (mut port, reader) =
        AuditPort::start(&path, options, AuditHead::default(), metrics.clone()).unwrap();
    let records = chain.grow(3).to_vec();
    port.append(&records, chain.head);
    let catalog = within(reader.reach(3)).await;
    assert!(catalog.stopped.is_some());
    assert_eq!((catalog.own_gaps()[0].from, catalog.own_gaps()[0].to), (1, 3));
    assert!(!port.writer().sync(None));
    assert_eq!((metrics.stopped.get(), metrics.missing.get()), (1, 3));
}

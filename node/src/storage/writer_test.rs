#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a panic is how a test says no

use dsync_core::raft::HardState;
use dsync_core::types::Term;

use super::super::fs::faults;
use super::super::log::LogOptions;
use super::*;

/// A batch with one hard state; its proof is its number.
#[derive(Debug)]
struct Numbered {
    number: u64,
    sync_fails: bool,
}

impl Batch for Numbered {
    type Token = u64;
    type Proof = u64;

    fn into_parts(self) -> (Vec<Record>, u64) {
        // Runs on the writer's thread, where the fault has to be set.
        faults::set_sync_fails(self.sync_fails);
        let hard_state = HardState { term: Term(self.number), ..HardState::default() };
        (vec![Record::HardState(hard_state)], self.number)
    }

    fn prove(token: u64) -> u64 {
        token
    }
}

fn batch(number: u64) -> Numbered {
    Numbered { number, sync_fails: false }
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 4096, salt: 1 }
}

fn recovered_term(folder: &std::path::Path) -> u64 {
    Log::open(folder, options()).unwrap().1.hard_state.term.0
}

#[test]
fn every_batch_is_proven_once_in_order_and_is_on_disk_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(folder.path(), options()).unwrap();
    let (tell, events) = mpsc::channel();
    let writer = LogWriter::start(log, move |event| drop(tell.send(event))).unwrap();
    (1..=500).for_each(|number| writer.write(batch(number)));
    drop(writer);
    let mut proven = Vec::new();
    for event in events {
        let WriterEvent::Synced { proofs, report } = event else { panic!("{event:?}") };
        assert_eq!((report.batches, report.records), (proofs.len(), proofs.len()));
        assert!(report.bytes > 0);
        proven.extend(proofs);
    }
    assert_eq!(proven, (1..=500).collect::<Vec<_>>());
    assert_eq!(recovered_term(folder.path()), 500);
}

#[test]
fn batches_that_queue_during_a_sync_share_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(folder.path(), options()).unwrap();
    let (tell, events) = mpsc::channel();
    let (release, gate) = mpsc::channel::<()>();
    let writer = LogWriter::start(log, move |event| {
        tell.send(event).unwrap();
        let _ = gate.recv();
    });
    let writer = writer.unwrap();
    writer.write(batch(1));
    let WriterEvent::Synced { .. } = events.recv().unwrap() else { panic!("not synced") };
    // The writer is held inside its callback; these queue behind it.
    (2..=100).for_each(|number| writer.write(batch(number)));
    drop(release);
    let WriterEvent::Synced { proofs, report } = events.recv().unwrap() else {
        panic!("not synced")
    };
    assert_eq!(proofs, (2..=100).collect::<Vec<_>>());
    assert_eq!(report.batches, 99);
}

#[test]
fn failed_sync_is_told_once_and_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(folder.path(), options()).unwrap();
    let (tell, events) = mpsc::channel();
    let writer = LogWriter::start(log, move |event| drop(tell.send(event))).unwrap();
    writer.write(Numbered { number: 1, sync_fails: true });
    let told = events.recv().unwrap();
    assert!(matches!(told, WriterEvent::Failed(LogError::Sync(_))), "{told:?}");
    writer.write(batch(2));
    drop(writer);
    assert!(events.recv().is_err());
}

#[test]
fn synchronous_writer_gives_the_same_proofs() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(folder.path(), options()).unwrap();
    let mut writer = SyncWriter::new(log);
    assert_eq!(writer.write_and_sync(vec![batch(1), batch(2)]).unwrap(), [1, 2]);
    writer.idle().unwrap();
    let failing = Numbered { number: 3, sync_fails: true };
    assert!(writer.write_and_sync(vec![failing]).is_err());
    assert!(writer.write_and_sync(vec![batch(4)]).is_err());
}

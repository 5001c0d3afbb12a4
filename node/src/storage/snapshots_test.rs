#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a panic is how a test says no

use dsync_core::raft::Membership;
use dsync_core::types::ClusterTime;

use super::*;

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        index: Index(index),
        term: Term(3),
        stamp: ClusterTime(index),
        membership: Membership::default(),
        boots: [].into(),
    }
}

fn pieces() -> Vec<Bytes> {
    vec![Bytes::from(vec![1; 200_000]), Bytes::from_static(b"two"), Bytes::from(vec![3; 70_000])]
}

fn store() -> (tempfile::TempDir, SnapshotStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(folder.path()).unwrap();
    (folder, store)
}

/// Sends the snapshot from one store to the other, as leader and follower do.
fn transfer(from: &SnapshotStore, to: &mut SnapshotStore, meta: &SnapshotMeta) -> Incoming {
    let mut offset = 0;
    loop {
        let SnapshotPiece { bytes, last } = from.read_piece(meta, offset).unwrap();
        assert!(bytes.len() <= PIECE_BYTES_MAX);
        let write = SnapshotWrite { meta: meta.clone(), offset, bytes, last };
        match to.receive(&write).unwrap() {
            Incoming::More { next_offset } => offset = next_offset,
            stored @ Incoming::Stored(_) => return stored,
        }
    }
}

#[test]
fn snapshot_comes_back_as_the_pieces_it_was_written_from() {
    let (_folder, store) = store();
    assert_eq!(store.newest().unwrap(), None);
    store.write(&meta(5), pieces()).unwrap();
    store.write(&meta(12), [Bytes::new()]).unwrap();
    assert_eq!(store.newest().unwrap(), Some(meta(12)));
    assert_eq!(store.load(&meta(5)).unwrap(), pieces());
    assert_eq!(store.load(&meta(12)).unwrap(), Vec::<Bytes>::new());
    assert!(matches!(store.load(&meta(6)), Err(SnapshotError::Absent { .. })));
}

#[test]
fn snapshot_sent_piecewise_is_the_same_at_the_receiver() {
    let ((_from, sender), (_to, mut receiver)) = (store(), store());
    sender.write(&meta(5), pieces()).unwrap();
    assert_eq!(transfer(&sender, &mut receiver, &meta(5)), Incoming::Stored(meta(5)));
    assert_eq!(receiver.load(&meta(5)).unwrap(), pieces());
    assert_eq!(receiver.newest().unwrap(), Some(meta(5)));
}

#[test]
fn piece_out_of_turn_is_told_which_is_next() {
    let ((_from, sender), (_to, mut receiver)) = (store(), store());
    sender.write(&meta(5), pieces()).unwrap();
    let piece = |offset: u64| {
        let SnapshotPiece { bytes, last } = sender.read_piece(&meta(5), offset).unwrap();
        SnapshotWrite { meta: meta(5), offset, bytes, last }
    };
    let step = PIECE_BYTES_MAX as u64;
    assert_eq!(receiver.receive(&piece(step)).unwrap(), Incoming::More { next_offset: 0 });
    assert_eq!(receiver.receive(&piece(0)).unwrap(), Incoming::More { next_offset: step });
    assert_eq!(receiver.receive(&piece(2 * step)).unwrap(), Incoming::More { next_offset: step });
    let other = SnapshotWrite { meta: meta(6), ..piece(step) };
    assert_eq!(receiver.receive(&other).unwrap(), Incoming::More { next_offset: 0 });
    assert_eq!(receiver.receive(&piece(step)).unwrap(), Incoming::More { next_offset: 2 * step });
    assert_eq!(receiver.receive(&piece(2 * step)).unwrap(), Incoming::Stored(meta(5)));
}

#[test]
fn received_snapshot_that_is_not_as_announced_or_changed_on_the_way_gets_no_name() {
    let ((_from, sender), (_to, mut receiver)) = (store(), store());
    sender.write(&meta(5), [Bytes::from_static(b"small")]).unwrap();
    let SnapshotPiece { bytes, last } = sender.read_piece(&meta(5), 0).unwrap();
    assert!(last);
    let mut spoilt = vec![SnapshotWrite { meta: meta(6), offset: 0, bytes: bytes.clone(), last }];
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        spoilt.push(SnapshotWrite { meta: meta(5), offset: 0, bytes: changed.into(), last });
        let bytes = bytes.slice(..at);
        spoilt.push(SnapshotWrite { meta: meta(5), offset: 0, bytes, last });
    }
    for write in &spoilt {
        assert!(matches!(receiver.receive(write), Err(SnapshotError::Broken { .. })));
        assert_eq!(receiver.newest().unwrap(), None);
    }
    assert_eq!(transfer(&sender, &mut receiver, &meta(5)), Incoming::Stored(meta(5)));
}

#[test]
fn flipped_bit_in_any_byte_of_a_stored_snapshot_is_reported() {
    let (folder, store) = store();
    store.write(&meta(5), [Bytes::from_static(b"one"), Bytes::from_static(b"two")]).unwrap();
    let file = folder.path().join(&fs::list(folder.path()).unwrap()[0]);
    let good = std::fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&file, &bad).unwrap();
        assert!(matches!(store.load(&meta(5)), Err(SnapshotError::Damage { .. })), "byte {at}");
    }
}

#[test]
fn what_followers_are_being_sent_is_not_deleted() {
    let (_folder, store) = store();
    for index in [1, 2, 3, 9] {
        store.write(&meta(index), pieces()).unwrap();
    }
    store.delete_older(&meta(9), &BTreeSet::from([Index(1), Index(3)])).unwrap();
    for kept in [1, 3, 9] {
        assert_eq!(store.load(&meta(kept)).unwrap(), pieces(), "{kept}");
    }
    assert!(matches!(store.load(&meta(2)), Err(SnapshotError::Absent { .. })));
}

#[test]
fn older_snapshots_and_remains_of_interrupted_writes_are_deleted() {
    let (folder, store) = store();
    for index in [3, 5, 9] {
        store.write(&meta(index), pieces()).unwrap();
    }
    store.delete_older(&meta(5), &BTreeSet::new()).unwrap();
    assert!(matches!(store.load(&meta(3)), Err(SnapshotError::Absent { .. })));
    assert_eq!(store.load(&meta(5)).unwrap(), pieces());
    std::fs::write(folder.path().join(TAKEN), "half").unwrap();
    std::fs::write(folder.path().join(RECEIVED), "half").unwrap();
    SnapshotStore::open(folder.path()).unwrap();
    assert_eq!(fs::list(folder.path()).unwrap().len(), 2);
}

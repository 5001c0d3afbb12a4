//! Golden bytes: what is published stays as it is, byte for byte.
//!
//! postcard has no field names and no tags but the position of a variant, so an innocent change of a
//! type (a field in between, a variant before another) silently changes the meaning of bytes on disks
//! and of messages from a neighbour of another release. `wire_golden.txt` holds the bytes of one
//! example of everything that is stored or sent.
//!
//! `UPDATE_GOLDEN=1` adds lines for *new* names only. A published name whose bytes have changed fails
//! even then: make a new variant. (Before a first release, delete the line by hand and say why.)

use crate::golden as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use bytes::Bytes;

use crate::raft::*;
use crate::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName, Term};
use crate::wire::{PeerFrame, StoredRecord, decode, encode};

fn golden() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/wire_golden.txt"))
}

#[test]
fn published_bytes_never_change() {
    let text = fs::read_to_string(golden()).unwrap_or_default();
    let mut published: BTreeMap<String, String> = text.lines().filter_map(line).collect();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut added = text;
    for (name, bytes) in examples() {
        let now = hex(&bytes);
        match published.remove(&name) {
            Some(then) => assert_eq!(now, then, "the bytes of {name} have changed"),
            None if update => writeln!(added, "{name} {now}").unwrap(),
            None => panic!("{name} has no golden bytes; UPDATE_GOLDEN=1 adds them"),
        }
    }
    assert!(published.is_empty(), "published, but no example is left: {:?}", published.keys());
    if update {
        fs::write(golden(), added).unwrap();
    }
}

/// Bytes from the file, not from the encoder: what an earlier release wrote is read as it was meant.
#[test]
fn published_bytes_are_read_back_as_what_they_were() {
    let text = fs::read_to_string(golden()).unwrap();
    let published: BTreeMap<String, String> = text.lines().filter_map(line).collect();
    for (name, record) in records() {
        let read: StoredRecord = decode("record", &published_bytes(&published, &name)).unwrap();
        assert_eq!(read, record, "{name}");
    }
    for (name, frame) in frames() {
        let read: PeerFrame = decode("frame", &published_bytes(&published, &name)).unwrap();
        assert_eq!(read, frame, "{name}");
    }
}

fn published_bytes(published: &BTreeMap<String, String>, name: &str) -> Vec<u8> {
    unhex(published.get(name).unwrap_or_else(|| panic!("{name} is not published yet; run again")))
}

/// A new variant does not compile before it is named here, and fails here before it has an example.
#[test]
fn every_variant_has_an_example() {
    let shown: BTreeSet<&str> =
        frames().iter().map(|(_, PeerFrame::V1(e))| variant(&e.message)).collect();
    assert_eq!(shown, BTreeSet::from(MESSAGES));
    let shown: BTreeSet<&str> =
        records().iter().map(|(_, StoredRecord::V1(r))| stored(r)).collect();
    assert_eq!(shown, BTreeSet::from(RECORDS));
}

#[test]
fn a_byte_too_many_is_refused() {
    let mut bytes = encode(&records()[0].1);
    bytes.push(0);
    assert!(decode::<StoredRecord>("record", &bytes).is_err());
}

const RECORDS: [&str; 7] =
    ["HardState", "Empty", "Command", "Membership", "Founding", "BootHeld", "Snapshot"];

fn stored(record: &Record) -> &'static str {
    match record {
        Record::HardState(_) => "HardState",
        Record::Entry(entry) => match &entry.payload {
            Payload::Empty => "Empty",
            Payload::Command(_) => "Command",
            Payload::Membership(_) => "Membership",
            Payload::Founding(_) => "Founding",
            Payload::BootHeld { .. } => "BootHeld",
        },
        Record::Snapshot { .. } => "Snapshot",
    }
}

const MESSAGES: [&str; 18] = [
    "VoteRequest",
    "VoteReply",
    "Append",
    "AppendReply",
    "Heartbeat",
    "HeartbeatReply",
    "Commit",
    "Forward",
    "ForwardRefused",
    "ReadRequest",
    "ReadReply",
    "SnapshotChunk",
    "SnapshotReply",
    "TimeoutNow",
    "FoundingOffer",
    "FoundingHeld",
    "DiskRefused",
    "BootHeld",
];

fn variant(message: &Message) -> &'static str {
    match message {
        Message::VoteRequest { .. } => "VoteRequest",
        Message::VoteReply { .. } => "VoteReply",
        Message::Append { .. } => "Append",
        Message::AppendReply { .. } => "AppendReply",
        Message::Heartbeat { .. } => "Heartbeat",
        Message::HeartbeatReply { .. } => "HeartbeatReply",
        Message::Commit { .. } => "Commit",
        Message::Forward { .. } => "Forward",
        Message::ForwardRefused { .. } => "ForwardRefused",
        Message::ReadRequest { .. } => "ReadRequest",
        Message::ReadReply { .. } => "ReadReply",
        Message::SnapshotChunk { .. } => "SnapshotChunk",
        Message::SnapshotReply { .. } => "SnapshotReply",
        Message::TimeoutNow => "TimeoutNow",
        Message::FoundingOffer(_) => "FoundingOffer",
        Message::FoundingHeld { .. } => "FoundingHeld",
        Message::DiskRefused { .. } => "DiskRefused",
        Message::BootHeld(_) => "BootHeld",
    }
}

fn examples() -> Vec<(String, Vec<u8>)> {
    let records = records().into_iter().map(|(name, record)| (name, encode(&record)));
    let frames = frames().into_iter().map(|(name, frame)| (name, encode(&frame)));
    records.chain(frames).collect()
}

fn records() -> Vec<(String, StoredRecord)> {
    let hard_state = HardState { term: Term(3), vote: Some(NodeId(0x0b)), founded: true };
    let blank = HardState { term: Term(3), vote: None, founded: false };
    let snapshot = Record::Snapshot {
        meta: meta(),
        log_start: Index(100),
        log_start_prev_term: Term(2),
        discard_log: true,
    };
    let all = [
        ("hard_state", Record::HardState(hard_state)),
        ("hard_state_without_vote", Record::HardState(blank)),
        ("entry_empty", Record::Entry(entry(Payload::Empty))),
        ("entry_command", Record::Entry(entry(Payload::Command(Bytes::from_static(b"xyz"))))),
        ("entry_membership", Record::Entry(entry(Payload::Membership(membership())))),
        ("entry_founding", Record::Entry(entry(Payload::Founding(founding())))),
        ("entry_boot_held", Record::Entry(entry(boot_held_by(0x0a)))),
        ("snapshot", snapshot),
    ];
    let named = |(name, record)| (format!("record_v1_{name}"), StoredRecord::V1(record));
    all.into_iter().map(named).collect()
}

fn frames() -> Vec<(String, PeerFrame)> {
    let all = elections().into_iter().chain(replication()).chain(requests()).chain(rest());
    let envelope =
        |message| Envelope { from: NodeId(0x0a), to: NodeId(0x0b), term: Term(5), message };
    let named = |(name, message)| (format!("frame_v1_{name}"), PeerFrame::V1(envelope(message)));
    all.map(named).collect()
}

fn elections() -> Vec<(&'static str, Message)> {
    let request = |ballot| Message::VoteRequest { ballot, last: position() };
    vec![
        ("vote_request_pre_vote", request(Ballot::PreVote)),
        ("vote_request_vote", request(Ballot::Vote)),
        ("vote_request_transfer", request(Ballot::Transfer)),
        ("vote_reply", Message::VoteReply { ballot: Ballot::Vote, granted: true }),
        ("timeout_now", Message::TimeoutNow),
        ("founding_offer", Message::FoundingOffer(founding())),
        ("founding_held", Message::FoundingHeld { cluster_id: ClusterId(0xc1) }),
        (
            "disk_refused",
            Message::DiskRefused { boot: BootId(0xb0), held: Index(299), recovered: Index(200) },
        ),
        ("boot_held", Message::BootHeld(held_boot())),
    ]
}

fn replication() -> Vec<(&'static str, Message)> {
    let entries = vec![entry(Payload::Command(Bytes::from_static(b"xyz"))), entry(Payload::Empty)];
    let matched = AppendOutcome::Matched(Index(300));
    let conflict = AppendOutcome::Conflict { prev: Index(300), hint: position() };
    let hash = StateHash { index: Index(10_000), hash: 0xfeed };
    let (round, sync_age_ms, synced_end, boot) = (77, 12, Index(299), BootId(0xb0));
    vec![
        ("append", Message::Append { prev: position(), entries, commit: Index(200) }),
        ("append_reply_matched", Message::AppendReply { outcome: matched }),
        ("append_reply_conflict", Message::AppendReply { outcome: conflict }),
        (
            "heartbeat",
            Message::Heartbeat {
                commit: Index(200),
                round,
                sync_age_ms,
                quorum_hash: Some(hash),
                time: ClusterTime(300),
            },
        ),
        (
            "heartbeat_reply",
            Message::HeartbeatReply { round, sync_age_ms, synced_end, hash: Some(hash), boot },
        ),
        (
            "heartbeat_reply_without_hash",
            Message::HeartbeatReply { round, sync_age_ms, synced_end, hash: None, boot },
        ),
        ("commit", Message::Commit { commit: Index(200) }),
    ]
}

fn requests() -> Vec<(&'static str, Message)> {
    let commands = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let refused = |refusal| Message::ForwardRefused { ticket: 9, refusal };
    let point = ReadPoint { index: Index(200), time: ClusterTime(300) };
    vec![
        ("forward", Message::Forward { ticket: 9, commands: commands.clone().into() }),
        (
            "forward_yielding",
            Message::Forward { ticket: 9, commands: Commands { list: commands, yields: true } },
        ),
        ("forward_refused_no_leader", refused(Refusal::NoLeader)),
        ("forward_refused_overloaded", refused(Refusal::Overloaded)),
        ("forward_refused_transferring", refused(Refusal::Transferring)),
        ("forward_refused_too_large", refused(Refusal::TooLarge)),
        ("read_request", Message::ReadRequest { id: 8 }),
        ("read_reply", Message::ReadReply { id: 8, point: Some(point) }),
        ("read_reply_ask_again", Message::ReadReply { id: 8, point: None }),
    ]
}

fn rest() -> Vec<(&'static str, Message)> {
    let bytes = Bytes::from_static(b"piece");
    vec![
        (
            "snapshot_chunk",
            Message::SnapshotChunk { meta: meta(), offset: 4096, bytes, last: true },
        ),
        ("snapshot_reply", Message::SnapshotReply { index: Index(150), next_offset: 4101 }),
    ]
}

fn position() -> Position {
    Position { index: Index(299), term: Term(4) }
}

fn entry(payload: Payload) -> Entry {
    Entry { term: Term(5), index: Index(300), stamp: ClusterTime(123_456), payload }
}

fn meta() -> SnapshotMeta {
    let (index, term, stamp) = (Index(150), Term(4), ClusterTime(100_000));
    let boots = [(NodeId(0x0a), held_boot())].into();
    SnapshotMeta { index, term, stamp, membership: membership(), boots }
}

fn held_boot() -> HeldBoot {
    HeldBoot { boot: BootId(0xb0), count: BootCount(3), held: Index(120) }
}

fn boot_held_by(node: u64) -> Payload {
    Payload::BootHeld { node: NodeId(node), boot: held_boot() }
}

fn membership() -> Membership {
    let set = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect();
    Membership {
        voters: set(&[0x0a, 0x0b]),
        outgoing: set(&[0x0a]),
        learners: set(&[0x0c]),
        names: [0x0a, 0x0b, 0x0c].into_iter().map(named).collect(),
    }
}

fn founding() -> Founding {
    let founders = [0x0a, 0x0b].into_iter().map(named).collect();
    Founding { cluster_id: ClusterId(0xc1), founders, machine: Bytes::from_static(b"first") }
}

fn named(id: u64) -> (NodeId, NodeName) {
    (NodeId(id), NodeName(format!("node-{id:x}")))
}

fn line(line: &str) -> Option<(String, String)> {
    let (name, hex) = line.split_once(' ')?;
    (name != "#").then(|| (name.to_owned(), hex.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

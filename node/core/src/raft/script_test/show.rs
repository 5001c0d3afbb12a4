//! How a script's output writes what it sees: `3@2 x` is entry 3 of term 2 with the command `x`, `-`
//! stands for an entry without one.

use crate::raft::*;

/// `n1`.
pub(super) fn name(id: NodeId) -> String {
    format!("n{}", id.0)
}

/// `3@2`.
pub(super) fn position(at: Position) -> String {
    format!("{}@{}", at.index, at.term)
}

/// `3@2 x`.
pub(super) fn entry(entry: &Entry) -> String {
    let at = position(Position { index: entry.index, term: entry.term });
    match &entry.payload {
        Payload::Empty => format!("{at} -"),
        Payload::Command(command) => format!("{at} {}", String::from_utf8_lossy(command)),
        Payload::Membership(membership) => format!("{at} voters {}", names(&membership.voters)),
        Payload::Founding(founding) => format!("{at} founding {:x}", founding.cluster_id.0),
        Payload::BootHeld { node, boot } => {
            format!("{at} {} boot {} holds {}", name(*node), boot.count, boot.held)
        }
    }
}

/// `3@2 x, 4@2 y`.
pub(super) fn entries<'a>(list: impl IntoIterator<Item = &'a Entry>) -> String {
    list.into_iter().map(entry).collect::<Vec<_>>().join(", ")
}

fn names<'a>(ids: impl IntoIterator<Item = &'a NodeId>) -> String {
    ids.into_iter().map(|id| name(*id)).collect::<Vec<_>>().join(" ")
}

fn founding_text(founding: &Founding) -> String {
    format!("of cluster {:x} by {}", founding.cluster_id.0, names(founding.founders.keys()))
}

/// What goes to disk.
pub(super) fn records(list: &[Record]) -> String {
    list.iter().map(record).collect::<Vec<_>>().join("; ")
}

fn record(record: &Record) -> String {
    match record {
        Record::HardState(hard) => hard_state(hard),
        Record::Entry(one) => entry(one),
        Record::Snapshot { meta, log_start, discard_log, .. } => {
            let rest = if *discard_log { "all entries void" } else { "entries kept" };
            format!("snapshot {} ({rest}, log starts at {log_start})", meta_text(meta))
        }
    }
}

/// `term 2, vote n1`.
pub(super) fn hard_state(hard: &HardState) -> String {
    let vote = hard.vote.map_or(String::from("no vote"), |id| format!("vote {}", name(id)));
    let founded = if hard.founded { "" } else { ", not founded" };
    format!("term {}, {vote}{founded}", hard.term)
}

/// `3@2`.
pub(super) fn meta_text(meta: &SnapshotMeta) -> String {
    position(Position { index: meta.index, term: meta.term })
}

/// `n1 -> n2 term 2: Append ...`.
pub(super) fn envelope(envelope: &Envelope, arrow: &str) -> String {
    let (from, to) = (name(envelope.from), name(envelope.to));
    format!("{from} {arrow} {to} term {}: {}", envelope.term, message(&envelope.message))
}

/// The variant's name.
pub(super) fn kind(of: &Message) -> String {
    message(of).split(' ').next().unwrap_or_default().to_owned()
}

/// The variant's name first, so that `deliver` can name it and a reader can look it up.
pub(super) fn message(message: &Message) -> String {
    match message {
        Message::VoteRequest { ballot, last } => {
            format!("VoteRequest {ballot:?}, log ends {}", position(*last))
        }
        Message::VoteReply { ballot, granted } => {
            format!("VoteReply {ballot:?} {}", if *granted { "granted" } else { "refused" })
        }
        Message::Append { prev, entries: list, commit } => {
            format!("Append after {} [{}] commit {commit}", position(*prev), entries(list))
        }
        Message::AppendReply { outcome: AppendOutcome::Matched(index) } => {
            format!("AppendReply matched {index}")
        }
        Message::AppendReply { outcome: AppendOutcome::Conflict { prev, hint } } => {
            format!("AppendReply conflict at {prev}, try {}", position(*hint))
        }
        Message::Heartbeat { commit, round, sync_age_ms, quorum_hash, .. } => {
            let rest = age(*sync_age_ms) + &hash(*quorum_hash);
            format!("Heartbeat round {round} commit {commit}{rest}")
        }
        Message::HeartbeatReply { round, sync_age_ms, synced_end, hash: own, .. } => {
            let rest = age(*sync_age_ms) + &hash(*own);
            format!("HeartbeatReply round {round} synced {synced_end}{rest}")
        }
        Message::Commit { commit } => format!("Commit {commit}"),
        Message::Forward { commands, .. } => format!("Forward {}", commands_text(&commands.list)),
        Message::ForwardRefused { refusal, .. } => format!("ForwardRefused {refusal:?}"),
        Message::ReadRequest { id } => format!("ReadRequest {id}"),
        Message::ReadReply { id, point: Some(point) } => {
            format!("ReadReply {id} at {}", point.index)
        }
        Message::ReadReply { id, point: None } => format!("ReadReply {id} ask again"),
        Message::SnapshotChunk { meta, offset, bytes, last } => {
            let (end, last) = (offset + bytes.len() as u64, if *last { ", the last" } else { "" });
            format!("SnapshotChunk {} bytes {offset}..{end}{last}", meta_text(meta))
        }
        Message::SnapshotReply { index, next_offset } => {
            format!("SnapshotReply {index} next byte {next_offset}")
        }
        Message::TimeoutNow => String::from("TimeoutNow"),
        Message::FoundingOffer(founding) => format!("FoundingOffer {}", founding_text(founding)),
        Message::FoundingHeld { cluster_id } => format!("FoundingHeld cluster {:x}", cluster_id.0),
        Message::DiskRefused { held, recovered, .. } => {
            format!("DiskRefused held {held}, ends at {recovered}")
        }
        Message::BootHeld(boot) => format!("BootHeld boot {} holds {}", boot.count, boot.held),
    }
}

fn commands_text(commands: &[bytes::Bytes]) -> String {
    commands.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect::<Vec<_>>().join(" ")
}

fn age(ms: u64) -> String {
    if ms == 0 { String::new() } else { format!(", oldest sync {ms}ms") }
}

fn hash(hash: Option<StateHash>) -> String {
    hash.map_or(String::new(), |hash| format!(", state {:x} at {}", hash.hash, hash.index))
}

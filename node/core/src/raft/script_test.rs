//! Golden scripts: the protocol, one behaviour per file, for those who want to learn it.
//!
//! A file of `scripts/` is a story. Lines with `#` explain, lines with `>` are commands, and below
//! each command stands everything that it brought about: messages as `n1 -> n2 term 2: ...` (`-x` if
//! the link is cut), changes of a node as `n1: before => after`, and `n1 disk: ...` when a write is
//! synced. Entry `3@2 x` is the command `x` at index 3, of term 2; `-` is an entry without a command.
//!
//! Nothing moves by itself. A message stays in the network until `deliver` or `stabilize`; an election
//! timer runs out only by `campaign`; a disk set to `manual` completes only by `sync`. `run` is for
//! the dull parts. `commands.rs` has all words.
//!
//! The outputs are compared word by word. `UPDATE_GOLDEN=1 cargo test -p dsync-core script` writes them
//! anew; read the difference before it is committed, it is the review of a change of the protocol.

use crate::golden as fs;
use std::path::PathBuf;

mod cluster;
mod commands;
mod disk;
mod inspect;
mod node;
mod show;

use cluster::Cluster;

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*

        /// Every file of `scripts/` that is played.
        const PLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    a_commit_needs_three_of_five
    a_conflicting_tail_is_cut_back_to_where_the_logs_agree
    a_diverged_state_stops_the_minority
    a_doubled_answer_starts_no_second_snapshot_stream
    a_command_that_is_too_large_is_refused_before_the_log
    a_doubled_or_late_append_cuts_nothing
    a_follower_goes_on_in_the_log_behind_its_snapshot
    a_full_leader_refuses
    a_group_of_one_waits_for_its_disk
    a_hand_over_that_fails_is_given_up
    a_leader_keeps_room_for_what_does_not_yield
    a_hand_over_waits_until_the_successor_has_everything
    a_lagging_follower_gets_the_snapshot
    a_leader_counts_itself_only_when_synced
    a_leader_that_hears_nobody_steps_down
    a_leader_whose_disk_hangs_gives_up
    a_lost_append_is_probed_again
    a_lost_heartbeat_changes_nothing
    a_new_leader_answers_no_read_before_its_first_entry_commits
    a_read_needs_a_round_of_its_own
    a_restored_disk_is_refused_by_the_sitting_leader
    a_slow_follower_gets_no_more_than_the_window
    a_snapshot_voids_a_conflicting_tail
    a_split_vote_is_settled_in_the_next_term
    a_stale_write_does_not_count_for_the_entry_that_replaced_it
    a_tail_of_large_entries_is_shorter
    a_vote_waits_for_the_disk
    an_answer_to_an_earlier_term_confirms_no_read
    an_earlier_term_is_committed_through_the_current_one
    an_earlier_term_is_not_committed_by_counting
    an_election_asks_first_and_then_for_real
    an_empty_disk_does_not_vote
    an_isolated_node_returns_without_raising_the_term
    founding_of_three_waits_for_all_three
    reads_do_not_keep_a_lost_append_from_being_sent_again
    the_log_is_not_held_for_a_follower_at_any_price
    the_others_start_although_the_proposer_is_gone
    time_never_falls_from_one_leader_to_the_next
    two_foundings_that_meet_stop_both
}

/// A file without a test would rot.
#[test]
fn every_script_is_played() {
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(PLAYED.contains(&name.as_str()), "scripts/{name}.txt is not listed in {}", file!());
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/scripts"))
}

/// The scripts can fail: each published bug, put back, is seen in the script that is about it.
#[cfg(feature = "bugs")]
#[test]
fn every_bug_put_back_is_seen_in_its_script() {
    for bug in crate::raft::Bug::ALL {
        let Some(name) = script_about(bug) else { continue };
        let written = fs::read_to_string(folder().join(name).with_extension("txt")).unwrap();
        let mut cluster = Cluster::new();
        cluster.bug = Some(bug);
        let with_bug = std::panic::AssertUnwindSafe(|| replay_in(cluster, &written));
        let seen = std::panic::catch_unwind(with_bug).map_or(true, |played| played != written);
        assert!(seen, "{bug:?} changes nothing in scripts/{name}.txt");
    }
}

#[cfg(feature = "bugs")]
fn script_about(bug: crate::raft::Bug) -> Option<&'static str> {
    use crate::raft::Bug;
    Some(match bug {
        Bug::UnsortedQuorum => "a_commit_needs_three_of_five",
        Bug::EmptyDiskVotes => "an_empty_disk_does_not_vote",
        Bug::PreVoteKeepsTerm => "an_earlier_term_is_committed_through_the_current_one",
        Bug::NoCheckQuorum => "a_leader_that_hears_nobody_steps_down",
        Bug::DiskHangIgnored => "a_leader_whose_disk_hangs_gives_up",
        Bug::TransferToLagging => "a_hand_over_waits_until_the_successor_has_everything",
        Bug::SnapshotKeepsTail => "a_snapshot_voids_a_conflicting_tail",
        Bug::StaleWriteCounts => "a_stale_write_does_not_count_for_the_entry_that_replaced_it",
        Bug::ReadWithoutRound => "a_read_needs_a_round_of_its_own",
        Bug::NoSnapshotForPurged => "a_lagging_follower_gets_the_snapshot",
        Bug::LeaderCountsUnsynced => "a_leader_counts_itself_only_when_synced",
        Bug::CommitEarlierTerm => "an_earlier_term_is_not_committed_by_counting",
        Bug::VoteBeforeSync => "a_vote_waits_for_the_disk",
        Bug::StampFallsBack => "time_never_falls_from_one_leader_to_the_next",
        // A mistake of the shell, which keeps such a disk out at the handshake: the simulator's test.
        Bug::SetBackDiskReturns => return None,
    })
}

/// Plays a script and compares, or rewrites it.
fn play(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let written = fs::read_to_string(&path).unwrap();
    let played = replay(&written);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, played).unwrap();
    } else if let Some(at) = first_difference(&written, &played) {
        panic!(
            "scripts/{name}.txt, line {}:\n  expected: {}\n  got:      {}\n\
             If the new behaviour is meant: UPDATE_GOLDEN=1, and review the diff.",
            at + 1,
            written.lines().nth(at).unwrap_or("(end)"),
            played.lines().nth(at).unwrap_or("(end)"),
        );
    }
}

/// The script with its outputs as they are now.
fn replay(script: &str) -> String {
    replay_in(Cluster::new(), script)
}

fn replay_in(mut cluster: Cluster, script: &str) -> String {
    assert!(script.starts_with('#'), "a script begins by saying what it shows");
    let mut played = String::new();
    for line in script.lines().filter(|line| is_written_by_hand(line)) {
        played += line;
        played.push('\n');
        if let Some(command) = line.strip_prefix('>') {
            cluster.command(command);
            for output in cluster.take_output() {
                played += &format!("  {output}\n");
            }
        }
    }
    played
}

fn is_written_by_hand(line: &str) -> bool {
    line.is_empty() || line.starts_with('#') || line.starts_with('>')
}

fn first_difference(a: &str, b: &str) -> Option<usize> {
    let lines = a.lines().count().max(b.lines().count());
    (0..lines).find(|at| a.lines().nth(*at) != b.lines().nth(*at))
}

//! Golden scripts: text in, text out.
//!
//! A script is prose (`#`), inputs (`> `) and, under each input, what the nodes sent and answered. Messages
//! are numbered and stay under way until they are delivered; those that never are have been lost. Times are
//! readings of one clock. `UPDATE_GOLDEN=1 cargo test -p dsync-core scripts` writes what they say now;
//! review it as a diff.
//!
//! ```text
//! > 0 ring 1 a              a is the home of every key from epoch 1 on, all nodes install it
//! > 0 ring 2 b from a       it is b's now, a has not let go yet; nobody has installed it
//! > 0 settled               a has: nobody has installed that either
//! > 0 install b c           they apply the newest ring
//! > 0 lease a 1000          the leader has granted the lease that a asked for now; it ends so much later
//! > 0 write b k=red         also: if-absent, if-present, if 1.2, ttl=50
//! > 0 delete b k
//! > 0 get b k
//! > 0 deliver 1 2           messages arrive
//! > 0 tick [b]
//! > 0 read b k              what a hit would find
//! > 0 verify b k            a get that asks the home
//! > 0 released a
//! > 0 restart b             another process of the same node
//! ```
//!
//! Nodes are a, b and c, with room for two values each. A session is leased for 100, of which an unanswered invalidation may take 25; the
//! drift is 0, the rounding 2. A home lease is 1,000.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use super::*;
use crate::golden;
use crate::types::{BootId, LocalTime, NodeId};

#[test]
fn scripts_say_what_they_said() {
    golden::check_scripts("src/cache/scripts", 20, || {
        let mut stage = Stage::new();
        move |input: &str| stage.play(input)
    });
}

/// A key that is written again and again with a time to live is remembered once, and not at all when its value
/// has gone.
#[test]
fn a_home_remembers_one_moment_for_each_value() {
    let mut stage = Stage::new();
    stage.play("0 ring 1 a");
    stage.play("0 lease a 1000");
    for at in 0..500 {
        stage.play(&format!("{at} write a k={at} ttl=10000"));
    }
    assert_eq!(stage.nodes[0].expiries(), 1);
    stage.play("500 delete a k");
    assert_eq!(stage.nodes[0].expiries(), 0);
    // There is room for two values.
    for key in ["k", "l", "m", "n"] {
        stage.play(&format!("600 write a {key}=x ttl=10000"));
    }
    assert_eq!(stage.nodes[0].expiries(), 2);
    stage.play("601 write a m=y");
    stage.play("602 write a n=y");
    assert_eq!(stage.nodes[0].expiries(), 0);
}

/// The scripts can fail: each rule left out is seen in the script that is about it.
#[cfg(feature = "bugs")]
#[test]
fn every_bug_put_back_is_seen_in_its_script() {
    for bug in Bug::OF_CACHES {
        let path = format!("src/cache/scripts/{}.txt", script_about(bug));
        let stage = || {
            let mut stage = Stage::with_bug(Some(bug));
            move |input: &str| stage.play(input)
        };
        assert!(golden::differs(&path, stage), "{bug:?} changes nothing in {path}");
    }
}

#[cfg(feature = "bugs")]
fn script_about(bug: Bug) -> &'static str {
    match bug {
        Bug::FillIgnoresPoison => "a_fill_that_an_invalidation_overtook_is_not_kept",
        Bug::WriteWaitsForNobody | Bug::ValueShownEarly | Bug::KeptDuringWrite => {
            "a_write_waits_until_the_copy_is_gone"
        }
        Bug::SilentSharerKeepsSession | Bug::LeaseWaitTooShort => {
            "a_silent_sharer_costs_one_lease_and_its_session"
        }
        Bug::FillOutlivesSession => "a_fill_of_an_earlier_session_is_not_kept",
        Bug::LeaseCountedFromAnswer => "a_lease_is_counted_from_when_it_was_asked_for",
        Bug::HomeWithoutLease | Bug::SessionNotNested => {
            "a_session_ends_with_the_lease_of_the_home"
        }
        Bug::CopiesOutliveEpoch => "a_moved_key_is_served_when_no_copies_are_left",
        Bug::ReleasedSessionLives => {
            "a_session_that_was_not_waited_for_at_a_release_never_comes_back"
        }
        Bug::JoinerTakesOldValue => "who_joins_a_flight_takes_only_what_may_be_kept",
        Bug::EntersBesideFormer
        | Bug::SuspensionOutlivesTerm
        | Bug::SuspendedBeforeGrantEnds
        | Bug::NewLeaderDoesNotWait
        | Bug::GrantedToSuspended => unreachable!("of home leases"),
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
struct OneHome {
    epoch: u64,
    home: Incarnation,
    former: Option<Incarnation>,
    settled: bool,
}

impl Placement for OneHome {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn home(&self, _key: &Key) -> Option<Incarnation> {
        Some(self.home)
    }

    fn homes(&self) -> Vec<Incarnation> {
        self.former.into_iter().chain([self.home]).collect()
    }

    fn settled(&self) -> bool {
        self.settled
    }
}

struct Stage {
    nodes: Vec<Coherence<OneHome, BoundedStore>>,
    starts: [u64; 3],
    bug: Option<Bug>,
    ring: Option<OneHome>,
    under_way: BTreeMap<usize, (Process, Process, CacheMessage)>,
    sent: usize,
    tickets: u64,
}

fn node(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).expect("a, b or c")
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

impl Stage {
    fn new() -> Self {
        Self::with_bug(None)
    }

    fn with_bug(bug: Option<Bug>) -> Self {
        let mut stage = Self {
            nodes: Vec::new(),
            starts: [1; 3],
            bug,
            ring: None,
            under_way: BTreeMap::new(),
            sent: 0,
            tickets: 0,
        };
        stage.nodes = (0..NAMES.len()).map(|node| stage.started(node)).collect();
        stage
    }

    fn started(&self, node: usize) -> Coherence<OneHome, BoundedStore> {
        let rules = Rules {
            session_ms: 100,
            home_lease_ms: 1_000,
            drift_ppm: 0,
            rounding_ms: 2,
            patience_ms: 5_000,
            ..Rules::default()
        };
        let room = Limits { bytes_max: 100_000, entries_max: 2 };
        let caches = Coherence::new(self.process(node), rules, BoundedStore::new(room, 1, 1));
        #[cfg(feature = "bugs")]
        let caches = caches.with_bug(self.bug);
        #[cfg(not(feature = "bugs"))]
        assert_eq!(self.bug, None);
        caches
    }

    fn process(&self, node: usize) -> Process {
        Process { node: NodeId(node as u64), boot: BootId(self.starts[node]) }
    }

    fn place(&self, node: usize) -> Incarnation {
        Incarnation { process: self.process(node), returns: 0 }
    }

    fn play(&mut self, input: &str) -> String {
        let words: Vec<&str> = input.split(' ').collect();
        let now = LocalTime(number(words[0]));
        let rest = &words[2..];
        let mut said = String::new();
        match words[1] {
            "ring" => self.change_ring(now, rest, &mut said),
            "settled" => self.ring.iter_mut().for_each(|ring| ring.settled = true),
            "install" => rest.iter().for_each(|name| self.install(now, node(name), &mut said)),
            "lease" => {
                // Asked for so long ago that it ends when it should.
                let asked = LocalTime(now.0 + number(rest[1]) - 1_000.min(now.0 + number(rest[1])));
                let home = self.place(node(rest[0]));
                self.nodes[node(rest[0])].home_lease_granted(home, asked);
            }
            "restart" => {
                self.starts[node(rest[0])] += 1;
                self.nodes[node(rest[0])] = self.started(node(rest[0]));
            }
            "write" | "delete" => self.write(now, rest, &mut said),
            "get" | "verify" => {
                self.tickets += 1;
                let (key, caches) = (Key(rest[1].to_owned()), &mut self.nodes[node(rest[0])]);
                let out = match words[1] {
                    "get" => caches.get(now, self.tickets, &key),
                    _ => caches.verify(now, self.tickets, &key),
                };
                self.carry_out(node(rest[0]), out, &mut said);
            }
            "deliver" => rest.iter().for_each(|at| self.deliver(now, at, &mut said)),
            "tick" => {
                let all = if rest.is_empty() { &NAMES } else { rest };
                for name in all {
                    let out = self.nodes[node(name)].tick(now);
                    self.carry_out(node(name), out, &mut said);
                }
            }
            "read" => {
                let (key, caches) = (Key(rest[1].to_owned()), &mut self.nodes[node(rest[0])]);
                let copy = caches.read(now, &key);
                // Threads that serve hits beside the machines see the same.
                let leases = caches.leases();
                let beside = caches.store.get(&key).filter(|copy| leases.allow(copy, now));
                let lives = |copy: &Copy| copy.expires.is_none_or(|expires| now < expires);
                if self.bug.is_none() {
                    assert_eq!(copy, beside.filter(lives));
                }
                let shown = copy.map_or("nothing".to_owned(), |copy| {
                    shown(&Some(Found {
                        value: copy.value,
                        version: copy.version,
                        ttl_left_ms: None,
                    }))
                });
                writeln!(said, "  {shown}").unwrap();
            }
            "released" => writeln!(said, "  {}", self.nodes[node(rest[0])].released()).unwrap(),
            other => panic!("{other}?"),
        }
        said
    }

    fn change_ring(&mut self, now: LocalTime, words: &[&str], said: &mut String) {
        let former = words.get(3).map(|name| self.place(node(name)));
        let (epoch, home) = (number(words[0]), self.place(node(words[1])));
        self.ring = Some(OneHome { epoch, home, former, settled: former.is_none() });
        if former.is_none() {
            (0..NAMES.len()).for_each(|node| self.install(now, node, said));
        }
    }

    fn install(&mut self, now: LocalTime, node: usize, said: &mut String) {
        let ring = self.ring.clone().expect("a ring");
        let out = self.nodes[node].install(now, &ring);
        self.carry_out(node, out, said);
    }

    fn write(&mut self, now: LocalTime, words: &[&str], said: &mut String) {
        self.tickets += 1;
        let (key, value) = words[1].split_once('=').map_or((words[1], None), |(k, v)| (k, Some(v)));
        let value = value.map(|value| Value {
            body: Bytes::from(value.to_owned()),
            content_type: "text/plain".to_owned(),
        });
        let mut write = Write { value, ttl_ms: None, condition: Condition::Any };
        for (at, word) in words.iter().enumerate().skip(2) {
            match *word {
                "if-absent" => write.condition = Condition::Absent,
                "if-present" => write.condition = Condition::Present,
                "if" => write.condition = Condition::Version(version(words[at + 1])),
                word => write.ttl_ms = word.strip_prefix("ttl=").map(number).or(write.ttl_ms),
            }
        }
        let out = self.nodes[node(words[0])].write(now, self.tickets, &Key(key.to_owned()), write);
        self.carry_out(node(words[0]), out, said);
    }

    fn deliver(&mut self, now: LocalTime, at: &str, said: &mut String) {
        let message = self.under_way.get(&at.parse().expect("a number")).expect("sent").clone();
        let (from, to, message) = message;
        // What was sent to or by a process that is no more finds another one.
        let node = |process: Process| usize::try_from(process.node.0).unwrap();
        if to != self.process(node(to)) {
            return writeln!(said, "  {at}: nobody there").unwrap();
        }
        let out = self.nodes[node(to)].receive(now, from, message);
        self.carry_out(node(to), out, said);
    }

    fn carry_out(&mut self, from: usize, outputs: Vec<Output>, said: &mut String) {
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    self.sent += 1;
                    let (a, b) = (NAMES[from], NAMES[usize::try_from(to.node.0).unwrap()]);
                    writeln!(said, "  {} {a}->{b} {}", self.sent, spoken(&message)).unwrap();
                    self.under_way.insert(self.sent, (self.process(from), to, message));
                }
                Output::Answer(answer) => {
                    writeln!(said, "  {}: {}", NAMES[from], told(&answer)).unwrap();
                }
                Output::Evicted(_) => {}
            }
        }
    }
}

fn version(text: &str) -> Version {
    let (epoch, count) = text.split_once('.').expect("EPOCH.NUMBER");
    Version { epoch: number(epoch), number: number(count) }
}

fn spoken(message: &CacheMessage) -> String {
    match message {
        CacheMessage::Renew { session, seen, epoch, .. } => {
            format!("Renew session {} seen {seen} epoch {epoch}", known(*session))
        }
        CacheMessage::Granted { session, length_ms, sent, .. } => {
            format!("Granted session {session} for {length_ms} sent {sent}")
        }
        CacheMessage::Get { session, key, .. } => format!("Get {key} session {}", known(*session)),
        CacheMessage::Value { found, cacheable, .. } => {
            let keep = if *cacheable { "keep" } else { "do not keep" };
            format!("Value {}, {keep}", shown(found))
        }
        CacheMessage::Invalidate { session, number, key, below, .. } => {
            format!("Invalidate {key} below {} session {session} number {number}", versioned(below))
        }
        CacheMessage::Invalidated { session, number, .. } => {
            format!("Invalidated session {session} number {number}")
        }
        CacheMessage::Write { key, write, .. } => match &write.value {
            Some(value) => format!("Write {key}={}", text(value)),
            None => format!("Write {key} deleted"),
        },
        CacheMessage::Written { outcome, .. } => format!("Written {}", ended(outcome)),
        CacheMessage::Refused { .. } => "Refused".to_owned(),
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Got { found, hit, .. } => {
            format!("got {}{}", shown(found), if *hit { ", a hit" } else { "" })
        }
        Answer::GetUnavailable { .. } => "get: no home serves".to_owned(),
        Answer::Wrote { outcome, .. } => format!("wrote: {}", ended(outcome)),
    }
}

fn ended(outcome: &WriteOutcome) -> String {
    match outcome {
        WriteOutcome::Done(version) => format!("done, {}", versioned(version)),
        WriteOutcome::ConditionFailed(there) => {
            let there = there.as_ref().map_or("nothing".to_owned(), versioned);
            format!("condition failed, {there} is there")
        }
        WriteOutcome::Unknown => "unknown".to_owned(),
        WriteOutcome::Unavailable => "no home serves".to_owned(),
    }
}

fn shown(found: &Option<Found>) -> String {
    let Some(found) = found else { return "nothing".to_owned() };
    format!("{} {}", text(&found.value), versioned(&found.version))
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&value.body).into_owned()
}

fn versioned(version: &Version) -> String {
    format!("{}.{}", version.epoch, version.number)
}

fn known(session: Option<u64>) -> String {
    session.map_or("none".to_owned(), |session| session.to_string())
}

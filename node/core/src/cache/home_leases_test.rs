//! Golden scripts of home leases: text in, text out.
//!
//! A script is prose (`#`), inputs (`> `) and, under each input, what came out. A home is written `b1.0`:
//! of node `b`, its process 1, returned 0 times; each node has one process. Times are every node's clock,
//! in milliseconds. `UPDATE_GOLDEN=1 cargo test -p dsync-core scripts` writes what they say now; review it
//! as a diff.
//!
//! ```text
//! > 0 a leads term 1                     the others take it for the leader; a former one does not know
//! > 0 a leads no more
//! > b1 enters                            an entry; every other home releases in the next one
//! > b1 enters, unreleased                nobody does
//! > b1 leaves                            an entry, of a former leader maybe: b's home is out
//! > 0 b asks                             for the lease of its last home
//! > 5 message 1 arrives
//! > 9 round 1 is confirmed               also: fails
//! > 9 a ticks
//! > b starts again                       as another process
//! ```
//!
//! A home lease is 100 long, stretched 103.

use std::collections::BTreeMap;

use super::*;
use crate::golden;
use crate::types::{BootId, ClusterTime, Index, LocalTime, NodeId, NodeName, Term};

#[test]
fn scripts_say_what_they_said() {
    golden::check_scripts("src/cache/home_lease_scripts", 8, || {
        let mut stage = Stage::new(None);
        move |input: &str| stage.play(input)
    });
}

#[cfg(feature = "bugs")]
#[test]
fn every_bug_put_back_is_seen_in_its_script() {
    let scripts = [
        (Bug::SuspendedBeforeGrantEnds, "a_lease_is_counted_from_its_asking"),
        (Bug::NewLeaderDoesNotWait, "a_new_leader_waits_before_it_suspends"),
        (Bug::GrantedToSuspended, "who_was_suspended_meanwhile_gets_nothing"),
    ];
    for (bug, name) in scripts {
        let script = format!("src/cache/home_lease_scripts/{name}.txt");
        let stage = || {
            let mut stage = Stage::new(Some(bug));
            move |input: &str| stage.play(input)
        };
        assert!(golden::differs(&script, stage), "{bug:?}");
    }
}

struct Stage {
    nodes: BTreeMap<char, Node>,
    ring: RingTable,
    entries: u64,
    /// Who the others take for the leader.
    leader: Option<char>,
    messages: Vec<(char, char, HomeLeaseMessage)>,
    /// Whose each round is, and its number there.
    rounds: Vec<(char, u64)>,
    bug: Option<Bug>,
}

struct Node {
    leases: HomeLeases,
    boot: u64,
    home: Option<Incarnation>,
    leads: Option<Term>,
}

impl Stage {
    fn new(bug: Option<Bug>) -> Self {
        let (nodes, ring) = (BTreeMap::new(), RingTable::default());
        let (messages, rounds) = (Vec::new(), Vec::new());
        let mut stage = Self { nodes, ring, entries: 0, leader: None, messages, rounds, bug };
        for node in ['a', 'b', 'c'] {
            let node_of = stage.started(node, 1);
            stage.nodes.insert(node, node_of);
        }
        stage
    }

    fn started(&self, node: char, boot: u64) -> Node {
        let leases = HomeLeases::new(id(node), BootId(boot << 32));
        #[cfg(feature = "bugs")]
        let leases = leases.with_bug(self.bug);
        #[cfg(not(feature = "bugs"))]
        assert_eq!(self.bug, None);
        Node { leases, boot, home: None, leads: None }
    }

    fn play(&mut self, input: &str) -> String {
        let words: Vec<&str> = input.split_whitespace().collect();
        match words.as_slice() {
            [who, "enters"] => self.enter(who, true),
            [who, "enters,", "unreleased"] => self.enter(who, false),
            [who, "leaves"] => self.leave(who),
            [node, "starts", "again"] => {
                let node = letter(node);
                let started = self.started(node, self.nodes[&node].boot + 1);
                self.nodes.insert(node, started);
                String::new()
            }
            [now, rest @ ..] => self.at(LocalTime(now.parse().unwrap()), rest),
            [] => panic!("an empty input"),
        }
    }

    fn at(&mut self, now: LocalTime, words: &[&str]) -> String {
        match words {
            [node, "leads", "term", term] => {
                self.leader = Some(letter(node));
                self.lead(now, letter(node), Some(Term(term.parse().unwrap())))
            }
            [node, "leads", "no", "more"] => self.lead(now, letter(node), None),
            [node, "asks"] => {
                let node = letter(node);
                let home = self.nodes[&node].home.unwrap();
                self.act(now, node, |leases, at, out| {
                    leases.ask(at, now, home, out);
                })
            }
            ["message", number, "arrives"] => {
                let number: usize = number.parse().unwrap();
                let (from, to, message) = self.messages[number - 1];
                self.act(now, to, |leases, at, out| leases.receive(at, id(from), message, out))
            }
            ["round", number, how @ ..] => {
                let number: usize = number.parse().unwrap();
                let (node, round) = self.rounds[number - 1];
                let confirmed = how == ["is", "confirmed"];
                self.act(now, node, |leases, at, out| {
                    leases.round_ended(at, round, confirmed, out);
                })
            }
            [node, "ticks"] => self.act(now, letter(node), HomeLeases::tick),
            other => panic!("{other:?}"),
        }
    }

    fn lead(&mut self, now: LocalTime, node: char, leads: Option<Term>) -> String {
        self.nodes.get_mut(&node).unwrap().leads = leads;
        self.act(now, node, HomeLeases::tick)
    }

    fn act(
        &mut self,
        now: LocalTime,
        who: char,
        act: impl FnOnce(&mut HomeLeases, &Moment<'_>, &mut Vec<HomeLeaseOutput>),
    ) -> String {
        let node = self.nodes.get_mut(&who).unwrap();
        let (leads, leader, ring) = (node.leads, self.leader.map(id), &self.ring);
        let at = Moment { now, leads, leader, ring, rules: rules() };
        let mut out = Vec::new();
        act(&mut node.leases, &at, &mut out);
        out.into_iter().map(|output| self.say(who, output)).collect()
    }

    fn say(&mut self, node: char, output: HomeLeaseOutput) -> String {
        match output {
            HomeLeaseOutput::Send { to, message } => {
                let to = char::from(u8::try_from(to.0).unwrap());
                self.messages.push((node, to, message));
                let word = match message {
                    HomeLeaseMessage::Ask { .. } => "asks",
                    HomeLeaseMessage::Granted { .. } => "grants",
                };
                format!("message {}: {node} {word} {to}\n", self.messages.len())
            }
            HomeLeaseOutput::BeginRound(round) => {
                self.rounds.push((node, round));
                format!("round {} begins at {node}\n", self.rounds.len())
            }
            HomeLeaseOutput::Granted { sent_at, .. } => {
                let until = sent_at.plus(rules().home_lease_ms);
                format!("{node} may serve until {until}\n")
            }
            HomeLeaseOutput::Propose(RingOperation::Suspend { homes, term }) => {
                let homes: Vec<String> = homes.iter().map(|home| text(*home)).collect();
                format!("{node} proposes in term {term}: suspend {}\n", homes.join(" "))
            }
            HomeLeaseOutput::Propose(other) => panic!("{other:?}"),
        }
    }

    fn enter(&mut self, who: &str, released: bool) -> String {
        let (node, boot) = who.split_at(1);
        let node = letter(node);
        let process = Process { node: id(node), boot: BootId(boot.parse().unwrap()) };
        let name = NodeName(node.to_string());
        let entered = self.entry(process, Some(&name), &RingOperation::Enter);
        let RingOutcome::Entered(home) = entered else { panic!("{entered:?}") };
        self.nodes.get_mut(&node).unwrap().home = Some(home);
        let others: Vec<Incarnation> = self.ring.homes().filter(|of| *of != home).collect();
        for home in others.into_iter().filter(|_| released) {
            let epoch = self.ring.epoch();
            self.entry(home.process, None, &RingOperation::Release { home, epoch });
        }
        format!("{} is in service\n", text(home))
    }

    fn leave(&mut self, who: &str) -> String {
        let home = self.nodes[&letter(&who[..1])].home.unwrap();
        let left = self.entry(home.process, None, &RingOperation::Leave(home));
        assert_eq!(left, RingOutcome::Done);
        String::new()
    }

    fn entry(
        &mut self,
        sender: Process,
        name: Option<&NodeName>,
        operation: &RingOperation,
    ) -> RingOutcome {
        self.entries += 1;
        let rules = Rules { return_delay_ms: 0, ..rules() };
        let (index, term, now) = (Index(self.entries), Term(1), ClusterTime(0));
        self.ring.apply(&RingTurn { index, term, now, rules }, sender, name, operation)
    }
}

fn rules() -> Rules {
    Rules { session_ms: 60, home_lease_ms: 100, drift_ppm: 10_000, ..Rules::default() }
}

fn letter(text: &str) -> char {
    text.chars().next().unwrap()
}

fn id(node: char) -> NodeId {
    NodeId(u64::from(node))
}

fn text(home: Incarnation) -> String {
    let node = char::from(u8::try_from(home.process.node.0).unwrap());
    format!("{node}{}.{}", home.process.boot.0, home.returns)
}

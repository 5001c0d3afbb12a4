//! Golden scripts: text in, text out.
//!
//! A script is prose (`#`), inputs (`> `) and, under each input, what the table said. A home is written
//! `a1.0`: of node `a`, its process 1, returned 0 times. Every input with a time in front is an entry, with
//! the next index, of the term in force. `UPDATE_GOLDEN=1 cargo test -p dsync-core scripts` writes what
//! they say now; review it as a diff.
//!
//! ```text
//! > 0 a1 enter                           process 1 of node a, at cluster time 0
//! > 5 suspend a1.0 b1.0                  as the leader of the term in force; also: of term 3
//! > 5 a1 leave a1.0
//! > 5 release a1.0 up to 3
//! > term 2                               the entries that follow are of this term
//! > show
//! > home of k                            of a key
//! ```
//!
//! Nodes `a`, `b` and `c` are voters. The delay of return grows from 10 to 60.

use super::*;
use crate::cache::placement::Placement;
use crate::cache::value::Key;
use crate::golden;
use crate::types::BootId;

#[test]
fn scripts_say_what_they_said() {
    golden::check_scripts("src/cache/ring/scripts", 7, || {
        let mut stage = Stage::new(None);
        move |input: &str| stage.play(input)
    });
}

#[cfg(feature = "bugs")]
#[test]
fn every_bug_put_back_is_seen_in_its_script() {
    let scripts = [
        (Bug::EntersBesideFormer, "a_former_process_is_waited_for"),
        (Bug::SuspensionOutlivesTerm, "a_suspension_is_void_under_another_leader"),
    ];
    for (bug, name) in scripts {
        let script = format!("src/cache/ring/scripts/{name}.txt");
        let stage = || {
            let mut stage = Stage::new(Some(bug));
            move |input: &str| stage.play(input)
        };
        assert!(golden::differs(&script, stage), "{bug:?}");
    }
}

#[test]
fn a_placement_is_made_anew_only_when_it_changes() {
    let mut stage = Stage::new(None);
    let empty = RingPlacement::default();
    assert_eq!(empty.after(&stage.table), None);
    stage.play("0 a1 enter");
    let one = empty.after(&stage.table).unwrap();
    assert_eq!((one.epoch(), one.settled(), one.homes().len()), (1, true, 1));
    stage.play("0 b1 enter");
    let two = one.after(&stage.table).unwrap();
    assert!(!two.settled());
    assert_eq!(two.after(&stage.table), None);
    stage.play("0 release a1.0 up to 2");
    let settled = two.after(&stage.table).unwrap();
    assert_eq!((settled.epoch(), settled.settled()), (2, true));
    assert_eq!(settled, RingPlacement::of(&stage.table));
    let key = |number: u32| Key(format!("key {number}"));
    let moved = (0..1_000).filter(|number| one.home(&key(*number)) != two.home(&key(*number)));
    assert!((400..600).contains(&moved.count()), "an entering home takes its share");
}

struct Stage {
    table: RingTable,
    index: u64,
    term: u64,
    now: u64,
}

impl Stage {
    #[cfg_attr(not(feature = "bugs"), allow(unused_variables, unused_mut))]
    fn new(bug: Option<Bug>) -> Self {
        let mut table = RingTable::default();
        #[cfg(feature = "bugs")]
        table.put_back(bug);
        Self { table, index: 0, term: 1, now: 0 }
    }

    fn play(&mut self, input: &str) -> String {
        let words: Vec<&str> = input.split_whitespace().collect();
        match words.as_slice() {
            ["show"] => self.show(),
            ["home", "of", key] => {
                let home = RingPlacement::of(&self.table).home(&Key((*key).to_owned()));
                format!("{}\n", home.map_or("nobody".to_owned(), home_text))
            }
            ["term", term] => {
                self.term = term.parse().unwrap();
                String::new()
            }
            [time, rest @ ..] => self.entry(time, rest),
            [] => panic!("an empty input"),
        }
    }

    fn entry(&mut self, time: &str, words: &[&str]) -> String {
        self.now = self.now.max(time.parse().unwrap());
        self.index += 1;
        let rules = Rules { return_delay_ms: 10, return_delay_ms_max: 60, ..Rules::default() };
        let (index, term) = (Index(self.index), Term(self.term));
        let turn = RingTurn { index, term, now: ClusterTime(self.now), rules };
        let (sender, operation) = self.operation(words);
        let node = char::from(u8::try_from(sender.node.0).unwrap());
        let name = NodeName(node.to_string());
        let name = (node <= 'c').then_some(&name);
        let outcome = self.table.apply(&turn, sender, name, &operation);
        self.table.check_invariants().unwrap();
        outcome_text(&outcome)
    }

    fn operation(&self, words: &[&str]) -> (Process, RingOperation) {
        let leader = Process { node: NodeId(u64::from(b'a')), boot: BootId(1) };
        match words {
            [who, "enter"] => (process(who), RingOperation::Enter),
            [who, "leave", of] => (process(who), RingOperation::Leave(home(of))),
            ["release", of, "up", "to", epoch] => {
                let epoch = Index(epoch.parse().unwrap());
                (home(of).process, RingOperation::Release { home: home(of), epoch })
            }
            ["suspend", homes @ .., "of", "term", term] => {
                let homes = homes.iter().map(|of| home(of)).collect();
                (leader, RingOperation::Suspend { homes, term: Term(term.parse().unwrap()) })
            }
            ["suspend", homes @ ..] => {
                let homes = homes.iter().map(|of| home(of)).collect();
                (leader, RingOperation::Suspend { homes, term: Term(self.term) })
            }
            other => panic!("{other:?}"),
        }
    }

    fn show(&self) -> String {
        let mut out = format!("epoch {}", self.table.epoch());
        out.push_str(if self.table.settled() { ", settled\n" } else { "\n" });
        for of in self.table.homes.values() {
            let InService { home, lost_at, released, .. } = of;
            let home = home_text(*home);
            out.push_str(&format!("{home} lost keys at {lost_at}, released up to {released}\n"));
        }
        out
    }
}

fn process(text: &str) -> Process {
    let (node, boot) = text.split_at(1);
    Process { node: NodeId(u64::from(node.as_bytes()[0])), boot: BootId(boot.parse().unwrap()) }
}

fn home(text: &str) -> Incarnation {
    let (of, returns) = text.split_once('.').unwrap();
    Incarnation { process: process(of), returns: returns.parse().unwrap() }
}

fn home_text(home: Incarnation) -> String {
    let node = char::from(u8::try_from(home.process.node.0).unwrap());
    format!("{node}{}.{}", home.process.boot.0, home.returns)
}

fn outcome_text(outcome: &RingOutcome) -> String {
    match outcome {
        RingOutcome::Entered(home) => format!("entered as {}\n", home_text(*home)),
        RingOutcome::Done => "done\n".to_owned(),
        RingOutcome::Refused(RingRefusal::InService(home)) => {
            format!("refused: {} is in service\n", home_text(*home))
        }
        RingOutcome::Refused(refusal) => format!("refused: {refusal}\n"),
    }
}

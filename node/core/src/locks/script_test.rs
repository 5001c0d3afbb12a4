//! Golden scripts: text in, text out.
//!
//! A script is prose (`#`), inputs (`> `) and, under each input, what the table said. Times are
//! stamps in milliseconds. `UPDATE_GOLDEN=1 cargo test -p dsync-core scripts` writes what the table
//! says now; review it as a diff.
//!
//! ```text
//! > 0 ann asks x                   exclusive, no lease
//! > 0 ann asks x shared ttl 500    and: permits 2; several locks as x,y
//! > 5 ann returns x
//! > 9 mark                         an entry with nothing but its stamp
//! > show                           the table, and when it next has something to end
//! > rules lock_waiters_max=2
//! ```

use crate::golden as fs;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::types::{ClusterTime, Index};

#[test]
fn scripts_say_what_they_said() {
    let mut different = Vec::new();
    for path in scripts() {
        let golden = fs::read_to_string(&path).unwrap();
        let actual = run(&golden);
        if actual == golden {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, actual).unwrap();
        } else {
            different.push(format!("{}\n{actual}", path.display()));
        }
    }
    assert!(different.is_empty(), "scripts differ; they now read:\n{}", different.join("\n"));
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/locks/scripts");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "scripts are missing");
    paths
}

/// The script with its outputs replaced.
fn run(script: &str) -> String {
    let mut stage = Stage::new();
    let mut out = String::new();
    for line in script.lines() {
        if let Some(input) = line.strip_prefix("> ") {
            writeln!(out, "{line}").unwrap();
            out.push_str(&stage.play(input));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}

struct Stage {
    table: LockTable,
    rules: Rules,
    index: u64,
    now: ClusterTime,
}

impl Stage {
    fn new() -> Self {
        let rules = Rules {
            claim_window_ms: 10_000,
            lock_waiters_max: 100,
            owner_holds_max: 100,
            name_bytes_max: 20,
        };
        Self { table: LockTable::new(100), rules, index: 0, now: ClusterTime(0) }
    }

    fn play(&mut self, input: &str) -> String {
        let words: Vec<&str> = input.split_whitespace().collect();
        match words.as_slice() {
            ["show"] => self.show(),
            ["rules", rules @ ..] => self.change_rules(rules),
            [time, "mark"] => {
                self.start(time);
                String::new()
            }
            [time, owner, "asks", names, details @ ..] => {
                let ask = ask(owner, names, details);
                let mut turn = self.start(time);
                let outcome = self.table.acquire(&mut turn, &ask);
                self.table.check_invariants(self.now).unwrap();
                format!("{}\n", acquire_text(&outcome))
            }
            [time, owner, "returns", name] => {
                let release = Release { owner: named(owner), name: (*name).to_owned() };
                let mut turn = self.start(time);
                let outcome = self.table.release(&mut turn, &release);
                self.table.check_invariants(self.now).unwrap();
                format!("{outcome:?}\n")
            }
            _ => panic!("not a script line: {input}"),
        }
    }

    fn start(&mut self, time: &str) -> Turn {
        self.now = self.now.max(ClusterTime(time.parse().unwrap()));
        self.index += 1;
        let mut turn = Turn::new(Index(self.index), self.now, self.rules);
        self.table.advance(&mut turn);
        self.table.check_invariants(self.now).unwrap();
        turn
    }

    fn change_rules(&mut self, rules: &[&str]) -> String {
        for rule in rules {
            let (name, value) = rule.split_once('=').unwrap();
            match name {
                "lock_waiters_max" => self.rules.lock_waiters_max = value.parse().unwrap(),
                "owner_holds_max" => self.rules.owner_holds_max = value.parse().unwrap(),
                _ => panic!("no such rule: {name}"),
            }
        }
        String::new()
    }

    fn show(&self) -> String {
        let mut out = String::new();
        for lock in self.table.view(self.now).iter() {
            writeln!(out, "{}:", lock.name).unwrap();
            for holder in lock.holders {
                writeln!(out, "  {}", holder_text(&holder)).unwrap();
            }
            for waiter in lock.waiters {
                let (owner, mode) = (waiter.owner.name, waiter.mode);
                let end = waiter.place_ends_at;
                writeln!(out, "  {owner} waits for {mode:?} until {end}").unwrap();
            }
        }
        match self.table.next_due() {
            Some(due) => writeln!(out, "next end at {due}").unwrap(),
            None => writeln!(out, "nothing is timed").unwrap(),
        }
        out
    }
}

fn named(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

fn ask(owner: &str, names: &str, details: &[&str]) -> Acquire {
    let (mut mode, mut ttl_ms, mut permits) = (Mode::Exclusive, 0, 1);
    let mut details = details.iter();
    while let Some(detail) = details.next() {
        let mut number = || details.next().unwrap().parse().unwrap();
        match *detail {
            "shared" => mode = Mode::Shared,
            "ttl" => ttl_ms = number(),
            "permits" => permits = u32::try_from(number()).unwrap(),
            _ => panic!("not a detail: {detail}"),
        }
    }
    let names = names.split(',').filter(|name| *name != "nothing");
    let items =
        names.map(|name| LockItem { name: name.replace("TAB", "\t"), mode, permits }).collect();
    Acquire { owner: named(owner), items, ttl_ms }
}

fn acquire_text(outcome: &AcquireOutcome) -> String {
    match outcome {
        AcquireOutcome::Granted { hold, token, remaining_ms } => {
            let lease = remaining_ms.map_or(String::new(), |ms| format!(", {ms} ms left"));
            format!("granted {}.{}, token {token}{lease}", hold.index, hold.position)
        }
        AcquireOutcome::Waiting { ahead, holders } => {
            let holders: Vec<&str> = holders.iter().map(|owner| owner.name.as_str()).collect();
            format!("waits, {ahead} ahead, held by [{}]", holders.join(" "))
        }
        AcquireOutcome::Deadlock { cycle } => {
            let steps: Vec<String> =
                cycle.iter().map(|(owner, name)| format!("{} -{name}->", owner.name)).collect();
            format!("deadlock: {} {}", steps.join(" "), cycle[0].0.name)
        }
        AcquireOutcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

fn holder_text(holder: &HolderView) -> String {
    let kind = if holder.claimed { "holds" } else { "may claim" };
    let end = holder.ends_at.map_or(String::new(), |end| format!(", until {end}"));
    let id = format!("{}.{}", holder.hold.index, holder.hold.position);
    format!("{} {kind} {:?} {id}, token {}{end}", holder.owner.name, holder.mode, holder.token)
}

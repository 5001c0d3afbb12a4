//! Golden scripts: text in, text out.
//!
//! A script is prose (`#`), inputs (`> `) and, under each input, what the table said. Times are
//! stamps in milliseconds. `UPDATE_GOLDEN=1 cargo test -p dsync-core scripts` writes what the table
//! says now; review it as a diff.
//!
//! ```text
//! > 0 ann asks x                         exclusive, no lease, a place of 10 s if it has to wait
//! > 0 ann asks x shared ttl 500 try      and: via n1.7 (attachment 7 of process n1), default lease
//! > 0 ann asks x,y:shared,z:2/5          several locks; 2 of the 5 permits of z
//! > 5 ann returns x                      by name and owner
//! > 5 release 1.0                        by hold; also: renew 1.0 ttl 500, downgrade 1.0 of x,
//!                                        upgrade 1.0 of x [try] [ttl 500] [via n1.8]
//! > 5 renew-all ann ttl 500 expecting 1.0 2.0
//! > 5 force x because maintenance        revokes; also: now, hold 1.0 (before `because`)
//! > 5 leave n1.7                         also: attach n1.7
//! > 5 lose n1                            also: replace n1 (lost for good), resume n1
//! > 9 mark                               an entry with nothing but its stamp
//! > show                                 the table, and when it next has something to end
//! > graph                                who waits for whom
//! > events                               what has happened since the last time
//! > rules lock_waiters_max=2
//! > tokens from 9007199254740991         the next token
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::golden as fs;
use crate::types::{BootId, ClusterTime, Index};

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
    assert!(paths.len() > 60, "scripts are missing");
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
    events: Vec<LockEvent>,
}

impl Stage {
    fn new() -> Self {
        let rules = Rules {
            claim_window_ms: 10_000,
            lock_waiters_max: 100,
            owner_holds_max: 100,
            name_bytes_max: 20,
            default_lease_ms: 60_000,
            lease_ms_min: 1,
            lease_ms_max: 1_000_000,
            request_names_max: 4,
            permits_max: 100,
            presences_max: 1_000,
        };
        let (table, events) = (LockTable::new(100), Vec::new());
        Self { table, rules, index: 0, now: ClusterTime(0), events }
    }

    fn play(&mut self, input: &str) -> String {
        let words: Vec<&str> = input.split_whitespace().collect();
        match words.as_slice() {
            ["show"] => self.show(),
            ["graph"] => self.graph(),
            ["events"] => self.events.drain(..).map(|event| event_text(&event)).collect(),
            ["rules", rules @ ..] => self.change_rules(rules),
            ["tokens", "from", next] => {
                self.table.start_tokens(next.parse().unwrap());
                String::new()
            }
            [time, rest @ ..] => self.entry(time, rest),
            [] => panic!("an empty input"),
        }
    }

    /// One entry: time moves, then it acts.
    fn entry(&mut self, time: &str, words: &[&str]) -> String {
        self.now = self.now.max(ClusterTime(time.parse().unwrap()));
        self.index += 1;
        let mut turn = Turn::new(Index(self.index), self.now, self.rules);
        self.table.advance(&mut turn);
        self.table.check_invariants(self.now).unwrap();
        let said = self.act(&mut turn, words);
        self.table.check_invariants(self.now).unwrap();
        self.events.extend(turn.take_events());
        if said.is_empty() { said } else { format!("{said}\n") }
    }

    fn act(&mut self, turn: &mut Turn, words: &[&str]) -> String {
        let table = &mut self.table;
        match words {
            ["mark"] => String::new(),
            [owner, "asks", names, details @ ..] => {
                acquire_text(&table.acquire(turn, &ask(owner, names, &Details::of(details))))
            }
            [owner, "returns", name] => {
                let release = Release { owner: named(owner), name: (*name).to_owned() };
                format!("{:?}", table.release(turn, &release))
            }
            ["release", id, details @ ..] => {
                hold_text(&table.release_hold(turn, &Details::of(details).hold(id)))
            }
            ["downgrade", id, details @ ..] => {
                hold_text(&table.downgrade(turn, &Details::of(details).hold(id)))
            }
            ["renew", id, details @ ..] => {
                let details = Details::of(details);
                let renew = Renew { hold: details.hold(id), ttl_ms: details.ttl_ms };
                hold_text(&table.renew(turn, &renew))
            }
            ["upgrade", id, details @ ..] => {
                let details = Details::of(details);
                acquire_text(&table.upgrade(turn, &details.upgrade(id)))
            }
            ["renew-all", owner, details @ ..] => {
                let Details { ttl_ms, expected, .. } = Details::of(details);
                let renew = RenewAll { owner: named(owner), ttl_ms, expected };
                renew_all_text(&table.renew_all(turn, &renew))
            }
            ["force", name, details @ ..] => {
                let Details { hold, reason, now, .. } = Details::of(details);
                let (principal, name) = ("root".to_owned(), (*name).to_owned());
                let force = ForceRelease { principal, name, hold, reason, now };
                force_text(&table.force(turn, &force))
            }
            ["leave", attachment] => format!("{:?}", table.leave(turn, attached(attachment))),
            ["attach", attachment] => acquire_text(&table.attach(turn, attached(attachment))),
            ["lose", process] => {
                table.lose_listeners(turn, boot(process), false);
                String::new()
            }
            ["replace", process] => {
                table.lose_listeners(turn, boot(process), true);
                String::new()
            }
            ["resume", process] => {
                table.resume_listeners(turn, boot(process));
                String::new()
            }
            _ => panic!("not a script line: {words:?}"),
        }
    }

    fn change_rules(&mut self, rules: &[&str]) -> String {
        for rule in rules {
            let (name, value) = rule.split_once('=').unwrap();
            let number: u32 = value.parse().unwrap();
            match name {
                "lock_waiters_max" => self.rules.lock_waiters_max = number,
                "owner_holds_max" => self.rules.owner_holds_max = number,
                "presences_max" => self.rules.presences_max = number,
                "lease_ms_min" => self.rules.lease_ms_min = number.into(),
                _ => panic!("no such rule: {name}"),
            }
        }
        String::new()
    }

    fn show(&self) -> String {
        let mut out = String::new();
        for lock in self.table.view(self.now).iter() {
            let permits = lock.permits_max.map_or(String::new(), |max| format!(" ({max} permits)"));
            writeln!(out, "{}{permits}:", lock.name).unwrap();
            for holder in &lock.holders {
                writeln!(out, "  {}", holder_text(holder)).unwrap();
            }
            for waiter in &lock.waiters {
                writeln!(out, "  {}", waiter_text(waiter)).unwrap();
            }
        }
        match self.table.next_due() {
            Some(due) => writeln!(out, "next end at {due}").unwrap(),
            None => writeln!(out, "nothing is timed").unwrap(),
        }
        out
    }

    fn graph(&self) -> String {
        let mut out = String::new();
        for edge in self.table.view(self.now).graph() {
            let (waiter, blocker) = (edge.waiter.name, edge.blocker.name);
            let how = if edge.holds { "holds it" } else { "came before" };
            writeln!(out, "{waiter} -{}-> {blocker}, who {how}", edge.name).unwrap();
        }
        out
    }
}

/// Everything that a line may say after its subject.
#[derive(Default)]
struct Details {
    mode: Option<Mode>,
    ttl_ms: Option<u64>,
    patient: bool,
    attachment: Option<Attachment>,
    name: Option<String>,
    hold: Option<HoldId>,
    expected: Vec<HoldId>,
    reason: String,
    now: bool,
}

impl Details {
    fn of(words: &[&str]) -> Self {
        let mut details = Self { patient: true, ..Self::default() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut next = || *words.next().unwrap();
            match *word {
                "shared" => details.mode = Some(Mode::Shared),
                "ttl" => details.ttl_ms = Some(next().parse().unwrap()),
                "try" => details.patient = false,
                "via" => details.attachment = Some(attached(next())),
                "of" => details.name = Some(next().to_owned()),
                "hold" => details.hold = Some(id(next())),
                "now" => details.now = true,
                "because" => details.reason = words.by_ref().copied().collect::<Vec<_>>().join(" "),
                "expecting" => details.expected = words.by_ref().map(|word| id(word)).collect(),
                _ => panic!("not a detail: {word}"),
            }
        }
        details
    }

    fn hold(&self, hold: &str) -> HoldRef {
        let principal = "anonymous".to_owned();
        HoldRef { principal, hold: id(hold), name: self.name.clone() }
    }

    fn upgrade(&self, hold: &str) -> Upgrade {
        let (ttl_ms, queue, attachment) = (self.ttl_ms, self.patient, self.attachment);
        Upgrade { hold: self.hold(hold), ttl_ms, queue, attachment }
    }
}

fn named(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

fn id(text: &str) -> HoldId {
    let (index, position) = text.split_once('.').unwrap();
    HoldId { index: Index(index.parse().unwrap()), position: position.parse().unwrap() }
}

fn attached(text: &str) -> Attachment {
    let (process, number) = text.split_once('.').unwrap();
    Attachment { boot: boot(process), number: number.parse().unwrap() }
}

fn boot(process: &str) -> BootId {
    BootId(process.strip_prefix('n').unwrap().parse().unwrap())
}

/// Without a lease, unless the line says one.
fn ask(owner: &str, names: &str, details: &Details) -> Acquire {
    let names = names.split(',').filter(|name| *name != "nothing");
    let mode = details.mode.unwrap_or(Mode::Exclusive);
    Acquire {
        owner: named(owner),
        items: names.map(|name| item(name, mode)).collect(),
        ttl_ms: Some(details.ttl_ms.unwrap_or(0)),
        queue: details.patient,
        attachment: details.attachment,
    }
}

/// `x`, `x:shared`, `x:2/5`.
fn item(text: &str, mode: Mode) -> LockItem {
    let (name, how) = text.split_once(':').unwrap_or((text, ""));
    let name = name.replace("TAB", "\t");
    match how.split_once('/') {
        Some((permits, max)) => LockItem {
            name,
            mode: Mode::Permits,
            permits: permits.parse().unwrap(),
            permits_max: max.parse().unwrap(),
        },
        None => {
            let mode = if how == "shared" { Mode::Shared } else { mode };
            LockItem { name, mode, permits: 1, permits_max: 1 }
        }
    }
}

fn acquire_text(outcome: &AcquireOutcome) -> String {
    match outcome {
        AcquireOutcome::Granted { hold, tokens, remaining_ms } => {
            let tokens: Vec<String> = tokens.iter().map(u64::to_string).collect();
            let lease = remaining_ms.map_or(String::new(), |ms| format!(", {ms} ms left"));
            format!("granted {}, token {}{lease}", id_text(*hold), tokens.join(" "))
        }
        AcquireOutcome::Waiting { ahead, holders } => {
            format!("waits, {ahead} ahead, held by [{}]", names_text(holders))
        }
        AcquireOutcome::Held { holders } => format!("held by [{}]", names_text(holders)),
        AcquireOutcome::Deadlock { cycle } => {
            let steps: Vec<String> =
                cycle.iter().map(|(owner, name)| format!("{} -{name}->", owner.name)).collect();
            format!("deadlock: {} {}", steps.join(" "), cycle[0].0.name)
        }
        AcquireOutcome::Ended => "has ended".to_owned(),
        AcquireOutcome::Left => "waits no more".to_owned(),
        AcquireOutcome::Revoked { reason } => format!("revoked: {reason}"),
        AcquireOutcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

fn hold_text(outcome: &HoldOutcome) -> String {
    let left = |ms: &Option<u64>| ms.map_or("no lease".to_owned(), |ms| format!("{ms} ms left"));
    match outcome {
        HoldOutcome::Released => "released".to_owned(),
        HoldOutcome::Renewed { remaining_ms } => format!("renewed, {}", left(remaining_ms)),
        HoldOutcome::Downgraded { token, remaining_ms } => {
            format!("shared now, token {token}, {}", left(remaining_ms))
        }
        HoldOutcome::NotHeld => "no such hold".to_owned(),
        HoldOutcome::Revoked { reason } => format!("revoked: {reason}"),
        HoldOutcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

fn renew_all_text(outcome: &RenewAllOutcome) -> String {
    let kept = outcome.kept.iter().map(|(hold, left)| match left {
        Some(ms) => format!("{} ({ms} ms left)", id_text(*hold)),
        None => id_text(*hold),
    });
    let kept: Vec<String> = kept.collect();
    let ids = |ids: &[HoldId]| ids.iter().map(|it| id_text(*it)).collect::<Vec<_>>().join(" ");
    let (lost, revoked) = (ids(&outcome.lost), ids(&outcome.revoked));
    format!("kept [{}], lost [{lost}], revoked [{revoked}]", kept.join(" "))
}

fn force_text(outcome: &ForceOutcome) -> String {
    match outcome {
        ForceOutcome::Forced { count, holds } => {
            let holds: Vec<String> = holds.iter().map(|it| id_text(*it)).collect();
            format!("forced {count}: {}", holds.join(" "))
        }
        ForceOutcome::NotHeld => "no such hold".to_owned(),
        ForceOutcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

fn holder_text(holder: &HolderView) -> String {
    let kind = if holder.claim { "may claim" } else { "holds" };
    let end = holder.ends_at.map_or(String::new(), |end| format!(", until {end}"));
    let mode = mode_text(holder.mode, holder.permits);
    let revoked = if holder.revoked.is_some() { ", revoked" } else { "" };
    let (owner, id) = (&holder.owner.name, id_text(holder.hold));
    format!("{owner} {kind} {mode} {id}, token {}{end}{revoked}", holder.token)
}

fn waiter_text(waiter: &WaiterView) -> String {
    let (owner, mode) = (&waiter.owner.name, mode_text(waiter.mode, waiter.permits));
    let verb = if waiter.upgrade { "wishes for" } else { "waits for" };
    match waiter.place_ends_at {
        Some(end) => format!("{owner} {verb} {mode} until {end}"),
        None => format!("{owner} {verb} {mode}, and listens"),
    }
}

fn event_text(event: &LockEvent) -> String {
    let item = |item: &EventItem| {
        let token = if item.token == 0 { String::new() } else { format!(" token {}", item.token) };
        format!("{} {}{token}", item.name, mode_text(item.mode, item.permits))
    };
    let items: Vec<String> = event.items.iter().map(item).collect();
    let mut line = format!("  {:?} {}: {}", event.what, event.owner.name, items.join(", "));
    let mut say = |what: &str, text: Option<String>| {
        line.push_str(&text.map_or(String::new(), |text| format!("; {what} {text}")));
    };
    say("hold", event.hold.map(id_text));
    say("wait", event.wait.map(id_text));
    let attachment = event.attachment.map(|it| format!("n{}.{}", it.boot.0, it.number));
    say("via", attachment);
    say("after", (event.elapsed_ms > 0).then(|| format!("{} ms", event.elapsed_ms)));
    say("with", (!event.detail.is_empty()).then(|| event.detail.clone()));
    line.push('\n');
    line
}

fn mode_text(mode: Mode, permits: u32) -> String {
    match mode {
        Mode::Permits => format!("{permits} permits"),
        plain => format!("{plain:?}"),
    }
}

fn id_text(id: HoldId) -> String {
    format!("{}.{}", id.index, id.position)
}

fn names_text(owners: &[Owner]) -> String {
    owners.iter().map(|owner| owner.name.as_str()).collect::<Vec<_>>().join(" ")
}

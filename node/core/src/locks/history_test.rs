//! Random histories against an oracle that is too simple to be wrong.
//!
//! The oracle keeps plain lists, clears everything that has ended at once, decides grants by reading
//! the rule aloud, and finds deadlocks without paths: an owner that waits for nobody can go on, give
//! everything back, and so free others; who is never freed is in a knot. Table and oracle must give
//! the same answers and show the same locks after every step.

use std::collections::BTreeSet;

use super::*;
use crate::types::{ClusterTime, Index};

const HISTORIES: u64 = 20_000;
const STEPS: u32 = 24;
const WINDOW_MS: u64 = 40;

const RULES: Rules = Rules {
    claim_window_ms: WINDOW_MS,
    lock_waiters_max: 100,
    owner_holds_max: 100,
    name_bytes_max: 20,
};

#[test]
fn random_histories_agree_with_the_oracle() {
    let mut seen = Seen::default();
    for seed in 0..HISTORIES {
        let history = History::new(seed);
        if let Err(difference) = history.run(&mut seen) {
            panic!("history {seed}: {difference}");
        }
    }
    // A test that never met a deadlock would prove nothing about deadlocks.
    assert!(seen.deadlocks > 5_000, "{seen:?}");
    assert!(seen.long_cycles > 500, "{seen:?}");
    assert!(seen.waits > 50_000 && seen.grants > 50_000 && seen.claims > 5_000, "{seen:?}");
}

#[test]
fn rings_of_2_3_and_20_are_found_by_the_request_that_closes_them() {
    for length in [2, 3, 20] {
        let mut table = LockTable::new(1);
        let mut index = 0;
        let mut ask = |owner: usize, lock: usize| {
            index += 1;
            let mut turn = Turn::new(Index(index), ClusterTime(0), RULES);
            table.acquire(
                &mut turn,
                &request(&format!("o{owner}"), &format!("l{lock}"), Mode::Exclusive, 0),
            )
        };
        for i in 0..length {
            assert!(matches!(ask(i, i), AcquireOutcome::Granted { .. }));
        }
        for i in 0..length - 1 {
            assert!(matches!(ask(i, i + 1), AcquireOutcome::Waiting { .. }));
        }
        let AcquireOutcome::Deadlock { cycle } = ask(length - 1, 0) else { panic!("not found") };
        assert_eq!(cycle.len(), length);
        assert_eq!(cycle[0], (owner(&format!("o{}", length - 1)), "l0".to_owned()));
        table.check_invariants(ClusterTime(0)).unwrap();
    }
}

#[test]
fn ten_thousand_leases_that_end_at_once_are_cleared_a_bounded_number_per_entry() {
    let mut table = LockTable::new(1);
    let now = ClusterTime(0);
    for i in 0..100_000_u64 {
        let ttl_ms = if i % 10 == 0 { 5_000 + i % 1_000 } else { 600_000 };
        let mut turn = Turn::new(Index(i + 1), now, RULES);
        let ask = request(&format!("o{}", i % 5_000), &format!("l{i}"), Mode::Exclusive, ttl_ms);
        let rules = Rules { owner_holds_max: 1_000, ..RULES };
        turn.rules = rules;
        assert!(matches!(table.acquire(&mut turn, &ask), AcquireOutcome::Granted { .. }));
    }
    let now = ClusterTime(6_000);
    let ended = "l99990";
    assert!(table.view(ClusterTime(5_000)).get(ended).is_some());
    let mut entries = 0;
    while table.next_due().is_some_and(|due| due <= now) {
        let before = table.view(now).names();
        let mut turn = Turn::new(Index(200_000 + entries), now, RULES);
        table.advance(&mut turn);
        let cleared = before - table.view(now).names();
        assert!(cleared <= ENDS_PER_ENTRY_MAX, "{cleared} in one entry");
        assert!(table.view(now).get(ended).is_none(), "an ended hold is shown");
        if entries == 0 {
            let ask = request("newcomer", ended, Mode::Exclusive, 0);
            assert!(matches!(table.acquire(&mut turn, &ask), AcquireOutcome::Granted { .. }));
            let release = Release { owner: owner("newcomer"), name: ended.to_owned() };
            assert_eq!(table.release(&mut turn, &release), ReleaseOutcome::Released);
        }
        entries += 1;
    }
    assert_eq!(table.view(now).names(), 90_000);
    assert_eq!(entries, 10_000_u64.div_ceil(ENDS_PER_ENTRY_MAX as u64));
    table.check_invariants(now).unwrap();
}

#[test]
fn a_waiter_is_not_passed_while_the_end_it_waits_for_is_still_to_be_cleared() {
    let mut table = LockTable::new(1);
    for i in 0..1_000_u64 {
        let mut turn = Turn::new(Index(i + 1), ClusterTime(0), RULES);
        table.acquire(
            &mut turn,
            &request(&format!("o{i}"), &format!("l{i:03}"), Mode::Exclusive, 10),
        );
    }
    let mut turn = Turn::new(Index(2_000), ClusterTime(5), RULES);
    let waits = table.acquire(&mut turn, &request("early", "l999", Mode::Exclusive, 0));
    assert!(matches!(waits, AcquireOutcome::Waiting { .. }));
    let mut turn = Turn::new(Index(2_001), ClusterTime(10), RULES);
    table.advance(&mut turn);
    assert_eq!(table.next_due(), Some(ClusterTime(10)), "some are left");
    let late = table.acquire(&mut turn, &request("late", "l999", Mode::Exclusive, 0));
    assert_eq!(late, AcquireOutcome::Waiting { ahead: 0, holders: vec![owner("early")] });
    let end = table.release(&mut turn, &Release { owner: owner("o998"), name: "l998".to_owned() });
    assert_eq!(end, ReleaseOutcome::NotHolder, "its lease has ended, cleared or not");
    table.check_invariants(ClusterTime(10)).unwrap();
}

/// What the histories met.
#[derive(Debug, Default)]
struct Seen {
    grants: u32,
    waits: u32,
    deadlocks: u32,
    long_cycles: u32,
    claims: u32,
}

struct History {
    dice: Dice,
    table: LockTable,
    oracle: Oracle,
    index: u64,
    now: u64,
    owners: u64,
    locks: u64,
    leases: bool,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (owners, locks, leases) = (2 + dice.below(5), 1 + dice.below(5), dice.below(2) == 0);
        let (table, oracle) = (LockTable::new(1), Oracle::default());
        Self { dice, table, oracle, index: 0, now: 0, owners, locks, leases }
    }

    fn run(mut self, seen: &mut Seen) -> Result<(), String> {
        for step in 0..STEPS {
            self.step(seen).map_err(|difference| format!("step {step}: {difference}"))?;
        }
        self.table.check_invariants(ClusterTime(self.now))
    }

    fn step(&mut self, seen: &mut Seen) -> Result<(), String> {
        if self.leases {
            self.now += self.dice.below(12);
        }
        self.index += 1;
        let mut turn = Turn::new(Index(self.index), ClusterTime(self.now), RULES);
        self.table.advance(&mut turn);
        self.oracle.advance(self.now);
        let who = format!("o{}", self.dice.below(self.owners));
        let name = format!("l{}", self.dice.below(self.locks));
        if self.dice.below(4) == 0 {
            let release = Release { owner: owner(&who), name: name.clone() };
            let actual = self.table.release(&mut turn, &release);
            let expected = self.oracle.release(&who, &name, self.now);
            same("release", &actual, &expected)?;
        } else {
            let mode = if self.dice.below(2) == 0 { Mode::Exclusive } else { Mode::Shared };
            let ttl_ms =
                if self.leases { self.dice.below(2) * (1 + self.dice.below(60)) } else { 0 };
            let actual = self.table.acquire(&mut turn, &request(&who, &name, mode, ttl_ms));
            let before = self.oracle.clone();
            let expected = self.oracle.acquire(&who, &name, mode, ttl_ms, self.now);
            same("acquire", &kind(&actual), &expected)?;
            count(seen, &actual);
            if let AcquireOutcome::Deadlock { cycle } = &actual {
                before.check_cycle(cycle, &who, &name, mode)?;
            }
        }
        let shown = shown(&self.table, self.now);
        seen.claims += u32::from(shown.contains("claim"));
        same("locks", &shown, &self.oracle.shown())
    }
}

fn count(seen: &mut Seen, outcome: &AcquireOutcome) {
    match outcome {
        AcquireOutcome::Granted { .. } => seen.grants += 1,
        AcquireOutcome::Waiting { .. } => seen.waits += 1,
        AcquireOutcome::Deadlock { cycle } => {
            seen.deadlocks += 1;
            seen.long_cycles += u32::from(cycle.len() > 2);
        }
        AcquireOutcome::Refused(_) => {}
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, table: &T, oracle: &T) -> Result<(), String> {
    if table == oracle {
        return Ok(());
    }
    Err(format!("{what}: the table says\n{table:?}\nthe oracle says\n{oracle:?}"))
}

fn kind(outcome: &AcquireOutcome) -> String {
    match outcome {
        AcquireOutcome::Granted { token, remaining_ms, .. } => {
            format!("granted {token} {remaining_ms:?}")
        }
        AcquireOutcome::Waiting { ahead, .. } => format!("waits {ahead}"),
        AcquireOutcome::Deadlock { .. } => "deadlock".to_owned(),
        AcquireOutcome::Refused(refusal) => refusal.to_string(),
    }
}

fn shown(table: &LockTable, now: u64) -> String {
    let mut out = String::new();
    for lock in table.view(ClusterTime(now)).iter() {
        for holder in lock.holders {
            let claim = if holder.claimed { "holds" } else { "claims" };
            let end = holder.ends_at.map(|end| end.0);
            let (who, mode, token) = (holder.owner.name, holder.mode, holder.token);
            out += &format!("{} {who} {claim} {mode:?} {token} {end:?}\n", lock.name);
        }
        for waiter in lock.waiters {
            let (who, mode, end) = (waiter.owner.name, waiter.mode, waiter.place_ends_at);
            out += &format!("{} {who} waits {mode:?} {end}\n", lock.name);
        }
    }
    out
}

/// One hold or one wait.
#[derive(Clone, Debug)]
struct Fact {
    name: String,
    who: String,
    mode: Mode,
    ends_at: Option<u64>,
    /// `None`: waits.
    token: Option<u64>,
    claim: bool,
}

/// The rules, as plainly as they can be written. Waits stand in the order of coming.
#[derive(Clone, Debug, Default)]
struct Oracle {
    holds: Vec<Fact>,
    waits: Vec<Fact>,
    tokens: u64,
}

fn clash(a: Mode, b: Mode) -> bool {
    !(a == Mode::Shared && b == Mode::Shared)
}

impl Oracle {
    fn advance(&mut self, now: u64) {
        let over = |fact: &Fact| fact.ends_at.is_some_and(|end| end <= now);
        self.holds.retain(|fact| !over(fact));
        self.waits.retain(|fact| !over(fact));
        self.grant_all(now);
    }

    fn acquire(&mut self, who: &str, name: &str, mode: Mode, ttl: u64, now: u64) -> String {
        let new_end = (ttl > 0).then(|| now + ttl);
        let mine = |fact: &&mut Fact| fact.who == who && fact.name == name;
        if let Some(hold) = self.holds.iter_mut().find(mine) {
            if hold.mode == Mode::Shared && mode == Mode::Exclusive {
                return "upgrade not supported".to_owned();
            }
            let no_end = hold.ends_at.is_none() || new_end.is_none();
            hold.ends_at = match hold.claim {
                true => new_end,
                false if no_end => None,
                false => hold.ends_at.max(new_end),
            };
            hold.claim = false;
            let left = hold.ends_at.map(|end| if ttl > 0 { ttl.min(end - now) } else { end - now });
            return format!("granted {} {left:?}", hold.token.unwrap());
        }
        if let Some(wait) = self.waits.iter_mut().find(mine) {
            if wait.mode != mode {
                return "this owner already waits for this lock in the other mode".to_owned();
            }
            wait.ends_at = Some(now + WINDOW_MS);
            return format!("waits {}", self.ahead(who, name));
        }
        let wait = Fact {
            name: name.to_owned(),
            who: who.to_owned(),
            mode,
            ends_at: Some(now + WINDOW_MS),
            token: None,
            claim: false,
        };
        self.waits.push(wait);
        if self.reasons(self.waits.len() - 1).is_empty() {
            let fact = self.waits.pop().unwrap();
            let token = self.token_for(&fact);
            self.holds.push(Fact { token: Some(token), ends_at: new_end, ..fact });
            return format!("granted {token} {:?}", (ttl > 0).then_some(ttl));
        }
        if self.is_stuck(who) {
            self.waits.pop();
            return "deadlock".to_owned();
        }
        format!("waits {}", self.ahead(who, name))
    }

    fn release(&mut self, who: &str, name: &str, now: u64) -> ReleaseOutcome {
        let (holds, waits) = (self.holds.len(), self.waits.len());
        let other = |fact: &Fact| fact.who != who || fact.name != name;
        self.holds.retain(other);
        self.waits.retain(other);
        let outcome = if self.holds.len() < holds {
            ReleaseOutcome::Released
        } else if self.waits.len() < waits {
            ReleaseOutcome::LeftQueue
        } else {
            ReleaseOutcome::NotHolder
        };
        self.grant_all(now);
        outcome
    }

    /// Lock by lock in the order of names, as entries grant.
    fn grant_all(&mut self, now: u64) {
        let names: BTreeSet<String> = self.waits.iter().map(|wait| wait.name.clone()).collect();
        for name in names {
            while let Some(at) = (0..self.waits.len())
                .find(|at| self.waits[*at].name == name && self.reasons(*at).is_empty())
            {
                let fact = self.waits.remove(at);
                let token = Some(self.token_for(&fact));
                let ends_at = Some(now + WINDOW_MS);
                self.holds.push(Fact { token, ends_at, claim: true, ..fact });
            }
        }
    }

    /// Every holder and every earlier waiter that excludes this wait.
    fn reasons(&self, at: usize) -> BTreeSet<String> {
        let wait = &self.waits[at];
        let before = self.holds.iter().chain(&self.waits[..at]);
        let against = before.filter(|fact| fact.name == wait.name && clash(fact.mode, wait.mode));
        against.map(|fact| fact.who.clone()).collect()
    }

    /// Nobody who can go on will ever free this owner.
    fn is_stuck(&self, who: &str) -> bool {
        let mut stuck: BTreeSet<&str> = self.waits.iter().map(|wait| wait.who.as_str()).collect();
        loop {
            let can_go_on = |one: &str| {
                (0..self.waits.len()).filter(|at| self.waits[*at].who == one).all(|at| {
                    self.reasons(at).iter().all(|reason| !stuck.contains(reason.as_str()))
                })
            };
            let Some(free) = stuck.iter().copied().find(|one| can_go_on(one)) else { break };
            stuck.remove(free);
        }
        stuck.contains(who)
    }

    fn token_for(&mut self, fact: &Fact) -> u64 {
        let group = self.holds.iter().find(|hold| hold.name == fact.name);
        if let Some(reader) = group.filter(|_| fact.mode == Mode::Shared) {
            return reader.token.unwrap();
        }
        self.tokens += 1;
        self.tokens
    }

    fn ahead(&self, who: &str, name: &str) -> usize {
        let queue = self.waits.iter().filter(|wait| wait.name == name);
        queue.take_while(|wait| wait.who != who).count()
    }

    /// Each named owner really waits for the next, for the lock that is named.
    fn check_cycle(
        mut self,
        cycle: &[(Owner, String)],
        who: &str,
        name: &str,
        mode: Mode,
    ) -> Result<(), String> {
        let (name, who) = (name.to_owned(), who.to_owned());
        let first = cycle[0].0.name == who && cycle[0].1 == name;
        self.waits.push(Fact { name, who, mode, ends_at: None, token: None, claim: false });
        let mut next = cycle.iter().cycle().skip(1);
        let holds = cycle.iter().all(|(owner, name)| {
            let next = &next.next().unwrap().0.name;
            (0..self.waits.len()).any(|at| {
                let wait = &self.waits[at];
                wait.who == owner.name && wait.name == *name && self.reasons(at).contains(next)
            })
        });
        if first && holds { Ok(()) } else { Err(format!("the cycle named is none: {cycle:?}")) }
    }

    fn shown(&self) -> String {
        let facts = self.holds.iter().chain(&self.waits);
        let names: BTreeSet<&str> = facts.map(|fact| fact.name.as_str()).collect();
        let mut out = String::new();
        for name in names {
            let mut holds: Vec<&Fact> =
                self.holds.iter().filter(|hold| hold.name == name).collect();
            holds.sort_by(|a, b| a.who.cmp(&b.who));
            for Fact { who, mode, ends_at, token, claim, .. } in holds {
                let claim = if *claim { "claims" } else { "holds" };
                out += &format!("{name} {who} {claim} {mode:?} {} {ends_at:?}\n", token.unwrap());
            }
            for wait in self.waits.iter().filter(|wait| wait.name == name) {
                let (who, mode, end) = (&wait.who, wait.mode, wait.ends_at.unwrap());
                out += &format!("{name} {who} waits {mode:?} {end}\n");
            }
        }
        out
    }
}

/// A small seeded generator (splitmix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

fn request(who: &str, name: &str, mode: Mode, ttl_ms: u64) -> Acquire {
    let item = LockItem { name: name.to_owned(), mode, permits: 1 };
    Acquire { owner: owner(who), items: vec![item], ttl_ms }
}

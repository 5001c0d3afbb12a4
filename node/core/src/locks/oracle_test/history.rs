//! Random histories: what is asked is chosen by dice that know what there is to ask about.

use super::oracle::{Hold, Oracle};
use super::seen::Seen;
use super::shrink;
use super::stage::Stage;
use super::world::{Act, Ask, Part, RULES, Step, Which, permits, plain};
use crate::dice::Dice;
use crate::locks::{Attachment, HoldId, Mode, Rules};
use crate::types::{BootId, Index};

/// Plays the history of `seed`.
///
/// # Errors
/// The first difference, with a minimal script that shows it.
pub(super) fn play(seed: u64, seen: &mut Seen) -> Result<(), String> {
    let mut history = History::new(seed);
    let mut stage = Stage::new(history.mix.rules);
    let mut steps = Vec::new();
    for _ in 0..history.mix.steps {
        steps.push(history.step(&stage.oracle));
        let Some(step) = steps.last() else { continue };
        if let Err(difference) = shrink::guarded(|| stage.play(step, seen)) {
            let script = shrink::minimal(history.mix.rules, steps, &difference);
            return Err(format!("history {seed}: {script}"));
        }
    }
    Ok(())
}

/// What kind of history it is. Shares are of 100.
struct Mix {
    rules: Rules,
    steps: u64,
    owners: u64,
    /// For each lock its permits; 0: a plain one.
    locks: Vec<u32>,
    shared: u64,
    several: u64,
    attached: u64,
    /// Time passes.
    timed: bool,
    /// Nearly everything is asked for and little given back, so that knots are tied.
    greedy: bool,
}

impl Mix {
    fn new(dice: &mut Dice) -> Self {
        let mut rules = RULES;
        match dice.below(16) {
            0 => rules.lock_waiters_max = 1 + dice.small(2),
            1 => rules.owner_holds_max = 2 + dice.small(2),
            2 => rules.presences_max = 4 + dice.small(3),
            _ => {}
        }
        let semaphores = dice.pick(&[0, 0, 0, 30, 50, 100]);
        let lock = |dice: &mut Dice| if dice.share(semaphores) { 1 + dice.small(4) } else { 0 };
        Self {
            rules,
            steps: 16 + dice.below(25),
            owners: 2 + dice.below(5),
            locks: (0..=dice.below(5)).map(|_| lock(dice)).collect(),
            shared: dice.pick(&[0, 30, 50, 50, 80]),
            several: dice.pick(&[0, 0, 20, 40, 80]),
            attached: dice.pick(&[0, 50, 80, 100]),
            timed: dice.share(60),
            greedy: dice.share(40),
        }
    }
}

struct History {
    dice: Dice,
    mix: Mix,
    index: u64,
    now: u64,
    /// The process of each node.
    boots: [BootId; 2],
    attachments: Vec<Attachment>,
    ids: Vec<HoldId>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mix = Mix::new(&mut dice);
        let (index, now, boots) = (0, 0, [BootId(1), BootId(2)]);
        Self { dice, mix, index, now, boots, attachments: Vec::new(), ids: Vec::new() }
    }

    fn step(&mut self, oracle: &Oracle) -> Step {
        self.index += 1;
        if self.mix.timed {
            self.pass_time(oracle);
        }
        let live = oracle.holds.iter().map(|hold| hold.id).filter(|id| !self.ids.contains(id));
        let live: Vec<HoldId> = live.collect();
        self.ids.extend(live);
        Step { index: self.index, now: self.now, act: self.act(oracle) }
    }

    /// Often not at all, often to the very stamp at which something ends, or one short of it.
    fn pass_time(&mut self, oracle: &Oracle) {
        match self.dice.below(10) {
            0..=1 => self.now = oracle.next_due().unwrap_or(self.now).max(self.now),
            2 => self.now = oracle.next_due().unwrap_or(self.now).max(self.now + 1) - 1,
            3..=4 => self.now += self.dice.below(15),
            _ => {}
        }
    }

    fn act(&mut self, oracle: &Oracle) -> Act {
        let asks = if self.mix.greedy { 200 } else { 50 };
        match self.dice.below(asks + 60) {
            0..8 => self.ask_again(oracle),
            8..14 => self.ask_differently(oracle),
            14..20 => Act::Return { who: self.who(), name: self.name() },
            20..24 => Act::Release(self.which(oracle)),
            24..27 => Act::Renew(self.which(oracle), self.ttl()),
            27..29 => self.renew_all(oracle),
            29..36 => self.upgrade(oracle),
            36..39 => Act::Downgrade(self.which_named(oracle)),
            39..42 => self.force(oracle),
            42..47 => self.heard_of(oracle).map_or(Act::Mark, Act::Leave),
            47..52 => self.heard_of(oracle).map_or(Act::Mark, Act::Attach),
            52..55 => self.lose(),
            55..57 => Act::Resume(self.dice.pick(&self.boots)),
            57 => self.malformed(),
            58 => Act::Mark,
            _ => Act::Ask(self.ask()),
        }
    }

    /// For good: the node has a new process, and nothing ever comes from the old one again.
    fn lose(&mut self) -> Act {
        let at = self.dice.index(self.boots.len());
        let (boot, for_good) = (self.boots[at], self.dice.share(20));
        if for_good {
            self.boots[at] = BootId(boot.0 + 10);
            self.attachments.retain(|attachment| attachment.boot != boot);
        }
        Act::Lose { boot, for_good }
    }

    fn ask(&mut self) -> Ask {
        let names = if self.dice.share(self.mix.several) { 2 + self.dice.below(2) } else { 1 };
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..names {
            let name = self.name();
            let part = self.part(name);
            if parts.iter().all(|other| other.name != part.name) {
                parts.push(part);
            }
        }
        parts.sort_by_key(|part| part.name);
        let (who, ttl, queue, via) = (self.who(), self.ttl(), !self.dice.share(7), self.via());
        Ask { who, parts, ttl, queue, via }
    }

    /// Rarely of another kind than most ask for.
    fn part(&mut self, name: usize) -> Part {
        let max = match self.dice.below(50) {
            0 => self.dice.small(5),
            _ => self.mix.locks[name],
        };
        if max > 0 {
            return permits(name, 1 + self.dice.small(max), max);
        }
        let shared = self.dice.share(self.mix.shared);
        plain(name, if shared { Mode::Shared } else { Mode::Exclusive })
    }

    /// A request that holds or waits, once more.
    fn ask_again(&mut self, oracle: &Oracle) -> Act {
        let holds = oracle.holds.iter().map(|hold| (hold.who, &hold.parts));
        let requests = holds.chain(oracle.waits.iter().map(|wait| (wait.who, &wait.parts)));
        let requests: Vec<_> = requests.collect();
        if requests.is_empty() {
            return Act::Ask(self.ask());
        }
        let (who, parts) = self.dice.pick(&requests);
        let (ttl, queue, via) = (self.ttl(), !self.dice.share(15), self.via());
        let parts = parts.iter().map(|part| Part { token: 0, ..*part }).collect();
        Act::Ask(Ask { who, parts, ttl, queue, via })
    }

    /// A request that holds or waits, with something changed.
    fn ask_differently(&mut self, oracle: &Oracle) -> Act {
        let Act::Ask(mut ask) = self.ask_again(oracle) else { return Act::Mark };
        let at = self.dice.index(ask.parts.len());
        let part = &mut ask.parts[at];
        match part.mode {
            _ if self.dice.share(20) => {
                ask.parts.remove(at);
                let another = self.name();
                let another = self.part(another);
                ask.parts.retain(|part| part.name != another.name);
                ask.parts.push(another);
                ask.parts.sort_by_key(|part| part.name);
            }
            Mode::Exclusive => part.mode = Mode::Shared,
            Mode::Shared => part.mode = Mode::Exclusive,
            Mode::Permits => part.permits = 1 + self.dice.small(part.max),
        }
        Act::Ask(ask)
    }

    fn malformed(&mut self) -> Act {
        let mut ask = self.ask();
        match self.dice.below(6) {
            0 => ask.parts.clear(),
            1 => ask.parts.push(ask.parts[0]),
            2 => ask.parts[0] = permits(ask.parts[0].name, 0, 2),
            3 => ask.parts[0] = permits(ask.parts[0].name, 3, 2),
            4 => ask.parts[0] = permits(ask.parts[0].name, 1, RULES.permits_max + 1),
            _ => ask.ttl = Some(RULES.lease_ms_max + 1),
        }
        Act::Ask(ask)
    }

    fn upgrade(&mut self, oracle: &Oracle) -> Act {
        let which = self.which_named(oracle);
        let (ttl, queue, via) = (self.ttl(), !self.dice.share(10), self.via());
        Act::Upgrade { which, ttl, queue, via }
    }

    fn renew_all(&mut self, oracle: &Oracle) -> Act {
        let (who, ttl) = (self.who(), self.ttl());
        let mut expected: Vec<HoldId> =
            oracle.holds.iter().filter(|hold| hold.who == who).map(|hold| hold.id).collect();
        for _ in 0..self.dice.below(3) {
            if !self.ids.is_empty() {
                expected.push(self.dice.pick(&self.ids));
            }
        }
        expected.sort_unstable();
        expected.dedup();
        Act::RenewAll { who, ttl, expected }
    }

    fn force(&mut self, oracle: &Oracle) -> Act {
        let which = self.which_named(oracle);
        let hold = self.dice.share(50).then_some(which.hold);
        let name = which.name.unwrap_or(0);
        Act::Force { name, hold, at_once: self.dice.share(40), reasoned: !self.dice.share(3) }
    }

    /// Mostly a hold that is, sometimes one that was, seldom somebody else's or of another name.
    fn which(&mut self, oracle: &Oracle) -> Which {
        let Which { hold, name, stranger } = self.which_named(oracle);
        Which { hold, name: name.filter(|_| self.dice.share(20)), stranger }
    }

    fn which_named(&mut self, oracle: &Oracle) -> Which {
        let stranger = self.dice.share(2);
        if oracle.holds.is_empty() || self.dice.share(6) {
            let none = HoldId { index: Index(9_999), position: 0 };
            let hold = if self.ids.is_empty() { none } else { self.dice.pick(&self.ids) };
            return Which { hold, name: Some(self.name()), stranger };
        }
        let at = self.dice.index(oracle.holds.len());
        let hold = &oracle.holds[at];
        let names: Vec<usize> = hold.parts.iter().map(|part| part.name).collect();
        let name = if self.dice.share(3) { self.name() } else { self.dice.pick(&names) };
        Which { hold: hold.id, name: Some(name), stranger }
    }

    fn heard_of(&mut self, oracle: &Oracle) -> Option<Attachment> {
        let told = oracle.holds.iter().flat_map(Hold::told_attachments);
        let wishes = oracle.holds.iter().filter_map(|hold| hold.wish?.ear.attachment);
        let waits = oracle.waits.iter().filter_map(|wait| wait.ear.attachment);
        let newest = told.chain(wishes).chain(waits);
        let newest: Vec<Attachment> =
            newest.filter(|attachment| self.boots.contains(&attachment.boot)).collect();
        let any =
            if newest.is_empty() || self.dice.share(20) { &self.attachments } else { &newest };
        if any.is_empty() { None } else { Some(self.dice.pick(any)) }
    }

    fn via(&mut self) -> Option<Attachment> {
        if !self.dice.share(self.mix.attached) {
            return None;
        }
        let attachment = Attachment { boot: self.dice.pick(&self.boots), number: self.index };
        self.attachments.push(attachment);
        Some(attachment)
    }

    fn ttl(&mut self) -> Option<u64> {
        match self.dice.below(8) {
            _ if !self.mix.timed => Some(0),
            0..3 => Some(0),
            3 => None,
            _ => Some(1 + self.dice.below(60)),
        }
    }

    fn who(&mut self) -> usize {
        usize::try_from(self.dice.below(self.mix.owners)).unwrap_or(0)
    }

    fn name(&mut self) -> usize {
        self.dice.index(self.mix.locks.len())
    }
}

//! One name for what is one world.
//!
//! The checker counts two states as one only if they are equal. So before it sees a state: moments are
//! counted from now; requests, sessions and versions are renamed in their order; messages that nobody
//! will act on any more are lost. What remains is finite, however long time goes on.

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::cache::{
    CacheMessage, Condition, Incarnation, Names, Process, Version, WriteOutcome,
};
use dsync_core::types::LocalTime;

use super::network::{Network, Packet};
use super::world::World;

/// The present moment in every world.
pub const NOW: u64 = 100;
/// So far from now that it never comes.
pub const FAR: u64 = 1_000;
/// Beyond any lease of a model.
const BEYOND_LEASES: u64 = 50;

/// Brings the world, in which it is `now`, into its one form.
pub fn normalise(world: &mut World, now: u64) {
    lose_what_is_ignored(world);
    let mut collected = Collected::default();
    visit(world, &mut collected);
    collect_last_writes(world, &mut collected);
    visit(world, &mut Renamed { collected, now });
}

fn lose_what_is_ignored(world: &mut World) {
    let mut network = std::mem::take(&mut world.network);
    network.retain(|packet| world.expects(packet));
    for node in &mut world.nodes {
        let process = node.process;
        node.caches.forget_renewals(|request| speaks_of_renewal(&network, process, request));
    }
    world.network = network;
}

fn speaks_of_renewal(network: &Network, process: Process, number: u64) -> bool {
    network.iter().any(|packet| match packet.message {
        CacheMessage::Renew { request, .. } => packet.from == process && request == number,
        CacheMessage::Granted { request, .. } => packet.to == process && request == number,
        _ => false,
    })
}

fn collect_last_writes(world: &World, collected: &mut Collected) {
    for packet in world.network.iter() {
        if let CacheMessage::Write { request, .. } = packet.message {
            collected.writes.entry(packet.from).or_default().insert(request);
        }
    }
}

fn visit(world: &mut World, names: &mut impl Names) {
    for node in &mut world.nodes {
        node.caches.rename(names);
        node.open.values_mut().for_each(|open| names.version(&mut open.floor));
        node.seen.iter_mut().for_each(|seen| names.version(seen));
        node.readable.iter_mut().for_each(|version| names.version(version));
    }
    names.version(&mut world.rest.floor);
    world.rest.leader.rename(names);
    world.network.rewrite(|packet| rename_packet(packet, names));
}

fn rename_packet(packet: &mut Packet, names: &mut impl Names) {
    let (from, to) = (packet.from, packet.to);
    let home = packet.message.home();
    match &mut packet.message {
        CacheMessage::Renew { request, session, .. }
        | CacheMessage::Get { request, session, .. } => {
            names.request(from, request);
            session.iter_mut().for_each(|number| names.session(home, from, number));
        }
        CacheMessage::Granted { request, session, .. } => {
            names.request(to, request);
            names.session(home, to, session);
        }
        CacheMessage::Value { request, found, .. } => {
            names.request(to, request);
            found.iter_mut().for_each(|found| names.version(&mut found.version));
        }
        CacheMessage::Invalidate { session, below, .. } => {
            names.session(home, to, session);
            names.version(below);
        }
        CacheMessage::Invalidated { session, .. } => names.session(home, from, session),
        CacheMessage::Write { request, write, .. } => {
            names.request(from, request);
            if let Condition::Version(version) = &mut write.condition {
                names.version(version);
            }
        }
        CacheMessage::Written { request, outcome, .. } => {
            names.request(to, request);
            match outcome {
                WriteOutcome::Done(version) | WriteOutcome::ConditionFailed(Some(version)) => {
                    names.version(version);
                }
                _ => {}
            }
        }
        CacheMessage::Refused { request, .. } => names.request(to, request),
    }
}

/// Every number in use.
#[derive(Default)]
struct Collected {
    requests: BTreeMap<Process, BTreeSet<u64>>,
    writes: BTreeMap<Process, BTreeSet<u64>>,
    sessions: BTreeMap<(Incarnation, Process), BTreeSet<u64>>,
    versions: BTreeMap<u64, BTreeSet<u64>>,
}

impl Names for Collected {
    fn time(&mut self, _at: &mut LocalTime, _memory_ms: u64) {}

    fn request(&mut self, process: Process, number: &mut u64) {
        self.requests.entry(process).or_default().insert(*number);
    }

    fn session(&mut self, home: Incarnation, sharer: Process, number: &mut u64) {
        self.sessions.entry((home, sharer)).or_default().insert(*number);
    }

    fn version(&mut self, version: &mut Version) {
        self.versions.entry(version.epoch).or_default().insert(version.number);
    }

    fn last_request(&mut self, _process: Process, _number: &mut u64) {}

    fn last_session(&mut self, _home: Incarnation, _number: &mut u64) {}

    fn last_write(&mut self, _process: Process, _number: &mut u64) {}
}

struct Renamed {
    collected: Collected,
    now: u64,
}

impl Names for Renamed {
    fn time(&mut self, at: &mut LocalTime, memory_ms: u64) {
        at.0 = if at.0 > self.now + BEYOND_LEASES {
            NOW + FAR
        } else {
            at.0.max(self.now - memory_ms) + NOW - self.now
        };
    }

    fn request(&mut self, process: Process, number: &mut u64) {
        *number = rank(self.collected.requests.get(&process), *number);
    }

    fn session(&mut self, home: Incarnation, sharer: Process, number: &mut u64) {
        *number = rank(self.collected.sessions.get(&(home, sharer)), *number);
    }

    fn version(&mut self, version: &mut Version) {
        // 0 is before the first, whatever else there is.
        if version.number > 0 {
            let numbers = self.collected.versions.get(&version.epoch);
            let zero = numbers.is_some_and(|numbers| numbers.contains(&0));
            version.number = rank(numbers, version.number) - u64::from(zero);
        }
    }

    fn last_request(&mut self, process: Process, number: &mut u64) {
        *number = highest(self.collected.requests.get(&process));
    }

    fn last_session(&mut self, home: Incarnation, number: &mut u64) {
        let of_home = self.collected.sessions.iter().filter(|((of, _), _)| *of == home);
        *number = of_home.map(|(_, numbers)| highest(Some(numbers))).max().unwrap_or(0);
    }

    /// A write up to it that is still under way is what it is remembered for.
    fn last_write(&mut self, process: Process, number: &mut u64) {
        let writes = self.collected.writes.get(&process);
        let newest = writes.and_then(|writes| writes.range(..=*number).next_back());
        *number = newest.map_or(0, |newest| rank(self.collected.requests.get(&process), *newest));
    }
}

fn rank(numbers: Option<&BTreeSet<u64>>, number: u64) -> u64 {
    numbers.map_or(0, |numbers| numbers.range(..=number).count() as u64)
}

fn highest(numbers: Option<&BTreeSet<u64>>) -> u64 {
    numbers.map_or(0, |numbers| numbers.len() as u64)
}

//! What can happen next.

use dsync_core::cache::Placement;
use dsync_core::types::LocalTime;

use super::canonical::NOW;
use super::world::{Action, World};
use super::{Bounds, Fault};

/// Appends every step out of the world.
pub fn actions(world: &World, bounds: &Bounds, actions: &mut Vec<Action>) {
    if world.rest.violation.is_some() {
        return;
    }
    let surplus = world.network.surplus(bounds.renewals_max, bounds.in_flight_max);
    if !surplus.is_empty() {
        return actions.extend(surplus.into_iter().map(Action::Lose));
    }
    actions.push(Action::Tick);
    for packet in 0..world.network.len() {
        actions.push(Action::Deliver(packet, false));
        if world.rest.used.duplicates < bounds.duplicates {
            actions.push(Action::Deliver(packet, true));
        }
    }
    client_actions(world, bounds, actions);
    ring_actions(world, bounds, actions);
}

fn client_actions(world: &World, bounds: &Bounds, actions: &mut Vec<Action>) {
    let gets_max = 1 + usize::from(bounds.joiners);
    for reader in &bounds.readers {
        let node = &world.nodes[*reader];
        let may = node.readable.is_none() && node.waiting(false) < gets_max;
        if may && world.rest.used.gets < bounds.gets {
            actions.push(Action::Get(*reader));
        }
    }
    let turn = world.rest.used.writes as usize % bounds.writers.len();
    let writer = bounds.writers[turn];
    if world.rest.used.writes < bounds.writes && world.nodes[writer].waiting(true) == 0 {
        actions.push(Action::Write(writer));
    }
}

fn ring_actions(world: &World, bounds: &Bounds, actions: &mut Vec<Action>) {
    for (at, node) in world.nodes.iter().enumerate() {
        let me = world.place(at);
        let in_ring = world.rest.ring.homes().contains(&me);
        if in_ring && bounds.home_leases {
            let asked = world.rest.leader.is_asked(me);
            actions.push(if asked { Action::GrantLease(at) } else { Action::AskLease(at) });
        }
        if node.ring != (world.rest.ring.epoch, world.rest.ring.settled) {
            actions.push(Action::Install(at));
        }
        if world.rest.used.restarts < bounds.restarts {
            actions.push(Action::Restart(at));
        }
        let heir = at == 0 || bounds.heirs.contains(&at);
        if heir && me != world.rest.ring.home && world.rest.ring.settled {
            home_changes(world, bounds, at, actions);
        }
    }
    if bounds.home_leases && world.rest.used.elections < bounds.elections {
        actions.push(Action::Elect);
    }
    if !world.rest.ring.settled && may_settle(world, bounds) {
        actions.push(Action::Settle);
    }
}

fn home_changes(world: &World, bounds: &Bounds, next: usize, actions: &mut Vec<Action>) {
    let over = world.rest.leader.is_over(world.rest.ring.home, LocalTime(NOW));
    if bounds.home_leases && world.rest.used.failovers < bounds.failovers && over {
        actions.push(Action::FailOver(next));
    }
    if world.rest.used.moves < bounds.moves {
        actions.push(Action::Move(next));
    }
}

fn may_settle(world: &World, bounds: &Bounds) -> bool {
    let Some(former) = world.rest.ring.former else { return true };
    let node = world.nodes.iter().find(|node| node.process == former.process);
    let released = node.is_some_and(|node| node.caches.released() >= world.rest.ring.epoch);
    let over = bounds.home_leases && world.rest.leader.is_over(former, LocalTime(NOW));
    released || over || bounds.fault == Some(Fault::NextHomeDoesNotWait)
}

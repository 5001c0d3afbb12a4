//! Every small state, not a sample of them.

use super::*;

const HEALTHS: [Health; 6] = [
    Health::Missing,
    Health::Terminating,
    Health::Down,
    Health::Lagging,
    Health::Unsure,
    Health::Ready,
];

/// All that one seat can be.
fn seats() -> Vec<Seat> {
    let mut all = Vec::new();
    for health in HEALTHS {
        for bits in 0..8 {
            let [outdated, claim_terminating, disk_lost] = [1, 2, 4].map(|bit| bits & bit != 0);
            // A node whose disk is not the cluster's is never a ready one; what is missing is not old.
            let never = match health {
                Health::Ready => disk_lost,
                Health::Missing | Health::Terminating => outdated,
                Health::Down | Health::Lagging | Health::Unsure => false,
            };
            if !never {
                all.push(Seat { health, outdated, claim_terminating, disk_lost });
            }
        }
    }
    all
}

/// Calls `check` with every state of `size` seats, and says how many there were.
fn every_state(size: usize, choices: &[Seat], mut check: impl FnMut(&Observed)) -> u64 {
    let mut states = 0;
    let combinations = choices.len().pow(u32::try_from(size).unwrap());
    for number in 0..combinations {
        let mut rest = number;
        let mut seats = Vec::new();
        for _ in 0..size {
            seats.push(choices[rest % choices.len()]);
            rest /= choices.len();
        }
        for leader in std::iter::once(None).chain((0..size).map(Some)) {
            // Only a node that is ready can have been confirmed as the leader.
            if leader.is_some_and(|at: usize| seats[at].health != Health::Ready) {
                continue;
            }
            for phase in [Phase::Founding, Phase::Founded] {
                let seats = seats.clone();
                check(&Observed {
                    phase,
                    template_known: true,
                    seats,
                    leader,
                    hibernate: false,
                    pause: false,
                });
                states += 1;
            }
        }
    }
    states
}

fn ready(observed: &Observed) -> usize {
    observed.seats.iter().filter(|seat| seat.health == Health::Ready).count()
}

fn is_safe(observed: &Observed) {
    let Action::Restart { ordinal, how } = plan(observed) else { return };
    let seat = observed.seats[ordinal];
    assert!(seat.outdated, "a pod of the newest template is left alone: {observed:?}");
    assert!(!seat.claim_terminating, "its disk would be lost: {observed:?}");
    assert_ne!(seat.health, Health::Unsure, "{observed:?}");
    assert_eq!(how == How::Evict, seat.health == Health::Ready, "{observed:?}");
    if seat.health == Health::Ready {
        let left = ready(observed) - 1;
        let alone = observed.seats.len() == 1;
        assert!(left >= observed.quorum() || alone, "{left} are left: {observed:?}");
        let others = observed.seats.iter().enumerate().any(|(at, seat)| {
            at != ordinal
                && seat.outdated
                && seat.health == Health::Ready
                && !seat.claim_terminating
        });
        assert!(observed.leader != Some(ordinal) || !others, "the leader is last: {observed:?}");
        let transit = |seat: &Seat| {
            matches!(seat.health, Health::Missing | Health::Terminating | Health::Unsure)
        };
        assert!(!observed.seats.iter().any(transit), "one at a time: {observed:?}");
    }
    if seat.health == Health::Lagging && observed.phase == Phase::Founded {
        let alone = observed.seats.len() == 1;
        assert!(ready(observed) >= observed.quorum() || alone, "{observed:?}");
    }
}

#[test]
fn no_action_leaves_fewer_than_a_quorum_of_caught_up_voters() {
    let all = seats();
    let mut states = 0;
    for size in [1, 3] {
        states += every_state(size, &all, is_safe);
    }
    // Of five, the seats that differ in what the decision looks at.
    let differing = |seat: &&Seat| {
        let plain = !seat.claim_terminating && !seat.disk_lost;
        plain
            || (seat.health == Health::Ready && seat.outdated)
            || (seat.health == Health::Lagging && !seat.outdated && !seat.claim_terminating)
    };
    let some = all.iter().filter(differing).copied().collect::<Vec<_>>();
    states += every_state(5, &some, is_safe);
    println!("{states} states of 1, 3 and 5 nodes");
    assert!(states > 1_000_000, "{states}");
}

/// What comes of an action when nothing else goes wrong.
fn carry_out(observed: &mut Observed) -> bool {
    match plan(observed) {
        Action::Restart { ordinal, .. } => {
            let seat = &mut observed.seats[ordinal];
            *seat = Seat { health: Health::Ready, outdated: false, ..*seat };
            if observed.leader == Some(ordinal) || observed.leader.is_none() {
                observed.leader =
                    observed.seats.iter().position(|seat| seat.health == Health::Ready);
            }
            true
        }
        Action::Rest | Action::Wait(_) => false,
    }
}

#[test]
fn a_roll_ends_whatever_it_began_with() {
    let sound = |seat: &&Seat| !seat.claim_terminating && !seat.disk_lost;
    let choices = seats().iter().filter(sound).copied().collect::<Vec<_>>();
    let mut rolled = 0_u64;
    for size in [1, 3, 5] {
        every_state(size, &choices, |observed| {
            let on_its_way = observed.seats.iter().any(|seat| {
                matches!(seat.health, Health::Missing | Health::Terminating | Health::Unsure)
                    || (!seat.outdated && seat.health != Health::Ready)
            });
            // Nodes that run and do not serve are not touched without a quorum of others: there, as
            // with a leader that nobody confirms, somebody else has to help first.
            let lagging = observed.seats.iter().any(|seat| seat.health == Health::Lagging);
            let helpless = observed.phase == Phase::Founded
                && (lagging || ready(observed) > 0)
                && (ready(observed) < observed.quorum());
            if on_its_way || helpless || observed.leader.is_none() && ready(observed) > 0 {
                return;
            }
            if observed.phase == Phase::Founded
                && size > 1
                && ready(observed) <= observed.quorum()
                && lagging
            {
                return;
            }
            let mut observed = observed.clone();
            let mut steps = 0;
            while carry_out(&mut observed) {
                steps += 1;
                assert!(steps <= size, "{observed:?}");
            }
            let done = plan(&observed) == Action::Rest;
            let short = matches!(plan(&observed), Action::Wait(Blocked::Quorum(_)));
            assert!(done || short, "{observed:?}: {:?}", plan(&observed));
            rolled += u64::from(done);
        });
    }
    println!("{rolled} rolls ended");
    assert!(rolled > 100, "{rolled}");
}

fn observed(seats: &[(Health, bool)], leader: usize) -> Observed {
    let seat = |(health, outdated): &(Health, bool)| Seat {
        health: *health,
        outdated: *outdated,
        claim_terminating: false,
        disk_lost: false,
    };
    Observed {
        phase: Phase::Founded,
        template_known: true,
        seats: seats.iter().map(seat).collect(),
        leader: Some(leader),
        hibernate: false,
        pause: false,
    }
}

#[test]
fn a_roll_goes_from_the_last_follower_to_the_leader() {
    use Health::Ready;
    let mut state = observed(&[(Ready, true), (Ready, true), (Ready, true)], 2);
    let mut order = Vec::new();
    while let Action::Restart { ordinal, how: How::Evict } = plan(&state) {
        order.push(ordinal);
        state.seats[ordinal].outdated = false;
    }
    assert_eq!(order, [1, 0, 2]);
    assert_eq!(plan(&state), Action::Rest);
}

#[test]
fn a_bad_image_stops_the_roll_and_its_revert_replaces_the_dead_pod_first() {
    use Health::{Down, Ready};
    let stuck = observed(&[(Ready, true), (Ready, true), (Down, false)], 0);
    assert_eq!(plan(&stuck), Action::Wait(Blocked::NotReady(2)));
    let reverted = observed(&[(Ready, false), (Ready, false), (Down, true)], 0);
    assert_eq!(plan(&reverted), Action::Restart { ordinal: 2, how: How::Delete });
}

#[test]
fn an_operator_that_is_cut_off_from_the_nodes_touches_none() {
    use Health::Unsure;
    let state = observed(&[(Unsure, true), (Unsure, true), (Unsure, true)], 0);
    assert_eq!(plan(&state), Action::Wait(Blocked::Unsure(0)));
}

#[test]
fn pause_and_hibernate_stop_everything() {
    use Health::{Down, Missing};
    let mut state = observed(&[(Down, true), (Down, true), (Down, true)], 0);
    state.pause = true;
    assert_eq!(plan(&state), Action::Wait(Blocked::Paused));
    state.pause = false;
    state.hibernate = true;
    assert_eq!(plan(&state), Action::Wait(Blocked::Ending(0)));
    for seat in &mut state.seats {
        seat.health = Missing;
    }
    assert_eq!(plan(&state), Action::Rest);
}

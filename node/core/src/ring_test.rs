//! Golden vectors (computed by another implementation of the hash), balance, movement.

#![allow(clippy::cast_precision_loss)]

use super::*;

/// Rings of each size that are measured.
const RINGS: usize = 20;
const NAMES: usize = 10_000;

fn members(ring: usize, count: usize) -> Vec<NodeName> {
    (0..count).map(|at| NodeName(format!("dsync-{at}.cluster-{ring}"))).collect()
}

fn ring(number: usize, count: usize) -> Ring {
    Ring::new(Index(1), members(number, count), VIRTUAL_NODES)
}

fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|at| format!("topic-{at}"))
}

/// The share of the circle that each member has.
fn shares(ring: &Ring) -> Vec<f64> {
    let mut shares = vec![0.0; ring.members.len()];
    let last = ring.points.last().map_or(0, |(point, _)| *point);
    let mut before = last;
    for (point, at) in &ring.points {
        // Around the end of the circle.
        shares[*at] += point.wrapping_sub(before) as f64 / 2f64.powi(128);
        before = *point;
    }
    shares
}

#[test]
fn the_hash_is_murmur3_as_others_compute_it() {
    // As published with the reference: the first 8 bytes of the digest are the low half.
    assert_eq!(hash("hello"), 0x5b1e_906a_48ae_1d19_cbd8_a7b3_41bd_9b02);
    assert_eq!(hash(""), 0);
}

#[test]
fn owners_are_the_same_in_every_release() {
    let ring = Ring::new(Index(7), members(0, 3), VIRTUAL_NODES);
    let owners: Vec<&str> = ["jobs", "mail", "a", "", "größe"]
        .iter()
        .filter_map(|name| ring.owner(name))
        .map(|owner| &owner.0["dsync-".len().."dsync-".len() + 1])
        .collect();
    assert_eq!(owners, ["2", "0", "1", "0", "2"]);
    assert_eq!(ring.epoch(), Index(7));
}

#[test]
fn the_order_in_which_members_are_named_means_nothing() {
    let mut turned = members(0, 5);
    turned.reverse();
    turned.push(turned[0].clone());
    assert_eq!(Ring::new(Index(1), turned, VIRTUAL_NODES), ring(0, 5));
}

#[test]
fn nobody_owns_a_name_on_an_empty_ring() {
    assert_eq!(Ring::new(Index(1), [], VIRTUAL_NODES).owner("jobs"), None);
}

#[test]
fn one_member_owns_everything() {
    let ring = ring(0, 1);
    assert!(names().all(|name| ring.owner(&name) == ring.members().first()));
}

/// No member has more than a tenth above the average, at any size that a cluster has.
#[test]
fn shares_are_even() {
    for count in [3, 5, 7, 10] {
        let (mut worst, mut sum) = (0f64, 0f64);
        for number in 0..RINGS {
            let shares = shares(&ring(number, count));
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let most = shares.iter().fold(0f64, |most, share| most.max(*share)) * count as f64;
            (worst, sum) = (worst.max(most), sum + most);
        }
        eprintln!(
            "{count} members: largest share {:.3} of the average (worst {worst:.3})",
            sum / RINGS as f64
        );
        assert!(worst <= 1.1, "{count} members: {worst}");
    }
}

/// A member that comes takes its share from all others, and nothing moves between those.
#[test]
fn only_the_share_of_who_comes_or_goes_moves() {
    for count in [3, 5, 7, 10] {
        let (mut moved, mut worst) = (0, 0);
        for number in 0..RINGS {
            let (before, after) = (ring(number, count), ring(number, count + 1));
            let newcomer = &members(number, count + 1)[count];
            let mut here = 0;
            for name in names() {
                if before.owner(&name) != after.owner(&name) {
                    assert_eq!(after.owner(&name), Some(newcomer), "{name} moved elsewhere");
                    here += 1;
                }
            }
            (moved, worst) = (moved + here, worst.max(here));
        }
        let share = |moved: usize, rings: usize| moved as f64 / (rings * NAMES) as f64;
        let fair = 1.0 / (count + 1) as f64;
        eprintln!(
            "{count} and one: {:.3} of the names move (worst {:.3}, fair {fair:.3})",
            share(moved, RINGS),
            share(worst, 1)
        );
        assert!(share(worst, 1) <= 1.2 * fair, "{count}: {}", share(worst, 1));
    }
}

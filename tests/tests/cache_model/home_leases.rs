//! Who holds a lease is in service, whoever leads, and whatever is late; each rule left out is found.

use dsync_core::cache::Bug;
use dsync_tests::home_lease_model::{Bounds, Fault, HomeLeaseModel, SAFE};
use stateright::{Checker, HasDiscoveries, Model};

/// Looks at everything within the bounds.
fn exhaust(bounds: Bounds) {
    let checker = HomeLeaseModel(bounds).checker().threads(1).spawn_bfs().join();
    println!(
        "{} states, the deepest after {} steps",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

/// Looks until a home that is not in service holds a lease: the shortest way there.
fn find(bounds: Bounds) {
    let model = HomeLeaseModel(bounds).checker().threads(1);
    let checker = model.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discovery(SAFE);
    let steps = found.expect("the rule is left out and nothing happens").into_actions();
    println!("{} states; {steps:?}", checker.unique_state_count());
}

fn without(bug: Bug) {
    let restarts = u32::from(bug == Bug::EntersBesideFormer);
    find(Bounds { bug: Some(bug), restarts, ..Bounds::default() });
}

#[test]
fn a_home_under_two_leaders_holds_no_lease_out_of_service() {
    exhaust(Bounds { asks: 1, ..Bounds::default() });
}

#[test]
fn a_home_that_can_lead_itself_holds_no_lease_out_of_service() {
    exhaust(Bounds { home: 1, asks: 1, ..Bounds::default() });
}

#[test]
fn a_home_that_starts_again_holds_no_lease_out_of_service() {
    exhaust(Bounds { restarts: 1, asks: 1, ..Bounds::default() });
}

#[test]
#[ignore = "long form"]
fn a_home_that_asks_twice_under_two_leaders_holds_no_lease_out_of_service() {
    exhaust(Bounds::default());
}

#[test]
#[ignore = "long form"]
fn a_home_under_three_leaders_holds_no_lease_out_of_service() {
    exhaust(Bounds { terms: 3, asks: 1, ..Bounds::default() });
}

#[test]
fn each_rule_of_home_leases_left_out_is_found() {
    Bug::OF_HOME_LEASES.into_iter().for_each(without);
}

#[test]
fn a_grant_without_a_round_is_found() {
    find(Bounds { fault: Some(Fault::NoRound), ..Bounds::default() });
}

#[test]
fn a_grant_by_a_round_that_began_before_the_ask_is_found() {
    find(Bounds { fault: Some(Fault::OlderRound), ..Bounds::default() });
}

#[test]
fn a_grant_by_a_state_older_than_its_round_is_found() {
    find(Bounds { fault: Some(Fault::OldState), ..Bounds::default() });
}

//! Coherent caches, model-checked: every order of events of small clusters, and every rule left out.

use dsync_tests::cache_model::Bounds;
use stateright::{Checker, Model};

fn explore(bounds: Bounds) {
    let checker = bounds.checker().threads(2).spawn_bfs().join();
    println!("{} unique states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn one_sharer() {
    explore(Bounds::default());
}

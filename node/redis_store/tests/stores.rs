//! Random histories on the store of the log and on a Redis: every answer, every delivery and every view is
//! the same, also when a batch is sent twice and when Redis has forgotten the scripts. A difference is shrunk
//! to the few steps that show it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../../core/src/dice.rs"]
mod dice;
#[path = "../../core/testing/queue_history.rs"]
mod history;
#[path = "../testing/server.rs"]
mod server;
mod stores {
    pub mod stage;
}

/// For the histories.
mod words {
    pub(crate) use crate::dice::Dice;
    pub(crate) use dsync_core::queue::*;
    pub(crate) use dsync_core::types::{BootId, Index};
}

use history::{History, Step};
use server::Server;
use stores::stage::{Stage, Terms};

/// Enough to meet what they are made to meet; `DSYNC_HISTORIES` says otherwise.
const HISTORIES: u64 = 60;

#[test]
fn random_histories_agree_on_both_stores() {
    let server = Server::start(&[]);
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("DSYNC_HISTORY") {
        return play(&server, seed);
    }
    for seed in 0..number("DSYNC_HISTORIES").unwrap_or(HISTORIES) {
        play(&server, seed);
    }
}

fn play(server: &Server, seed: u64) {
    let mut history = History::new(seed);
    let terms = Terms::of(&mut history.mix, seed);
    let mut stage = Stage::new(server, terms);
    let mut steps = Vec::new();
    for _ in 0..history.mix.steps {
        let step = stage.fit(history.step(&stage.known()));
        steps.push(step.clone());
        match stage.play(&step) {
            Ok(outcome) => history.hear(outcome.as_ref()),
            Err(difference) => {
                let shortest = minimal(server, terms, steps, &difference);
                panic!("history {seed}: {shortest}");
            }
        }
    }
}

/// Leaves out steps one by one while it still fails in the same way.
fn minimal(server: &Server, terms: Terms, mut steps: Vec<Step>, difference: &str) -> String {
    let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let terms = Terms { views_every: 1, ..terms };
    let mut last = difference.to_owned();
    let mut shorter = true;
    while shorter {
        shorter = false;
        for at in (0..steps.len()).rev() {
            let mut fewer = steps.clone();
            fewer.remove(at);
            let mut stage = Stage::new(server, terms);
            let failed = fewer.iter().find_map(|step| stage.play(step).err());
            if let Some(failed) = failed.filter(|failed| kind(failed) == kind(difference)) {
                (steps, last, shorter) = (fewer, failed, true);
            }
        }
    }
    let shown = steps.iter().map(|step| format!("{step:?}\n"));
    format!("{last}\n{terms:?}\n{}", shown.collect::<String>())
}

//! The simulator for people: one seed told event by event, or many seeds counted.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::run::{Report, Run};

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// This seed only, told event by event.
    pub seed: Option<u64>,
    /// How many fresh seeds, otherwise.
    pub count: u64,
    /// The first of them; by default a number that differs from day to day, and is printed.
    pub base: Option<u64>,
}

/// Runs what was asked for and prints it. Returns the seeds that failed.
#[allow(clippy::print_stdout)]
#[must_use]
pub fn simulate(options: Options) -> Vec<u64> {
    if let Some(seed) = options.seed {
        let report = Run { verbose: true, ..Run::new(seed) }.run();
        print_summary(&report);
        return failed(&report).into_iter().collect();
    }
    let base = options.base.unwrap_or_else(fresh_base);
    let started = Instant::now();
    println!("{} seeds from {base}", options.count);
    let mut sum = Sum::default();
    let mut failures = Vec::new();
    for seed in base..base.saturating_add(options.count) {
        let report = Run::new(seed).run();
        sum.add(&report);
        if let Some(seed) = failed(&report) {
            print_summary(&report);
            failures.push(seed);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", sum.line(seconds));
    if failures.is_empty() {
        println!("no rule broke");
    } else {
        println!("failing seeds: {failures:?}; replay one with: cargo xtask sim {}", failures[0]);
    }
    failures
}

fn failed(report: &Report) -> Option<u64> {
    report.violation.as_ref().map(|_| report.seed)
}

#[allow(clippy::print_stdout)]
fn print_summary(report: &Report) {
    if let Some(violation) = &report.violation {
        println!("{violation}");
    }
    println!(
        "seed {}: {} nodes, {} events in {} ms of virtual time, {} entries committed in {} terms, \
         [answers, grants, failures] {:?}, [operations, witnessed, searched, judged] {:?}, \
         [installs, wiped, set back, hand-overs] {:?}, \
         [deadlocks, time-outs, superseded, hang-ups] {:?}, hash {:016x}",
        report.seed,
        report.nodes,
        report.steps,
        report.virtual_ms,
        report.committed,
        report.terms,
        report.answers,
        report.histories,
        report.events,
        report.lockers,
        report.hash,
    );
}

fn fresh_base() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 100_000
}

/// Totals over many runs.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    virtual_ms: u64,
    committed: u64,
    answers: [u64; 3],
    histories: [usize; 4],
    events: [u64; 4],
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.virtual_ms += report.virtual_ms;
        self.committed += report.committed;
        for (sum, one) in self.answers.iter_mut().zip(report.answers) {
            *sum += one;
        }
        for (sum, one) in self.histories.iter_mut().zip(report.histories) {
            *sum += one;
        }
        for (sum, one) in self.events.iter_mut().zip(report.events) {
            *sum += one;
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn line(&self, seconds: f64) -> String {
        format!(
            "{} seeds in {seconds:.1} s, {:.0} a second: {} events, {} s of virtual time, {} entries, \
             [answers, grants, failures] {:?}, [operations, witnessed, searched, judged] {:?}, \
             [installs, wiped, set back, hand-overs] {:?}",
            self.seeds,
            self.seeds as f64 / seconds,
            self.steps,
            self.virtual_ms / 1_000,
            self.committed,
            self.answers,
            self.histories,
            self.events,
        )
    }
}

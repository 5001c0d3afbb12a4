//! `cargo xtask test`: all tests, suite by suite, with one summary at the end.

use std::env;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::build::shipped_program;
use super::command::Call;
use super::outcome::{Counts, Outcome, summary};
use super::suites::{SUITES, Step, Suite};
use super::{kube, needs, verify};

/// `cargo xtask test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Run only this suite; may be given several times.
    #[arg(long = "suite", value_name = "NAME", value_parser = suite_names())]
    suites: Vec<String>,

    /// Run the long forms too.
    #[arg(long)]
    full: bool,

    /// Only say what would be run.
    #[arg(long)]
    list: bool,
}

fn suite_names() -> PossibleValuesParser {
    PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name))
}

/// Runs the suites that were asked for, all of them without a word.
///
/// # Errors
/// If a test fails; where `CI` is `true`, also if a suite cannot be run.
pub fn run(args: &TestArgs) -> anyhow::Result<()> {
    let asked =
        |suite: &&Suite| args.suites.is_empty() || args.suites.iter().any(|s| s == suite.name);
    let suites: Vec<_> = SUITES.iter().filter(asked).collect();
    if args.list {
        return list(&suites, args.full);
    }
    let shipped = ship_early(&suites, args.full)?;
    let outcomes: Vec<_> = suites.into_iter().map(|suite| run_suite(suite, args.full)).collect();
    if let Some(mut build) = shipped {
        build.wait()?;
    }
    let strict = env::var("CI").is_ok_and(|ci| ci == "true");
    let (text, well) = summary(&outcomes, strict);
    println!("\n{text}");
    if !well {
        bail!("not all tests passed");
    }
    Ok(())
}

fn list(suites: &[&Suite], full: bool) -> anyhow::Result<()> {
    for suite in suites {
        println!("{}: {}", suite.name, suite.about);
        for step in suite.steps {
            let shown = match step {
                Step::Verify => Call::cargo("xtask verify").shown(),
                Step::Tests(tests) => tests.call(full)?.shown(),
                Step::Kubernetes if full => Call::cargo("xtask e2e --full").shown(),
                Step::Kubernetes => Call::cargo("xtask e2e").shown(),
            };
            println!("    {shown}");
        }
    }
    Ok(())
}

/// Begins to build what users get, beside the suites that do not need it. The suite that does builds
/// it again: it waits for the end of this build, and shows what is wrong with it.
fn ship_early(suites: &[&'static Suite], full: bool) -> anyhow::Result<Option<Child>> {
    if !suites.iter().any(|suite| suite.needs_shipped(full)) {
        return Ok(None);
    }
    let build = shipped_program().build();
    println!("-- in the background: {}", build.shown());
    build.start_in_background().map(Some)
}

fn run_suite(suite: &'static Suite, full: bool) -> Outcome {
    println!("\n== {}: {}", suite.name, suite.about);
    let mut outcome = Outcome::new(suite.name);
    match ready(suite) {
        Ok(()) => run_steps(suite, full, &mut outcome),
        Err(why) => {
            println!("== {} skipped: {why}", suite.name);
            outcome.result = Err(why);
            return outcome;
        }
    }
    println!("== {}: {}", suite.name, outcome.times());
    outcome
}

fn ready(suite: &Suite) -> Result<(), String> {
    needs::meet(suite.needs)?;
    if suite.needs_kubernetes() { kube::ready() } else { Ok(()) }
}

/// A step that cannot be done counts as a failure, and ends its suite: what follows needs it.
fn run_steps(suite: &Suite, full: bool, outcome: &mut Outcome) {
    let mut counts = Counts::default();
    for step in suite.steps {
        match run_step(*step, full, outcome) {
            Ok(more) => counts += more,
            Err(error) => {
                eprintln!("{}: {error:#}", suite.name);
                counts.failed += 1;
                break;
            }
        }
    }
    outcome.result = Ok(counts);
}

fn run_step(step: Step, full: bool, outcome: &mut Outcome) -> anyhow::Result<Counts> {
    match step {
        Step::Verify => timed(&mut outcome.ran, || Ok(verify::count())),
        Step::Tests(tests) => {
            for build in tests.builds(full)? {
                println!("-- {}", build.shown());
                timed(&mut outcome.built, || build.run())?;
            }
            let call = tests.call(full)?;
            println!("-- {}", call.shown());
            timed(&mut outcome.ran, || call.run_tests())
        }
        Step::Kubernetes => {
            outcome.not_run = Some(kube::NOT_RUN);
            timed(&mut outcome.built, || kube::build(full))?;
            timed(&mut outcome.ran, || kube::count(full))
        }
    }
}

fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *sum += start.elapsed();
    done
}

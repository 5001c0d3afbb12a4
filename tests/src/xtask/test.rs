//! `cargo xtask test`: all tests, suite by suite, with one summary at the end.

use std::env;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::outcome::{Counts, Outcome, summary};
use super::suites::{PROGRAM_VARIABLE, SUITES, Step, Suite};
use super::{kube, needs, verify, workspace};

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
        list(&suites, args.full);
        return Ok(());
    }
    let outcomes: Vec<_> = suites.into_iter().map(|suite| run_suite(suite, args.full)).collect();
    let strict = env::var("CI").is_ok_and(|ci| ci == "true");
    let (text, well) = summary(&outcomes, strict);
    println!("\n{text}");
    if !well {
        bail!("not all tests passed");
    }
    Ok(())
}

fn list(suites: &[&Suite], full: bool) {
    for suite in suites {
        println!("{}: {}", suite.name, suite.about);
        for step in suite.steps {
            println!("    {}", step.call(full).shown());
        }
    }
}

fn run_suite(suite: &'static Suite, full: bool) -> Outcome {
    println!("\n== {}: {}", suite.name, suite.about);
    let start = Instant::now();
    let result = ready(suite).map(|()| run_steps(suite, full));
    let took = start.elapsed();
    match &result {
        Ok(_) => println!("== {} took {:.1} s", suite.name, took.as_secs_f64()),
        Err(why) => println!("== {} skipped: {why}", suite.name),
    }
    let not_run = suite.steps.contains(&Step::Kubernetes).then(kube::not_run).flatten();
    Outcome { suite: suite.name, took, result, not_run }
}

fn ready(suite: &Suite) -> Result<(), String> {
    if let Some(file) = suite.missing_file() {
        return Err(format!("{file} does not exist"));
    }
    needs::meet(suite.needs)?;
    if suite.steps.contains(&Step::Kubernetes) { kube::ready() } else { Ok(()) }
}

/// A step that cannot be done counts as a failure, and ends its suite: what follows needs it.
fn run_steps(suite: &Suite, full: bool) -> Counts {
    let mut counts = Counts::default();
    for step in suite.steps {
        match run_step(*step, full) {
            Ok(more) => counts += more,
            Err(error) => {
                eprintln!("{}: {error:#}", suite.name);
                counts.failed += 1;
                break;
            }
        }
    }
    counts
}

fn run_step(step: Step, full: bool) -> anyhow::Result<Counts> {
    let call = step.call(full);
    println!("-- {}", call.shown());
    match step {
        Step::Verify => Ok(verify::count()),
        Step::Kubernetes => kube::count(full),
        Step::Build(_) => call.run().map(|()| Counts::default()),
        Step::Tests(_) => call.env(PROGRAM_VARIABLE, &program().to_string_lossy()).run_tests(),
    }
}

/// Where a release build leaves the node's program.
pub fn program() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    workspace::root().join(target).join("release").join("dsync")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_suite_has_a_name_of_its_own_and_something_to_run() {
        let names: BTreeSet<_> = SUITES.iter().map(|suite| suite.name).collect();
        assert_eq!(names.len(), SUITES.len());
        assert!(SUITES.iter().all(|suite| !suite.steps.is_empty()));
    }

    #[test]
    fn a_suite_whose_tests_are_not_there_is_not_run() {
        let steps = &[Step::Tests("test --test none")];
        let suite =
            Suite { name: "none", about: "", needs: &[], files: &["tests/tests/none.rs"], steps };
        assert_eq!(ready(&suite), Err("tests/tests/none.rs does not exist".to_owned()));
    }
}

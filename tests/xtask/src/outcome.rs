//! What came of a suite.

use std::ops::AddAssign;
use std::time::Duration;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They hold.
    pub passed: u64,
    /// They do not.
    pub failed: u64,
    /// Too long for every run: `--full` runs them.
    pub ignored: u64,
}

impl Counts {
    /// What one line of a test program's output adds:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    #[must_use]
    pub fn of_line(line: &str) -> Self {
        let Some((_, result)) = line.split_once("test result: ") else { return Self::default() };
        let number = |what: &str| {
            let (before, _) = result.split_once(&format!(" {what}"))?;
            before.rsplit(' ').next()?.parse().ok()
        };
        let of = |what| number(what).unwrap_or(0);
        Self { passed: of("passed"), failed: of("failed"), ignored: of("ignored") }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// What came of one suite.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its name.
    pub suite: &'static str,
    /// How long its builds took.
    pub built: Duration,
    /// How long its tests took.
    pub ran: Duration,
    /// What it counted; `Err` says why it was not run.
    pub result: Result<Counts, String>,
    /// What of it this machine has no means for; no failure, where the suite itself ran.
    pub not_run: Option<&'static str>,
}

impl Outcome {
    /// Nothing has been run yet.
    #[must_use]
    pub fn new(suite: &'static str) -> Self {
        let none = Duration::ZERO;
        Self { suite, built: none, ran: none, result: Ok(Counts::default()), not_run: None }
    }

    /// How long it took.
    #[must_use]
    pub fn times(&self) -> String {
        let seconds = [self.built, self.ran].map(|time| time.as_secs_f64());
        format!("built in {:>6.1} s, ran {:>6.1} s", seconds[0], seconds[1])
    }
}

/// The last lines of a run, and whether all is well. With `strict`, what was not run counts as a
/// failure: a machine that cannot run a suite must not look like one on which it passed.
#[must_use]
pub fn summary(outcomes: &[Outcome], strict: bool) -> (String, bool) {
    let mut lines = Vec::new();
    let mut total = Counts::default();
    for outcome in outcomes {
        let said = match &outcome.result {
            Ok(counts) => {
                total += *counts;
                counted(*counts)
            }
            Err(_) if strict => {
                total.failed += 1;
                "failed: skipped".to_owned()
            }
            Err(_) => "skipped".to_owned(),
        };
        lines.push(format!("{:<12} {}  {said}", outcome.suite, outcome.times()));
    }
    let skips =
        outcomes.iter().filter_map(|outcome| Some((outcome.suite, outcome.result.as_ref().err()?)));
    lines.extend(skips.map(|(suite, why)| format!("skipped: {suite}: {why}")));
    let left_out =
        outcomes.iter().filter_map(|outcome| Some((outcome.suite, outcome.not_run.as_ref()?)));
    lines.extend(left_out.map(|(suite, what)| format!("not run: {suite}: {what}")));
    if total.ignored > 0 {
        lines.push(format!("{} long ones are left to `cargo xtask test --full`", total.ignored));
    }
    lines.push(format!("{} passed, {} failed", total.passed, total.failed));
    (lines.join("\n"), total.failed == 0)
}

fn counted(counts: Counts) -> String {
    let verdict = if counts.failed == 0 { "ok" } else { "FAILED" };
    format!("{verdict}: {} passed, {} failed", counts.passed, counts.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: Result<Counts, String>) -> Outcome {
        let (built, ran) = (Duration::from_millis(62_500), Duration::from_millis(1500));
        Outcome { suite: "unit", built, ran, result, not_run: None }
    }

    #[test]
    fn a_result_line_is_counted_with_or_without_colour() {
        let expected = Counts { passed: 12, failed: 1, ignored: 2 };
        let plain =
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out";
        assert_eq!(Counts::of_line(plain), expected);
        let coloured = plain.replace("FAILED", "\u{1b}[31mFAILED\u{1b}(B\u{1b}[m");
        assert_eq!(Counts::of_line(&coloured), expected);
        assert_eq!(Counts::of_line("3 passed; 1 failed"), Counts::default());
    }

    #[test]
    fn the_last_line_counts_everything() {
        let some = Counts { passed: 3, failed: 1, ignored: 0 };
        let (text, well) = summary(&[outcome(Ok(some)), outcome(Ok(some))], false);
        assert_eq!(text.lines().last(), Some("6 passed, 2 failed"));
        assert!(text.starts_with("unit         built in   62.5 s, ran    1.5 s  FAILED"), "{text}");
        assert!(!well);
    }

    #[test]
    fn what_a_machine_has_no_means_for_is_listed_and_fails_nowhere() {
        let some = Counts { passed: 1, ..Counts::default() };
        let outcome = Outcome { not_run: Some("kind"), ..outcome(Ok(some)) };
        let (text, well) = summary(&[outcome], true);
        assert!(well && text.contains("\nnot run: unit: kind\n"), "{text}");
    }

    #[test]
    fn a_skip_is_named_and_fails_only_where_strict() {
        let skipped = [outcome(Err("needs a thing".to_owned()))];
        let (text, well) = summary(&skipped, false);
        assert!(well && text.contains("skipped: unit: needs a thing"), "{text}");
        let (text, well) = summary(&skipped, true);
        assert!(!well && text.ends_with("0 passed, 1 failed"), "{text}");
    }
}

//! What came of it: for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::measures::Measures;
use super::pace::Pace;
use super::plan::{Api, Plan};

/// What came of a bench.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In which words locks were asked for.
    pub api: Api,
    /// Where.
    pub servers: Vec<String>,
    /// How many clients asked.
    pub clients: usize,
    /// How many names they shared; `None`: each had its own.
    pub names: Option<usize>,
    /// The window in which everything counts, in ms.
    pub duration_ms: u64,
    /// What was planned a second; `None`: a closed loop.
    pub planned_per_second: Option<f64>,
    /// Cycles that ended in the window, a second.
    pub cycles_per_second: f64,
    /// These cycles.
    pub cycles: u64,
    /// Planned in the window, but without an end even after the time of a request more.
    pub unfinished: u64,
    /// How often a lock had to be asked for again because somebody else held it.
    pub asked_again: u64,
    /// Cycles that failed, by the code of what failed.
    pub errors: BTreeMap<String, u64>,
    /// Latencies of cycles that began (open loop: were planned) in the window.
    pub latency: Latencies,
}

/// The latencies of a cycle and its parts.
#[derive(Clone, Debug, Serialize)]
pub struct Latencies {
    /// From the start (open loop: from the planned start) until the lock is held.
    pub acquire: LatencyReport,
    /// From the request to give it back to the answer.
    pub release: LatencyReport,
    /// Both.
    pub cycle: LatencyReport,
}

/// Percentiles in microseconds, exact to three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LatencyReport {
    /// How many were measured.
    pub count: u64,
    /// Half of them took at most this.
    pub p50_us: u64,
    /// Nine of ten.
    pub p90_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1000.
    pub p99_9_us: u64,
    /// All of them.
    pub max_us: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, measures: &Measures) -> Self {
        let planned_per_second = match plan.pace {
            Pace::Closed => None,
            Pace::Open { per_second } => Some(per_second),
        };
        Self {
            api: plan.api,
            servers: plan.servers.iter().map(ToString::to_string).collect(),
            clients: plan.clients,
            names: plan.names,
            duration_ms: u64::try_from(plan.duration.as_millis()).unwrap_or(u64::MAX),
            planned_per_second,
            cycles_per_second: measures.finished as f64 / plan.duration.as_secs_f64(),
            cycles: measures.finished,
            unfinished: measures.unfinished,
            asked_again: measures.asked_again,
            errors: measures.errors.clone(),
            latency: Latencies {
                acquire: LatencyReport::of(&measures.acquire),
                release: LatencyReport::of(&measures.release),
                cycle: LatencyReport::of(&measures.cycle),
            },
        }
    }
}

impl LatencyReport {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram.max(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = match self.clients {
            1 => "1 client".to_owned(),
            clients => format!("{clients} clients"),
        };
        let pace = match self.planned_per_second {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop, {rate} cycles/s planned"),
        };
        let names = match self.names {
            None => "a lock each".to_owned(),
            Some(names) => format!("{names} shared locks, asked again {} times", self.asked_again),
        };
        writeln!(f, "{}: {clients}, {names}, {pace}", self.api.word())?;
        writeln!(f, "{:.1} cycles/s ({} cycles)\n", self.cycles_per_second, self.cycles)?;
        writeln!(f, "LATENCY, ms      p50        p90        p99      p99.9        max")?;
        let latency = &self.latency;
        for (part, of) in
            [("acquire", latency.acquire), ("release", latency.release), ("cycle", latency.cycle)]
        {
            let cells = [of.p50_us, of.p90_us, of.p99_us, of.p99_9_us, of.max_us];
            let cells = cells.map(|us| format!("{:>9.3}", us as f64 / 1000.0));
            writeln!(f, "{part:<8} {}", cells.join("  "))?;
        }
        if self.unfinished > 0 {
            writeln!(f, "\nunfinished: {} cycles, in no latency above", self.unfinished)?;
        }
        for (code, count) in &self.errors {
            writeln!(f, "error {code}: {count} cycles")?;
        }
        Ok(())
    }
}

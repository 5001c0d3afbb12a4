//! All rounds, and what they come to.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::probes::Probes;

/// One service, once.
#[derive(Debug, Serialize)]
pub struct Measurement {
    /// Which round, from 1 on.
    pub round: usize,
    /// How many clients.
    pub clients: usize,
    /// Which service.
    pub service: &'static str,
    /// What the machine gave just before.
    pub probes: Probes,
    /// What `dsync bench locks --json` said.
    pub bench: Value,
}

/// All measurements.
#[derive(Debug)]
pub struct Report {
    duration: String,
    measurements: Vec<Measurement>,
}

/// One service at one number of clients: the median of its rounds.
#[derive(Debug, Serialize)]
struct Row {
    clients: usize,
    service: &'static str,
    rounds: usize,
    cycles_per_second: f64,
    acquire_p50_us: f64,
    acquire_p99_us: f64,
    cycle_p50_us: f64,
    cycle_p99_us: f64,
    /// Cycles that failed or had no end, in all rounds.
    failed: u64,
    /// How many times dsync's rate is this one's: the median of the rounds' ratios, and all of them.
    dsync_is: Option<f64>,
    dsync_is_each: Vec<f64>,
}

/// The service that all are compared with.
const OURS: &str = "dsync";

impl Measurement {
    /// While it goes on.
    pub fn line(&self) -> String {
        let probes = &self.probes;
        format!(
            "round {} {:>3} clients {:<10} {:>8.1}/s  p50 {:.3} ms  p99 {:.3} ms   (fdatasync p50 {} p99 {} us, appended {} {}; loopback p50 {} us; load {})",
            self.round,
            self.clients,
            self.service,
            self.rate(),
            self.number("/latency/cycle/p50_us") / 1000.0,
            self.number("/latency/cycle/p99_us") / 1000.0,
            probes.overwrite_sync.p50_us,
            probes.overwrite_sync.p99_us,
            probes.append_sync.p50_us,
            probes.append_sync.p99_us,
            probes.round_trip.p50_us,
            probes.load,
        )
    }

    fn rate(&self) -> f64 {
        self.number("/cycles_per_second")
    }

    fn number(&self, at: &str) -> f64 {
        self.bench.pointer(at).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn failed(&self) -> u64 {
        let errors = self.bench["errors"].as_object().into_iter().flatten();
        let errors: u64 = errors.filter_map(|(_, count)| count.as_u64()).sum();
        errors + self.bench["unfinished"].as_u64().unwrap_or(0)
    }
}

impl Report {
    /// No measurement yet.
    pub fn new(duration: &str) -> Self {
        Self { duration: duration.to_owned(), measurements: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// For people.
    pub fn table(&self) -> String {
        let rows = self.rows();
        let mut text = format!(
            "Medians of {} rounds of {} each; ms.\n\n",
            rows.first().map_or(0, |row| row.rounds),
            self.duration
        );
        text.push_str("CLIENTS  SERVICE      CYCLES/S  ACQUIRE p50      p99  CYCLE p50      p99  FAILED  DSYNC IS\n");
        for row in &rows {
            let ms = |us: f64| us / 1000.0;
            let ratio = row.dsync_is.map_or_else(
                || "-".to_owned(),
                |ratio| {
                    let each: Vec<_> =
                        row.dsync_is_each.iter().map(|r| format!("{r:.2}")).collect();
                    format!("{ratio:.2}x ({})", each.join(" "))
                },
            );
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{:>7}  {:<10} {:>10.1} {:>12.3} {:>8.3} {:>10.3} {:>8.3} {:>7}  {ratio}",
                row.clients,
                row.service,
                row.cycles_per_second,
                ms(row.acquire_p50_us),
                ms(row.acquire_p99_us),
                ms(row.cycle_p50_us),
                ms(row.cycle_p99_us),
                row.failed,
            );
        }
        text.push_str(&self.floor());
        text
    }

    /// For programs: the medians and every single measurement.
    ///
    /// # Errors
    /// Never in fact.
    pub fn json(&self) -> anyhow::Result<String> {
        let all = json!({ "medians": self.rows(), "measurements": self.measurements });
        Ok(serde_json::to_string_pretty(&all)?)
    }

    /// How far the first acquire of a lone client is from what the machine makes any service pay: one
    /// round trip to the client and one sync.
    fn floor(&self) -> String {
        let above = self.ours(1).map(|m| {
            let floor = m.probes.round_trip.p50_us + m.probes.overwrite_sync.p50_us;
            m.number("/latency/acquire/p50_us") - floor as f64
        });
        match median(above.collect()) {
            None => String::new(),
            Some(above) => format!(
                "\nA lone client's acquire (p50) takes {:.3} ms more than one loopback round trip and one fdatasync (p50).\n",
                above / 1000.0
            ),
        }
    }

    fn ours(&self, clients: usize) -> impl Iterator<Item = &Measurement> {
        self.measurements.iter().filter(move |m| m.service == OURS && m.clients == clients)
    }

    fn rows(&self) -> Vec<Row> {
        let mut kinds: Vec<(usize, &'static str)> = Vec::new();
        for measurement in &self.measurements {
            let kind = (measurement.clients, measurement.service);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds.sort_by_key(|(clients, _)| *clients);
        kinds.into_iter().filter_map(|(clients, service)| self.row(clients, service)).collect()
    }

    fn row(&self, clients: usize, service: &'static str) -> Option<Row> {
        let of = |m: &&Measurement| m.clients == clients && m.service == service;
        let all: Vec<&Measurement> = self.measurements.iter().filter(of).collect();
        let of = |at: &str| median(all.iter().map(|m| m.number(at)).collect());
        // Neighbours in time: each with ours of the same round.
        let ratio = |m: &&Measurement| {
            let ours = self.ours(clients).find(|ours| ours.round == m.round)?;
            Some(ours.rate() / m.rate())
        };
        let ratios: Vec<f64> = match service {
            OURS => Vec::new(),
            _ => all.iter().filter_map(ratio).collect(),
        };
        Some(Row {
            clients,
            service,
            rounds: all.len(),
            cycles_per_second: of("/cycles_per_second")?,
            acquire_p50_us: of("/latency/acquire/p50_us")?,
            acquire_p99_us: of("/latency/acquire/p99_us")?,
            cycle_p50_us: of("/latency/cycle/p50_us")?,
            cycle_p99_us: of("/latency/cycle/p99_us")?,
            failed: all.iter().map(|m| m.failed()).sum(),
            dsync_is: median(ratios.clone()),
            dsync_is_each: ratios,
        })
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::super::probes::Spread;
    use super::*;

    fn measurement(round: usize, service: &'static str, rate: f64) -> Measurement {
        let spread = Spread { p50_us: 100, p99_us: 200 };
        let (append_sync, overwrite_sync, round_trip) = (spread, spread, spread);
        let probes = Probes { append_sync, overwrite_sync, round_trip, load: 0.5 };
        let latency = json!({ "p50_us": 700, "p99_us": 900 });
        let bench = json!({
            "cycles_per_second": rate, "errors": { "timeout": 2 }, "unfinished": 1,
            "latency": { "acquire": latency, "release": latency, "cycle": latency },
        });
        Measurement { round, clients: 1, service, probes, bench }
    }

    #[test]
    fn the_ratio_is_the_median_of_ratios_within_a_round() {
        let mut report = Report::new("1s");
        // The machine was twice as fast in the second round: ratios of neighbours do not mind.
        for (round, ours, theirs) in [(1, 200.0, 100.0), (2, 400.0, 200.0), (3, 300.0, 100.0)] {
            report.add(measurement(round, "dsync", ours));
            report.add(measurement(round, "etcd-lock", theirs));
        }
        let rows = report.rows();
        assert_eq!(rows[0].dsync_is, None);
        assert_eq!(rows[1].dsync_is, Some(2.0));
        assert_eq!((rows[0].cycles_per_second, rows[0].failed), (300.0, 9));
        let table = report.table();
        assert!(table.contains("2.00x (2.00 2.00 3.00)"), "{table}");
        assert!(table.contains("0.500 ms more than one loopback round trip"), "{table}");
    }

    #[test]
    fn a_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}

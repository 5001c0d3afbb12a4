//! `dsync locks watch`: what happens to locks, one line for each event, as it happens.

use std::io;

use serde_json::Value;

use crate::cli::output::{self, Output, length};
use crate::cli::visible;

/// As the columns begin; one that turns out too narrow stays wider from then on.
const COLUMNS: [(&str, usize); 7] = [
    ("NUMBER", 8),
    ("WHAT", 12),
    ("LOCKS", 24),
    ("OWNER", 16),
    ("HOLD", 10),
    ("FOR", 7),
    ("DETAIL", 0),
];

/// Writes events in one form, each at once.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    widths: [usize; COLUMNS.len()],
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Self { output, widths: COLUMNS.map(|(_, width)| width) }
    }

    /// What stands before the first event.
    pub(super) fn heading(&mut self) -> String {
        match self.output {
            Output::Table => self.row(&COLUMNS.map(|(heading, _)| heading.to_owned())),
            Output::Json | Output::Yaml | Output::Name => String::new(),
        }
    }

    /// One event.
    pub(super) fn event(&mut self, event: &Value) -> anyhow::Result<String> {
        Ok(match self.output {
            Output::Table => self.row(&cells(event)),
            Output::Json => output::json_line(event)?,
            Output::Yaml => format!("---\n{}", output::yaml(event)?),
            Output::Name => names(event).iter().map(|name| output::line(name)).collect(),
        })
    }

    fn row(&mut self, cells: &[String; COLUMNS.len()]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&mut self.widths) {
            let cell = visible::cell(cell);
            *width = (*width).max(cell.chars().count());
            line.push_str(&format!("{cell:<width$}  ", width = *width));
        }
        line.trim_end().to_owned() + "\n"
    }
}

/// Writes to standard output. False: whoever read it has seen enough.
pub(super) fn show(text: &str) -> io::Result<bool> {
    match output::write(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}

fn cells(event: &Value) -> [String; COLUMNS.len()] {
    let text = |field: &str| event[field].as_str().unwrap_or("-").to_owned();
    let elapsed = event["elapsed_ms"].as_u64().filter(|ms| *ms > 0);
    [
        event["number"].to_string(),
        text("what"),
        locks(event).map(lock).collect::<Vec<_>>().join(","),
        text("owner"),
        text("hold"),
        elapsed.map_or_else(|| "-".to_owned(), length),
        event["detail"].as_str().unwrap_or_default().to_owned(),
    ]
}

fn locks(event: &Value) -> impl Iterator<Item = &Value> {
    event["locks"].as_array().into_iter().flatten()
}

/// `name`, and in brackets what is not plain about it.
fn lock(lock: &Value) -> String {
    let mut about = Vec::new();
    if lock["mode"] == "shared" {
        about.push("shared".to_owned());
    }
    if lock["permits"].as_u64().is_some_and(|permits| permits > 1) {
        about.push(format!("{} permits", lock["permits"]));
    }
    if lock["token"].as_u64().is_some_and(|token| token > 0) {
        about.push(format!("token {}", lock["token"]));
    }
    let name = lock["name"].as_str().unwrap_or("?");
    if about.is_empty() { name.to_owned() } else { format!("{name} ({})", about.join(", ")) }
}

fn names(event: &Value) -> Vec<String> {
    locks(event).filter_map(|lock| lock["name"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn granted() -> Value {
        json!({
            "number": 42, "what": "granted", "owner": "ci-7", "hold": "812-0", "elapsed_ms": 1500,
            "detail": "", "locks": [
                { "name": "a", "mode": "exclusive", "permits": 1, "token": 9 },
                { "name": "b", "mode": "shared", "permits": 3, "token": 0 },
            ],
        })
    }

    #[test]
    fn an_event_is_a_row_under_its_headings() {
        let mut printer = Printer::new(Output::Table);
        assert_eq!(
            printer.heading(),
            "NUMBER    WHAT          LOCKS                     OWNER             HOLD        FOR      DETAIL\n"
        );
        assert_eq!(
            printer.event(&granted()).unwrap(),
            "42        granted       a (token 9),b (shared, 3 permits)  ci-7              812-0       1.5s\n"
        );
        let refused = json!({ "number": 43, "what": "refused", "owner": "x", "hold": null,
            "elapsed_ms": 0, "detail": "held", "locks": [] });
        assert_eq!(
            printer.event(&refused).unwrap(),
            "43        refused                                          x                 -           -        held\n"
        );
    }

    #[test]
    fn events_are_json_lines_yaml_documents_or_names() {
        let event = |output| Printer::new(output).event(&granted()).unwrap();
        assert_eq!(event(Output::Json).lines().count(), 1);
        assert!(event(Output::Yaml).starts_with("---\n") && event(Output::Yaml).contains("ci-7"));
        assert_eq!(event(Output::Name), "a\nb\n");
    }
}

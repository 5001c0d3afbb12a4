//! What is printed, as a table for people or as a document.

use std::fmt::Write;

use dsync_core::locks::EventItem;
use serde::Serialize;
use serde_json::{Value, json};

use super::Output;
use super::remote::Heads;
use crate::audit::answer::{AuditAnswer, HeadLine};
use crate::audit::line::{self, AuditLine};
use crate::audit::verify::Verdict;
use crate::cli::{output, told};

/// One trail, checked.
#[derive(Debug)]
pub(super) struct Check {
    /// Folder or server.
    pub(super) of: String,
    /// What it was held against, for people.
    pub(super) notes: Vec<String>,
    /// Or why it could not be checked.
    pub(super) result: Result<Verdict, String>,
}

impl Check {
    /// Nothing is wrong, and nothing missing unless that is allowed.
    pub(super) fn is_good(&self, allow_missing: bool) -> bool {
        self.result.as_ref().is_ok_and(|verdict| {
            verdict.findings.is_empty() && (allow_missing || verdict.missing.is_empty())
        })
    }
}

pub(super) fn list(answer: &AuditAnswer, output: Output) -> anyhow::Result<String> {
    if let Some(document) = document(answer, output)? {
        return Ok(document);
    }
    let heading = ["NUMBER", "TIME", "WHAT", "ABOUT", "OWNER", "HOLD", "MS", "DETAIL"];
    let rows = answer.records.iter().map(|record| {
        let what = serde_json::to_value(record.what).ok();
        [
            record.number.to_string(),
            record.time.clone(),
            what.as_ref().and_then(Value::as_str).unwrap_or("?").to_owned(),
            about(record),
            record.owner.clone(),
            record.hold.clone().unwrap_or_else(|| "-".to_owned()),
            record.elapsed_ms.to_string(),
            detail(record),
        ]
    });
    let mut text = output::table(heading, rows.collect());
    for gap in &answer.gaps {
        let _ =
            writeln!(text, "This node does not have {} to {}: {}.", gap.from, gap.to, gap.cause);
    }
    if let Some(next) = answer.next {
        let _ = writeln!(text, "There is more: --after {next}");
    }
    Ok(text)
}

fn about(record: &AuditLine) -> String {
    match &record.topic {
        Some(topic) => format!("{topic} (topic)"),
        None => record.items.iter().map(item).collect::<Vec<_>>().join(","),
    }
}

fn detail(record: &AuditLine) -> String {
    match record.messages {
        Some(messages) => format!("{messages} messages"),
        None => record.detail.clone(),
    }
}

fn item(item: &EventItem) -> String {
    let mode = serde_json::to_value(item.mode).ok();
    let mode = mode.as_ref().and_then(Value::as_str).unwrap_or("?").to_owned();
    match item.token {
        0 => format!("{} ({mode})", item.name),
        token => format!("{} ({mode}, token {token})", item.name),
    }
}

pub(super) fn heads(heads: &Heads, output: Output) -> anyhow::Result<String> {
    if output != Output::Table {
        let rows: Vec<Value> = heads
            .iter()
            .map(|(server, head)| match head {
                Ok(head) => json!({ "server": server, "head": HeadLine::new(head) }),
                Err(error) => json!({ "server": server, "error": told(error) }),
            })
            .collect();
        return Ok(document(&rows, output)?.unwrap_or_default());
    }
    let rows = heads.iter().map(|(server, head)| {
        let head = match head {
            Ok(head) => format!("{}:{}", head.count, line::hex(&head.hash)),
            Err(error) => format!("- ({})", told(error)),
        };
        [server.clone(), head]
    });
    Ok(output::table(["SERVER", "HEAD"], rows.collect()))
}

pub(super) fn checks(
    checks: &[Check],
    output: Output,
    good: bool,
    allow_missing: bool,
) -> anyhow::Result<String> {
    if output != Output::Table {
        let rows: Vec<Value> = checks
            .iter()
            .map(|check| match &check.result {
                Ok(verdict) => json!({ "of": check.of, "notes": check.notes, "verdict": verdict }),
                Err(error) => json!({ "of": check.of, "error": error }),
            })
            .collect();
        let report = json!({ "whole": good, "checks": rows });
        return Ok(document(&report, output)?.unwrap_or_default());
    }
    let mut text = String::new();
    for check in checks {
        let _ = writeln!(text, "{}", check.of);
        match &check.result {
            Ok(verdict) => text.push_str(&verdict_lines(verdict, &check.notes)),
            Err(error) => drop(writeln!(text, "  cannot be checked: {error}")),
        }
    }
    let wrong = |check: &Check| check.result.is_ok() && !check.is_good(allow_missing);
    text.push_str(match good {
        true => "The trail is whole.\n",
        false if checks.iter().any(wrong) => "The trail is NOT whole.\n",
        false => "Not everything could be checked.\n",
    });
    Ok(text)
}

/// `None`: a table is wanted.
fn document(data: &impl Serialize, output: Output) -> anyhow::Result<Option<String>> {
    Ok(match output {
        Output::Table => None,
        Output::Json => Some(output::json(data)?),
        Output::Yaml => Some(output::yaml(data)?),
    })
}

fn verdict_lines(verdict: &Verdict, notes: &[String]) -> String {
    let Verdict { records, oldest, last, hash, .. } = verdict;
    let mut text = format!("  {records} records checked, {oldest} to {last}, head {last}:{hash}\n");
    for note in notes {
        let _ = writeln!(text, "  {note}");
    }
    for (from, to) in &verdict.missing {
        let _ = writeln!(text, "  MISSING: {from} to {to}");
    }
    for found in &verdict.findings {
        let _ = writeln!(text, "  WRONG at record {}: {}", found.number, found.finding);
    }
    text
}

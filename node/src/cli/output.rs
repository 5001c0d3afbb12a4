//! How commands print what they found.
//!
//! Data goes to standard output in the form that was asked for; JSON and YAML have the same fields.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// The form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One document.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// Prints data: as a document, or in the two other forms as its lines.
pub(super) fn print(
    output: Output,
    data: &impl Serialize,
    table: impl FnOnce() -> String,
    names: impl FnOnce() -> Vec<String>,
) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => table(),
        Output::Json => json(data)?,
        Output::Yaml => yaml(data)?,
        Output::Name => names().iter().map(|name| format!("{name}\n")).collect(),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// A document.
pub(super) fn json(data: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(data)? + "\n")
}

/// A document. By way of JSON's values, so that both forms always have the same fields.
pub(super) fn yaml(data: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(&serde_json::to_value(data)?)?;
    Ok(text.trim_end().to_owned() + "\n")
}

/// Columns under headings, as wide as their widest cell.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut lines = vec![headings.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &lines {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A length of time for people: the two largest units.
pub(super) fn length(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{}.{}s", seconds, ms % 1_000 / 100),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "22".to_owned()]];
        assert_eq!(table(["NAME", "N"], rows), "NAME    N\na       1\nlonger  22\n");
    }

    #[test]
    fn lengths_have_two_units() {
        let lengths = [999, 12_345, 61_000, 3_660_000, 90_000_000].map(length);
        assert_eq!(lengths, ["999ms", "12.3s", "1m01s", "1h01m", "1d01h"]);
    }
}

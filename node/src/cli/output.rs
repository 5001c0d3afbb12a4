//! How commands print what they found.
//!
//! Data goes to standard output in the form that was asked for; JSON and YAML have the same fields.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

use super::visible;

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
        Output::Name => names().iter().map(|name| line(name)).collect(),
    };
    Ok(write(&text)?)
}

/// Writes to standard output, with nothing hidden in it.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(visible::lines(text).as_bytes())?;
    out.flush()
}

/// A name in a line of its own.
pub(super) fn line(name: &str) -> String {
    format!("{}\n", visible::cell(name))
}

/// A document.
pub(super) fn json(data: &impl Serialize) -> anyhow::Result<String> {
    Ok(visible::json(&serde_json::to_string_pretty(data)?).into_owned() + "\n")
}

/// A document in one line.
pub(super) fn json_line(data: &impl Serialize) -> anyhow::Result<String> {
    Ok(visible::json(&serde_json::to_string(data)?).into_owned() + "\n")
}

/// A document. By way of JSON's values, so that both forms always have the same fields.
pub(super) fn yaml(data: &impl Serialize) -> anyhow::Result<String> {
    let text = serde_saphyr::to_string(&Quoted(&serde_json::to_value(data)?))?;
    Ok(visible::yaml(text.trim_end()).into_owned() + "\n")
}

/// A document whose strings stand in double quotes where they hide something: only there can a
/// character be written as a number.
struct Quoted<'a>(&'a Value);

impl Serialize for Quoted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if visible::hides(text) => DoubleQuoted(text).serialize(serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Quoted)),
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, Quoted(value))))
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// Columns under headings, as wide as their widest cell.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut lines = vec![headings.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| row.map(|cell| visible::cell(&cell).into_owned())));
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
    fn nothing_is_hidden_in_a_table_and_documents_still_say_the_same() {
        let name = "a\u{202e}b\nc";
        assert_eq!(table(["NAME"], vec![[name.to_owned()]]), "NAME\na\\u{202e}b\\u{a}c\n");
        let data = serde_json::json!({ "name": name, "more": [name, 1, null, "plain"] });
        let (json, yaml) = (json(&data).unwrap(), yaml(&data).unwrap());
        assert!(!json.contains('\u{202e}') && !yaml.contains('\u{202e}'), "{json}{yaml}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), data);
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), data);
    }

    #[test]
    fn lengths_have_two_units() {
        let lengths = [999, 12_345, 61_000, 3_660_000, 90_000_000].map(length);
        assert_eq!(lengths, ["999ms", "12.3s", "1m01s", "1h01m", "1d01h"]);
    }
}

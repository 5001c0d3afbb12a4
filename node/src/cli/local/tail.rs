//! The end of a log: what a node said before it died.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const TAIL_LINES_MAX: usize = 10;
const TAIL_BYTES_MAX: u64 = 16 << 10;

/// The last lines written at or after byte `from`. Nothing if the log cannot be read: this is help,
/// and must not hide the trouble that it is to explain.
pub fn last_lines(log: &Path, from: u64) -> Vec<String> {
    let text = read(log, from).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(TAIL_LINES_MAX);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}

fn read(log: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES_MAX))))?;
    let mut text = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_of_this_start_are_shown() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("node.log");
        let before = "a line of an earlier start\n";
        let lines: String = (0..20).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, format!("{before}{lines}")).unwrap();
        let tail = last_lines(&path, before.len() as u64);
        assert_eq!(tail.len(), TAIL_LINES_MAX);
        assert_eq!(tail.first().unwrap(), "line 10");
        std::fs::write(&path, format!("{before}one\n\n")).unwrap();
        assert_eq!(last_lines(&path, before.len() as u64), ["one"]);
        assert!(last_lines(&temporary.path().join("none"), 0).is_empty());
    }
}

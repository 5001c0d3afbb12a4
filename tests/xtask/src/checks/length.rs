//! Files stay short enough to be read in one go.

use crate::workspace::SourceFile;

/// A file of one noun has 60 to 300 lines; above this it holds two.
const LINES_MAX: usize = 700;

/// Files that are too long.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<String> {
    let lengths = files.iter().map(|file| (file, file.text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| format!("{}: {lines} lines, at most {LINES_MAX}", file.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_as_many_lines_as_said_and_no_more() {
        let of = |lines| SourceFile { path: "a.rs".to_owned(), text: "x\n".repeat(lines) };
        assert!(check(&[of(LINES_MAX)]).is_empty());
        assert_eq!(check(&[of(LINES_MAX + 1)]).len(), 1);
    }
}

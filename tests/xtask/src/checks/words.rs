//! Words that were meant to go before anybody else sees them.

use crate::workspace::SourceFile;

/// Put together here, so that this file does not find itself.
fn stray_words() -> [String; 4] {
    [["dbg", "!("], ["to", "do!("], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat())
}

/// Where they stand.
#[must_use]
pub fn check(files: &[SourceFile]) -> Vec<String> {
    let words = stray_words();
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            let found = words.iter().filter(|word| line.contains(word.as_str()));
            complaints.extend(found.map(|word| format!("{}:{number}: {word}", file.path)));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_word_is_found_with_its_line() {
        for word in stray_words() {
            let text = format!("fn f() {{\n    {word}\n}}\n");
            let file = SourceFile { path: "a.rs".to_owned(), text };
            assert_eq!(check(&[file]), [format!("a.rs:2: {word}")]);
        }
    }
}

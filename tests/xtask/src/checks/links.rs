//! Relative links in documents lead somewhere.

use std::path::Path;

use crate::workspace::SourceFile;

/// Links that lead nowhere. A link to a heading is looked up too.
#[must_use]
pub fn check(root: &Path, documents: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for document in documents {
        for (number, target) in links(&document.text) {
            if let Some(trouble) = trouble(root, document, &target) {
                complaints.push(format!("{}:{number}: {target}: {trouble}", document.path));
            }
        }
    }
    complaints
}

/// Targets of `[text](target)` with their lines, those in code left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            // Every second part of a line lies between backticks.
            let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
            let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| (number, target.trim().to_owned())));
        }
    }
    found
}

fn trouble(root: &Path, document: &SourceFile, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let here = root.join(&document.path);
    let path = match file {
        "" => here,
        _ if file.starts_with('/') => return Some("not relative"),
        _ => here.parent()?.join(file),
    };
    if !path.exists() {
        return Some("does not exist");
    }
    if heading.is_empty() || path.extension().is_none_or(|ending| ending != "md") {
        return None;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let known =
        text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
    (!known).then_some("no such heading")
}

/// What a heading is called in a link: lower case, words joined by '-', other signs left out.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_file_or_a_heading_that_exists() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        std::fs::write(root.path().join("docs/raft.md"), "# Raft\n## Who votes?\n").unwrap();
        let complaints = |text: &str| {
            let readme = SourceFile { path: "README.md".to_owned(), text: text.to_owned() };
            check(root.path(), &[readme]).len()
        };
        for good in [
            "[a](docs/raft.md)",
            "[a](docs/raft.md#who-votes)",
            "[a](https://example.com/none)",
            "`[a](none.md)`",
            "```\n[a](none.md)\n```",
        ] {
            assert_eq!(complaints(good), 0, "{good}");
        }
        for bad in
            ["[a](docs/none.md)", "[a](docs/raft.md#none)", "[a](/docs/raft.md)", "x [a](b) y"]
        {
            assert_eq!(complaints(bad), 1, "{bad}");
        }
    }
}

//! That a Dockerfile makes the image that is packed without it.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::images::{IMAGES, Image, Ours};

/// What the last stage of a Dockerfile puts together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stage {
    from: String,
    copies: Vec<(String, String)>,
    user: String,
    entrypoint: Vec<String>,
    others: Vec<String>,
}

/// Where the Dockerfiles and the packed images differ, a line each.
///
/// # Errors
/// If a Dockerfile cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut complaints = Vec::new();
    for image in &IMAGES {
        if let Some(ours) = &image.ours {
            let path = ours.dockerfile;
            let text = fs::read_to_string(root.join(path))
                .with_context(|| format!("cannot read {path}"))?;
            complaints.extend(differences(path, &last_stage(&text), &packed(image, ours)));
        }
    }
    Ok(complaints)
}

/// The stage that would give what is packed.
fn packed(image: &Image, ours: &Ours) -> Stage {
    let program = ours.program;
    let own = [
        (format!("/source/target/release/{program}"), format!("/usr/local/bin/{program}")),
        ("/libraries".to_owned(), "/".to_owned()),
    ];
    let files = image.files.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
    Stage {
        from: "scratch".to_owned(),
        copies: own.into_iter().chain(files).collect(),
        user: image.user.to_owned(),
        entrypoint: image.entrypoint.iter().map(|&word| word.to_owned()).collect(),
        others: Vec::new(),
    }
}

fn last_stage(dockerfile: &str) -> Stage {
    let mut stage = Stage::default();
    for line in dockerfile.replace("\\\n", " ").lines() {
        let line = line.trim();
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        match instruction {
            "FROM" => stage = Stage { from: rest.to_owned(), ..Stage::default() },
            "COPY" => stage.copies.push(copy(rest)),
            "USER" => rest.clone_into(&mut stage.user),
            "ENTRYPOINT" => stage.entrypoint = words(rest),
            "" => {}
            _ if line.starts_with('#') => {}
            _ => stage.others.push(line.to_owned()),
        }
    }
    stage
}

/// `[--from=STAGE] FROM TO`.
fn copy(rest: &str) -> (String, String) {
    let mut paths = rest.split_whitespace().filter(|word| !word.starts_with("--"));
    let mut next = || paths.next().unwrap_or_default().to_owned();
    (next(), next())
}

/// `["a", "b"]`. The form without brackets would be run by a shell, which is not there.
fn words(rest: &str) -> Vec<String> {
    match rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(list) => {
            list.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
        }
        None => vec![format!("sh -c {rest}")],
    }
}

fn differences(path: &str, said: &Stage, packed: &Stage) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, said: String, packed: String| {
        if said != packed {
            found.push(format!("{path}: {what} is {said}, and {packed} is packed"));
        }
    };
    compare("FROM of the last stage", said.from.clone(), packed.from.clone());
    compare("COPY", format!("{:?}", said.copies), format!("{:?}", packed.copies));
    compare("USER", said.user.clone(), packed.user.clone());
    compare("ENTRYPOINT", format!("{:?}", said.entrypoint), format!("{:?}", packed.entrypoint));
    compare("the rest", format!("{:?}", said.others), format!("{:?}", packed.others));
    found
}

#[cfg(test)]
mod tests {
    use super::super::workspace;
    use super::*;

    #[test]
    fn the_dockerfiles_of_the_project_make_what_is_packed() {
        assert_eq!(check(workspace::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_change_of_the_last_stage_is_found() {
        let text = fs::read_to_string(workspace::root().join("node/Dockerfile")).unwrap();
        let ours = IMAGES[0].ours.as_ref().unwrap();
        let packed = packed(&IMAGES[0], ours);
        for (from, to, what) in [
            ("FROM scratch", "FROM debian", "FROM"),
            ("/usr/local/bin/dsync\nCOPY", "/usr/bin/dsync\nCOPY", "COPY"),
            ("COPY --from=build /libraries /\n", "", "COPY"),
            ("65532:65532", "0:0", "USER"),
            ("USER 65532:65532\n", "", "USER"),
            ("ENTRYPOINT [\"/usr/local/bin/dsync\"]", "ENTRYPOINT dsync", "ENTRYPOINT"),
            ("USER", "ENV A=b\nUSER", "the rest"),
        ] {
            assert!(text.contains(from), "{from}");
            let found = differences("Dockerfile", &last_stage(&text.replace(from, to)), &packed);
            assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
            assert!(found[0].starts_with(&format!("Dockerfile: {what}")), "{found:?}");
        }
    }
}

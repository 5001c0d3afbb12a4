//! Calls of kubectl and helm on the cluster of these tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a call gave.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// kubectl with these words and this input.
pub fn kubectl(words: &[&str], input: &str) -> Said {
    run("kubectl", words, input)
}

/// Any program, from the root of the repository, as a reader of its pages would call it.
pub fn run(program: &str, words: &[&str], input: &str) -> Said {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "these tests need a Kubernetes cluster: `cargo xtask e2e` brings one up and runs them"
    );
    let mut command = Command::new(program);
    command.args(words).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    // It may end without having read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Said::of(child.wait_with_output().unwrap())
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, if it succeeded without a warning.
    #[track_caller]
    pub fn well(self) -> String {
        assert!(self.code == 0 && !self.err.contains("Warning"), "{self:?}");
        self.out.trim().to_owned()
    }

    /// That it failed, saying this.
    #[track_caller]
    pub fn refused(&self, why: &str) {
        assert!(self.code != 0 && self.err.contains(why), "not refused with {why:?}: {self:?}");
    }

    /// What it printed as JSON, if it succeeded.
    pub fn json(self) -> Option<Value> {
        (self.code == 0).then(|| serde_json::from_str(&self.out).unwrap())
    }
}

//! Calls of kubectl on the cluster of these tests.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What a call gave.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// kubectl with these words and this input.
pub fn kubectl(words: &[&str], input: &str) -> Said {
    xtask(&[&["kubectl"], words].concat(), input)
}

/// Does something to a machine: `stop`, `start`, `cut`, `heal`.
pub fn machine(event: &str, number: &str) {
    let said = xtask(&["machine", event, number], "");
    assert_eq!(said.code, 0, "machine {event} {number}: {said:?}");
}

fn xtask(words: &[&str], input: &str) -> Said {
    let program = std::env::var("DSYNC_XTASK").expect(
        "these tests need a Kubernetes cluster: `cargo xtask e2e` brings one up and runs them",
    );
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
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
    pub fn well(self) -> String {
        assert!(self.code == 0 && !self.err.contains("Warning"), "{self:?}");
        self.out.trim().to_owned()
    }
}

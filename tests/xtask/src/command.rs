//! Other programs, mostly cargo, run from the root of the workspace.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use super::outcome::Counts;
use super::workspace;

/// A program with its arguments and extra environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Call {
    /// `cargo` with these arguments, divided by spaces.
    #[must_use]
    pub fn cargo(arguments: &str) -> Self {
        Self::of("cargo", arguments)
    }

    /// A program with these arguments, divided by spaces.
    #[must_use]
    pub fn of(program: &str, arguments: &str) -> Self {
        let arguments = arguments.split_whitespace().map(str::to_owned).collect();
        Self { program: program.to_owned(), arguments, environment: Vec::new() }
    }

    /// The same with more arguments, divided by spaces.
    #[must_use]
    pub fn args(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(str::to_owned));
        self
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The same with one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As one would type it.
    #[must_use]
    pub fn shown(&self) -> String {
        let variables = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        let words = variables.chain([self.program.clone()]).chain(self.arguments.clone());
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs it; its output is this process's.
    ///
    /// # Errors
    /// If it cannot be started or fails.
    pub fn run(&self) -> anyhow::Result<()> {
        let status = self.command().status().with_context(|| self.not_started())?;
        if !status.success() {
            bail!("`{}` failed: {status}", self.shown());
        }
        Ok(())
    }

    /// Starts it behind everything else that this machine has to do, and hides what it says.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_in_background(&self) -> anyhow::Result<Child> {
        let mut command = Command::new("nice");
        command.args(["-n", "19", &self.program]).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(workspace::root()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| self.not_started())
    }

    /// Runs it and gives what it prints.
    ///
    /// # Errors
    /// If it cannot be started or fails.
    pub fn output(&self) -> anyhow::Result<Vec<u8>> {
        let output = self.command().stderr(Stdio::inherit()).output();
        let output = output.with_context(|| self.not_started())?;
        if !output.status.success() {
            bail!("`{}` failed: {}", self.shown(), output.status);
        }
        Ok(output.stdout)
    }

    /// Runs tests: passes their output on and counts what it says of each.
    ///
    /// # Errors
    /// If it cannot be started or its output cannot be read. A test that fails is in the counts.
    pub fn run_tests(&self) -> anyhow::Result<Counts> {
        let mut command = self.command();
        if std::io::stdout().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child =
            command.stdout(Stdio::piped()).spawn().with_context(|| self.not_started())?;
        let mut counts = Counts::default();
        for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
            let line = line?;
            std::io::stdout().write_all(&[line.as_slice(), b"\n"].concat())?;
            counts += Counts::of_line(&String::from_utf8_lossy(&line));
        }
        let status = child.wait()?;
        if !status.success() && counts.failed == 0 {
            // It did not compile, or a process died before it could count.
            counts.failed = 1;
        }
        Ok(counts)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(workspace::root());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn not_started(&self) -> String {
        format!("cannot start `{}`", self.shown())
    }
}

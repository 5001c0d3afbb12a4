//! What a process under test writes, and its end, waited for for a minute at most.
//!
//! To read a pipe, and even to open a named one, blocks until the other side does its part. A process
//! that hangs would hang its test, and nobody would learn which one. So a thread blocks, and the test
//! waits for what that has read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Far above what anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(5);

/// One end of a pipe.
pub struct Output(Receiver<String>);

#[allow(dead_code, reason = "not every test needs everything")]
impl Output {
    /// What comes out of `pipe`.
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (lines, output) = channel();
        thread::spawn(move || read(pipe, &lines));
        Self(output)
    }

    /// What somebody writes into a named pipe, who may not have opened it yet.
    pub fn of_named_pipe(path: PathBuf) -> Self {
        let (lines, output) = channel();
        thread::spawn(move || read(File::open(path).unwrap(), &lines));
        Self(output)
    }

    /// The next line; empty at the end.
    pub fn line(&self) -> String {
        self.next(Instant::now() + PATIENCE).unwrap_or_default().trim_end().to_owned()
    }

    /// Everything until the last process that could write is dead.
    pub fn rest(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        std::iter::from_fn(|| self.next(deadline)).collect()
    }

    fn next(&self, deadline: Instant) -> Option<String> {
        match self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("neither a line nor the end: {PATIENCE:?}"),
        }
    }
}

fn read(pipe: impl Read, lines: &Sender<String>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
        if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Waits until a process has ended.
#[allow(dead_code, reason = "not every test needs everything")]
pub fn await_end(process: &mut Child) -> ExitStatus {
    within(|| process.try_wait().unwrap(), "the process does not end")
}

/// Asks until there is an answer.
#[allow(dead_code, reason = "not every test needs everything")]
pub fn within<T>(mut probe: impl FnMut() -> Option<T>, otherwise: &str) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{otherwise}, after {PATIENCE:?}");
        thread::sleep(PAUSE);
    }
}

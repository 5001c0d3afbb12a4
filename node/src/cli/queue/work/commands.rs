//! The commands that run, each in a process group of its own.
//!
//! One thread does all of this, so a group is known for exactly as long as its first process is not
//! reaped: its number cannot be another group's when a signal goes to it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::future::{Future, pending};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsync_client::queues::{HandlerError, Job};
use rustix::process::{Pid, Signal, getpid};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::sleep;

use super::environment;
use crate::cli::lock::launch::own_binary;
use crate::cli::lock::signals;

/// All commands of a worker. Clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    command: Arc<[OsString]>,
    topic: Arc<str>,
    grace: Duration,
    groups: Arc<Mutex<HashSet<Pid>>>,
    /// The signal that ends this worker.
    stopped_by: watch::Sender<Option<Signal>>,
}

impl Commands {
    pub(super) fn new(command: Vec<OsString>, topic: String, grace: Duration) -> Self {
        let (stopped_by, _) = watch::channel(None);
        let (command, topic) = (command.into(), topic.into());
        Self { command, topic, grace, groups: Arc::default(), stopped_by }
    }

    /// Resolves when a signal that ends things has come.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped_by = self.stopped_by.subscribe();
        async move {
            let _ = stopped_by.wait_for(Option::is_some).await;
        }
    }

    /// Passes signals on to all commands. The first one that ends things gives them the grace, the
    /// second one ends them.
    pub(super) async fn pass_on(self, mut caught: UnboundedReceiver<Signal>) {
        while let Some(signal) = caught.recv().await {
            let again = self.stopped_by.borrow().is_some();
            if again && signals::ends(signal) {
                self.send(Signal::KILL);
                continue;
            }
            self.send(signal);
            if signals::ends(signal) {
                // One that is stopped hears nothing.
                self.send(Signal::CONT);
                self.stopped_by.send_replace(Some(signal));
                let ended = self.clone();
                tokio::spawn(async move {
                    sleep(ended.grace).await;
                    ended.send(Signal::KILL);
                });
            }
        }
    }

    fn send(&self, signal: Signal) {
        for group in self.groups().iter() {
            signals::send(*group, signal);
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the command for a message. `Ok`: it has done it.
    pub(super) async fn run(&self, job: Job) -> Result<(), HandlerError> {
        if let Some(signal) = *self.stopped_by.borrow() {
            return Err(given_back(signal));
        }
        let cannot = |error: std::io::Error| HandlerError::retry(format!("cannot run: {error}"));
        let mut child = self.start(&job).map_err(cannot)?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let Some(group) = group else { return Err(HandlerError::retry("ended at once")) };
        self.groups().insert(group);
        let status = self.watch(&mut child, group, &job).await;
        self.groups().remove(&group);
        let status = status.map_err(cannot)?;
        match (status.success(), *self.stopped_by.borrow()) {
            (true, _) => Ok(()),
            (false, Some(signal)) => Err(given_back(signal)),
            (false, None) => Err(HandlerError::retry(reason(status))),
        }
    }

    fn start(&self, job: &Job) -> std::io::Result<Child> {
        Command::new(own_binary()?)
            .arg("lock-launch")
            .arg(getpid().as_raw_nonzero().to_string())
            .arg("--")
            .args(self.command.iter())
            .envs(environment::of(&self.topic, job))
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
    }

    /// Until the command has ended. When the message is lost meanwhile, the command is ended.
    async fn watch(&self, child: &mut Child, group: Pid, job: &Job) -> std::io::Result<ExitStatus> {
        let stdin = child.stdin.take();
        let body = job.body.as_bytes();
        // A command that does not read it, or not all of it, is as good.
        let feed = async {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(body).await;
            }
            pending::<()>().await;
        };
        let lost = async {
            job.lost().await;
            signals::terminate(group);
            sleep(self.grace).await;
            signals::send(group, Signal::KILL);
            pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => status,
            () = feed => pending().await,
            () = lost => pending().await,
        }
    }
}

/// At once: another worker may begin it.
fn given_back(signal: Signal) -> HandlerError {
    let reason = format!("its worker was stopped by signal {}", signal.as_raw());
    HandlerError::retry(reason).delay(Duration::ZERO)
}

/// How a command ended.
fn reason(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

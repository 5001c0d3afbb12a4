//! Keeps one node's process running until it is told to stop.
//!
//! There is one way down: SIGTERM, on which a node hands its lead over and ends. SIGKILL follows
//! when the user insists (a second Ctrl-C) or the node takes too long.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::plan::NodePlan;
use super::{Event, folder, tail};

/// Pause before a node that died is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// How long a node may take to stop. Above the time that its own drain allows itself.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// What the nodes are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Run, and start again after a death.
    Run,
    /// Stop in good order.
    Stop,
    /// End at once.
    Kill,
}

/// The keeper of one node.
#[derive(Debug)]
pub struct Supervisor {
    plan: NodePlan,
    events: mpsc::Sender<Event>,
    orders: watch::Receiver<Order>,
    restart: bool,
}

/// A process, and the pipe whose closing tells it that we have gone.
struct Running {
    child: Child,
    pid: Pid,
    /// Length of the log when it was started.
    log_start: u64,
    #[cfg_attr(not(test), expect(dead_code, reason = "held open, never written to"))]
    lifeline: ChildStdin,
}

impl Supervisor {
    /// A keeper that reports to `events` and follows `orders`.
    pub fn new(
        plan: NodePlan,
        events: mpsc::Sender<Event>,
        orders: watch::Receiver<Order>,
        restart: bool,
    ) -> Self {
        Self { plan, events, orders, restart }
    }

    /// Starts the node, again and again if it dies, until told to stop.
    ///
    /// # Errors
    /// If the process cannot be started at all.
    pub async fn keep(mut self) -> anyhow::Result<()> {
        while *self.orders.borrow() == Order::Run {
            let mut running = self.start()?;
            self.tell(Event::Started { node: self.plan.number, pid: number(running.pid) }).await;
            tokio::select! {
                ended = running.child.wait() => self.report(ended?, running.log_start).await,
                () = ordered(&mut self.orders, Order::Stop) => return self.stop(running).await,
            }
            if !self.restart {
                break;
            }
            tokio::select! {
                () = sleep(RESTART_PAUSE) => (),
                () = ordered(&mut self.orders, Order::Stop) => break,
            }
        }
        Ok(())
    }

    fn start(&self) -> anyhow::Result<Running> {
        let NodePlan { number, log, program, arguments, .. } = &self.plan;
        let output = folder::open_log(log)?;
        let log_start = fs::metadata(log).map_or(0, |log| log.len());
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start node {number} from {}", program.display()))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.context("a process without an id")?;
        // Taken out of the child, since waiting for it would close the pipe.
        let lifeline = child.stdin.take().context("a process without a pipe")?;
        Ok(Running { child, pid, log_start, lifeline })
    }

    async fn report(&self, status: ExitStatus, log_start: u64) {
        let log_tail = tail::last_lines(&self.plan.log, log_start);
        let (node, restarts) = (self.plan.number, self.restart);
        self.tell(Event::Died { node, how: describe(status), log_tail, restarts }).await;
    }

    async fn stop(mut self, mut running: Running) -> anyhow::Result<()> {
        // It may have ended by itself a moment ago: the wait below tells.
        let _ = kill_process(running.pid, Signal::TERM);
        tokio::select! {
            ended = timeout(STOP_GRACE, running.child.wait()) => if let Ok(status) = ended {
                status?;
                return Ok(());
            },
            () = ordered(&mut self.orders, Order::Kill) => (),
        }
        running.child.kill().await?;
        self.tell(Event::Killed { node: self.plan.number }).await;
        Ok(())
    }

    /// The screen outlives the supervisors, so this fails only when nobody is left to be told.
    async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

/// Ends when at least this has been ordered.
async fn ordered(orders: &mut watch::Receiver<Order>, order: Order) {
    if orders.wait_for(|given| *given >= order).await.is_err() {
        // Whoever gives orders has gone without one: nothing will come.
        std::future::pending::<()>().await;
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        other => return other.to_string(),
    };
    format!("{signal} ({name})")
}

#[cfg(test)]
#[path = "supervisor_test.rs"]
mod tests;

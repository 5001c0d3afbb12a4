//! The supervisor: starts the keeper, then the command, passes signals on, ends the command in time,
//! and ends as the command ended.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use dsync_client::BootInstant;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgrp, getpid, kill_current_process_group, waitpid,
};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::exit::{self, Failure, say};
use super::launch::own_binary;
use super::limits::{Due, Limits};
use super::protocol::{FromKeeper, Grant, ToKeeper, Told, tell};
use super::terminal::Terminal;
use super::{Wanted, notice, signals, until};

/// How long the keeper has for what takes it no time.
const KEEPER_TURN: Duration = Duration::from_millis(20);
/// How long the cluster has for taking the locks back. The command is done; its user waits.
const RELEASE_MAX: Duration = Duration::from_secs(10);
/// A shorter wait after the command's end needs no word.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// Acquires, runs the command, releases; gives the exit code.
pub(super) fn run(wanted: &Wanted, command: &[OsString]) -> Result<u8, Failure> {
    // One thread: the kernel ends the command when the *thread* that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::system("cannot start"))?;
    runtime.block_on(async {
        let mut caught = signals::catch().map_err(Failure::system("cannot catch signals"))?;
        let children =
            signal(SignalKind::child()).map_err(Failure::system("cannot catch signals"))?;
        let ttl = wanted.ttl;
        let mut keeper = Keeper::start(wanted).await?;
        let grant = keeper.grant(wanted, &mut caught).await?;
        let limits = Limits::new(ttl, grant.end.into());
        let terminal = Terminal::in_hand();
        if let Some(terminal) = &terminal {
            terminal.give(keeper.group);
        }
        let keep_until = grant.keep_until.into();
        let command = match start(command, &grant, keeper.group) {
            Ok(command) => command,
            Err(failure) => {
                keeper.give_up(wanted, &mut caught).await;
                return Err(failure);
            }
        };
        let supervisor = Supervisor {
            keeper,
            limits,
            keep_until,
            caught,
            children,
            command,
            terminal,
            lost: None,
            keeper_gone: false,
        };
        supervisor.watch().await
    })
}

/// The keeper, seen from here.
struct Keeper {
    process: Child,
    /// The process group that it leads.
    group: Pid,
    orders: ChildStdin,
    told: Told<ChildStdout>,
}

impl Keeper {
    async fn start(wanted: &Wanted) -> Result<Self, Failure> {
        let failed = || Failure::system("cannot start the keeper");
        let mut process = tokio::process::Command::new(own_binary().map_err(failed())?)
            .arg("lock-keeper")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed())?;
        let group = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (orders, told) = (process.stdin.take(), process.stdout.take());
        let (Some(group), Some(mut orders), Some(told)) = (group, orders, told) else {
            return Err(Failure::new(exit::FAILED, "the keeper ended at once"));
        };
        tell(&mut orders, wanted).await.map_err(failed())?;
        Ok(Self { process, group, orders, told: Told::new(told) })
    }

    /// Until the locks are held. A signal that ends things ends the wait.
    async fn grant(
        &mut self,
        wanted: &Wanted,
        caught: &mut UnboundedReceiver<Signal>,
    ) -> Result<Grant, Failure> {
        let mut saying = pin!(notice::keep_saying(wanted));
        loop {
            tokio::select! {
                never = &mut saying => match never {},
                told = self.told.next() => return match told {
                    Some(FromKeeper::Held(grant)) => Ok(grant),
                    Some(FromKeeper::Failed { code, message, may_be_held: false }) => {
                        Err(Failure::new(code, message))
                    }
                    Some(FromKeeper::Failed { code, message, .. }) => {
                        Err(Failure::new(code, format!("{message}; {}", if_granted(wanted))))
                    }
                    _ => Err(Failure::new(exit::FAILED, "the keeper ended before it held the locks")),
                },
                Some(signal) = caught.recv() => if signals::ends(signal) {
                    self.give_up(wanted, caught).await;
                    let code = u8::try_from(exit::SIGNALLED + signal.as_raw());
                    return Err(Failure::new(code.unwrap_or(exit::FAILED), ""));
                },
            }
        }
    }

    /// Leaves the queue. A grant that was on its way is given back, or it is said that it may not be;
    /// another signal that ends things ends that too.
    async fn give_up(&mut self, wanted: &Wanted, caught: &mut UnboundedReceiver<Signal>) {
        let _ = tell(&mut self.orders, &ToKeeper::GiveUp).await;
        let again =
            async { while caught.recv().await.is_some_and(|signal| !signals::ends(signal)) {} };
        let settled = tokio::select! {
            settled = timeout(RELEASE_MAX, settled(&mut self.told)) => {
                settled.unwrap_or_else(|_| Err("no answer in time".to_owned()))
            }
            () = again => Err("interrupted".to_owned()),
        };
        if let Err(error) = settled {
            say(&format!(
                "it is not known whether the lock was granted: {error}; {}",
                if_granted(wanted)
            ));
            let _ = self.process.start_kill();
        }
    }
}

/// Until the keeper says that nothing is held, or that nobody knows.
async fn settled(told: &mut Told<ChildStdout>) -> Result<(), String> {
    loop {
        match told.next().await {
            Some(FromKeeper::Released { error }) => return error.map_or(Ok(()), Err),
            Some(FromKeeper::Failed { may_be_held: false, .. }) => return Ok(()),
            Some(FromKeeper::Failed { message, .. }) => return Err(message),
            Some(_) => {}
            None => return Err("the keeper ended".to_owned()),
        }
    }
}

/// What becomes of a lock of which nobody knows whether it is held.
fn if_granted(wanted: &Wanted) -> String {
    let name = wanted.names.first().map_or("", String::as_str);
    match wanted.ttl.is_zero() {
        true => format!("if it was, it stays held: `dsync locks get {name}` shows by whom"),
        false => "if it was, its lease ends it".to_owned(),
    }
}

/// Starts the command in the keeper's group.
fn start(command: &[OsString], grant: &Grant, group: Pid) -> Result<Pid, Failure> {
    let failed = || Failure::system("cannot start the command");
    let tokens = grant.locks.iter().map(|lock| format!("{}={}", lock.name, lock.token));
    let first = grant.locks.first();
    let child = std::process::Command::new(own_binary().map_err(failed())?)
        .arg("lock-launch")
        .arg(getpid().as_raw_nonzero().to_string())
        .arg("--")
        .args(command)
        .env("DSYNC_LOCK", first.map_or("", |lock| &lock.name))
        .env("DSYNC_TOKEN", first.map_or_else(String::new, |lock| lock.token.to_string()))
        .env("DSYNC_TOKENS", tokens.collect::<Vec<_>>().join(","))
        .env("DSYNC_HOLD", &grant.hold)
        .process_group(group.as_raw_nonzero().get())
        .spawn()
        .map_err(failed())?;
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    id.ok_or_else(|| Failure::new(exit::FAILED, "cannot start the command"))
}

struct Supervisor {
    keeper: Keeper,
    limits: Limits,
    /// Up to when the locks are held, however early the command ends.
    keep_until: Option<BootInstant>,
    caught: UnboundedReceiver<Signal>,
    children: SignalStream,
    command: Pid,
    /// The terminal, if this process had it to give.
    terminal: Option<Terminal>,
    /// Why the command has to end.
    lost: Option<String>,
    /// Nobody renews any more.
    keeper_gone: bool,
}

impl Supervisor {
    /// Until the command has ended.
    async fn watch(mut self) -> Result<u8, Failure> {
        loop {
            if let Some(status) = self.look_at_command().await {
                return Ok(self.end(status).await);
            }
            let due = self.limits.next();
            tokio::select! {
                told = self.keeper.told.next(), if !self.keeper_gone => self.hear(told),
                Some(signal) = self.caught.recv() => self.pass_on(signal),
                _ = self.children.recv() => {}
                () = until(due.map(|(at, _)| at)) => self.act().await,
            }
        }
    }

    fn hear(&mut self, told: Option<FromKeeper>) {
        match told {
            Some(FromKeeper::Renewed { end }) => self.limits.renewed(end.into()),
            Some(FromKeeper::Lost { message }) => {
                self.lost.get_or_insert(format!("the lock is lost: {message}"));
                self.limits.lost(BootInstant::now());
            }
            Some(_) => {}
            None => {
                self.keeper_gone = true;
                // It is in the group that is being ended.
                if !self.limits.is_terminating() {
                    say("the keeper ended; nobody renews the lock any more");
                }
            }
        }
    }

    /// Does what is due, unless the keeper has news. After this process was stopped, the timer fires
    /// and the news of many renewals comes at the same moment.
    async fn act(&mut self) {
        self.catch_up().await;
        match self.limits.next() {
            Some((at, due)) if at <= BootInstant::now() => match due {
                Due::Term => self.terminate().await,
                Due::Kill => self.kill().await,
            },
            _ => {}
        }
    }

    /// Hears what the keeper has said so far.
    async fn catch_up(&mut self) {
        while !self.keeper_gone
            && let Ok(told) = timeout(KEEPER_TURN, self.keeper.told.next()).await
        {
            self.hear(told);
        }
    }

    async fn terminate(&mut self) {
        let _ = tell(&mut self.keeper.orders, &ToKeeper::Terminating).await;
        self.limits.terminating();
        let why = || "the lock could not be renewed in time".to_owned();
        let why = self.lost.get_or_insert_with(why);
        say(&format!("{why}; the command is ended"));
        signals::terminate(self.keeper.group);
    }

    async fn kill(&mut self) {
        self.take_terminal().await;
        signals::send(self.keeper.group, Signal::KILL);
        // The command is in the group, unless it left it.
        let _ = rustix::process::kill_process(self.command, Signal::KILL);
        // It is dead or dies; nothing more is due.
        self.limits = Limits::new(Duration::ZERO, None);
        self.limits.terminating();
    }

    fn pass_on(&mut self, signal: Signal) {
        if signal == Signal::CONT
            && let Some(terminal) = Terminal::in_hand()
        {
            terminal.give(self.keeper.group);
            self.terminal = Some(terminal);
        }
        signals::send(self.keeper.group, signal);
    }

    /// How the command ended, if it has. One that was stopped at the terminal stops this process too,
    /// as the shell expects of a job; the keeper renews on.
    async fn look_at_command(&mut self) -> Option<Option<WaitStatus>> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        let status = match waitpid(Some(self.command), options) {
            Ok(Some((_, status))) => status,
            Ok(None) => return None,
            // Nobody's child any more: it has ended, and nobody knows how.
            Err(_) => return Some(None),
        };
        if !status.stopped() {
            return Some(Some(status));
        }
        if self.terminal.is_some() && !self.limits.is_terminating() {
            self.take_terminal().await;
            let _ = kill_current_process_group(Signal::TSTP);
        }
        None
    }

    /// Gets the terminal back from the command's group.
    async fn take_terminal(&mut self) {
        if self.terminal.take().is_none() || self.keeper_gone {
            return;
        }
        let group = getpgrp().as_raw_nonzero().get();
        let _ = tell(&mut self.keeper.orders, &ToKeeper::Terminal(group)).await;
        while let Ok(Some(told)) = timeout(KEEPER_TURN, self.keeper.told.next()).await {
            if told == FromKeeper::TerminalGiven {
                break;
            }
            self.hear(Some(told));
        }
    }

    /// The command has ended: gives back what is held. What the keeper said before it counts too: the
    /// news and the command's death may come at one moment, after this process was stopped.
    async fn end(mut self, status: Option<WaitStatus>) -> u8 {
        self.take_terminal().await;
        let code = status.map_or(exit::FAILED, exit::of_command);
        if let Some(loss) = self.keep().await {
            // The command has come to no harm.
            say(&format!("{loss}, before it was held for as long as --hold-at-least says"));
            return code;
        }
        if self.lost.is_none()
            && let Err(error) = self.release().await
            && self.lost.is_none()
        {
            say(&format!("the lock was not given back, its lease ends it: {error}"));
        }
        if let Some(why) = &self.lost {
            if !self.limits.is_terminating() {
                say(why);
            }
            return exit::LOST;
        }
        code
    }

    /// Holds the locks for as long as they are to be held at least; the reason if they are lost
    /// meanwhile. A lease that ends by then needs nobody who waits. A signal that ends things ends the
    /// wait: the lease ends the hold then, a little later.
    async fn keep(&mut self) -> Option<String> {
        let moment = self.keep_until?;
        self.catch_up().await;
        if self.lost.is_some() || self.limits.end_by(moment) {
            return None;
        }
        let left = moment.since(BootInstant::now());
        if left >= WORTH_SAYING {
            say(&format!("the command has ended; the lock is held for {} s more", left.as_secs()));
        }
        loop {
            tokio::select! {
                () = moment.reached() => return None,
                told = self.keeper.told.next(), if !self.keeper_gone => {
                    self.hear(told);
                    if self.lost.is_some() || self.keeper_gone {
                        return self.lost.take();
                    }
                }
                Some(signal) = self.caught.recv() => if signals::ends(signal) {
                    return None;
                },
            }
        }
    }

    async fn release(&mut self) -> Result<(), String> {
        let _ = tell(&mut self.keeper.orders, &ToKeeper::Release).await;
        loop {
            match timeout(RELEASE_MAX, self.keeper.told.next()).await {
                Ok(Some(FromKeeper::Released { error })) => return error.map_or(Ok(()), Err),
                Ok(Some(told)) => self.hear(Some(told)),
                Ok(None) => {
                    self.lost_with_keeper();
                    return Err("the keeper ended".to_owned());
                }
                Err(_) => return Err("no answer in time".to_owned()),
            }
        }
    }

    /// A keeper that ends after TERM was due has ended its group with itself, the command too.
    fn lost_with_keeper(&mut self) {
        if self.limits.next().is_some_and(|(at, _)| at <= BootInstant::now()) {
            let why = "the lock could not be renewed in time; the keeper ended the command";
            self.lost.get_or_insert(why.to_owned());
        }
    }
}

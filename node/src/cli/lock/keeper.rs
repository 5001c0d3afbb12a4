//! The keeper: holds the locks and renews them, and leads the command's process group.
//!
//! While it lives, the group's number cannot become another group's, so a signal to the group never
//! hits a stranger.

use std::process::ExitCode;
use std::time::Duration;

use dsync_client::{BootInstant, Client, Error, Hold, LockError, LockRequest};
use rustix::process::{Pid, Signal, getpgrp, getpid};
use tokio::io::{Stdin, Stdout, stdin, stdout};

use super::limits::{Due, Limits};
use super::protocol::{End, FromKeeper, Grant, ToKeeper, Told, tell};
use super::terminal::Terminal;
use super::{Wanted, exit, signals, until};

/// How long the supervisor has to say that it sees to the command's end itself.
const SUPERVISOR_TURN: Duration = Duration::from_millis(200);

/// Runs the keeper. Only `dsync lock` calls it.
pub(in crate::cli) fn run() -> anyhow::Result<ExitCode> {
    // It ends its whole group when it has to, so it must not be in anybody else's.
    anyhow::ensure!(getpgrp() == getpid(), "this is a part of `dsync lock`, not a command");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        signals::survive()?;
        let mut told = Told::new(stdin());
        if let Some(wanted) = told.next::<Wanted>().await {
            keep(wanted, told, stdout()).await;
        }
        anyhow::Ok(ExitCode::SUCCESS)
    });
    // A read of standard input cannot be cancelled, and must not be waited for.
    runtime.shutdown_background();
    code
}

async fn keep(wanted: Wanted, mut told: Told<Stdin>, mut out: Stdout) {
    // The supervisor says so, or is dead.
    let give_up = async {
        let _said: Option<ToKeeper> = told.next().await;
    };
    let said = match acquire(&wanted, give_up).await {
        Ok(Some(hold)) => {
            let grant = Grant {
                hold: hold.id().to_owned(),
                locks: hold.locks(),
                end: hold.ends_at().into(),
                keep_until: hold.keep_until().into(),
            };
            let limits = Limits::new(wanted.ttl, hold.ends_at());
            let _ = tell(&mut out, &FromKeeper::Held(grant)).await;
            return Keeper { hold, limits, told, out }.watch().await;
        }
        Ok(None) => FromKeeper::Released { error: None },
        Err(error) => failed(&error),
    };
    let _ = tell(&mut out, &said).await;
}

fn failed(error: &LockError) -> FromKeeper {
    let may_be_held = matches!(error, LockError::Call(Error::OutcomeUnknown(_)));
    FromKeeper::Failed { code: exit::of_error(error), message: error.to_string(), may_be_held }
}

async fn acquire(
    wanted: &Wanted,
    give_up: impl Future<Output = ()>,
) -> Result<Option<Hold>, LockError> {
    let mut client = Client::new(&wanted.servers).map_err(LockError::Call)?;
    if let Some(owner) = &wanted.owner {
        client = client.with_owner(owner);
    }
    let mut names = wanted.names.iter();
    let first = names.next().cloned().unwrap_or_default();
    let mode = |request: LockRequest| match (wanted.permits, wanted.shared) {
        (Some(it), _) => request.permits(it.permits, it.permits_max),
        (None, true) => request.shared(),
        (None, false) => request,
    };
    let request = names.fold(mode(client.lock(first)), |request, name| mode(request.and(name)));
    let request = match wanted.ttl.is_zero() {
        true => request.without_lease(),
        false => request.ttl(wanted.ttl),
    };
    let request = match wanted.hold_at_least {
        Some(time) => request.hold_at_least(time),
        None => request,
    };
    request.wait(wanted.wait).acquire_unless(give_up).await
}

struct Keeper {
    hold: Hold,
    limits: Limits,
    told: Told<Stdin>,
    out: Stdout,
}

impl Keeper {
    /// Until the locks are given back, or the group is killed with this process.
    async fn watch(mut self) {
        let mut lost = Box::pin(self.hold.lost());
        let mut ends = self.hold.follow_end();
        let mut known_lost = false;
        let mut supervisor_ends_it = false;
        loop {
            let due = self.limits.next();
            let at = due.map(|(at, due)| match due {
                // The supervisor's turn comes first.
                Due::Term => at.plus(SUPERVISOR_TURN),
                Due::Kill => at,
            });
            tokio::select! {
                biased;
                said = self.told.next() => match said {
                    Some(ToKeeper::Release) => return release(self.hold.release(), self.out).await,
                    Some(ToKeeper::GiveUp) => return release(self.hold.release_now(), self.out).await,
                    Some(ToKeeper::Terminal(group)) => self.give_terminal(group).await,
                    Some(ToKeeper::Terminating) => {
                        supervisor_ends_it = true;
                        self.limits.lost(BootInstant::now());
                        self.limits.terminating();
                    }
                    None => return self.end_group().await,
                },
                loss = &mut lost, if !known_lost => {
                    known_lost = true;
                    self.limits.lost(BootInstant::now());
                    let _ = tell(&mut self.out, &FromKeeper::Lost { message: loss.to_string() }).await;
                }
                Ok(()) = ends.changed(), if !known_lost => {
                    let end = *ends.borrow_and_update();
                    self.limits.renewed(end);
                    let _ = tell(&mut self.out, &FromKeeper::Renewed { end: End::from(end) }).await;
                }
                () = until(at) => match due {
                    Some((_, Due::Kill)) => signals::send(getpgrp(), Signal::KILL),
                    _ if !supervisor_ends_it => {
                        self.limits.terminating();
                        signals::terminate(getpgrp());
                    }
                    _ => {}
                },
            }
        }
    }

    async fn give_terminal(&mut self, group: i32) {
        if let (Some(terminal), Some(group)) = (Terminal::in_hand(), Pid::from_raw(group)) {
            terminal.give(group);
        }
        let _ = tell(&mut self.out, &FromKeeper::TerminalGiven).await;
    }

    /// The supervisor is dead: ends what is left of the group, this process included. The lease ends
    /// the hold; to give it back now would be to let the next one in beside what is still running.
    async fn end_group(mut self) {
        self.limits.lost(BootInstant::now());
        if !self.limits.is_terminating() {
            signals::terminate(getpgrp());
            self.limits.terminating();
        }
        until(self.limits.next().map(|(at, _)| at)).await;
        signals::send(getpgrp(), Signal::KILL);
    }
}

/// Says how it went.
async fn release(released: impl Future<Output = Result<(), LockError>>, mut out: Stdout) {
    let error = match released.await {
        // Then there is nothing to give back.
        Ok(()) | Err(LockError::Lost(_)) => None,
        Err(error) => Some(error.to_string()),
    };
    let _ = tell(&mut out, &FromKeeper::Released { error }).await;
}

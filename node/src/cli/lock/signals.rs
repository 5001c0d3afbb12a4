//! The signals that are passed on to the command.

use std::io;

use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::signals::is_ignored;

/// Passed on. What a terminal sends to its foreground group (window size, stop) reaches the command by
/// itself.
const FORWARDED: [Signal; 8] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::CONT,
];

/// What the keeper must survive, being in the command's group.
const SURVIVED: [Signal; 3] = [Signal::TSTP, Signal::TTIN, Signal::TTOU];

/// Catches all that are forwarded, from now on, but for those that were ignored before: the command
/// then ignores them as well.
pub(in crate::cli) fn catch() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (caught, signals) = mpsc::unbounded_channel();
    for kind in not_ignored(FORWARDED) {
        let mut stream = signal(SignalKind::from_raw(kind.as_raw()))?;
        let caught = caught.clone();
        tokio::spawn(
            async move { while stream.recv().await.is_some() && caught.send(kind).is_ok() {} },
        );
    }
    Ok(signals)
}

/// Lets none of the signals that are sent to the command's group end or stop this process.
pub(super) fn survive() -> io::Result<()> {
    for kind in not_ignored(FORWARDED.into_iter().chain(SURVIVED)) {
        // A handler stays for ever once it is there, whether its stream is read or not.
        drop(signal(SignalKind::from_raw(kind.as_raw()))?);
    }
    Ok(())
}

fn not_ignored(signals: impl IntoIterator<Item = Signal>) -> Vec<Signal> {
    // All looked at before the first is caught.
    signals.into_iter().filter(|kind| !is_ignored(*kind)).collect()
}

/// Whether it asks a process to end.
pub(in crate::cli) fn ends(signal: Signal) -> bool {
    [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal)
}

/// Sends a signal to all processes of a group. It may be gone, which is as good.
pub(in crate::cli) fn send(group: Pid, signal: Signal) {
    let _ = rustix::process::kill_process_group(group, signal);
}

/// Asks a group to end; one that is stopped too.
pub(in crate::cli) fn terminate(group: Pid) {
    send(group, Signal::TERM);
    send(group, Signal::CONT);
}

//! What supervisor and keeper tell each other: one JSON object per line, over the keeper's standard
//! input and output. The first line to the keeper is what it is to acquire.

use dsync_client::{BootInstant, HeldLock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines};

/// To the keeper. The end of the pipe means that the supervisor is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToKeeper {
    /// The supervisor has sent TERM to the group, and sends KILL in time.
    Terminating,
    /// Give the terminal back to this group.
    Terminal(i32),
    /// Give the locks back, as soon as they have been held for as long as they are to be, and end.
    Release,
    /// The command will not run: leave the queue, or give the locks back at once, and end.
    GiveUp,
}

/// From the keeper. The end of the pipe means that it is dead: nobody renews any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromKeeper {
    /// The locks are held.
    Held(Grant),
    /// They will not be. `may_be_held`: no node has said what became of the request.
    Failed { code: u8, message: String, may_be_held: bool },
    /// A renewal was answered.
    Renewed { end: End },
    /// They are held no more.
    Lost { message: String },
    /// The terminal is the other group's.
    TerminalGiven,
    /// Nothing is held: they are given back. Or why not.
    Released { error: Option<String> },
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) hold: String,
    pub(super) locks: Vec<HeldLock>,
    pub(super) end: End,
    /// Up to when it is held however early the command ends.
    pub(super) keep_until: End,
}

/// A counted end, as one process tells another of the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// `None`: no lease.
    since_boot_ns: Option<u64>,
}

impl From<Option<BootInstant>> for End {
    fn from(end: Option<BootInstant>) -> Self {
        Self { since_boot_ns: end.map(BootInstant::since_boot_ns) }
    }
}

impl From<End> for Option<BootInstant> {
    fn from(end: End) -> Self {
        end.since_boot_ns.map(BootInstant::from_since_boot_ns)
    }
}

/// Writes one message. An error means that the other one is dead, which its end of the pipe that is
/// read from says too.
pub(super) async fn tell<T: Serialize>(
    pipe: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    pipe.write_all(&line).await?;
    pipe.flush().await
}

/// Reads messages.
pub(super) struct Told<R> {
    lines: Lines<BufReader<R>>,
}

impl<R: AsyncRead + Unpin> Told<R> {
    pub(super) fn new(pipe: R) -> Self {
        Self { lines: BufReader::new(pipe).lines() }
    }

    /// The next message; `None`: the other one is dead, or talks nonsense. Dropping the future loses
    /// nothing.
    pub(super) async fn next<T: for<'a> Deserialize<'a>>(&mut self) -> Option<T> {
        let line = self.lines.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }
}

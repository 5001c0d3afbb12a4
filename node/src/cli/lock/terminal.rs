//! Whose the terminal is.
//!
//! A terminal belongs to one process group; another that reads from it is stopped. The command has a
//! group of its own, so it gets the terminal for as long as it runs, as a shell would give it. Only who
//! is in the group that has the terminal may give it away without being stopped: the supervisor before
//! the command starts, the keeper afterwards.

use std::fs::File;

use rustix::process::{Pid, getpgrp};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The terminal of this session.
#[derive(Debug)]
pub(super) struct Terminal {
    device: File,
}

impl Terminal {
    /// The terminal, if this process's group has it now.
    pub(super) fn in_hand() -> Option<Self> {
        let terminal =
            Self { device: File::options().read(true).write(true).open("/dev/tty").ok()? };
        (tcgetpgrp(&terminal.device).ok()? == getpgrp()).then_some(terminal)
    }

    /// Gives it to another group.
    pub(super) fn give(&self, group: Pid) {
        let _ = tcsetpgrp(&self.device, group);
    }
}

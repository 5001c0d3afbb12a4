//! The replicated machine.

mod command;
mod settings;

pub use command::{Command, Operation, Origin, Outcome, StoredCommand};
pub use settings::{FirstState, Settings};

/// The replicated state: everything that applying the log has made.
#[derive(Clone, Debug, Default)]
pub struct Machine {}

//! What a node keeps on its disk: who it is, its log, its snapshots.
//!
//! ```text
//! DATA/lock        held while a process uses the folder
//! DATA/identity    node id and boot count
//! DATA/log-made    there has been a log
//! DATA/log/        the write-ahead log, in segments
//! DATA/snapshots/  the machine's states, one file each
//! DATA/audit/      the audit trail (`crate::audit`)
//! ```
//! Everything here reaches the disk through [`fs`] alone, so that tests can replace the disk by one
//! that loses and tears what was not synced.

pub mod data_folder;
pub mod fs;
pub mod log;
pub mod snapshots;
pub mod writer;

pub use data_folder::{DataFolder, DataFolderError};
pub use log::{Log, LogError, LogOptions, Space, SyncFailed};
pub use snapshots::{Incoming, SnapshotError, SnapshotPiece, SnapshotStore};
pub use writer::{Batch, LogWriter, SyncWriter, WriteReport, WriterEvent};

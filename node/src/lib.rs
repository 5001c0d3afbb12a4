//! A dsync node: the shell around the pure core.

pub mod handle;
pub mod storage;

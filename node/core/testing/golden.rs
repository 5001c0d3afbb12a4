//! Files of golden scripts and golden bytes, for this crate's tests alone. It stands beside `src`, so
//! that nothing in `src` names a file system.

pub(crate) use std::fs::{read_dir, read_to_string, write};

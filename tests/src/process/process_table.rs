//! What the system knows of a process: does it run, how much memory does it have, how many files may
//! it open. Read from `/proc`, so on Linux only.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// True while the process runs; one that has ended and was not waited for does not.
#[must_use]
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything but ends with the last bracket.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Bytes of physical memory that the process has.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    let kib = line.split_whitespace().nth(1).expect("a number of KiB");
    kib.parse::<u64>().expect("a number of KiB") * 1024
}

/// How many files, sockets included, a process may have open.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn open_files_max(pid: u32) -> usize {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the process runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)).expect("a soft limit");
    soft.parse().unwrap_or(usize::MAX)
}

/// Lets this process have as many files open as the system allows it, and says how many those are.
#[must_use]
pub fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // If it cannot be raised, the limit in force is the answer all the same.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    open_files_max(std::process::id())
}

/// Sends a signal to a process that this test has started.
///
/// # Panics
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).expect("a pid");
    let pid = Pid::from_raw(raw).expect("not 0");
    kill_process(pid, signal).expect("the process is there");
}

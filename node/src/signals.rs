//! Signals that whoever started this process wants ignored.
//!
//! `nohup` and the background jobs of scripts start a program with signals ignored, and mean it. To
//! catch one of those would undo what was asked for.

use rustix::process::Signal;

/// Whether this process was started with the signal ignored. To be asked before it is caught.
#[must_use]
pub fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in(&status, signal)
}

/// Whether the kernel's account of a process says so; elsewhere than on Linux there is none.
fn is_in(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_signals_from_the_lowest_bit() {
        let status = "Name:\tdsync\nSigBlk:\tffff\nSigIgn:\t0000000000001001\n";
        assert!(is_in(status, Signal::HUP) && is_in(status, Signal::PIPE));
        assert!(!is_in(status, Signal::INT) && !is_in("", Signal::HUP));
    }
}

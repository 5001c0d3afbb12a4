//! What the machine gives just now: one fdatasync, one round trip.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use crate::process::percentiles::Percentiles;

/// As long as a small log record with its frame.
const RECORD_BYTES: usize = 512;
const SYNCS: usize = 300;
const ROUND_TRIPS: usize = 1_000;

/// All probes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Probes {
    /// 512 bytes appended to a growing file, and fdatasync.
    pub append_sync: Spread,
    /// 512 bytes written into a file that is long enough already, and fdatasync: what a log with
    /// segments made ahead pays.
    pub overwrite_sync: Spread,
    /// One byte there and back between two threads over loopback TCP.
    pub round_trip: Spread,
    /// Processes that want a core, on the average of the last minute.
    pub load: f64,
}

/// Two percentiles, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// Half took at most this.
    pub p50_us: u64,
    /// 99 of 100 took at most this.
    pub p99_us: u64,
}

impl Probes {
    /// Takes all of them, in `folder`.
    ///
    /// # Errors
    /// If a file or a socket cannot be used.
    pub fn take(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("probe");
        let append_sync = syncs(&path, false).context("the disk probe failed")?;
        let overwrite_sync = syncs(&path, true).context("the disk probe failed")?;
        std::fs::remove_file(&path)?;
        let round_trip = round_trips().context("the loopback probe failed")?;
        Ok(Self { append_sync, overwrite_sync, round_trip, load: load() })
    }
}

impl Spread {
    fn of(times: &Percentiles) -> Self {
        let us = |percent| u64::try_from(times.at(percent).as_micros()).unwrap_or(u64::MAX);
        Self { p50_us: us(50), p99_us: us(99) }
    }
}

/// Syncs of an empty file that grows, or of what such a probe has left.
fn syncs(path: &Path, overwrite: bool) -> anyhow::Result<Spread> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(!overwrite).open(path)?;
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Percentiles::default();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[7; RECORD_BYTES])?;
        file.sync_data()?;
        times.add(began.elapsed());
    }
    Ok(Spread::of(&times))
}

fn round_trips() -> anyhow::Result<Spread> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        let mut byte = [0];
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    let mut times = Percentiles::default();
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        near.write_all(&[7])?;
        near.read_exact(&mut [0])?;
        times.add(began.elapsed());
    }
    drop(near);
    let _ = echo.join();
    Ok(Spread::of(&times))
}

/// Zero where the system does not say.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

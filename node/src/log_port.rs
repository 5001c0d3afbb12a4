//! The driver's way to the log: a thread in the real node; on the spot in a simulation, where one
//! thread is all there is.

use dsync_core::raft::PersistBatch;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::consensus::DiskEvent;
use crate::health::Health;
use crate::metrics::LogMetrics;
use crate::storage::Log;

/// Takes batches; what becomes of them arrives as [`DiskEvent`]s.
#[derive(Debug)]
pub struct LogPort(imp::Port);

impl LogPort {
    /// Starts to write into `log`.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(
        log: Log,
        metrics: LogMetrics,
        health: Health,
    ) -> anyhow::Result<(Self, UnboundedReceiver<DiskEvent>)> {
        let (events, inbox) = mpsc::unbounded_channel();
        Ok((Self(imp::Port::start(log, metrics, health, events)?), inbox))
    }

    /// Queues a batch. If the log has failed nothing happens: the driver was told.
    pub fn write(&mut self, batch: PersistBatch) {
        self.0.write(batch);
    }
}

#[cfg(not(feature = "simulated"))]
mod imp {
    use std::sync::{Arc, Mutex, PoisonError};

    use dsync_core::raft::{PersistBatch, SyncProof};
    use tokio::sync::mpsc::UnboundedSender;

    use super::{DiskEvent, Health, Log, LogMetrics};
    use crate::storage::{LogWriter, WriteReport, WriterEvent};

    #[derive(Debug)]
    pub(super) struct Port {
        writer: LogWriter,
        unsynced: Unsynced,
    }

    /// How many batches wait for their sync: the age of the oldest one is what the probe looks at, so
    /// a younger one must not touch the mark.
    #[derive(Clone, Debug)]
    struct Unsynced {
        batches: Arc<Mutex<usize>>,
        health: Health,
    }

    impl Unsynced {
        fn more(&self) {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            if *batches == 0 {
                self.health.sync_begins();
            }
            *batches += 1;
        }

        fn fewer(&self, synced: usize) {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            *batches = batches.saturating_sub(synced);
            if *batches == 0 {
                self.health.sync_ended();
            } else {
                self.health.sync_begins();
            }
        }
    }

    impl Port {
        pub(super) fn start(
            log: Log,
            metrics: LogMetrics,
            health: Health,
            events: UnboundedSender<DiskEvent>,
        ) -> anyhow::Result<Self> {
            let unsynced = Unsynced { batches: Arc::default(), health };
            let synced = unsynced.clone();
            let mut short = false;
            let tell = move |event: WriterEvent<SyncProof>| {
                // A driver that is gone needs no word.
                let _ = match event {
                    WriterEvent::Synced { proofs, report } => {
                        synced.fewer(proofs.len());
                        count(&metrics, &report);
                        proofs
                            .into_iter()
                            .try_for_each(|proof| events.send(DiskEvent::Synced(proof)))
                    }
                    WriterEvent::SpaceShort => {
                        // Told at every attempt, which may be every batch.
                        if !std::mem::replace(&mut short, true) {
                            metrics.full.set(1);
                            tracing::error!(
                                "no room on the disk for another log segment: when this one is full, nothing more is acknowledged until there is"
                            );
                        }
                        Ok(())
                    }
                    WriterEvent::SpaceReady => {
                        short = false;
                        metrics.full.set(0);
                        tracing::info!("there is room on the disk again");
                        Ok(())
                    }
                    WriterEvent::Failed(error) => events.send(DiskEvent::Failed(error.to_string())),
                };
            };
            Ok(Self { writer: LogWriter::start(log, tell)?, unsynced })
        }

        pub(super) fn write(&mut self, batch: PersistBatch) {
            self.unsynced.more();
            self.writer.write(batch);
        }
    }

    fn count(metrics: &LogMetrics, report: &WriteReport) {
        metrics.sync_seconds.observe(report.sync.as_secs_f64());
        #[allow(clippy::cast_precision_loss)]
        metrics.batch_records.observe(report.records as f64);
        metrics.written_bytes.inc_by(report.bytes);
    }
}

#[cfg(feature = "simulated")]
mod imp {
    use std::time::Duration;

    use dsync_core::raft::PersistBatch;
    use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
    use tokio::time::sleep;

    use super::{DiskEvent, Health, Log, LogMetrics};
    use crate::storage::LogError;

    /// Between a write and its sync the simulation gets its chance to cut the power.
    const SYNC: Duration = Duration::from_millis(3);

    #[derive(Debug)]
    pub(super) struct Port(UnboundedSender<PersistBatch>);

    impl Port {
        #[allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value)]
        pub(super) fn start(
            log: Log,
            _metrics: LogMetrics,
            _health: Health,
            events: UnboundedSender<DiskEvent>,
        ) -> anyhow::Result<Self> {
            let (queue, batches) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                if let Err(error) = write_all(log, batches, &events).await {
                    let _ = events.send(DiskEvent::Failed(error.to_string()));
                }
            });
            Ok(Self(queue))
        }

        pub(super) fn write(&mut self, batch: PersistBatch) {
            let _ = self.0.send(batch);
        }
    }

    async fn write_all(
        mut log: Log,
        mut batches: UnboundedReceiver<PersistBatch>,
        events: &UnboundedSender<DiskEvent>,
    ) -> Result<(), LogError> {
        while let Some(first) = batches.recv().await {
            let mut tokens = Vec::new();
            let mut next = Some(first);
            while let Some(batch) = next {
                let (records, token) = batch.into_parts();
                log.append(&records)?;
                tokens.push(token);
                next = batches.try_recv().ok();
            }
            sleep(SYNC).await;
            log.sync()?;
            for token in tokens {
                let _ = events.send(DiskEvent::Synced(token.synced()));
            }
            log.maintain()?;
            if batches.is_empty() {
                sleep(SYNC).await;
                log.write_end_mark()?;
            }
        }
        Ok(())
    }
}

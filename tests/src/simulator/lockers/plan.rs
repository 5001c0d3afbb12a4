//! Who uses the complete lock service, and how well they behave.

use dsync_core::locks::{LockItem, Mode};

use crate::simulator::rng::Rng;

/// What one seed decides about its lockers.
#[derive(Clone, Debug)]
pub(crate) struct LockerPlan {
    /// How many; 0: this run has none.
    pub(crate) count: usize,
    /// Names of plain locks. Few, so that lockers meet.
    pub(crate) plain: usize,
    /// Permits of the one semaphore; 0: there is none.
    pub(crate) permits: u32,
    pub(crate) think_ms: u64,
    pub(crate) short_wait_ms: u64,
    pub(crate) long_wait_ms: u64,
    pub(crate) short_ttl_ms: u64,
    pub(crate) long_ttl_ms: u64,
    pub(crate) shared_percent: u64,
    /// Requests for several names at once.
    pub(crate) several_percent: u64,
    /// Holds without a lease.
    pub(crate) endless_percent: u64,
    /// Requests whose client hangs up before its answer has to be there.
    pub(crate) hasty_percent: u64,
    /// Requests that are asked again at another node while the first is open.
    pub(crate) twice_percent: u64,
    /// Agents that go away instead of asking again.
    pub(crate) fickle_percent: u64,
}

impl LockerPlan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            count: rng.pick(&[0, 0, 2, 3, 4, 5]),
            plain: rng.pick(&[1, 2, 2, 3, 4]),
            permits: rng.pick(&[0, 1, 2, 3]),
            think_ms: rng.pick(&[5, 25, 100]),
            short_wait_ms: rng.pick(&[20, 200]),
            long_wait_ms: rng.pick(&[1_000, 5_000]),
            short_ttl_ms: rng.pick(&[100, 500]),
            long_ttl_ms: rng.pick(&[2_000, 8_000]),
            shared_percent: rng.pick(&[10, 40, 80]),
            several_percent: rng.pick(&[0, 20, 50]),
            endless_percent: rng.pick(&[0, 20, 60]),
            hasty_percent: rng.pick(&[0, 5, 30]),
            twice_percent: rng.pick(&[0, 5, 20]),
            fickle_percent: rng.pick(&[0, 10, 40]),
        }
    }

    /// How many names there are.
    pub(crate) fn names(&self) -> usize {
        self.plain + usize::from(self.permits > 0)
    }

    /// The name with this number, with all there is of it.
    pub(crate) fn whole(&self, number: usize) -> LockItem {
        if number < self.plain {
            plain(format!("{PREFIX}{number}"), Mode::Exclusive)
        } else {
            let (permits, permits_max) = (self.permits, self.permits);
            let name = format!("{PREFIX}pool");
            LockItem { name, mode: Mode::Permits, permits, permits_max }
        }
    }

    /// One to three names, each at most once, and how.
    pub(crate) fn items(&self, rng: &mut Rng) -> Vec<LockItem> {
        let several = rng.percent(self.several_percent);
        let mut numbers: Vec<usize> = (0..self.names()).collect();
        let count = if several { rng.pick(&[2, 2, 3]) } else { 1 }.min(numbers.len());
        let mut items: Vec<LockItem> = (0..count)
            .map(|_| {
                let number = numbers.swap_remove(rng.index(numbers.len()));
                self.some(rng, number)
            })
            .collect();
        items.sort_unstable();
        items
    }

    /// Some of the name with this number.
    fn some(&self, rng: &mut Rng, number: usize) -> LockItem {
        let whole = self.whole(number);
        if whole.mode == Mode::Permits {
            let permits = u32::try_from(rng.between(1, whole.permits.into())).unwrap_or(1);
            return LockItem { permits, ..whole };
        }
        let shared = rng.percent(self.shared_percent);
        LockItem { mode: if shared { Mode::Shared } else { Mode::Exclusive }, ..whole }
    }

    /// 0: no lease.
    pub(crate) fn ttl_ms(&self, rng: &mut Rng) -> u64 {
        if rng.percent(self.endless_percent) {
            return 0;
        }
        rng.pick(&[self.short_ttl_ms, self.long_ttl_ms, self.long_ttl_ms])
    }

    /// 0: tries only.
    pub(crate) fn wait_ms(&self, rng: &mut Rng) -> u64 {
        rng.pick(&[0, self.short_wait_ms, self.long_wait_ms, self.long_wait_ms])
    }
}

/// What the lockers' names begin with: no other client uses these.
pub(crate) const PREFIX: &str = "v1-";

fn plain(name: String, mode: Mode) -> LockItem {
    LockItem { name, mode, permits: 1, permits_max: 1 }
}

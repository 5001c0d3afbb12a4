//! Tells holds that their counted end has come.
//!
//! Problem: the loss of a hold must be known at its end, and never later, because whoever holds it
//! next starts then. A timer of the async runtime is late when the runtime is busy with something that
//! blocks, and it stands still while the machine sleeps. Idea: one thread for the whole process, which
//! sleeps on a timer of the clock that keeps counting; after a suspension it fires at once.
//!
//! A renewal moves an end to later only, so the thread is not told of it: it fires at the old end, asks
//! the hold for the new one, and sleeps again.
//!
//! Caveat: a thread can be late too (a stopped process, a starved machine). That is why every question
//! to a hold reads the clock by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::sync::Notify;

use crate::clock::BootInstant;

/// Something that ends.
pub(crate) trait Ends: Send + Sync {
    /// Looks at the clock: says when to look again, or `None` if there is nothing more to wait for.
    fn look(&self) -> Option<BootInstant>;
}

type Due = BTreeMap<(BootInstant, u64), Weak<dyn Ends>>;

/// All that wait, and the thread that wakes them.
struct Alarm {
    due: Mutex<(u64, Due)>,
    timer: Timer,
}

/// Has `what` looked at when its end has come, for as long as it lives.
pub(crate) fn watch(what: &Arc<dyn Ends>) {
    let Some(at) = what.look() else { return };
    let alarm = alarm();
    alarm.add(at, Arc::downgrade(what));
}

/// Sleeps until a moment.
pub(crate) async fn sleep_until(at: BootInstant) {
    let sleeper = Arc::new(Sleeper { at, reached: Notify::new() });
    let ends: Arc<dyn Ends> = sleeper.clone();
    watch(&ends);
    sleeper.reached.notified().await;
}

/// Somebody who sleeps.
struct Sleeper {
    at: BootInstant,
    /// Keeps a permit, so it does not matter who comes first.
    reached: Notify,
}

impl Ends for Sleeper {
    fn look(&self) -> Option<BootInstant> {
        if BootInstant::now() < self.at {
            return Some(self.at);
        }
        self.reached.notify_one();
        None
    }
}

fn alarm() -> &'static Alarm {
    static ALARM: OnceLock<Alarm> = OnceLock::new();
    static THREAD: OnceLock<()> = OnceLock::new();
    let alarm = ALARM.get_or_init(|| Alarm { due: Mutex::default(), timer: Timer::new() });
    THREAD.get_or_init(|| {
        // Without the thread, holds still know their end whenever they are asked.
        let _ = std::thread::Builder::new().name("dsync-alarm".into()).spawn(|| {
            loop {
                alarm.timer.sleep();
                alarm.ring();
            }
        });
    });
    alarm
}

impl Alarm {
    fn add(&self, at: BootInstant, what: Weak<dyn Ends>) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.0 += 1;
        let number = due.0;
        due.1.insert((at, number), what);
        if let Some(((first, _), _)) = due.1.first_key_value() {
            self.timer.set(*first);
        }
    }

    fn ring(&self) {
        let now = BootInstant::now();
        let rung = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let later = due.1.split_off(&(now.plus(std::time::Duration::from_nanos(1)), 0));
            let rung = std::mem::replace(&mut due.1, later);
            if let Some(((first, _), _)) = due.1.first_key_value() {
                self.timer.set(*first);
            }
            rung
        };
        // Outside of the mutex: a hold that ends wakes whoever waits for it.
        for what in rung.into_values() {
            let Some(at) = what.upgrade().and_then(|what| what.look()) else { continue };
            self.add(at, what);
        }
    }
}

/// Sleeps until a moment that may be set while it sleeps.
#[cfg(target_os = "linux")]
struct Timer {
    /// `None`: no descriptor was left; then it looks ten times a second.
    descriptor: Option<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl Timer {
    fn new() -> Self {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        Self { descriptor: timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC).ok() }
    }

    fn set(&self, at: BootInstant) {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let Some(descriptor) = &self.descriptor else { return };
        // Zero would switch the timer off.
        let ns = at.since_boot_ns().max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval, it_value };
        let _ = timerfd_settime(descriptor, TimerfdTimerFlags::ABSTIME, &setting);
    }

    fn sleep(&self) {
        let read = self.descriptor.as_ref().map(|it| rustix::io::read(it, &mut [0; 8]));
        if !matches!(read, Some(Ok(_))) {
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// Elsewhere it looks ten times a second.
#[cfg(not(target_os = "linux"))]
struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    fn new() -> Self {
        Self
    }

    fn set(&self, _: BootInstant) {}

    fn sleep(&self) {
        std::thread::sleep(LOOK_INTERVAL);
    }
}

const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

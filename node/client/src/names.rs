//! Which names an agent is on, in this process.
//!
//! Problem: to the cluster, an owner that asks again for what it holds is a repeat, and gets the same
//! hold. Two tasks of one program with one owner would both believe to hold an exclusive lock. Idea:
//! an agent remembers the names that it holds or asks for, and refuses the second request here.
//!
//! A name that is just being released is waited for: a request that overtook the release would be
//! answered with the hold that is then released.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The names of one agent.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: Mutex<BTreeMap<String, Taken>>,
    freed: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Used,
    Releasing,
}

/// Names that this agent is on until this is dropped.
#[derive(Debug)]
pub(crate) struct TakenNames {
    names: Arc<Names>,
    which: Vec<String>,
}

impl Names {
    /// Takes all of these, after waiting for those that are being released. `Err`: one that is used.
    pub(crate) async fn take(self: &Arc<Self>, which: Vec<String>) -> Result<TakenNames, String> {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Enabled before the look, or a name that is freed in between would never be heard of.
            freed.as_mut().enable();
            if self.try_take(&which)? {
                return Ok(TakenNames { names: Arc::clone(self), which });
            }
            freed.await;
        }
    }

    fn try_take(&self, which: &[String]) -> Result<bool, String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = which.iter().find(|name| taken.get(*name) == Some(&Taken::Used)) {
            return Err(used.clone());
        }
        let free = which.iter().all(|name| !taken.contains_key(name));
        if free {
            taken.extend(which.iter().map(|name| (name.clone(), Taken::Used)));
        }
        Ok(free)
    }
}

impl TakenNames {
    /// From now on others wait for these names instead of being refused.
    pub(crate) fn releasing(&self) {
        let mut taken = self.names.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.extend(self.which.iter().map(|name| (name.clone(), Taken::Releasing)));
    }
}

impl Drop for TakenNames {
    fn drop(&mut self) {
        let mut taken = self.names.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.which {
            taken.remove(name);
        }
        drop(taken);
        self.names.freed.notify_waiters();
    }
}

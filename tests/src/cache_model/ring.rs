//! The ring, as far as one key needs it.

use dsync_core::cache::{Incarnation, Key, Placement};

/// One key's home.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OneHome {
    /// The epoch.
    pub epoch: u64,
    /// The key's home.
    pub home: Incarnation,
    /// Its last home, if that one is in service.
    pub former: Option<Incarnation>,
    /// The former home has let go.
    pub settled: bool,
}

impl Placement for OneHome {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn home(&self, _key: &Key) -> Option<Incarnation> {
        Some(self.home)
    }

    fn homes(&self) -> Vec<Incarnation> {
        let mut homes: Vec<Incarnation> = self.former.into_iter().chain([self.home]).collect();
        homes.sort();
        homes.dedup();
        homes
    }

    fn settled(&self) -> bool {
        self.settled
    }
}

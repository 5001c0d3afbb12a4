//! What a model checker needs to see that two states are one.
//!
//! Most numbers here are only ever compared with others of their kind, and most moments only with the
//! present one. Renamed in their order, and counted from now, states that differ in nothing else become
//! equal, and a model whose time never ends has finitely many of them. None of it exists in a shipped
//! build.

use super::coherence::Coherence;
use super::message::CacheMessage;
use super::placement::{Incarnation, Placement, Process};
use super::store::MapStore;
use super::value::Version;
use crate::types::LocalTime;

/// Gives new names. Numbers of one kind must keep their order, different ones must stay different.
pub trait Names {
    /// A moment; all that are more than `memory_ms` in the past are alike.
    fn time(&mut self, at: &mut LocalTime, memory_ms: u64);
    /// A request of a process.
    fn request(&mut self, process: Process, number: &mut u64);
    /// A session of a sharer with a home.
    fn session(&mut self, home: Incarnation, sharer: Process, number: &mut u64);
    /// A version.
    fn version(&mut self, version: &mut Version);
    /// The last request of a process: any number from its highest one on will do.
    fn last_request(&mut self, process: Process, number: &mut u64);
    /// The last session of a home: any number from its highest one on will do.
    fn last_session(&mut self, home: Incarnation, number: &mut u64);
    /// The last write of a process that a home acted on: only tells its requests up to it from later ones.
    fn last_write(&mut self, process: Process, number: &mut u64);
}

impl<P: Placement> Coherence<P, MapStore> {
    /// Has every name given anew.
    pub fn rename(&mut self, names: &mut impl Names) {
        let me = self.home.me().process;
        self.home.rename(names);
        self.sharer.rename(names);
        for copy in self.store.0.values_mut() {
            names.version(&mut copy.version);
            if let Some(expires) = &mut copy.expires {
                names.time(expires, 0);
            }
            if let Some(session) = &mut copy.source.session {
                names.session(copy.source.home, me, session);
            }
        }
    }

    /// True if the message changes nothing here any more, however late it arrives.
    #[must_use]
    pub fn ignores(&self, from: Process, message: &CacheMessage) -> bool {
        self.home.ignores(from, message) || self.sharer.ignores(message)
    }

    /// True if this is the home that it is, or would be.
    #[must_use]
    pub fn is_home(&self, home: Incarnation) -> bool {
        self.home.me() == home
    }

    /// True if the home waits for the acknowledgement of this invalidation.
    #[must_use]
    pub fn waits_for(&self, sharer: Process, session: u64, number: u64) -> bool {
        self.home.waits_for(sharer, session, number)
    }

    /// Forgets the renewals of which `answerable` says that no message speaks of them any more.
    pub fn forget_renewals(&mut self, answerable: impl Fn(u64) -> bool) {
        self.sharer.forget_renewals(answerable);
    }
}

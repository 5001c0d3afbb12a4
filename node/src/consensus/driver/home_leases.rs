//! Home leases, as the driver carries them: between the homes of this node, the leader, and the core's
//! quorum rounds. What is decided is decided in `dsync_core::cache`, `home_leases.rs` and `grants.rs`.

use std::collections::BTreeMap;

use dsync_core::cache::{HomeLeaseMessage, HomeLeaseOutput, HomeLeases, Incarnation, Moment};
use dsync_core::machine::Operation;
use dsync_core::raft::{Input, RoleKind};
use dsync_core::types::{BootId, LocalTime, NodeId};
use tokio::sync::oneshot;

use super::Driver;
use crate::clock;

/// The asks of this node's home, and who waits for each.
#[derive(Debug)]
pub(super) struct LeaseDesk {
    leases: HomeLeases,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

impl LeaseDesk {
    pub(super) fn new(node: NodeId, boot: BootId) -> Self {
        Self { leases: HomeLeases::new(node, boot), waiting: BTreeMap::new() }
    }
}

impl Driver {
    pub(super) fn ask_home_lease(
        &mut self,
        home: Incarnation,
        sent_at: LocalTime,
        granted: oneshot::Sender<()>,
    ) {
        let out = self.with_leases(|leases, at, out| leases.ask(at, sent_at, home, out));
        let (ask, out) = out;
        self.home_leases.waiting.insert(ask, granted);
        self.carry_out_leases(out);
    }

    pub(super) fn home_lease_message(&mut self, from: NodeId, message: HomeLeaseMessage) {
        let ((), out) = self.with_leases(|leases, at, out| leases.receive(at, from, message, out));
        self.carry_out_leases(out);
    }

    /// The core's word on a read. False: it was no round of a lease.
    pub(super) fn home_lease_round_ended(&mut self, round: u64, confirmed: bool) -> bool {
        let (was, out) =
            self.with_leases(|leases, at, out| leases.round_ended(at, round, confirmed, out));
        self.carry_out_leases(out);
        was
    }

    pub(super) fn tick_home_leases(&mut self) {
        let ((), out) = self.with_leases(HomeLeases::tick);
        let LeaseDesk { leases, waiting } = &mut self.home_leases;
        waiting.retain(|ask, _| leases.is_open(*ask));
        self.carry_out_leases(out);
    }

    fn with_leases<T>(
        &mut self,
        act: impl FnOnce(&mut HomeLeases, &Moment<'_>, &mut Vec<HomeLeaseOutput>) -> T,
    ) -> (T, Vec<HomeLeaseOutput>) {
        let status = self.parts.raft.status();
        let machine = &self.parts.machine;
        let at = Moment {
            now: clock::now(),
            leads: (status.role == RoleKind::Leader).then_some(status.term),
            leader: status.leader,
            ring: machine.ring(),
            rules: machine.settings().map(|settings| settings.caches).unwrap_or_default(),
        };
        let mut out = Vec::new();
        let done = act(&mut self.home_leases.leases, &at, &mut out);
        (done, out)
    }

    fn carry_out_leases(&mut self, out: Vec<HomeLeaseOutput>) {
        for output in out {
            match output {
                HomeLeaseOutput::Send { to, message } => {
                    self.parts.peers.send_home_lease(to, message);
                }
                HomeLeaseOutput::BeginRound(id) => self.step(Input::Read { id }),
                HomeLeaseOutput::Granted { ask, .. } => {
                    if let Some(granted) = self.home_leases.waiting.remove(&ask) {
                        let _ = granted.send(());
                    }
                }
                HomeLeaseOutput::Propose(operation) => {
                    tracing::warn!(?operation, "home leases have run out");
                    let (now, taken_at) = (clock::now(), self.parts.machine.active_time());
                    let until = now.plus(self.parts.silence_limit_ms);
                    self.parts.proposer.submit(now, taken_at, Operation::Ring(operation), until);
                }
            }
        }
    }
}

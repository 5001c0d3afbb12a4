//! Whole nodes (driver, log, peers) on simulated disks and sockets; the power is cut at seeded random
//! moments, with unsynced writes dropped or torn. Nothing that was acknowledged may be lost.
//!
//! Clients run inside the nodes: each takes and gives back a lock of its own and notes what it was
//! told. Before every step, and so after every cut, a linearizable read must show what was
//! acknowledged last. At the end the cluster must serve again.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::locks::{
    Acquire, AcquireOutcome, LockItem, LockOperation, LockOutcome, Mode, Owner, Release,
};
use dsync_core::machine::{Operation, Outcome, Settings};
use dsync_core::raft::Timing;
use dsync_core::types::NodeName;
use dsync_node::audit::TrailOptions;
use dsync_node::config::FoundingBy;
use dsync_node::handle::NodeHandle;
use dsync_node::health::Health;
use dsync_node::member::{Member, MemberConfig};
use dsync_node::metrics::Metrics;
use dsync_node::peers::discovery::ListedPeer;
use dsync_node::peers::net::TcpListener;
use dsync_node::peers::{PeerLimits, PeerList, SecretSource, Secrets, SystemResolver};
use dsync_node::storage::LogOptions;

const PEER_PORT: u16 = 7071;
const PATIENCE: Duration = Duration::from_secs(3);

/// What the client of one node knows of its lock.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Held or free, if nothing is on its way: acknowledged, and nothing sent since.
    held: Option<bool>,
    /// How many commands were acknowledged.
    acknowledged: u64,
}

type Ledger = Rc<RefCell<BTreeMap<String, Known>>>;

/// A small generator (xorshift) for the moments of the cuts.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn names(size: u64) -> Vec<String> {
    (1..=size).map(|n| format!("n{n}")).collect()
}

fn config(name: &str, size: u64) -> MemberConfig {
    let listed = |name: String| ListedPeer {
        host: name.clone(),
        name: Some(NodeName(name)),
        port: PEER_PORT,
    };
    let secret = b"0123456789abcdef0123456789abcdef";
    MemberConfig {
        name: NodeName(name.into()),
        data: PathBuf::from("/data"),
        peers: PeerList::Listed(names(size).into_iter().map(listed).collect()),
        founders: names(size).len(),
        settings: Settings::default(),
        founding: FoundingBy::Auto,
        secrets: SecretSource::fixed(Secrets::parse(secret).unwrap()),
        resolver: Arc::new(SystemResolver),
        peer_limits: PeerLimits::default(),
        timing: Timing::default(),
        log: LogOptions { segment_bytes: 64 << 10, ..LogOptions::new(7) },
        snapshot_every_bytes: 4 << 10,
        audit: TrailOptions::new(1 << 20, None),
    }
}

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".into(), name: name.into() }
}

fn acquire(name: &str) -> Operation {
    let item = LockItem { name: name.into(), mode: Mode::Exclusive, permits: 1, permits_max: 1 };
    let (owner, items, ttl_ms) = (owner(name), vec![item], Some(0));
    Operation::lock(LockOperation::Acquire(Acquire {
        owner,
        items,
        ttl_ms,
        queue: true,
        attachment: None,
    }))
}

fn release(name: &str) -> Operation {
    Operation::lock(LockOperation::Release(Release { owner: owner(name), name: name.into() }))
}

fn deadline() -> std::time::Instant {
    (tokio::time::Instant::now() + PATIENCE).into_std()
}

async fn run_node(name: String, size: u64, ledger: Ledger) -> turmoil::Result {
    let listener = TcpListener::bind((IpAddr::from([0, 0, 0, 0]), PEER_PORT)).await?;
    let member = Member::start(config(&name, size), listener, &Metrics::new(), &Health::new())?;
    let client = work(member.handle.clone(), name, ledger);
    tokio::select! {
        stopped = member.driver => Err(format!("the driver stopped: {stopped:?}").into()),
        () = client => Ok(()),
    }
}

/// Takes and gives back, for ever, and notes only what is certain.
async fn work(handle: NodeHandle, name: String, ledger: Ledger) {
    loop {
        for (operation, held) in [(acquire(&name), true), (release(&name), false)] {
            let before = ledger.borrow().get(&name).copied().unwrap_or_default();
            check(&handle, &name, before).await;
            ledger.borrow_mut().entry(name.clone()).or_default().held = None;
            match handle.submit(operation, deadline()).await {
                Ok(applied) => note(&ledger, &name, held, &applied.outcome),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

fn note(ledger: &Ledger, name: &str, held: bool, outcome: &Outcome) {
    let expected = match outcome {
        Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { .. })) => held,
        Outcome::Lock(LockOutcome::Release(_)) => !held,
        _ => false,
    };
    assert!(expected, "{name}: {outcome:?}");
    let mut ledger = ledger.borrow_mut();
    let known = ledger.entry(name.to_owned()).or_default();
    known.held = Some(held);
    known.acknowledged += 1;
}

/// A linearizable read must show what was acknowledged.
async fn check(handle: &NodeHandle, name: &str, known: Known) {
    let Some(held) = known.held else { return };
    if let Ok(state) = handle.read(deadline()).await {
        let view = state.machine.locks().get(name);
        let shown = view.is_some_and(|lock| lock.holders.iter().any(|h| h.owner == owner(name)));
        assert_eq!(shown, held, "the acknowledged state of {name} is lost");
    }
}

/// Runs one cluster through `cuts` power cuts; gives back how many commands were acknowledged.
fn run(size: u64, cuts: u64, seed: u64) -> u64 {
    let ledger = Ledger::default();
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(100_000))
        .tick_duration(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(3))
        .build();
    for name in names(size) {
        let ledger = ledger.clone();
        sim.host(name.clone(), move || run_node(name.clone(), size, ledger.clone()));
    }
    let mut dice = Dice(seed);
    for _ in 0..cuts {
        run_for(&mut sim, 100 + dice.below(900));
        let victims = victims(&mut dice, size);
        victims.iter().for_each(|victim| sim.crash(victim.as_str()));
        run_for(&mut sim, dice.below(100));
        victims.iter().for_each(|victim| sim.bounce(victim.as_str()));
    }
    let acknowledged = || -> u64 { ledger.borrow().values().map(|known| known.acknowledged).sum() };
    let before = acknowledged();
    run_for(&mut sim, 10_000);
    assert!(acknowledged() > before, "seed {seed}: the cluster serves again");
    acknowledged()
}

/// Mostly one node; now and then all of them, as when the lights go out.
fn victims(dice: &mut Dice, size: u64) -> Vec<String> {
    let mut all = names(size);
    if dice.below(4) > 0 {
        let victim = usize::try_from(dice.below(size)).unwrap();
        all = vec![all.swap_remove(victim)];
    }
    all
}

fn run_for(sim: &mut turmoil::Sim<'_>, ms: u64) {
    let end = sim.elapsed() + Duration::from_millis(ms);
    while sim.elapsed() < end {
        sim.step().unwrap();
    }
}

/// How many cuts in all, shared by four seeds of each kind.
fn cuts_per_seed() -> u64 {
    let cuts = std::env::var("DSYNC_CUTS").ok().and_then(|text| text.parse().ok());
    cuts.unwrap_or(1_000_u64).div_ceil(8)
}

#[test]
fn a_single_node_keeps_what_it_acknowledged_through_power_cuts() {
    for seed in 1..=4 {
        let acknowledged = run(1, cuts_per_seed(), seed);
        println!("seed {seed}: 1 node, {} cuts, {acknowledged} acknowledged", cuts_per_seed());
    }
}

#[test]
fn three_nodes_keep_what_they_acknowledged_through_power_cuts() {
    for seed in 1..=4 {
        let acknowledged = run(3, cuts_per_seed(), seed);
        println!("seed {seed}: 3 nodes, {} cuts, {acknowledged} acknowledged", cuts_per_seed());
    }
}

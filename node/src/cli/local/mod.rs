//! `dsync local`: three nodes on this machine, as three processes of this very program.
//!
//! The terminal shows what happens to the cluster: who is ready, who leads, who died. What the nodes
//! themselves have to say goes to their log files. Nodes live in process groups of their own, so
//! that Ctrl-C reaches only this process, which then stops them in order; and each holds the other
//! end of a pipe, so that none survives this process, however it ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use dsync_core::contract::LOCAL_CLIENT_PORTS;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

mod folder;
mod plan;
mod ports;
mod screen;
mod supervisor;
mod tail;
mod watcher;

use folder::Folder;
use plan::NodePlan;
use screen::Screen;
use supervisor::{Order, Supervisor};

use crate::signals;

/// How many nodes: the fewest of which one may be lost.
const NODES: usize = 3;

/// `dsync local`.
#[derive(Args, Debug)]
pub struct LocalArgs {
    /// Folder for the nodes' data and logs; starting again on it continues. Default: dsync/local in
    /// the user's data directory.
    #[arg(long, env = "DSYNC_LOCAL_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Loopback address that the nodes listen on. With another one, like 127.0.0.2, a second cluster has
    /// the same ports.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,

    /// Ports for clients on that address, one a node.
    #[arg(long, value_name = "PORT,PORT,PORT", value_delimiter = ',', num_args = 1,
          default_values_t = LOCAL_CLIENT_PORTS)]
    client_ports: Vec<u16>,

    /// Leave a node that dies down instead of starting it again.
    #[arg(long)]
    no_restart: bool,
}

/// What the nodes' supervisors and watchers tell the screen.
#[derive(Debug)]
enum Event {
    /// The process runs.
    Started { node: usize, pid: u32 },
    /// What the node shows of itself has changed.
    Seen { node: usize, view: watcher::View },
    /// The process ended without being told to.
    Died { node: usize, how: String, log_tail: Vec<String>, restarts: bool },
    /// The process did not stop in time and was killed.
    Killed { node: usize },
}

/// Runs until SIGINT, SIGTERM or SIGHUP, or until all nodes are down for good.
pub fn run(args: LocalArgs) -> anyhow::Result<ExitCode> {
    let client_ports: [u16; NODES] = match args.client_ports.try_into() {
        Ok(ports) => ports,
        Err(_) => {
            super::usage_error("local", "--client-ports needs three ports, like 5001,5002,5003")
        }
    };
    if !args.address.is_loopback() {
        let address = args.address;
        super::usage_error("local", &format!("--address {address} is not a loopback address"));
    }
    let folder = Folder::open(args.data)?;
    let ports = ports::choose(args.address, client_ports)?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let plans = plan::nodes(&folder, &program, &ports)?;
    super::runtime(None)?.block_on(keep(&folder, &plans, !args.no_restart))
}

async fn keep(folder: &Folder, plans: &[NodePlan], restart: bool) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let (events, mut news) = mpsc::channel(64);
    let (order, orders) = watch::channel(Order::Run);
    let mut supervisors = JoinSet::new();
    let mut watchers = JoinSet::new();
    for plan in plans {
        watchers.spawn(watcher::watch(plan.clone(), events.clone()));
        let supervisor = Supervisor::new(plan.clone(), events.clone(), orders.clone(), restart);
        supervisors.spawn(supervisor.keep());
    }
    drop(events);
    let mut screen = Screen::new(folder, plans);
    screen.greet();
    loop {
        tokio::select! {
            biased;
            () = signals.next() => screen.stopping(advance(&order)),
            Some(event) = news.recv() => screen.show(&event),
            ended = supervisors.join_next() => match ended {
                None => break,
                Some(result) => result.context("a supervisor failed")??,
            },
        }
    }
    while let Ok(event) = news.try_recv() {
        screen.show(&event);
    }
    Ok(if *order.borrow() == Order::Run { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The first signal asks the nodes to stop, the second kills them.
fn advance(order: &watch::Sender<Order>) -> Order {
    let next = if *order.borrow() == Order::Run { Order::Stop } else { Order::Kill };
    order.send_replace(next);
    next
}

/// The signals that mean "stop".
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None`: `nohup` wants it ignored.
    hangup: Option<Signal>,
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let ignored = signals::is_ignored(rustix::process::Signal::HUP);
        let hangup = (!ignored).then(|| signal(SignalKind::hangup())).transpose()?;
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
            _ = hangup => (),
        }
    }
}

/// Where one node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodePorts {
    client: SocketAddr,
    peer: SocketAddr,
    admin: SocketAddr,
}

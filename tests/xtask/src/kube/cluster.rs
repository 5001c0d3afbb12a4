//! Two kinds of clusters behind one set of calls.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

use super::cargo_build::output;
use super::command::Call;
use super::images::ROOTS;
use super::needs::{Need, Source, in_path, meet};
use super::{MachineEvent, must, workspace};

/// Names the folder of a cluster's state, for the script too.
pub const HOME_VARIABLE: &str = "KUBE_HOME";

/// A cluster on this machine, running or not.
#[derive(Debug)]
pub enum Cluster {
    /// Of the programs built from Go modules: `tests/kube/cluster`.
    Built {
        /// Folder of its state; the script's default if none.
        home: Option<PathBuf>,
    },
    /// Of kind, on a container engine.
    Kind {
        /// Folder of its kubeconfig.
        home: PathBuf,
    },
}

impl Cluster {
    /// The one that `KUBE_HOME` names.
    #[must_use]
    pub fn here() -> Self {
        Self::at(env::var_os(HOME_VARIABLE).map(PathBuf::from))
    }

    /// The one whose state is in that folder.
    #[must_use]
    pub fn at(home: Option<PathBuf>) -> Self {
        if engine_answers() && in_path("kind") {
            Self::Kind { home: home.unwrap_or_else(|| output("kind")) }
        } else {
            Self::Built { home }
        }
    }

    /// Installs what it needs, where that may be done.
    ///
    /// # Errors
    /// A sentence with what is missing.
    pub fn ready(&self) -> Result<(), String> {
        meet(&PACKER)?;
        match self {
            Self::Kind { .. } => meet(&KIND),
            Self::Built { .. } => meet(&BUILT).and_then(|()| may_make_namespaces()),
        }
    }

    /// Builds its programs, unless that was done before.
    ///
    /// # Errors
    /// If it fails.
    pub fn build(&self) -> anyhow::Result<()> {
        match self {
            Self::Kind { .. } => Ok(()),
            Self::Built { .. } => must(self.script().arg("build")),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn up(&self, machines: u8) -> anyhow::Result<()> {
        match self {
            Self::Built { .. } => {
                must(self.script().args(["up", "--nodes", &machines.to_string()]))
            }
            Self::Kind { home } => {
                std::fs::create_dir_all(home)?;
                let config = home.join("kind.yaml");
                std::fs::write(&config, kind_config(machines))?;
                let mut create = self.kind("create cluster --wait 180s --config");
                must(create.arg(config).env("KUBECONFIG", kubeconfig(home)))
            }
        }
    }

    /// Removes it and all it left. It need not run.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn down(&self) -> anyhow::Result<()> {
        match self {
            Self::Built { .. } => must(self.script().arg("down")),
            Self::Kind { home } => {
                must(self.kind("delete cluster").env("KUBECONFIG", kubeconfig(home)))
            }
        }
    }

    /// What it left behind nevertheless, a line each.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let mut command = match self {
            Self::Built { .. } => self.script(),
            Self::Kind { .. } => return Ok(Vec::new()),
        };
        let output = command.arg("leftovers").stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("cannot look for leftovers: {}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// Gives image archives to every machine.
    ///
    /// # Errors
    /// If a machine does not take one.
    pub fn load(&self, archives: &[PathBuf]) -> anyhow::Result<()> {
        match self {
            Self::Built { .. } => must(self.script().arg("load").args(archives)),
            Self::Kind { .. } => archives
                .iter()
                .try_for_each(|archive| must(self.kind("load image-archive").arg(archive))),
        }
    }

    /// A call of `cargo test`, changed so that what it runs stands in the network of a built cluster
    /// and finds kubectl, helm and the administrator's file.
    #[must_use]
    pub fn inside(&self, tests: Call) -> Call {
        let runner = format!("[{:?}, \"exec\"]", self.script().get_program());
        tests.arg("--config").arg(&format!("target.'cfg(unix)'.runner = {runner}"))
    }

    /// kubectl on it, as administrator.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        self.client("kubectl")
    }

    /// helm on it, as administrator.
    #[must_use]
    pub fn helm(&self) -> Command {
        self.client("helm")
    }

    fn client(&self, program: &str) -> Command {
        match self {
            Self::Built { .. } => {
                let mut command = self.script();
                command.arg(program);
                command
            }
            Self::Kind { home } => {
                let mut command = Command::new(program);
                command.env("KUBECONFIG", kubeconfig(home));
                command
            }
        }
    }

    /// Does something to a machine.
    ///
    /// # Errors
    /// If that fails, or if this kind of cluster cannot.
    pub fn machine(&self, event: MachineEvent, number: u8) -> anyhow::Result<()> {
        let Self::Built { .. } = self else {
            bail!("machines of kind cannot be stopped or cut off from here");
        };
        let verb = match event {
            MachineEvent::Stop => "stop-node",
            MachineEvent::Start => "start-node",
            MachineEvent::Cut => "cut-node",
            MachineEvent::Heal => "heal-node",
        };
        must(self.script().args([verb, &number.to_string()]))
    }

    /// `tests/kube/cluster`, which has all that concerns a cluster of built programs.
    pub fn script(&self) -> Command {
        let mut command = Command::new(workspace::root().join("tests/kube/cluster"));
        if let Self::Built { home: Some(home) } = self {
            command.env(HOME_VARIABLE, home);
        }
        command
    }

    fn kind(&self, words: &str) -> Command {
        let mut command = Command::new("kind");
        command.args(words.split(' '));
        if let Self::Kind { home } = self {
            let name = home.file_name().unwrap_or_default().to_string_lossy();
            command.env("KIND_CLUSTER_NAME", format!("dsync-{name}"));
        }
        command
    }
}

/// What the tests do not do yet.
pub const NOT_RUN: &str = "the same tests on kind: they stand in the cluster's network, read its audit log and stop its machines";

/// What packs images, and what is packed beside our own programs.
const PACKER: [Need; 5] = [
    Need { program: "curl", from: Source::Debian("curl") },
    Need { program: "unzip", from: Source::Debian("unzip") },
    Need { program: ROOTS.0, from: Source::Debian("ca-certificates") },
    Need { program: "strip", from: Source::Debian("binutils") },
    Need { program: "redis-server", from: Source::Debian("redis-server") },
];

const KIND: [Need; 2] = [
    // Debian has neither, so these name what is missing.
    Need { program: "kubectl", from: Source::Debian("kubectl") },
    Need { program: "helm", from: Source::Debian("helm") },
];

/// What Go modules cannot bring: runc needs C, and the rest drives the kernel.
const BUILT: [Need; 10] = [
    Need { program: "containerd", from: Source::Debian("containerd") },
    Need { program: "runc", from: Source::Debian("runc") },
    Need { program: "/usr/lib/cni/ptp", from: Source::Debian("containernetworking-plugins") },
    Need { program: "iptables", from: Source::Debian("iptables") },
    Need { program: "nft", from: Source::Debian("nftables") },
    Need { program: "conntrack", from: Source::Debian("conntrack") },
    Need { program: "ip", from: Source::Debian("iproute2") },
    Need { program: "nsenter", from: Source::Debian("util-linux") },
    Need { program: "pgrep", from: Source::Debian("procps") },
    Need { program: "openssl", from: Source::Debian("openssl") },
];

/// Whether there is a container engine.
#[must_use]
pub fn engine_answers() -> bool {
    succeeds(Command::new("docker").arg("info"))
}

fn may_make_namespaces() -> Result<(), String> {
    if succeeds(Command::new("unshare").args(["--mount", "--net", "--pid", "--fork", "true"])) {
        Ok(())
    } else {
        Err("a cluster without a container engine is made of Linux namespaces: run it as root"
            .to_owned())
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn kubeconfig(home: &Path) -> PathBuf {
    home.join("kubeconfig")
}

/// The control plane takes no pods of ours, as in the other kind of cluster.
fn kind_config(machines: u8) -> String {
    let workers = "- role: worker\n".repeat(machines.into());
    format!(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n{workers}"
    )
}

//! What is in our images, and how they are packed without a container engine.
//!
//! `node/Dockerfile` and `operator/Dockerfile` say it for users; `dockerfile` checks that both say the
//! same. The image of a managed Redis is packed from Debian's package, under the reference that is the
//! operator's default, so that tests need no registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::cargo_build::{output, shipped_program, tested_program};
use super::cluster::Cluster;
use super::command::Call;
use super::{must, workspace};

/// An image.
#[derive(Debug)]
pub struct Image {
    /// Names the archive.
    pub name: &'static str,
    /// The constant in `node/core/src/contract.rs` that has its reference.
    pub constant: &'static str,
    /// A program of ours in it.
    pub ours: Option<Ours>,
    /// Programs and files of this machine: where from, where to.
    pub files: &'static [(&'static str, &'static str)],
    /// Folders that belong to the user; the first one is where it starts.
    pub folders: &'static [&'static str],
    /// Who runs it.
    pub user: &'static str,
    /// What is run.
    pub entrypoint: &'static [&'static str],
}

/// A program of the workspace.
#[derive(Debug)]
pub struct Ours {
    /// Its name, in the image below `/usr/local/bin`.
    pub program: &'static str,
    /// The file that tells users how to build the image.
    pub dockerfile: &'static str,
}

/// Which build is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What users get.
    Release,
    /// What the tests build anyway.
    Dev,
}

/// The roots that TLS trusts.
pub const ROOTS: (&str, &str) =
    ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt");

/// All of them.
pub const IMAGES: [Image; 3] = [
    Image {
        name: "node",
        constant: "NODE_IMAGE",
        ours: Some(Ours { program: "dsync", dockerfile: "node/Dockerfile" }),
        files: &[ROOTS],
        folders: &[],
        user: "65532:65532",
        entrypoint: &["/usr/local/bin/dsync"],
    },
    Image {
        name: "operator",
        constant: "OPERATOR_IMAGE",
        ours: Some(Ours { program: "dsync-operator", dockerfile: "operator/Dockerfile" }),
        files: &[ROOTS],
        folders: &[],
        user: "65532:65532",
        entrypoint: &["/usr/local/bin/dsync-operator"],
    },
    Image {
        name: "redis",
        constant: "REDIS_IMAGE",
        ours: None,
        files: &[
            ("/usr/bin/redis-server", "/usr/local/bin/redis-server"),
            ("/usr/bin/redis-cli", "/usr/local/bin/redis-cli"),
            ("/bin/sh", "/bin/sh"),
            ("/usr/bin/flock", "/usr/bin/flock"),
        ],
        folders: &["/data"],
        user: "999:999",
        entrypoint: &["/usr/local/bin/redis-server"],
    },
];

/// What an image of ours may have at most, unpacked, if it is of the release.
const BYTES_MAX: u64 = 30_000_000;

/// Builds our programs and packs all images.
///
/// # Errors
/// If one cannot be built or packed, or is too large.
pub fn pack(cluster: &Cluster, profile: Profile) -> anyhow::Result<Vec<PathBuf>> {
    let folder = output("images");
    fs::create_dir_all(&folder)?;
    build(profile)?;
    let contract = contract()?;
    let pack = |image| pack_one(cluster, profile, &folder, &contract, image);
    IMAGES.iter().map(pack).collect()
}

fn build(profile: Profile) -> anyhow::Result<()> {
    profile.builds().iter().try_for_each(|call| {
        println!("-- {}", call.shown());
        call.run()
    })
}

impl Profile {
    /// As other suites build the same, so that nothing is built twice.
    fn builds(self) -> Vec<Call> {
        match self {
            Self::Release => vec![
                shipped_program().build(),
                Call::cargo("build --release --package dsync-operator"),
            ],
            Self::Dev => vec![tested_program().build().args("--bin dsync-operator")],
        }
    }

    /// Where the programs are then.
    fn folder(self) -> PathBuf {
        output(match self {
            Self::Release => "release",
            Self::Dev => "debug",
        })
    }
}

fn pack_one(
    cluster: &Cluster,
    profile: Profile,
    folder: &Path,
    contract: &str,
    image: &Image,
) -> anyhow::Result<PathBuf> {
    let archive = folder.join(format!("{}.tar", image.name));
    let mut pack = cluster.script();
    pack.args(["pack", "-libs", "-o"]).arg(&archive);
    pack.args(["-t", reference(contract, image.constant)?, "-user", image.user]);
    image.entrypoint.iter().for_each(|word| {
        pack.args(["-entrypoint", word]);
    });
    image.folders.iter().for_each(|folder| {
        pack.args(["-dir", folder]);
    });
    if let Some(first) = image.folders.first() {
        pack.args(["-workdir", first]);
    }
    if let Some(ours) = &image.ours {
        let stripped = strip(profile, folder, ours.program)?;
        pack.arg(format!("{}:/usr/local/bin/{}", stripped.display(), ours.program));
    }
    pack.args(image.files.iter().map(|(from, to)| format!("{from}:{to}")));
    must(&mut pack)?;
    let bytes = fs::metadata(&archive)?.len();
    ensure!(
        profile == Profile::Dev || bytes < BYTES_MAX,
        "the image {} has {bytes} bytes, and may have {BYTES_MAX}",
        image.name
    );
    Ok(archive)
}

fn strip(profile: Profile, folder: &Path, program: &str) -> anyhow::Result<PathBuf> {
    let stripped = folder.join(program);
    let mut strip = Command::new("strip");
    must(strip.arg("-o").arg(&stripped).arg(profile.folder().join(program)))?;
    Ok(stripped)
}

fn contract() -> anyhow::Result<String> {
    let path = workspace::root().join("node/core/src/contract.rs");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The value of a constant. Read from the text, as depending on the core would make these commands
/// wait for its build.
fn reference<'a>(contract: &'a str, constant: &str) -> anyhow::Result<&'a str> {
    let declared = format!("const {constant}: &str = \"");
    let value = contract.split_once(&declared).and_then(|(_, rest)| rest.split_once('"'));
    let Some((value, _)) = value else { bail!("contract.rs has no {constant}") };
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_its_reference_in_the_contract() {
        let contract = contract().unwrap();
        for image in &IMAGES {
            let reference = reference(&contract, image.constant).unwrap();
            let (name, tag) = reference.rsplit_once(':').unwrap();
            assert!(name.contains('/') && !tag.is_empty(), "{reference}");
        }
        assert!(reference(&contract, "NO_IMAGE").is_err());
    }

    #[test]
    fn nobody_runs_as_root() {
        assert!(IMAGES.iter().all(|image| !image.user.starts_with('0')));
    }
}

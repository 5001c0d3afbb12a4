//! The cluster secret: who knows it is of the cluster.
//!
//! A connection is proven by challenge and response. Each side rolls a nonce of 32 bytes, and shows
//! an HMAC-SHA256 over both nonces and its own role, keyed by the secret, which itself never travels.
//! Later, when both have introduced themselves, each shows a second one that also covers the exact
//! bytes of both introductions.
//!
//! - *Replay* fails because the verifier's nonce is new for every connection and used once.
//! - *Reflection* (to send a node's own proof back to it) fails because the role is covered.
//! - *Mixing* (to pair one node's proof with another's name) fails because the identities are covered.
//!
//! While a secret is replaced the file holds two lines, and both are good. The dialler shows a proof
//! by each, the listener answers by the one it shares: so neighbours need only one line in common,
//! and files may be rolled in any order.
//!
//! Caveats. Frames after the handshake carry a checksum, not a MAC: someone who can alter packets on
//! the way can alter them, unless mutual TLS is switched on. And who lets a node dial it can try
//! guesses against that node's proof at leisure, so a secret has to be random, not a phrase.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The shortest secret that is accepted, in bytes.
pub const SECRET_BYTES_MIN: usize = 16;
/// How many secrets count at once: the present one, and the next or the last while it is replaced.
pub const SECRETS_MAX: usize = 2;
/// Nothing that is larger can be a file of secrets.
const FILE_BYTES_MAX: u64 = 4096;

/// A random number that makes a proof good for one connection only.
pub(super) type Nonce = [u8; 32];
/// A proof.
pub(super) type Tag = [u8; 32];

/// Why there is no secret. Never says anything of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the cluster secret from {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot write a new cluster secret to {path}: {source}")]
    Create {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Others than its owner may change it, and so let whom they like into the cluster.
    #[error(
        "the cluster secret in {path} may be written by others than its owner (mode {mode:03o}): chmod 600"
    )]
    Writable {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Nothing but white space.
    #[error("the cluster secret is empty")]
    Empty,
    /// Easily guessed.
    #[error(
        "the cluster secret in line {line} has {bytes} bytes; at least {SECRET_BYTES_MIN} random bytes are needed"
    )]
    TooShort {
        /// Counted from 1.
        line: usize,
        /// Its length.
        bytes: usize,
    },
    /// More lines than can be meant.
    #[error(
        "{lines} cluster secrets are given; at most {SECRETS_MAX} (one a line) count while one is replaced"
    )]
    TooMany {
        /// How many lines hold something.
        lines: usize,
    },
    /// Surely another file.
    #[error("the file of cluster secrets is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
}

/// One secret. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ClusterSecret(Vec<u8>);

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

/// The secrets that count now: one, or two while one is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets(Vec<ClusterSecret>);

impl Secrets {
    /// Reads one secret a line. White space around a line, and empty lines, do not count.
    ///
    /// # Errors
    /// If there is none, one is too short, or there are more than two.
    pub fn parse(text: &[u8]) -> Result<Self, SecretError> {
        let mut secrets = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if line.len() < SECRET_BYTES_MIN {
                return Err(SecretError::TooShort { line: number + 1, bytes: line.len() });
            }
            secrets.push(ClusterSecret(line.to_vec()));
        }
        match secrets.len() {
            0 => Err(SecretError::Empty),
            1..=SECRETS_MAX => Ok(Self(secrets)),
            lines => Err(SecretError::TooMany { lines }),
        }
    }

    /// Reads them from a file.
    ///
    /// # Errors
    /// If it cannot be read, others may write it, or as [`Secrets::parse`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Read { path: path.to_owned(), source };
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(SecretError::Writable { path: path.to_owned(), mode });
        }
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(SecretError::TooLarge);
        }
        Self::parse(&text)
    }

    /// Makes a random secret in a new file that only its owner may read (mode 0600).
    ///
    /// # Errors
    /// If the file exists already or cannot be written: an existing secret is never replaced.
    pub fn create(path: &Path) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Create { path: path.to_owned(), source };
        let random = random_bytes().map_err(failed)?;
        let line = hex(&random);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        writeln!(file, "{line}").and_then(|()| file.sync_all()).map_err(failed)?;
        Self::parse(line.as_bytes())
    }

    /// A proof by each secret: the dialler cannot know yet which of them the listener shares.
    pub(super) fn prove_all(&self, role: Role, challenge: &Challenge) -> Vec<Tag> {
        self.0.iter().map(|secret| secret.prove(role, challenge)).collect()
    }

    /// The secret by which one of `tags` was made, if any. Looks at every pair, whatever it has
    /// found, so that time does not tell which secret it was.
    pub(super) fn recognise(
        &self,
        role: Role,
        challenge: &Challenge,
        tags: &[Tag],
    ) -> Option<&ClusterSecret> {
        let mut found = None;
        for secret in &self.0 {
            let expected = secret.prove(role, challenge);
            for tag in tags {
                if bool::from(expected.ct_eq(tag)) {
                    found = Some(secret);
                }
            }
        }
        found
    }
}

/// Secrets that may be replaced while the node runs.
///
/// A mounted secret is replaced on disk without a word, so the file is read again every few seconds.
/// A file that has become unreadable or wrong changes nothing: the last good secrets stay.
#[derive(Debug)]
pub struct SecretSource {
    path: Option<PathBuf>,
    current: ArcSwap<Secrets>,
}

impl SecretSource {
    /// Secrets that never change.
    #[must_use]
    pub fn fixed(secrets: Secrets) -> Self {
        Self { path: None, current: ArcSwap::from_pointee(secrets) }
    }

    /// Secrets from a file, followed as the file changes.
    ///
    /// # Errors
    /// If the file holds no valid secret now: a node does not start without one.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, SecretError> {
        let path = path.into();
        let current = ArcSwap::from_pointee(Secrets::read(&path)?);
        warn_if_public(&path);
        Ok(Self { path: Some(path), current })
    }

    /// Reads the file again; true if the secrets are others now. Proven connections stay.
    ///
    /// # Errors
    /// If the file holds no valid secret; the last good ones stay in force.
    pub fn reload(&self) -> Result<bool, SecretError> {
        let Some(path) = &self.path else { return Ok(false) };
        let fresh = Secrets::read(path)?;
        let changed = **self.current.load() != fresh;
        if changed {
            warn_if_public(path);
            self.current.store(Arc::new(fresh));
        }
        Ok(changed)
    }

    pub(super) fn current(&self) -> Arc<Secrets> {
        self.current.load_full()
    }
}

/// One that everybody may read is worth a warning. One that its group may read is not: on Kubernetes
/// that is how a node gets to read it.
fn warn_if_public(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |it| it.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(path = %path.display(), mode = %format!("{:03o}", mode & 0o777),
            "everybody on this machine may read the cluster secret: chmod 600");
    }
}

/// Which end of a connection proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Opened it.
    Dialler,
    /// Accepted it.
    Listener,
}

impl Role {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }

    fn label(self) -> &'static [u8] {
        match self {
            Self::Dialler => b"dialler",
            Self::Listener => b"listener",
        }
    }
}

/// What both ends of one connection rolled.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    pub(super) dialler: Nonce,
    pub(super) listener: Nonce,
}

impl ClusterSecret {
    /// Shows that this end knows the secret.
    pub(super) fn prove(&self, role: Role, challenge: &Challenge) -> Tag {
        self.tag(&[b"dsync peer 1 proof", role.label(), &challenge.dialler, &challenge.listener])
    }

    /// Shows that this end means these two introductions, as they were sent.
    pub(super) fn vouch(
        &self,
        role: Role,
        challenge: &Challenge,
        dialler_said: &[u8],
        listener_said: &[u8],
    ) -> Tag {
        self.tag(&[
            b"dsync peer 1 identities",
            role.label(),
            &challenge.dialler,
            &challenge.listener,
            dialler_said,
            listener_said,
        ])
    }

    /// Every part goes in with its length, so that no two lists of parts look the same.
    fn tag(&self, parts: &[&[u8]]) -> Tag {
        // An HMAC takes a key of any length; the error of this constructor never happens.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return Tag::default() };
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Compares two proofs in a time that does not tell where they differ.
pub(super) fn same_tag(left: &Tag, right: &Tag) -> bool {
    left.ct_eq(right).into()
}

/// 32 bytes that nobody can guess.
pub(super) fn random_bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly 32 bytes in hex, or nothing.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    // `from_str_radix` alone would take a sign.
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "sixteen bytes ok";

    fn challenge() -> Challenge {
        Challenge { dialler: [1; 32], listener: [2; 32] }
    }

    fn secret() -> ClusterSecret {
        ClusterSecret(ONE.as_bytes().to_vec())
    }

    /// Whatever the mask is that the tests run under.
    fn write(path: &Path, text: impl AsRef<[u8]>) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn one_or_two_lines_of_sixteen_bytes_are_secrets() {
        assert_eq!(Secrets::parse(ONE.as_bytes()).unwrap().0.len(), 1);
        let two = format!("\r\n {ONE}\r\n\n{ONE}2\n");
        assert_eq!(Secrets::parse(two.as_bytes()).unwrap().0.len(), 2);
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let refused = |text: &str| Secrets::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refused(" \n\n"), SecretError::Empty));
        let short = refused(&format!("{ONE}\ntoo short\n"));
        assert!(matches!(short, SecretError::TooShort { line: 2, bytes: 9 }));
        assert!(!short.to_string().contains("too short"), "{short}");
        let three = refused(&format!("{ONE}\n").repeat(3));
        assert!(matches!(three, SecretError::TooMany { lines: 3 }));
        assert_eq!(format!("{:?}", secret()), "ClusterSecret(..)");
    }

    #[test]
    fn a_created_file_is_random_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        let made = Secrets::create(&first).unwrap();
        assert_eq!(Secrets::read(&first).unwrap(), made);
        assert_ne!(Secrets::create(&second).unwrap(), made);
        assert!(matches!(Secrets::create(&first), Err(SecretError::Create { .. })));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&first).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_is_missing_or_huge_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let missing = Secrets::read(&path).unwrap_err().to_string();
        assert!(missing.contains("secret"), "{missing}");
        write(&path, vec![b'x'; 5000]);
        assert!(matches!(Secrets::read(&path), Err(SecretError::TooLarge)));
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_and_one_that_they_may_read_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, ONE);
        for (mode, taken) in
            [(0o600, true), (0o440, true), (0o644, true), (0o620, false), (0o602, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match Secrets::read(&path) {
                Ok(_) => assert!(taken, "{mode:o}"),
                Err(error) => {
                    assert!(!taken && error.to_string().contains(&format!("{mode:o}")), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_file_that_became_bad_leaves_the_last_good_secrets_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write(&path, ONE);
        let source = SecretSource::file(&path).unwrap();
        assert!(!source.reload().unwrap());
        write(&path, "short");
        assert!(source.reload().is_err());
        assert_eq!(source.current().0, [secret()]);
        write(&path, format!("{ONE}\n{ONE}2"));
        assert!(source.reload().unwrap());
        assert_eq!(source.current().0.len(), 2);
    }

    /// The bytes that HMAC-SHA256 gives by its definition, so that a change of what is covered, or of
    /// its order, is noticed: nodes of two releases must agree.
    #[test]
    fn a_proof_is_the_hmac_of_its_parts_with_their_lengths() {
        let mut said = Vec::new();
        for part in [b"dsync peer 1 proof".as_slice(), b"dialler", &[1; 32], &[2; 32]] {
            said.extend_from_slice(&(part.len() as u64).to_be_bytes());
            said.extend_from_slice(part);
        }
        let mut key = ONE.as_bytes().to_vec();
        key.resize(64, 0);
        let pad = |byte: u8| key.iter().map(|k| k ^ byte).collect::<Vec<u8>>();
        let hash = |parts: &[&[u8]]| <Sha256 as sha2::Digest>::digest(parts.concat());
        let expected = hash(&[&pad(0x5c), &hash(&[&pad(0x36), &said])]);
        assert_eq!(secret().prove(Role::Dialler, &challenge()), *expected);
    }

    #[test]
    fn everything_that_is_covered_changes_the_proof() {
        let tag =
            |role, challenge: &Challenge, a: &[u8], b: &[u8]| secret().vouch(role, challenge, a, b);
        let good = tag(Role::Dialler, &challenge(), b"ab", b"c");
        let other = ClusterSecret(b"another secret..".to_vec());
        for bad in [
            tag(Role::Listener, &challenge(), b"ab", b"c"),
            tag(Role::Dialler, &Challenge { dialler: [9; 32], ..challenge() }, b"ab", b"c"),
            tag(Role::Dialler, &Challenge { listener: [9; 32], ..challenge() }, b"ab", b"c"),
            tag(Role::Dialler, &challenge(), b"a", b"bc"),
            tag(Role::Dialler, &challenge(), b"c", b"ab"),
            other.vouch(Role::Dialler, &challenge(), b"ab", b"c"),
            secret().prove(Role::Dialler, &challenge()),
        ] {
            assert!(!same_tag(&good, &bad));
        }
        assert!(same_tag(&good, &tag(Role::Dialler, &challenge(), b"ab", b"c")));
    }

    #[test]
    fn hex_is_read_back_only_if_it_is_exactly_32_bytes() {
        let bytes = random_bytes().unwrap();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        let plus = format!("+1{}", "00".repeat(31));
        for bad in ["", "ab", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64), &plus] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}

//! The check of a folder: every byte of every file, without a node.
//!
//! What it can say depends on what it may trust. The files alone show every change that does not
//! also rebuild the rest of the chain. Whoever rebuilds it from some record on, or cuts off the end,
//! is found by a head from elsewhere: the node's own snapshot, another node, a head noted on paper.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use dsync_core::audit::{AuditHash, AuditHead, encode};
use serde::Serialize;

use super::floor;
use super::line::{self, AuditLine};
use super::segment::{Reader, SUFFIX, Wrong};
use crate::storage::fs;

/// A head that the trail has to lead through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Whose word it is, for people.
    pub said_by: String,
    /// The head.
    pub head: AuditHead,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The record at which it shows.
    pub number: u64,
    /// What is wrong, for people.
    pub finding: String,
}

/// What a check has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Records checked.
    pub records: u64,
    /// The number of the oldest record kept.
    pub oldest: u64,
    /// The number of the last one.
    pub last: u64,
    /// Its hash, in hex.
    pub hash: String,
    /// Records that are not there: first and last of each stretch.
    pub missing: Vec<(u64, u64)>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Verdict {
    fn find(&mut self, number: u64, finding: impl Into<String>) {
        self.findings.push(Finding { number, finding: finding.into() });
    }
}

/// Checks a trail's folder.
///
/// # Errors
/// Whatever the disk says.
pub fn verify_folder(folder: &Path, witnesses: &[Witness]) -> io::Result<Verdict> {
    let floor = floor::read(folder)?;
    let mut walk = Walk::begin(floor.unwrap_or_default(), witnesses);
    if floor.is_none() {
        walk.verdict
            .find(1, "the file named floor is damaged: what was deleted for its age is unknown");
    }
    for name in fs::list(folder)? {
        if name.ends_with(SUFFIX) {
            walk.file(&name, &fs::read(&folder.join(&name))?);
        } else if name != floor::NAME {
            walk.verdict.find(walk.at.count + 1, format!("the file {name} is not of the trail"));
        }
    }
    Ok(walk.end(witnesses))
}

/// A check under way: how far along the chain it has come.
#[derive(Debug)]
pub struct Walk {
    /// The head after what has been seen.
    at: AuditHead,
    /// Hashes at the witnesses' numbers.
    seen: BTreeMap<u64, Option<AuditHash>>,
    verdict: Verdict,
}

impl Walk {
    /// Begins at the head before the oldest record.
    #[must_use]
    pub fn begin(oldest: AuditHead, witnesses: &[Witness]) -> Self {
        let verdict = Verdict { oldest: oldest.count + 1, ..Verdict::default() };
        let seen = witnesses.iter().map(|witness| (witness.head.count, None)).collect();
        let mut walk = Self { at: oldest, seen, verdict };
        walk.arrive(oldest);
        walk
    }

    /// The number of the last record seen.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.at.count
    }

    /// Takes the next record, as a server drew it.
    pub fn line(&mut self, line: &AuditLine) {
        let number = self.at.count + 1;
        if line.number != number {
            let found = line.number;
            self.verdict
                .find(number, format!("record {found} stands where record {number} should"));
        }
        let record = line.record().map(|record| encode(&record));
        let Some((record, claimed)) = record.zip(line::unhex(&line.hash)) else {
            return self.verdict.find(line.number, "the line is not a record");
        };
        let after = self.at.after(&record);
        if after.hash != claimed {
            self.verdict.find(
                line.number,
                format!(
                    "record {} is not what was written, or does not follow the one before",
                    line.number
                ),
            );
        }
        self.verdict.records += 1;
        // By its own word, so that what is wrong with the next one shows by itself.
        self.arrive(AuditHead { count: line.number, hash: claimed });
    }

    /// Goes on behind records that are not there.
    pub fn skip(&mut self, after: AuditHead) {
        self.verdict.missing.push((self.at.count + 1, after.count));
        self.arrive(after);
    }

    /// Takes note of what somebody else has found wrong, from this record on.
    pub fn found(&mut self, number: u64, what: &str) {
        self.verdict.find(number, what);
    }

    /// Goes on behind records that were deleted for their age while the check went on.
    pub fn forget(&mut self, floor: AuditHead) {
        self.arrive(floor);
    }

    fn arrive(&mut self, head: AuditHead) {
        self.at = head;
        if let Some(seen) = self.seen.get_mut(&head.count) {
            *seen = Some(head.hash);
        }
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        let named: Option<u64> = name.strip_suffix(SUFFIX).and_then(|number| number.parse().ok());
        let reader = match Reader::new(bytes) {
            Ok(reader) => reader,
            Err(wrong) => {
                return self.verdict.find(named.unwrap_or(0), format!("{name}: {wrong}"));
            }
        };
        let start = reader.head();
        if named != Some(start.count + 1) {
            self.verdict
                .find(start.count + 1, format!("{name}: its records begin at {}", start.count + 1));
        }
        self.join(name, &start);
        for read in reader {
            match read {
                Ok(read) => {
                    self.verdict.records += 1;
                    self.arrive(read.head);
                }
                Err(wrong) => self.wrong(name, &wrong, start.count),
            }
        }
    }

    /// Where a file begins has to be where the one before ended.
    fn join(&mut self, name: &str, start: &AuditHead) {
        let (at, next) = (self.at, start.count + 1);
        if start.count > at.count {
            return self.skip(*start);
        } else if start.count < at.count {
            self.verdict.find(next, format!("{name}: record {next} stands in another file too"));
        } else if start.hash != at.hash {
            let number = at.count;
            self.verdict.find(
                number,
                format!(
                    "{name}: the records up to {number} do not lead to the head that it begins with"
                ),
            );
        }
        self.arrive(*start);
    }

    fn wrong(&mut self, name: &str, wrong: &Wrong, start: u64) {
        let number = match wrong {
            Wrong::Header => start + 1,
            Wrong::Frame { number, .. } | Wrong::Number { number, .. } | Wrong::Link { number } => {
                *number
            }
            Wrong::Seal { last, .. } => *last,
        };
        self.verdict.find(number, format!("{name}: {wrong}"));
    }

    /// What was seen, held against what others say.
    #[must_use]
    pub fn end(mut self, witnesses: &[Witness]) -> Verdict {
        for Witness { said_by, head } in witnesses {
            match self.seen.get(&head.count).copied().flatten() {
                Some(hash) if hash == head.hash => {}
                Some(_) => self.verdict.find(
                    head.count,
                    format!(
                        "the records up to {} do not lead to the head that {said_by} has",
                        head.count
                    ),
                ),
                None if head.count > self.at.count => {
                    let last = self.at.count;
                    self.verdict.missing.push((last + 1, head.count));
                }
                // Deleted for its age, or within a stretch that is missing or unreadable.
                None => {}
            }
        }
        self.verdict.last = self.at.count;
        self.verdict.hash = line::hex(&self.at.hash);
        self.verdict
    }
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "verify_test.rs"]
mod tests;

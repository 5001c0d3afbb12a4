//! What `GET /v1/audit` answers: drawn by the server, read by the command line.

use dsync_core::audit::AuditHead;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::catalog::Catalog;
use super::line::{self, AuditLine};
use super::query::Found;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditAnswer {
    /// What was asked for, in the order of numbers.
    pub records: Vec<AuditLine>,
    /// What this node does not have or cannot read, oldest first. Not filtered.
    pub gaps: Vec<GapLine>,
    /// The head before the oldest record that is kept.
    pub oldest: HeadLine,
    /// The head of the whole chain, as this answer knows it.
    pub head: HeadLine,
    /// The `after` of the next question. `None`: there is nothing more.
    pub next: Option<u64>,
}

/// Records that are not to be had here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapLine {
    /// First of them.
    pub from: u64,
    /// Last of them.
    pub to: u64,
    /// The last one's hash, in hex.
    pub hash: String,
    /// `missing`, or what is wrong with the file.
    pub cause: String,
}

impl GapLine {
    /// The cause of what is not there; any other is damage.
    pub const MISSING: &str = "missing";
}

/// A place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeadLine {
    /// The number of its record.
    pub count: u64,
    /// That record's hash, in hex; zeros before the first.
    pub hash: String,
}

impl AuditAnswer {
    /// Draws what was found in `catalog`, whose chain ends at `head`.
    #[must_use]
    pub fn new(catalog: &Catalog, head: &AuditHead, found: Found) -> Self {
        let gaps = catalog.gaps(head).into_iter();
        let mut gaps: Vec<GapLine> = gaps
            .map(|gap| {
                let (hash, cause) = (line::hex(&gap.hash), GapLine::MISSING.to_owned());
                GapLine { from: gap.from, to: gap.to, hash, cause }
            })
            .collect();
        gaps.extend(found.unreadable.into_iter().map(|(from, to, cause)| {
            let hash = catalog.covering(to).map_or_else(String::new, |s| line::hex(&s.end.hash));
            GapLine { from, to, hash, cause }
        }));
        gaps.sort_by_key(|gap| gap.from);
        let (oldest, head) = (HeadLine::new(&catalog.floor), HeadLine::new(head));
        Self { records: found.lines, gaps, oldest, head, next: found.next }
    }
}

impl HeadLine {
    /// Draws a head.
    #[must_use]
    pub fn new(head: &AuditHead) -> Self {
        Self { count: head.count, hash: line::hex(&head.hash) }
    }

    /// The head that was drawn.
    #[must_use]
    pub fn head(&self) -> Option<AuditHead> {
        Some(AuditHead { count: self.count, hash: line::unhex(&self.hash)? })
    }
}

impl GapLine {
    /// The head after the gap.
    #[must_use]
    pub fn end(&self) -> Option<AuditHead> {
        Some(AuditHead { count: self.to, hash: line::unhex(&self.hash)? })
    }
}

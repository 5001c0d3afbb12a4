//! A data folder, checked without its node. The newest snapshot in it is a witness: it holds the
//! chain's head as the cluster agreed on it, in another file, and the trail is always synced before
//! one is written.

use std::path::Path;

use anyhow::{Context, bail};

use super::print::Check;
use crate::audit::verify::{Witness, verify_folder};
use crate::cli::told;
use crate::consensus::load_snapshot;
use crate::storage::{SnapshotStore, fs};

/// Checks the trail in `data`.
pub(super) fn verify(data: &Path, mut witnesses: Vec<Witness>) -> anyhow::Result<Check> {
    let folder = data.join("audit");
    if fs::list(&folder).is_err() {
        bail!("--data: {} holds no audit trail (no folder named audit)", data.display());
    }
    let (snapshot, unread) = match snapshot_head(data) {
        Ok(found) => (found, None),
        Err(error) => {
            (None, Some(format!("the snapshot cannot serve as a witness: {}", told(&error))))
        }
    };
    witnesses.extend(snapshot);
    let verdict = verify_folder(&folder, &witnesses)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    let of = data.display().to_string();
    let mut notes: Vec<String> = witnesses
        .iter()
        .map(|witness| {
            format!("held against the head {} of {}", witness.head.count, witness.said_by)
        })
        .collect();
    notes.extend(unread);
    if witnesses.is_empty() {
        notes
            .push("no head to hold it against: an end that was cut off clean does not show".into());
    }
    Ok(Check { of, notes, result: Ok(verdict) })
}

fn snapshot_head(data: &Path) -> anyhow::Result<Option<Witness>> {
    let folder = data.join("snapshots");
    let Some(meta) = SnapshotStore::reader(&folder).newest()? else { return Ok(None) };
    let head = load_snapshot(&folder, &meta)?.audit();
    Ok(Some(Witness { said_by: format!("the snapshot of entry {}", meta.index), head }))
}

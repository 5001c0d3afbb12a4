//! What a start finds in the trail's folder.
//!
//! A sealed segment is taken by its header and its seal, without reading what lies between: that is
//! for `dsync audit verify`, and a start must not take longer with every year of records. The segment
//! without a seal is read whole. Where its good records end it is cut: a power cut tears what was not
//! synced, in any order of sectors, so good records behind a bad one prove nothing. What was cut is
//! applied again (the log still has it), or is a gap.
//!
//! Everything that is taken is synced first. After the death of the process alone, what is read may
//! only be in the page cache; the next snapshot would count on it all the same.
//!
//! A file that cannot be what it is named for is set aside under another name, and reported: its
//! records are a gap then, and people can look at the file.

use std::io;
use std::path::{Path, PathBuf};

use dsync_core::audit::AuditHead;

use super::catalog::Catalog;
use super::floor;
use super::frame::{self, HEADER_BYTES, SEAL_BYTES};
use super::segment::{self, Reader, SUFFIX, Segment};
use super::trail::TrailError;
use crate::storage::fs::{self, File};

/// What is there, put in order on the disk too; and what was wrong beyond putting in order.
pub(super) fn recover(folder: &Path) -> (Catalog, Option<TrailError>) {
    let mut catalog = Catalog::default();
    let failed = read_folder(folder, &mut catalog).err();
    (catalog, failed)
}

fn read_folder(folder: &Path, catalog: &mut Catalog) -> Result<(), TrailError> {
    let io = |source| TrailError::io(folder, source);
    fs::create_folder(folder).map_err(io)?;
    for name in fs::list(folder).map_err(io)?.iter().filter(|name| name.ends_with(".tmp")) {
        fs::remove_temporary(folder, name).map_err(io)?;
    }
    catalog.floor = match floor::read(folder).map_err(io)? {
        Some(floor) => floor,
        None => {
            tracing::error!(folder = %folder.display(), "audit trail: the file named floor is damaged; what was deleted for its age shows as missing");
            AuditHead::default()
        }
    };
    for name in fs::list(folder).map_err(io)?.iter().filter(|name| name.ends_with(SUFFIX)) {
        let path = folder.join(name);
        let found = read_segment(folder, &path).map_err(|source| TrailError::io(&path, source))?;
        if let Some(segment) = found {
            take(folder, catalog, segment)?;
        }
    }
    check_joints(catalog)
}

/// Names are in the order of their numbers.
fn take(folder: &Path, catalog: &mut Catalog, segment: Segment) -> Result<(), TrailError> {
    let io = |source| TrailError::io(&segment.path, source);
    if segment.end.count <= catalog.floor.count {
        // Its deletion was interrupted.
        fs::remove(&segment.path).map_err(io)?;
        return fs::sync_folder(folder).map_err(io);
    }
    if segment.start.count < catalog.last() {
        set_aside(folder, &segment.path, "it holds records that another file holds too")
            .map_err(io)?;
        return Ok(());
    }
    catalog.segments.push(segment);
    Ok(())
}

/// Where two segments meet, or the oldest meets the floor, there is one head.
fn check_joints(catalog: &Catalog) -> Result<(), TrailError> {
    let ends = std::iter::once(&catalog.floor).chain(catalog.segments.iter().map(|s| &s.end));
    for (end, next) in ends.zip(&catalog.segments) {
        if end.count == next.start.count && end.hash != next.start.hash {
            return Err(TrailError::Differs { number: end.count });
        }
    }
    Ok(())
}

fn read_segment(folder: &Path, path: &Path) -> io::Result<Option<Segment>> {
    let file = File::open(path)?;
    let len = file.len()?;
    let header = frame::read_header(&file.read_at(0, HEADER_BYTES)?);
    let Some(start) = header.filter(|start| segment::path(folder, start.count + 1) == path) else {
        drop(file);
        return match len > HEADER_BYTES as u64 {
            true => set_aside(folder, path, "its header is damaged").map(|()| None),
            // It was being made. The header is durable before anything follows it.
            false => remove(folder, path).map(|()| None),
        };
    };
    let (path, seal_bytes) = (path.to_owned(), SEAL_BYTES as u64);
    if len >= HEADER_BYTES as u64 + seal_bytes
        && let Some(seal) = frame::read_seal(&file.read_at(len - seal_bytes, SEAL_BYTES)?)
    {
        file.sync_data()?;
        let frame::Seal { end, first_ms, last_ms } = seal;
        return Ok(Some(Segment { path, start, end, bytes: len, first_ms, last_ms, sealed: true }));
    }
    cut(folder, path, start, &file)
}

/// Keeps the good records at the front of an unsealed segment.
fn cut(folder: &Path, path: PathBuf, start: AuditHead, file: &File) -> io::Result<Option<Segment>> {
    let len = file.len()?;
    let bytes = file.read_at(0, usize::try_from(len).map_err(io::Error::other)?)?;
    let Ok(mut reader) = Reader::new(&bytes) else { return Ok(None) };
    let (mut first_ms, mut last_ms) = (u64::MAX, 0);
    let mut wrong = None;
    for read in reader.by_ref() {
        match read {
            Ok(read) => {
                first_ms = read.framed.wall_ms.min(first_ms);
                last_ms = read.framed.wall_ms.max(last_ms);
            }
            Err(found) => wrong = Some(found),
        }
    }
    let (end, bytes) = (reader.head(), reader.offset());
    if end.count == start.count {
        return remove(folder, &path).map(|()| None);
    }
    if let Some(wrong) = wrong {
        tracing::warn!(file = %path.display(), cut_bytes = len - bytes, %wrong,
            "audit trail: cut behind the last good record; what was cut is applied again or a gap");
        file.set_len(bytes)?;
    }
    file.sync_data()?;
    Ok(Some(Segment { path, start, end, bytes, first_ms, last_ms, sealed: false }))
}

fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    fs::remove(path)?;
    fs::sync_folder(folder)
}

fn set_aside(folder: &Path, path: &Path, reason: &str) -> io::Result<()> {
    let aside = path.with_extension("damaged");
    tracing::error!(file = %path.display(), aside = %aside.display(), reason,
        "audit trail: a file cannot be used and is set aside; its records are a gap");
    fs::rename(path, &aside)?;
    fs::sync_folder(folder)
}

//! The bytes of a segment.
//!
//! ```text
//! header   magic 8 | crc32c 4 | version 4 | count 8 | hash 32          the chain's head before the
//!                                                                      first record
//! record   crc32c 4 | length 4 | wall time in ms 8 | link 8 | bytes    as often as there are records
//! seal     magic 8 | crc32c 4 | zero 4 | count 8 | hash 32 | first 8 | last 8     once, at the end
//! ```
//! Little-endian; each checksum covers what follows it, to the end of its part. `bytes` is what the
//! chain's hash covers (`dsync_core::audit::encode`); the wall time stands beside it, outside the
//! chain. `link` is the first 8 bytes of the record's hash: it adds no proof (whoever changes a record
//! can change its link), but lets a check name the very record that was changed. The seal repeats the
//! chain's head after the last record, and the earliest and latest wall time, so that a start or a
//! search by time need not read what lies between.

use dsync_core::audit::{AuditHash, AuditHead, AuditRecord, StoredAudit};
use dsync_core::wire;

/// Length of a segment's header.
pub const HEADER_BYTES: usize = 56;
/// Length of a segment's last part.
pub const SEAL_BYTES: usize = 72;
/// What stands before the bytes of a record.
pub const RECORD_HEAD_BYTES: usize = 24;
/// No record is longer: a length beyond this is a damaged one.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"dsyncaud";
const SEAL_MAGIC: [u8; 8] = *b"dsyncend";
const VERSION: u32 = 1;

/// What a sealed segment says at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The chain's head after the last record.
    pub end: AuditHead,
    /// Earliest wall time of a record, in ms since 1970.
    pub first_ms: u64,
    /// Latest one.
    pub last_ms: u64,
}

/// One record as it stands in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// When the node wrote it, in ms since 1970, by the node's clock.
    pub wall_ms: u64,
    /// First bytes of the hash that it was written with.
    pub link: [u8; 8],
    /// What the chain covers.
    pub bytes: &'a [u8],
}

impl Framed<'_> {
    /// Bytes that it takes in the segment.
    #[must_use]
    pub fn len(&self) -> usize {
        RECORD_HEAD_BYTES + self.bytes.len()
    }

    /// Never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The record, if the bytes are one.
    #[must_use]
    pub fn record(&self) -> Option<AuditRecord> {
        decode_record(self.bytes)
    }
}

/// The record in bytes that the chain covers. Only the very bytes that it would be encoded to are
/// taken: there is one spelling of a record.
#[must_use]
pub fn decode_record(bytes: &[u8]) -> Option<AuditRecord> {
    let StoredAudit::V1(record) = wire::decode("audit record", bytes).ok()?;
    (dsync_core::audit::encode(&record) == bytes).then_some(record)
}

/// The first bytes of a hash.
#[must_use]
pub fn link(hash: &AuditHash) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    [a, b, c, d, e, f, g, h]
}

/// A segment's first bytes.
#[must_use]
pub fn header(start: &AuditHead) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[0; 4], &VERSION.to_le_bytes()].concat();
    push_head(&mut bytes, start);
    seal_crc(&mut bytes, 8);
    bytes
}

/// The head before the first record, if these are a segment's first bytes.
#[must_use]
pub fn read_header(bytes: &[u8]) -> Option<AuditHead> {
    let bytes = bytes.get(..HEADER_BYTES)?;
    let known =
        bytes[..8] == MAGIC && crc_holds(bytes, 8) && bytes[12..16] == VERSION.to_le_bytes();
    known.then(|| read_head(&bytes[16..])).flatten()
}

/// A segment's last bytes.
#[must_use]
pub fn seal(seal: &Seal) -> Vec<u8> {
    let mut bytes = [&SEAL_MAGIC[..], &[0; 8]].concat();
    push_head(&mut bytes, &seal.end);
    bytes.extend_from_slice(&seal.first_ms.to_le_bytes());
    bytes.extend_from_slice(&seal.last_ms.to_le_bytes());
    seal_crc(&mut bytes, 8);
    bytes
}

/// The seal, if these bytes are one.
#[must_use]
pub fn read_seal(bytes: &[u8]) -> Option<Seal> {
    if bytes.len() != SEAL_BYTES || bytes[..8] != SEAL_MAGIC || !crc_holds(bytes, 8) {
        return None;
    }
    let end = read_head(&bytes[16..])?;
    Some(Seal { end, first_ms: number(bytes, 56)?, last_ms: number(bytes, 64)? })
}

/// Appends a record whose hash is `hash`.
pub fn push_record(to: &mut Vec<u8>, wall_ms: u64, hash: &AuditHash, bytes: &[u8]) {
    let start = to.len();
    // A record longer than 4 GiB cannot be: it came out of one log entry.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&wall_ms.to_le_bytes());
    to.extend_from_slice(&link(hash));
    to.extend_from_slice(bytes);
    seal_crc(&mut to[start..], 0);
}

/// The record at the front of `bytes`; `None` if they begin with none that is whole.
#[must_use]
pub fn read_record(bytes: &[u8]) -> Option<Framed<'_>> {
    let length = usize::try_from(number(bytes, 0)? >> 32).ok()?;
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let frame = bytes.get(..RECORD_HEAD_BYTES + length)?;
    let framed = Framed {
        wall_ms: number(frame, 8)?,
        link: frame[16..RECORD_HEAD_BYTES].try_into().ok()?,
        bytes: &frame[RECORD_HEAD_BYTES..],
    };
    crc_holds(frame, 0).then_some(framed)
}

fn push_head(to: &mut Vec<u8>, head: &AuditHead) {
    to.extend_from_slice(&head.count.to_le_bytes());
    to.extend_from_slice(&head.hash);
}

fn read_head(bytes: &[u8]) -> Option<AuditHead> {
    Some(AuditHead { count: number(bytes, 0)?, hash: bytes.get(8..40)?.try_into().ok()? })
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn crc_of(bytes: &[u8], at: usize) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..at]), &bytes[at + 4..])
}

fn seal_crc(bytes: &mut [u8], at: usize) {
    let crc = crc_of(bytes, at);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn crc_holds(bytes: &[u8], at: usize) -> bool {
    bytes[at..at + 4] == crc_of(bytes, at).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> AuditHead {
        AuditHead { count: 258, hash: [7; 32] }
    }

    #[test]
    fn every_part_is_read_back() {
        assert_eq!(read_header(&header(&head())), Some(head()));
        let said = Seal { end: head(), first_ms: 1, last_ms: 2 };
        assert_eq!(read_seal(&seal(&said)), Some(said));
        let mut bytes = Vec::new();
        push_record(&mut bytes, 5, &[9; 32], b"what");
        let framed = read_record(&bytes).unwrap();
        assert_eq!((framed.wall_ms, framed.link, framed.bytes), (5, [9; 8], &b"what"[..]));
    }

    #[test]
    fn a_flipped_bit_anywhere_in_any_part_is_noticed() {
        let mut record = Vec::new();
        push_record(&mut record, 5, &[9; 32], b"what");
        let sealed = seal(&Seal { end: head(), first_ms: 1, last_ms: 2 });
        for (part, read) in [
            (header(&head()), (|bytes| read_header(bytes).is_some()) as fn(&[u8]) -> bool),
            (record, |bytes| read_record(bytes).is_some()),
            (sealed, |bytes| read_seal(bytes).is_some()),
        ] {
            for bit in 0..part.len() * 8 {
                let mut flipped = part.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!read(&flipped), "bit {bit}");
            }
        }
    }

    /// What these releases have written. A line that fails means: old trails cannot be read.
    #[test]
    fn published_parts_keep_their_bytes() {
        let mut record = Vec::new();
        push_record(&mut record, 5, &[9; 32], b"what");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hash = "07".repeat(32);
        let header = hex(&header(&head()));
        assert_eq!(&header[..16], hex(b"dsyncaud"));
        assert_eq!(&header[24..], format!("010000000201000000000000{hash}"));
        assert_eq!(
            &hex(&record)[8..],
            "0400000005000000000000000909090909090909".to_owned() + &hex(b"what")
        );
    }
}

//! What two nodes' trails say to each other: ask for records, send some.
//!
//! A node asks backwards: "the records up to number N". What comes back ends at N, for which the asker
//! knows the hash, so the chain proves every record of the page, and the head before the first of
//! them, which is what it asks for next. Nothing has to be kept until the other end is reached, and a
//! peer that has only the newer part of a gap is useful too.

use std::collections::VecDeque;

use dsync_core::audit::AuditHead;
use dsync_core::wire::{self, DecodeError};
use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::segment::{self, Reader};
use super::trail::Page;

/// Bytes of records in a page, about; one record at least. Well below the longest peer frame, since
/// appends wait behind it.
const PAGE_BYTES: usize = 128 << 10;

/// What goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredExchange {
    /// First format.
    V1(Exchange),
}

/// A word between two trails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exchange {
    /// Asks for the records up to `to`, newest first if they are too many, none before `from`.
    Ask {
        /// Comes back with the answer.
        id: u64,
        /// First record that is wanted.
        from: u64,
        /// Last record that is wanted.
        to: u64,
    },
    /// The answer.
    Page {
        /// Whose answer.
        id: u64,
        /// The head before the first record, by the sender's word.
        start: AuditHead,
        /// Records in order, with the sender's wall times. Empty: the last one asked for is not here.
        records: Page,
    },
}

impl Exchange {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        wire::encode(&StoredExchange::V1(self))
    }

    /// From bytes.
    ///
    /// # Errors
    /// If they are none of this protocol.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let StoredExchange::V1(exchange) = wire::decode("audit exchange", bytes)?;
        Ok(exchange)
    }
}

/// The newest of the records `from` to `to` that fit into a page, and the head before them. Reads one
/// segment.
#[must_use]
pub fn page(catalog: &Catalog, from: u64, to: u64) -> (AuditHead, Page) {
    let none = (AuditHead::default(), Page::new());
    let Some(segment) = catalog.covering(to) else { return none };
    let Ok(bytes) = segment::read(segment) else { return none };
    let Ok(reader) = Reader::new(&bytes) else { return none };
    let mut start = segment.start;
    let mut heads = VecDeque::new();
    let mut records = VecDeque::new();
    let mut size = 0;
    for read in reader {
        let Ok(read) = read else { return none };
        size += read.framed.bytes.len();
        heads.push_back(read.head);
        records.push_back((read.framed.wall_ms, read.framed.bytes.to_vec()));
        while start.count + 1 < from || (size > PAGE_BYTES && records.len() > 1) {
            let (Some(head), Some((_, bytes))) = (heads.pop_front(), records.pop_front()) else {
                break;
            };
            start = head;
            size -= bytes.len();
        }
        if read.head.count == to {
            return (start, records.into());
        }
    }
    none
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What these releases have said to each other. A line that fails means: old nodes cannot be read.
    #[test]
    fn published_words_keep_their_bytes() {
        let ask = Exchange::Ask { id: 1, from: 2, to: 300 };
        assert_eq!(ask.clone().encode(), [0, 0, 1, 2, 0xac, 2]);
        let start = AuditHead { count: 4, hash: [9; 32] };
        let page = Exchange::Page { id: 1, start, records: vec![(5, vec![6, 7])] };
        let bytes = [&[0, 1, 1, 4][..], &[9; 32], &[1, 5, 2, 6, 7]].concat();
        assert_eq!(page.clone().encode(), bytes);
        assert_eq!(Exchange::decode(&bytes).unwrap(), page);
    }
}

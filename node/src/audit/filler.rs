//! Fetches what is missing from the other nodes, and gives them what they miss.
//!
//! One question at a time, so that a node that has much to fetch takes a page's worth of a peer's
//! queue and no more. The newest gap is filled first, from its end backwards (`exchange.rs`), in
//! pieces of a segment's size. A peer that sends what the chain does not prove is passed over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dsync_core::audit::AuditHead;
use dsync_core::types::NodeId;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::catalog::{Catalog, Gap};
use super::exchange::{self, Exchange};
use super::port::{AuditReader, AuditSync};
use super::trail::Page;

/// How long a peer may take for a page.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// When nobody had what is missing, the next try comes so much later; then twice as much, up to
/// [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
/// See [`RETRY_MIN`].
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Bytes of records that are written at once.
const PIECE_BYTES: usize = 4 << 20;
/// Pages that may wait to be taken; there is one question at a time.
const PAGES: usize = 4;

/// The way to the other nodes.
pub trait Carrier: Clone + Send + Sync + 'static {
    /// The nodes that can be asked now.
    fn peers(&self) -> Vec<NodeId>;
    /// Sends a word. It may get lost.
    fn send(&self, to: NodeId, word: Bytes);
}

/// Answers the others, and fills this node's gaps, until `heard` ends or the writer has ended.
pub async fn run<C: Carrier>(
    carrier: C,
    mut heard: mpsc::Receiver<(NodeId, Bytes)>,
    reader: AuditReader,
    writer: AuditSync,
) {
    let (pages_in, pages) = mpsc::channel(PAGES);
    let filler =
        Filler { carrier: carrier.clone(), pages, reader: reader.clone(), writer, asked: 0 };
    let answering = async {
        while let Some((from, word)) = heard.recv().await {
            match Exchange::decode(&word) {
                Ok(Exchange::Ask { id, from: first, to }) => {
                    let catalog = reader.catalog();
                    let (start, records) = read_page(catalog, first, to).await;
                    let answer = Exchange::Page { id, start, records };
                    carrier.send(from, answer.encode().into());
                }
                // One that nobody waits for any more may be dropped.
                Ok(page @ Exchange::Page { .. }) => drop(pages_in.try_send((from, page))),
                Err(error) => {
                    tracing::warn!(%from, %error, "audit trail: unreadable word from a peer");
                }
            }
        }
    };
    tokio::select! {
        () = answering => {}
        () = filler.fill_for_ever() => {}
    }
}

#[cfg(not(feature = "simulated"))]
async fn read_page(catalog: Arc<Catalog>, from: u64, to: u64) -> (AuditHead, Page) {
    tokio::task::spawn_blocking(move || exchange::page(&catalog, from, to))
        .await
        .unwrap_or_default()
}

/// A simulated disk belongs to the thread of its simulation.
#[cfg(feature = "simulated")]
async fn read_page(catalog: Arc<Catalog>, from: u64, to: u64) -> (AuditHead, Page) {
    exchange::page(&catalog, from, to)
}

/// The count first: a peer may claim any.
fn leads(start: AuditHead, page: &Page, to: &AuditHead) -> bool {
    start.count.checked_add(page.len() as u64) == Some(to.count)
        && page.iter().fold(start, |head, (_, record)| head.after(record)) == *to
}

struct Filler<C> {
    carrier: C,
    pages: mpsc::Receiver<(NodeId, Exchange)>,
    reader: AuditReader,
    writer: AuditSync,
    /// Number of the last question.
    asked: u64,
}

impl<C: Carrier> Filler<C> {
    async fn fill_for_ever(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            let catalog = self.reader.catalog();
            let gaps = if catalog.stopped.is_none() { catalog.own_gaps() } else { Vec::new() };
            if gaps.is_empty() {
                pause = RETRY_MIN;
                if !self.reader.changed().await {
                    return;
                }
            } else if self.fill_some(&gaps).await {
                pause = RETRY_MIN;
            } else {
                sleep(pause).await;
                pause = RETRY_MAX.min(pause * 2);
            }
        }
    }

    /// True if anything was written.
    async fn fill_some(&mut self, gaps: &[Gap]) -> bool {
        for gap in gaps.iter().rev() {
            for peer in self.carrier.peers() {
                let Some((start, page)) = self.collect(peer, gap).await else { continue };
                let (from, to) = (start.count + 1, start.count + page.len() as u64);
                match self.writer.fill(start, page).await {
                    Some(Ok(())) => {
                        tracing::info!(%peer, from, to, "audit trail: filled from a peer");
                        return true;
                    }
                    Some(Err(error)) => {
                        tracing::error!(%peer, %error, "audit trail: cannot fill a gap");
                    }
                    None => return false,
                }
            }
        }
        false
    }

    /// Proven records of one peer that end where the gap ends, and the head before them.
    async fn collect(&mut self, peer: NodeId, gap: &Gap) -> Option<(AuditHead, Page)> {
        let mut pieces: VecDeque<Page> = VecDeque::new();
        let mut bytes = 0;
        let mut known = AuditHead { count: gap.to, hash: gap.hash };
        while known.count >= gap.from && bytes < PIECE_BYTES {
            let Some((start, page)) = self.ask(peer, gap.from, known.count).await else { break };
            if page.is_empty() {
                break;
            }
            if !leads(start, &page, &known) || start.count + 1 < gap.from {
                tracing::warn!(%peer, number = known.count,
                    "audit trail: a peer sent records that do not lead to the known head");
                return None;
            }
            bytes += page.iter().map(|(_, record)| record.len()).sum::<usize>();
            pieces.push_front(page);
            known = start;
        }
        (!pieces.is_empty()).then(|| (known, pieces.into_iter().flatten().collect()))
    }

    async fn ask(&mut self, peer: NodeId, from: u64, to: u64) -> Option<(AuditHead, Page)> {
        self.asked += 1;
        let asked = self.asked;
        self.carrier.send(peer, Exchange::Ask { id: asked, from, to }.encode().into());
        let answer = async {
            loop {
                match self.pages.recv().await? {
                    (from, Exchange::Page { id, start, records })
                        if from == peer && id == asked =>
                    {
                        return Some((start, records));
                    }
                    _ => {}
                }
            }
        };
        timeout(ANSWER_LIMIT, answer).await.ok().flatten()
    }
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "filler_test.rs"]
mod tests;

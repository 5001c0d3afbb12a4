#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! Every way of changing a trail that leaves the rest of the chain as it is, and those that do not.

use dsync_core::audit::{Event, encode};
use tempfile::TempDir;

use super::*;
use crate::audit::fixture::{Chain, event};
use crate::audit::frame;
use crate::audit::segment;
use crate::audit::trail::{Trail, TrailOptions};

const COUNT: u64 = 14;

/// A trail of a deleted, two sealed and an unfinished segment; the head is known elsewhere.
struct Bench {
    folder: TempDir,
    chain: Chain,
    oldest: u64,
}

impl Bench {
    fn new() -> Self {
        let (folder, chain) = (TempDir::new().unwrap(), Chain::of(COUNT));
        let options =
            TrailOptions { segment_bytes: 400, bytes_max: 1_000, age_max_ms: None, spare_bytes: 0 };
        let mut trail = Trail::open(folder.path(), options);
        for record in &chain.records {
            trail.append(std::slice::from_ref(record), record.number);
            trail.flush(0);
            trail.maintain(0);
        }
        trail.sync(0);
        let (segments, floor) = (trail.catalog().segments.clone(), trail.catalog().floor);
        assert!(segments.len() >= 2 && segments[0].sealed && floor.count > 0);
        assert!(!segments.last().unwrap().sealed);
        Self { folder, chain, oldest: floor.count + 1 }
    }

    fn witness(&self) -> Witness {
        Witness { said_by: "the cluster".into(), head: self.chain.head }
    }

    fn verify(&self) -> Verdict {
        verify_folder(self.folder.path(), &[self.witness()]).unwrap()
    }

    /// The file with a record, and the numbers in it.
    fn file_of(&self, number: u64) -> (std::path::PathBuf, u64, u64) {
        let first = (self.oldest..=number).rev().find(|first| self.path(*first).exists()).unwrap();
        let next = (first + 1..=COUNT).find(|next| self.path(*next).exists());
        (self.path(first), first, next.map_or(COUNT, |next| next - 1))
    }

    fn path(&self, first: u64) -> std::path::PathBuf {
        segment::path(self.folder.path(), first)
    }

    /// Replaces the records of one file by others, as somebody would who knows the format: links and
    /// checksums are right for what each record says it is. The file's own ends stay.
    fn rewrite(&self, number: u64, change: impl FnOnce(&mut Vec<Vec<u8>>, usize)) {
        let (path, first, last) = self.file_of(number);
        let old = std::fs::read(&path).unwrap();
        let mut records: Vec<_> = self.chain.slice(first, last).iter().map(encode).collect();
        change(&mut records, usize::try_from(number - first).unwrap());
        let mut bytes = old[..frame::HEADER_BYTES].to_vec();
        let mut head = self.chain.head_at(first - 1);
        for record in &records {
            head = head.after(record);
            frame::push_record(&mut bytes, 5, &head.hash, record);
        }
        let tail = &old[old.len().saturating_sub(frame::SEAL_BYTES)..];
        if frame::read_seal(tail).is_some() {
            bytes.extend_from_slice(tail);
        }
        std::fs::write(&path, bytes).unwrap();
    }

    fn altered(&self, number: u64) -> Vec<u8> {
        let mut record = self.chain.slice(number, number)[0].clone();
        let Event::Lock(event) = &mut record.event else { panic!("it is about a lock") };
        event.owner.name = "nobody".into();
        encode(&record)
    }
}

fn found(verdict: &Verdict) -> bool {
    !verdict.findings.is_empty() || !verdict.missing.is_empty()
}

#[test]
fn a_trail_that_nobody_touched_is_whole() {
    let bench = Bench::new();
    let verdict = bench.verify();
    assert!(!found(&verdict), "{verdict:?}");
    assert_eq!((verdict.oldest, verdict.last), (bench.oldest, COUNT));
    assert_eq!(verdict.records, COUNT + 1 - bench.oldest);
    assert_eq!(verdict.hash, line::hex(&bench.chain.head.hash));
}

#[test]
fn a_flip_of_any_byte_of_any_file_is_found() {
    let bench = Bench::new();
    let mut flips = 0;
    for name in fs::list(bench.folder.path()).unwrap() {
        let path = bench.folder.path().join(&name);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            assert!(found(&bench.verify()), "{name}, byte {at}");
            flips += 1;
        }
        std::fs::write(&path, good).unwrap();
    }
    assert!(flips > 700 && !found(&bench.verify()), "{flips}");
}

#[test]
fn a_file_that_ends_anywhere_else_is_found() {
    let bench = Bench::new();
    let records = bench.verify().records;
    for name in fs::list(bench.folder.path()).unwrap() {
        let path = bench.folder.path().join(&name);
        let good = std::fs::read(&path).unwrap();
        for len in 0..good.len() {
            std::fs::write(&path, &good[..len]).unwrap();
            let verdict = bench.verify();
            // Without its seal a file has lost no record.
            let only_seal = len + frame::SEAL_BYTES == good.len() && verdict.records == records;
            assert!(found(&verdict) || only_seal, "{name} cut to {len}");
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(found(&bench.verify()), "{name} with a tail");
        std::fs::remove_file(&path).unwrap();
        assert!(found(&bench.verify()), "{name} removed");
        std::fs::write(&path, good).unwrap();
    }
    assert!(!found(&bench.verify()));
}

/// Whoever knows the format can make each record look right by itself. The chain says where not.
#[test]
fn each_record_altered_removed_swapped_doubled_or_forged_is_found_and_named() {
    type Change = fn(&Bench, u64, &mut Vec<Vec<u8>>, usize);
    let changes: [(&str, Change); 5] = [
        ("altered", |bench, number, records, at| records[at] = bench.altered(number)),
        ("removed", |_, _, records, at| drop(records.remove(at))),
        ("swapped", |_, _, records, at| {
            let other = if at + 1 < records.len() { at + 1 } else { at - 1 };
            records.swap(at, other);
        }),
        ("doubled", |_, _, records, at| records.insert(at, records[at].clone())),
        ("forged", |_, number, records, at| {
            let (index, stamp) = (dsync_core::types::Index(1), dsync_core::types::ClusterTime(1));
            let record = dsync_core::audit::AuditRecord {
                number: number + 1,
                index,
                stamp,
                event: event(99),
            };
            records.insert(at + 1, encode(&record));
        }),
    ];
    for (what, change) in changes {
        let bench = Bench::new();
        // One more behind the last is what a trail that has gone on looks like: a newer head is needed.
        let until = if what == "forged" { COUNT - 1 } else { COUNT };
        for number in bench.oldest..=until {
            let (path, first, last) = bench.file_of(number);
            let good = std::fs::read(&path).unwrap();
            bench.rewrite(number, |records, at| change(&bench, number, records, at));
            let verdict = bench.verify();
            assert!(found(&verdict), "{what} {number}");
            let named = verdict.findings.iter().map(|finding| finding.number);
            let named = named.chain(verdict.missing.iter().map(|(from, _)| *from)).min().unwrap();
            // An altered record whose followers were linked anew shows where its file ends.
            let expected = match what {
                "altered" => last..=last,
                _ => {
                    number.saturating_sub(1).max(first)
                        ..=number + if what == "forged" { 2 } else { 1 }
                }
            };
            assert!(expected.contains(&named), "{what} {number}: {verdict:?}");
            std::fs::write(&path, good).unwrap();
        }
    }
}

/// Nobody but the owner of the format's code would do that, but: only its bytes are altered.
#[test]
fn a_record_altered_in_place_with_a_new_checksum_is_named_exactly() {
    let bench = Bench::new();
    for number in bench.oldest..=COUNT {
        let (path, first, last) = bench.file_of(number);
        let good = std::fs::read(&path).unwrap();
        let mut bytes = good[..frame::HEADER_BYTES].to_vec();
        for at in first..=last {
            let hash = bench.chain.head_at(at).hash;
            let record = if at == number {
                bench.altered(at)
            } else {
                encode(&bench.chain.slice(at, at)[0])
            };
            frame::push_record(&mut bytes, 5, &hash, &record);
        }
        std::fs::write(&path, bytes).unwrap();
        let verdict = bench.verify();
        assert_eq!(verdict.findings.first().map(|it| it.number), Some(number), "{verdict:?}");
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_chain_rebuilt_to_its_end_or_cut_clean_is_found_by_a_head_from_elsewhere_only() {
    let rebuilt = Bench::new();
    let (path, _, last) = rebuilt.file_of(COUNT);
    assert_eq!(last, COUNT);
    rebuilt.rewrite(COUNT, |records, at| records[at] = rebuilt.altered(COUNT));
    let alone = verify_folder(rebuilt.folder.path(), &[]).unwrap();
    assert!(!found(&alone));
    assert_eq!(rebuilt.verify().findings[0].number, COUNT);
    rebuilt.rewrite(COUNT, |records, at| drop(records.remove(at)));
    assert!(path.exists() && !found(&verify_folder(rebuilt.folder.path(), &[]).unwrap()));
    assert_eq!(rebuilt.verify().missing, [(COUNT, COUNT)]);
}

#[test]
fn lines_from_a_server_are_held_against_the_chain() {
    use crate::audit::line::AuditLine;
    let chain = Chain::of(6);
    let lines: Vec<AuditLine> = chain
        .records
        .iter()
        .map(|record| AuditLine::new(record, 0, &chain.head_at(record.number).hash))
        .collect();
    let check = |lines: &[AuditLine]| {
        let witness = Witness { said_by: "w".into(), head: chain.head };
        let mut walk = Walk::begin(AuditHead::default(), std::slice::from_ref(&witness));
        lines.iter().for_each(|line| walk.line(line));
        walk.end(&[witness])
    };
    assert!(!found(&check(&lines)));
    for at in 0..lines.len() {
        let number = at as u64 + 1;
        let first = |verdict: &Verdict| verdict.findings.first().map(|it| it.number);
        let mut altered = lines.clone();
        altered[at].detail.push('x');
        assert_eq!(first(&check(&altered)), Some(number));
        let mut removed = lines.clone();
        removed.remove(at);
        let verdict = check(&removed);
        let missing = verdict.missing.first().map(|(from, _)| *from);
        assert_eq!(first(&verdict).or(missing), Some(number), "{verdict:?}");
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            assert_eq!(first(&check(&swapped)), Some(number));
        }
    }
}

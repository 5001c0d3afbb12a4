//! Servers, asked for their records and heads.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use dsync_core::audit::AuditHead;
use http::StatusCode;
use serde_json::Value;

use super::print::Check;
use super::{ListArgs, Servers};
use crate::audit::answer::{AuditAnswer, GapLine};
use crate::audit::verify::{Verdict, Walk, Witness};
use crate::cli::{http_get, told};

/// Records of one question.
const PAGE: usize = 1_000;

/// A server's head, or why there is none.
pub(super) type Heads = Vec<(String, anyhow::Result<AuditHead>)>;

/// The records asked for, from the first server that answers.
pub(super) async fn list(args: &ListArgs) -> anyhow::Result<AuditAnswer> {
    let mut failures = Vec::new();
    for url in args.servers.urls() {
        match list_from(args, &url).await {
            Ok(answer) => return Ok(answer),
            Err(error) => failures.push(format!("{url}: {}", told(&error))),
        }
    }
    bail!("no server answered: {}", failures.join("; "))
}

async fn list_from(args: &ListArgs, url: &str) -> anyhow::Result<AuditAnswer> {
    let mut filter = String::new();
    let texts = [("lock", args.lock.clone()), ("owner", args.owner.clone())];
    let times =
        [("from", args.from), ("to", args.to)].map(|(n, ms)| (n, ms.map(|ms| ms.to_string())));
    for (name, value) in texts.into_iter().chain(times) {
        if let Some(value) = value {
            let _ = write!(filter, "&{name}={}", escape(&value));
        }
    }
    let page = |after, left: usize| format!("after={after}&limit={}{filter}", left.min(PAGE));
    let mut answer = ask(url, &page(args.after, args.limit), args.servers.timeout).await?;
    while answer.records.len() < args.limit
        && let Some(after) = answer.next
    {
        let left = args.limit - answer.records.len();
        let more = ask(url, &page(after, left), args.servers.timeout).await?;
        let records = answer.records.into_iter().chain(more.records.clone()).collect();
        answer = AuditAnswer { records, ..more };
    }
    Ok(answer)
}

/// Every server's head, by a linearizable read.
pub(super) async fn heads(servers: &Servers) -> Heads {
    let mut heads = Vec::new();
    for url in servers.urls() {
        let answer = ask(&url, "limit=1", servers.timeout).await;
        let head = answer.and_then(|it| it.head.head().context("the head cannot be read"));
        heads.push((url, head));
    }
    heads
}

/// No two servers have different hashes for one record. (Servers asked one after the other may have
/// come differently far.)
pub(super) fn agree(heads: &Heads) -> bool {
    let mut known = BTreeMap::new();
    heads.iter().all(|(_, head)| match head {
        Ok(head) => *known.entry(head.count).or_insert(head.hash) == head.hash,
        Err(_) => false,
    })
}

/// Checks every server's records, and every server's head against all of them.
pub(super) async fn verify(servers: &Servers, noted: Vec<Witness>) -> Vec<Check> {
    let heads = heads(servers).await;
    let said = heads.iter().filter_map(|(url, head)| {
        let head = *head.as_ref().ok()?;
        Some(Witness { said_by: url.clone(), head })
    });
    let witnesses: Vec<Witness> = noted.into_iter().chain(said).collect();
    let mut checks = Vec::new();
    for (url, head) in heads {
        let result = match head {
            Ok(_) => walk(&url, &witnesses, servers.timeout).await,
            Err(error) => Err(error),
        };
        let notes = vec![format!("held against {} heads", witnesses.len())];
        checks.push(Check { of: url, notes, result: result.map_err(|error| told(&error)) });
    }
    checks
}

/// Goes through all records of a server, up to the head that its first answer gives: that one is
/// linearizable, so no head that was read before lies behind it.
async fn walk(url: &str, witnesses: &[Witness], timeout: Duration) -> anyhow::Result<Verdict> {
    let page = |after| format!("after={after}&limit={PAGE}");
    let mut answer = ask(url, &page(0), timeout).await?;
    let head = answer.head.head().context("the head cannot be read")?;
    let oldest = answer.oldest.head().context("the oldest head cannot be read")?;
    let own = Witness { said_by: format!("{url} (now)"), head };
    let witnesses: Vec<Witness> = witnesses.iter().cloned().chain([own]).collect();
    let mut walk = Walk::begin(oldest, &witnesses);
    loop {
        for line in answer.records.iter().take_while(|line| line.number <= head.count) {
            skip(&mut walk, &answer, line.number)?;
            walk.line(line);
        }
        match answer.next.filter(|after| *after < head.count) {
            Some(after) => answer = ask(url, &page(after), timeout).await?,
            None => break,
        }
    }
    skip(&mut walk, &answer, head.count + 1)?;
    Ok(walk.end(&witnesses))
}

/// Goes over what the server says it does not have, before record `number`.
fn skip(walk: &mut Walk, answer: &AuditAnswer, number: u64) -> anyhow::Result<()> {
    let floor = answer.oldest.head().context("the oldest head cannot be read")?;
    if walk.last() < floor.count && floor.count < number {
        walk.forget(floor);
    }
    for gap in answer.gaps.iter().filter(|gap| gap.to < number) {
        if gap.from <= walk.last() + 1 && gap.to > walk.last() {
            // Records that were lost may be allowed; records that were altered never are.
            if gap.cause != GapLine::MISSING {
                walk.found(gap.from, &gap.cause);
            }
            walk.skip(gap.end().context("a gap's hash cannot be read")?);
        }
    }
    Ok(())
}

async fn ask(url: &str, query: &str, timeout: Duration) -> anyhow::Result<AuditAnswer> {
    let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let path = format!("/v1/audit?{query}");
    let (status, body) = http_get::get(authority, &path, timeout).await?;
    if status != StatusCode::OK {
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        bail!("{status}: {}", problem["detail"].as_str().unwrap_or("no reason given"));
    }
    serde_json::from_slice(&body).context("the answer is not one of /v1/audit")
}

/// As a value in a query.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_value_in_a_query() {
        assert_eq!(escape("a-b.c_d~9"), "a-b.c_d~9");
        assert_eq!(escape("a/b &ü=+"), "a%2Fb%20%26%C3%BC%3D%2B");
    }

    #[test]
    fn heads_of_one_number_must_be_one_head() {
        let head = |count, byte| Ok(AuditHead { count, hash: [byte; 32] });
        let heads = |all: Vec<anyhow::Result<AuditHead>>| {
            all.into_iter().map(|head| ("url".to_owned(), head)).collect::<Heads>()
        };
        assert!(agree(&heads(vec![head(1, 7), head(2, 8), head(1, 7)])));
        assert!(!agree(&heads(vec![head(1, 7), head(2, 8), head(1, 9)])));
        assert!(!agree(&heads(vec![head(1, 7), Err(anyhow::anyhow!("silent"))])));
    }
}

//! `dsync queue push`: bodies from arguments, files and standard input.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use dsync_client::queues::{Message, PushReply, Pushed};
use serde_json::{Value, json};

use super::{CommonArgs, some_failed, tables};
use crate::cli::output;
use crate::config::parse_duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync queue push mails '{\"to\":\"ann\"}'
  dsync queue push mails --text 'hello' --delay 5m
  dsync queue push images --bytes --file cat.png --header type=image/png
  jq -c '.[]' orders.json | dsync queue push orders --lines
  dsync queue push invoices '17' --dedupe-key invoice-17     once, however often this runs";

/// Messages of one request.
const MESSAGES_MAX: usize = 1_000;
/// Bytes of bodies of one request: as base64, and with all that stands beside them, they fit into it.
const BYTES_MAX: usize = 4 << 20;

/// `dsync queue push`.
#[derive(Args, Debug)]
pub(super) struct PushArgs {
    /// The topic. The first push makes it.
    topic: String,
    /// The bodies, each a message. Without any, and without --file: what stands on standard input.
    #[arg(value_name = "BODY")]
    bodies: Vec<String>,
    /// A file whose content is a message; may be given several times. "-": standard input.
    #[arg(long, short, value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Every line of what is read is a message; empty ones are none.
    #[arg(long)]
    lines: bool,
    /// A body is text, and becomes a JSON string.
    #[arg(long, conflicts_with = "bytes")]
    text: bool,
    /// A body is bytes. Otherwise it is JSON, and arrives as it is written.
    #[arg(long)]
    bytes: bool,
    /// A word beside the body, NAME=VALUE; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Not delivered before.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// Not wanted after; 0: for ever. Without: the topic's.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// 0 to 9; a higher one is delivered first.
    #[arg(long, value_name = "NUMBER", default_value_t = 0,
          value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: u8,
    /// Messages of one group are worked on one after the other.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// A push with the same key within the topic's window (5m) makes no second message. For one message.
    #[arg(long, value_name = "KEY")]
    dedupe_key: Option<String>,
    /// Names this call: the same one again within 5m, and be it from another machine, pushes nothing twice.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Pushes.
pub(super) async fn run(args: PushArgs) -> anyhow::Result<ExitCode> {
    let messages = messages(&args)?;
    ensure!(!messages.is_empty(), "there is nothing to push");
    ensure!(
        args.dedupe_key.is_none() || messages.len() == 1,
        "--dedupe-key names one message, and there are {}",
        messages.len()
    );
    let queue = args.common.queue(&args.topic)?;
    let batches = batches(messages);
    let several = batches.len() > 1;
    let mut replies = Vec::new();
    for (number, messages) in (1..).zip(batches) {
        let mut batch = queue.batch(messages);
        if let Some(key) = &args.idempotency_key {
            batch = batch.key(if several { format!("{key}-{number}") } else { key.clone() });
        }
        match batch.push().await {
            Ok(reply) => replies.push(reply),
            // What was pushed before is there, and whoever called has to know it.
            Err(error) => {
                print(&args, &replies)?;
                return Err(error.into());
            }
        }
    }
    print(&args, &replies)?;
    Ok(some_failed(&failed(&replies)))
}

fn print(args: &PushArgs, replies: &[PushReply]) -> anyhow::Result<()> {
    let pushed: Vec<&Pushed> =
        replies.iter().flat_map(|reply| &reply.results).filter_map(|it| it.as_ref().ok()).collect();
    let names = || pushed.iter().map(|pushed| pushed.id.clone()).collect();
    output::print(args.common.output, &document(replies), || tables::pushed(&pushed), names)
}

fn document(replies: &[PushReply]) -> Value {
    let results = replies.iter().flat_map(|reply| &reply.results).map(|result| match result {
        Ok(pushed) => json!(pushed),
        Err(error) => json!({ "error": error }),
    });
    let durability = replies.iter().find_map(|reply| reply.durability.clone());
    json!({ "results": results.collect::<Vec<_>>(), "durability": durability })
}

fn failed(replies: &[PushReply]) -> Vec<String> {
    let results = (1..).zip(replies.iter().flat_map(|reply| &reply.results));
    let errors = results.filter_map(|(number, it)| Some((number, it.as_ref().err()?)));
    errors.map(|(number, error): (u64, _)| format!("message {number}: {error}")).collect()
}

fn messages(args: &PushArgs) -> anyhow::Result<Vec<Message>> {
    let mut bodies: Vec<(String, Vec<u8>)> = Vec::new();
    for (number, body) in (1..).zip(&args.bodies) {
        bodies.push((format!("body {number}"), body.clone().into_bytes()));
    }
    for path in &args.file {
        bodies.extend(split(&path.display().to_string(), read(path)?, args.lines));
    }
    if args.bodies.is_empty() && args.file.is_empty() {
        bodies.extend(split("standard input", read(&PathBuf::from("-"))?, args.lines));
    }
    bodies.into_iter().map(|(from, body)| message(args, &from, body)).collect()
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut content).context("cannot read standard input")?;
        return Ok(content);
    }
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The messages of a file, and where each stands.
fn split(from: &str, content: Vec<u8>, lines: bool) -> Vec<(String, Vec<u8>)> {
    if !lines {
        return vec![(from.to_owned(), content)];
    }
    let lines = (1..).zip(content.split(|byte| *byte == b'\n'));
    let lines = lines.map(|(number, line): (u64, _)| {
        (format!("{from}, line {number}"), line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    });
    lines.filter(|(_, line)| !line.is_empty()).collect()
}

fn message(args: &PushArgs, from: &str, body: Vec<u8>) -> anyhow::Result<Message> {
    let text = |body| String::from_utf8(body).with_context(|| format!("{from} is no UTF-8"));
    let mut message = match (args.bytes, args.text) {
        (true, _) => Message::bytes(body),
        (false, true) => Message::json(&text(body)?)?,
        (false, false) => Message::json_text(text(body)?.trim())
            .with_context(|| format!("{from} is no JSON (--text: it is text; --bytes: bytes)"))?,
    };
    for (name, value) in &args.headers {
        message = message.header(name, value);
    }
    if let Some(delay) = args.delay {
        message = message.delay(delay);
    }
    if let Some(ttl) = args.ttl {
        message = message.ttl(ttl);
    }
    if let Some(group) = &args.group {
        message = message.group(group);
    }
    if let Some(key) = &args.dedupe_key {
        message = message.dedupe_key(key);
    }
    Ok(message.priority(args.priority))
}

/// As many messages together as fit into a request.
fn batches(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut batches: Vec<Vec<Message>> = Vec::new();
    let mut bytes = BYTES_MAX;
    for message in messages {
        let size = message.body().as_bytes().len();
        let fits = batches.last().is_some_and(|it| it.len() < MESSAGES_MAX);
        match batches.last_mut().filter(|_| fits && bytes + size <= BYTES_MAX) {
            Some(batch) => batch.push(message),
            None => {
                bytes = 0;
                batches.push(vec![message]);
            }
        }
        bytes += size;
    }
    batches
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_as_many_messages_as_a_request_may() {
        let small = vec![Message::bytes("x"); 2_001];
        assert_eq!(batches(small).iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 1]);
        let large = vec![Message::bytes(vec![0; BYTES_MAX / 2]); 5];
        assert_eq!(batches(large).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(batches(vec![Message::bytes(vec![0; BYTES_MAX + 1])]).len(), 1);
    }

    #[test]
    fn every_line_is_a_message_that_says_where_it_stood() {
        let lines = split("in", b"1\r\n\n2\n".to_vec(), true);
        let expected = [("in, line 1", "1"), ("in, line 3", "2")];
        assert_eq!(lines, expected.map(|(from, it)| (from.to_owned(), it.as_bytes().to_vec())));
    }
}

//! `dsync queue stats`, `list`, `peek`, `get`: what there is. None of them changes anything.

use clap::{Args, ValueEnum};
use dsync_client::queues::{ListMessages, StateKind, StoredMessage};
use serde_json::json;

use super::{CommonArgs, PartArgs, tables};
use crate::cli::lock::exit::say;
use crate::cli::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync queue list --prefix ma            the topics
  dsync queue list mails --state delayed  messages of one
  dsync queue list mails --dead -o json";

/// Messages that are asked for at once.
const PAGE: u32 = 1_000;

/// `dsync queue stats`.
#[derive(Args, Debug)]
pub(super) struct StatsArgs {
    /// The topic.
    topic: String,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// The topic whose messages are listed. Without: the topics are.
    topic: Option<String>,
    /// Only topics whose names begin so.
    #[arg(long, default_value = "", conflicts_with = "topic")]
    prefix: String,
    /// Only messages that do this.
    #[arg(long, requires = "topic")]
    state: Option<State>,
    #[command(flatten)]
    part: PartArgs,
    /// Most messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue peek`.
#[derive(Args, Debug)]
pub(super) struct PeekArgs {
    /// The topic.
    topic: String,
    /// Most messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue get`.
#[derive(Args, Debug)]
pub(super) struct GetArgs {
    /// The topic.
    topic: String,
    /// The message.
    id: String,
    #[command(flatten)]
    common: CommonArgs,
}

/// What a message is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// It can be delivered, or waits for others of its group.
    Ready,
    /// It will be ready.
    Delayed,
    /// Somebody works on it.
    InFlight,
}

/// One topic.
pub(super) async fn stats(args: &StatsArgs) -> anyhow::Result<()> {
    let topic = args.common.queue(&args.topic)?.stats().await?;
    let names = || vec![topic.topic.clone()];
    output::print(args.common.output, &topic, || tables::topic(&topic), names)
}

/// Topics, or messages.
pub(super) async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let Some(topic) = &args.topic else { return topics(args).await };
    let queue = args.common.queue(topic)?;
    let mut which = ListMessages {
        sub_queue: Some(args.part.sub_queue()),
        state: args.state.map(State::kind),
        ..ListMessages::default()
    };
    let mut messages = Vec::new();
    let more = loop {
        let left = u32::try_from(args.limit - messages.len()).unwrap_or(PAGE);
        if left == 0 {
            break true;
        }
        which.limit = Some(left.min(PAGE));
        let page = queue.list(&which).await?;
        messages.extend(page.messages);
        which.next = page.next;
        if which.next.is_none() {
            break false;
        }
    };
    print(&args.common, &messages)?;
    if more {
        say(&format!("there are more than --limit {}", args.limit));
    }
    Ok(())
}

async fn topics(args: &ListArgs) -> anyhow::Result<()> {
    let topics = args.common.servers.client()?.topics_all(&args.prefix).await?;
    let names = || topics.iter().map(|topic| topic.topic.clone()).collect();
    let document = json!({ "topics": topics });
    output::print(args.common.output, &document, || tables::topics(&topics), names)
}

/// What comes next.
pub(super) async fn peek(args: &PeekArgs) -> anyhow::Result<()> {
    let queue = args.common.queue(&args.topic)?;
    let page = queue.peek(args.part.sub_queue(), args.limit).await?;
    print(&args.common, &page.messages)
}

/// One message.
pub(super) async fn get(args: &GetArgs) -> anyhow::Result<()> {
    let message = args.common.queue(&args.topic)?.get(&args.id).await?;
    let table = || tables::messages(std::slice::from_ref(&message));
    output::print(args.common.output, &message, table, || vec![message.id.clone()])
}

fn print(common: &CommonArgs, messages: &[StoredMessage]) -> anyhow::Result<()> {
    let names = || messages.iter().map(|message| message.id.clone()).collect();
    let document = tables::Messages { messages };
    output::print(common.output, &document, || tables::messages(messages), names)
}

impl State {
    fn kind(self) -> StateKind {
        match self {
            Self::Ready => StateKind::Ready,
            Self::Delayed => StateKind::Delayed,
            Self::InFlight => StateKind::InFlight,
        }
    }
}

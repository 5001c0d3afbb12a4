//! `dsync queue`: pushes messages, works on them, looks at topics.
//!
//! Exit codes: 0 done, 1 failed (the message says why; of several items, some may be done), 2 called
//! wrongly; of `work`, those in `work/mod.rs`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dsync_client::queues::{Queue, SubQueue};

use super::output::Output;
use super::servers::ServerArgs;

mod bulk;
mod look;
mod push;
mod receive;
mod settings;
mod settle;
mod tables;
mod tail;
mod work;

/// `dsync queue`.
#[derive(Args, Debug)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Push messages to a topic.
    #[command(after_help = push::EXAMPLES)]
    Push(push::PushArgs),
    /// Receive messages; each is yours alone until its visibility is over, or you settle it.
    #[command(after_help = receive::EXAMPLES)]
    Receive(receive::ReceiveArgs),
    /// Acknowledge deliveries: the messages are done, and gone.
    Ack(settle::AckArgs),
    /// Give deliveries back: the messages are delivered again.
    Nack(settle::NackArgs),
    /// Keep deliveries for longer.
    Extend(settle::ExtendArgs),
    /// Reject deliveries: the messages are dead at once.
    Reject(settle::RejectArgs),
    /// Run a command for each message.
    #[command(after_help = work::EXAMPLES)]
    Work(work::WorkArgs),
    /// Show what stands in a topic, and what it has done.
    Stats(look::StatsArgs),
    /// List the topics, or the messages of one in the order of their pushes.
    #[command(visible_alias = "ls", after_help = look::EXAMPLES)]
    List(look::ListArgs),
    /// Show what a receive would deliver next. Changes nothing.
    Peek(look::PeekArgs),
    /// Show one message, whatever it is doing.
    Get(look::GetArgs),
    /// Print messages as they are pushed. Changes nothing.
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::TailArgs),
    /// Show a topic's settings, or change those that are named.
    #[command(after_help = settings::EXAMPLES)]
    Settings(settings::SettingsArgs),
    /// Move dead messages back to be worked on: all of them, or these.
    Redrive(bulk::RedriveArgs),
    /// Take all messages out of a topic, also those that somebody works on.
    Purge(bulk::PurgeArgs),
    /// Take out one message, or delete a topic that is empty.
    Delete(bulk::DeleteArgs),
}

/// What all of them know.
#[derive(Args, Debug)]
struct CommonArgs {
    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    #[command(flatten)]
    servers: ServerArgs,
}

/// Which part of a topic.
#[derive(Args, Clone, Copy, Debug)]
struct PartArgs {
    /// The dead messages instead of those that are to be worked on.
    #[arg(long)]
    dead: bool,
}

impl CommonArgs {
    fn queue(&self, topic: &str) -> Result<Queue, dsync_client::Error> {
        Ok(self.servers.client()?.queue(topic))
    }
}

impl PartArgs {
    fn sub_queue(self) -> SubQueue {
        if self.dead { SubQueue::Dead } else { SubQueue::Main }
    }
}

/// Runs it.
pub(super) fn run(args: QueueArgs) -> anyhow::Result<ExitCode> {
    if let QueueCommand::Work(args) = args.command {
        return work::run(args);
    }
    super::runtime(None)?.block_on(async {
        match args.command {
            QueueCommand::Push(args) => push::run(args).await,
            QueueCommand::Receive(args) => receive::run(&args).await,
            QueueCommand::Ack(args) => args.run().await,
            QueueCommand::Nack(args) => args.run().await,
            QueueCommand::Extend(args) => args.run().await,
            QueueCommand::Reject(args) => args.run().await,
            QueueCommand::Stats(args) => done(look::stats(&args).await),
            QueueCommand::List(args) => done(look::list(&args).await),
            QueueCommand::Peek(args) => done(look::peek(&args).await),
            QueueCommand::Get(args) => done(look::get(&args).await),
            QueueCommand::Tail(args) => done(tail::run(&args).await),
            QueueCommand::Settings(args) => done(settings::run(&args).await),
            QueueCommand::Redrive(args) => bulk::redrive(&args).await,
            QueueCommand::Purge(args) => done(bulk::purge(&args).await),
            QueueCommand::Delete(args) => done(bulk::delete(&args).await),
            // Taken out above: it needs a runtime of its own.
            QueueCommand::Work(args) => work::run(args),
        }
    })
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

/// The exit code of a batch: what failed is said, an item a line.
fn some_failed(failed: &[String]) -> ExitCode {
    for item in failed {
        super::lock::exit::say(item);
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

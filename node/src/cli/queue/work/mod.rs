//! `dsync queue work`: a command for each message.
//!
//! # Idea
//!
//! The worker of the client crate does what is hard: it takes as many messages as there are jobs free,
//! extends them while their commands run, and never acknowledges late. Here a job is a process, in a
//! group of its own, with the body on its standard input.
//!
//! | what happens | what follows |
//! |---|---|
//! | the command ends with 0 | ack |
//! | it ends otherwise | nack, with the exit code or the signal as the reason |
//! | the delivery is lost | TERM to its group, KILL after the grace; nothing is settled |
//! | INT, TERM, HUP, QUIT | nothing more is taken; the signal goes to every group; what ends with 0 is acknowledged, all else is given back at once, without a delay; KILL after the grace |
//! | such a signal again | KILL at once |
//! | this process is killed | the kernel kills the commands (Linux); their messages come back when their visibility is over |
//!
//! # Caveats
//!
//! A process that a command leaves behind is not waited for, and does not die with this one. A process
//! that is stopped (SIGSTOP) extends nothing, while its commands run on. Delivered is at least once: a
//! command whose ack is not heard is run again.
//!
//! Exit codes: 0 stopped by a signal in good order, or `--until-empty` and nothing was left; 1 failed; 2
//! called wrongly; 126, 127 the command cannot be run, or there is none: nothing was taken.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dsync_client::queues::{Job, Worker, WorkerEvent};

use self::commands::Commands;
use super::super::lock::exit::say;
use super::super::lock::signals;
use super::super::servers::ServerArgs;
use super::PartArgs;
use crate::config::parse_duration;

mod commands;
mod environment;
mod find;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync queue work mails -- ./send-mail.sh
  dsync queue work images --jobs 4 -- sh -c 'convert - thumb/$DSYNC_MESSAGE_ID.png'
  dsync queue work nightly --until-empty -- ./job.sh
  dsync queue work mails --dead -- ./look-at-what-failed.sh

The body stands on the command's standard input. Its environment has DSYNC_TOPIC, DSYNC_MESSAGE_ID,
DSYNC_RECEIPT, DSYNC_DELIVERIES (1: the first one), DSYNC_HEADERS (a JSON object), and a DSYNC_HEADER_NAME
for each header, its name in capitals and with _ for what is neither letter nor digit.

The message is acknowledged when the command ends with 0, and delivered again after the topic's back-off
when it does not. It is extended while the command runs.

Exit code: 0 stopped by a signal, or nothing left; 1 failed; 126, 127 the command cannot be run.";

/// `dsync queue work`.
#[derive(Args, Debug)]
pub(super) struct WorkArgs {
    /// The topic. It need not be there yet.
    topic: String,
    /// How many commands at once.
    #[arg(long, short, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: u32,
    /// How long a message stays this worker's when the worker is lost; at least 1s. No limit for the
    /// command. Without: the topic's.
    #[arg(long, value_name = "DURATION", value_parser = parse_visibility)]
    visibility: Option<Duration>,
    /// How long a command has to end, when it is told to.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    grace: Duration,
    /// End when there is nothing to do, instead of waiting for more.
    #[arg(long)]
    until_empty: bool,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    servers: ServerArgs,
    /// The command, and what it is called with.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Works until it is told to stop.
pub(super) fn run(args: WorkArgs) -> anyhow::Result<ExitCode> {
    if let Err(missing) = find::command(&args.command) {
        say(&missing.to_string());
        return Ok(ExitCode::from(missing.code()));
    }
    // One thread: the kernel ends a command when the *thread* that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(args))
}

async fn work(args: WorkArgs) -> anyhow::Result<ExitCode> {
    let caught = signals::catch()?;
    let commands = Commands::new(args.command, args.topic.clone(), args.grace);
    tokio::spawn(commands.clone().pass_on(caught));
    let mut worker = Worker::new(&args.servers.client()?, args.topic)
        .jobs(args.jobs)
        .sub_queue(args.part.sub_queue())
        .stop_when(commands.stopped())
        .observe(tell);
    if let Some(visibility) = args.visibility {
        worker = worker.visibility(visibility);
    }
    if args.until_empty {
        worker = worker.until_empty();
    }
    let run = move |job: Job| {
        let commands = commands.clone();
        async move { commands.run(job).await }
    };
    worker.run(run).await?;
    Ok(ExitCode::SUCCESS)
}

/// What people are told. That all goes well needs no word.
fn tell(event: &WorkerEvent<'_>) {
    match event {
        WorkerEvent::Failed { id, reason, .. } => say(&format!("message {id}: {reason}")),
        WorkerEvent::Lost { id, loss } => {
            say(&format!("message {id}: {loss}; another worker may have it"));
        }
        WorkerEvent::Unsettled { id, error } => {
            say(&format!("message {id}: {error}; it may be delivered again"));
        }
        WorkerEvent::Unserved { error } => say(&format!("no messages yet, still trying: {error}")),
        _ => {}
    }
}

fn parse_visibility(text: &str) -> Result<Duration, String> {
    let visibility = parse_duration(text).map_err(|error| error.to_string())?;
    if visibility >= Duration::from_secs(1) {
        return Ok(visibility);
    }
    Err("at least 1s, or it is over before it can be extended".to_owned())
}

//! `dsync queue settings`: shows them, or changes those that are named.

use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use dsync_client::queues::{Backoff, Expired, Growth, SettingsChange};

use super::{CommonArgs, tables};
use crate::cli::output;
use crate::config::parse_duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync queue settings mails
  dsync queue settings mails --visibility 2m --deliveries-max 5
  dsync queue settings mails --nack-backoff exponential,1s,5m,10%
  dsync queue settings mails --paused true

A back-off is its growth (fixed, linear, exponential), the first pause, the longest one, and how much of
it chance may take off; or none.";

/// `dsync queue settings`.
#[derive(Args, Debug)]
pub(super) struct SettingsArgs {
    /// The topic. A change makes it, if it is not there.
    topic: String,
    /// How long a delivery is its receiver's alone, if the receiver does not say.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    visibility: Option<Duration>,
    /// A message that was delivered so often without an ack is dead; 0: never.
    #[arg(long, value_name = "NUMBER")]
    deliveries_max: Option<u32>,
    /// How long a message waits after a nack that does not say.
    #[arg(long, value_name = "BACKOFF", value_parser = parse_backoff)]
    nack_backoff: Option<Backoff>,
    /// How long it waits after a delivery that ended without a word.
    #[arg(long, value_name = "BACKOFF", value_parser = parse_backoff)]
    timeout_backoff: Option<Backoff>,
    /// Nothing is delivered; all else goes on.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    paused: Option<bool>,
    /// Most messages, whatever they are doing; 0: only the cluster's limit.
    #[arg(long, value_name = "NUMBER")]
    messages_max: Option<u64>,
    /// How long a message is wanted, if its push does not say; 0: for ever.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// What becomes of a message that nobody wants any more.
    #[arg(long, value_name = "WHAT")]
    expired: Option<WhenExpired>,
    /// How long a deduplication key is remembered.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    dedupe_window: Option<Duration>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhenExpired {
    /// It is gone.
    Drop,
    /// It is dead.
    Dead,
}

/// Shows, or changes and shows.
pub(super) async fn run(args: &SettingsArgs) -> anyhow::Result<()> {
    let queue = args.common.queue(&args.topic)?;
    let change = args.change();
    let reply = match change.is_empty() {
        true => queue.settings().await?,
        false => queue.configure(&change).await?,
    };
    let names = || vec![reply.topic.clone()];
    output::print(args.common.output, &reply, || tables::settings(&reply.settings), names)
}

impl SettingsArgs {
    fn change(&self) -> SettingsChange {
        let expired = self.expired.map(|expired| match expired {
            WhenExpired::Drop => Expired::Drop,
            WhenExpired::Dead => Expired::Dead,
        });
        let change = SettingsChange::new();
        let change = with(change, self.visibility, SettingsChange::visibility);
        let change = with(change, self.deliveries_max, SettingsChange::deliveries_max);
        let change = with(change, self.nack_backoff, SettingsChange::nack_backoff);
        let change = with(change, self.timeout_backoff, SettingsChange::timeout_backoff);
        let change = with(change, self.paused, SettingsChange::paused);
        let change = with(change, self.messages_max, SettingsChange::messages_max);
        let change = with(change, self.ttl, SettingsChange::ttl);
        let change = with(change, expired, SettingsChange::expired);
        with(change, self.dedupe_window, SettingsChange::dedupe_window)
    }
}

fn with<T>(
    change: SettingsChange,
    value: Option<T>,
    set: fn(SettingsChange, T) -> SettingsChange,
) -> SettingsChange {
    match value {
        Some(value) => set(change, value),
        None => change,
    }
}

fn parse_backoff(text: &str) -> Result<Backoff, String> {
    if text == "none" {
        return Ok(Backoff { growth: Growth::Fixed, base_ms: 0, max_ms: 0, jitter_percent: 0 });
    }
    let wanted = || "none, or like exponential,1s,1m,10%".to_owned();
    let parts: Vec<&str> = text.split(',').collect();
    let [growth, base, max, rest @ ..] = parts.as_slice() else { return Err(wanted()) };
    let growth = match *growth {
        "fixed" => Growth::Fixed,
        "linear" => Growth::Linear,
        "exponential" => Growth::Exponential,
        _ => return Err(wanted()),
    };
    let jitter_percent = match rest {
        [] => 0,
        [jitter] => {
            let percent = jitter.strip_suffix('%').and_then(|it| it.parse().ok());
            percent.filter(|percent| *percent <= 100).ok_or_else(wanted)?
        }
        _ => return Err(wanted()),
    };
    Ok(Backoff { growth, base_ms: length_ms(base)?, max_ms: length_ms(max)?, jitter_percent })
}

fn length_ms(text: &str) -> Result<u64, String> {
    let length = parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(length.as_millis()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_is_its_growth_its_first_and_its_longest_pause_and_a_jitter() {
        let exponential = Backoff {
            growth: Growth::Exponential,
            base_ms: 1_000,
            max_ms: 60_000,
            jitter_percent: 10,
        };
        assert_eq!(parse_backoff("exponential,1s,1m,10%"), Ok(exponential));
        assert_eq!(parse_backoff("fixed,500ms,500ms").map(|it| it.base_ms), Ok(500));
        assert_eq!(parse_backoff("none").map(|it| it.max_ms), Ok(0));
        for bad in [
            "",
            "fixed",
            "fixed,1s",
            "often,1s,2s",
            "fixed,1s,2s,101%",
            "fixed,1,2",
            "fixed,1s,2s,1%,",
        ] {
            assert!(parse_backoff(bad).is_err(), "{bad:?}");
        }
    }
}

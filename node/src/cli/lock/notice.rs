//! What `dsync lock` says while it waits: who has the lock, or that no node answers.
//!
//! A wait may take an hour, and silence looks like a hang. Nothing is said about one that is soon over.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use dsync_client::{Client, ClientSettings, Error};
use dsync_core::contract::LOCAL_CLIENT_PORTS;
use tokio::time::sleep;

use super::Wanted;
use super::exit::say;

/// Shorter waits are not worth a word.
const FIRST_AFTER: Duration = Duration::from_secs(2);
/// Between two looks. Only news is said.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// Owners that are named.
const NAMED_MAX: usize = 3;

/// Looks and says until it is dropped.
pub(super) async fn keep_saying(wanted: &Wanted) -> Infallible {
    let settings = ClientSettings { deadline: LOOK_MAX, ..ClientSettings::default() };
    let Ok(client) = Client::with_settings(&wanted.servers, settings) else {
        return pending().await;
    };
    let mut said = String::new();
    sleep(FIRST_AFTER).await;
    loop {
        let news = look(&client, wanted).await;
        if !news.is_empty() && news != said {
            say(&news);
            said = news;
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn look(client: &Client, wanted: &Wanted) -> String {
    let mut in_the_way = Vec::new();
    for name in &wanted.names {
        match client.get(name).await {
            Ok(lock) if lock.holders.is_empty() => {}
            Ok(lock) => {
                let owners = lock.holders.iter().take(NAMED_MAX).map(|it| it.owner.as_str());
                let more = if lock.holders.len() > NAMED_MAX { ", ..." } else { "" };
                let owners = owners.collect::<Vec<_>>().join(", ");
                in_the_way.push(format!("{name:?} is held by {owners}{more}"));
            }
            Err(error) => return trouble(&error, wanted),
        }
    }
    match in_the_way.is_empty() {
        true => String::new(),
        false => format!("waiting: {}", in_the_way.join("; ")),
    }
}

fn trouble(error: &Error, wanted: &Wanted) -> String {
    if !error.is_unavailable() {
        return String::new();
    }
    let local = LOCAL_CLIENT_PORTS.map(|port| format!("http://127.0.0.1:{port}"));
    let hint = match wanted.servers == local {
        true => " (`dsync local` starts a cluster here; --server or DSYNC_SERVERS name another)",
        false => "",
    };
    format!("no node serves yet, still trying{hint}: {error}")
}

//! What is done to many messages at once: purge and redrive. Each is a bounded step at the cluster; the
//! calls here repeat it until nothing is left to do.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::items::ItemError;
use super::{Queue, SubQueue};
use crate::error::Error;
use crate::nodes::{Call, Repeat};

/// What a purge has taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// How many messages.
    pub messages: u64,
}

/// What a redrive has moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// How many messages.
    pub messages: u64,
    /// The main part has no room for the rest.
    #[serde(default)]
    pub full: bool,
    /// With ids: what became of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<RedrivenMessage>>,
}

/// What became of one message of a redrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivenMessage {
    /// Which; an error may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// It is in the main part.
    #[serde(default)]
    pub moved: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

impl Queue {
    /// Takes out all messages of one part that were there when it began, also those in flight.
    ///
    /// # Errors
    /// `no_such_topic`; or no node serves it in time. What was taken out until then is gone.
    pub async fn purge(&self, sub_queue: SubQueue) -> Result<Purged, Error> {
        #[derive(Deserialize)]
        struct Said {
            messages: u64,
            #[serde(default)]
            more: bool,
        }
        let call =
            Call::post(&self.path(&["purge"]), json!({ "sub_queue": sub_queue }), Repeat::Always);
        let mut purged = Purged::default();
        loop {
            let said: Said = self.nodes.call(&call).await?.decode()?;
            purged.messages += said.messages;
            if !said.more {
                return Ok(purged);
            }
        }
    }

    /// Moves the dead messages that are ready back to the main part, as if they had just been pushed.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub async fn redrive(&self) -> Result<Redriven, Error> {
        #[derive(Deserialize)]
        struct Said {
            messages: u64,
            #[serde(default)]
            more: bool,
            #[serde(default)]
            full: bool,
        }
        let call = Call::post(&self.path(&["redrive"]), json!({}), Repeat::Always);
        let mut redriven = Redriven::default();
        loop {
            let said: Said = self.nodes.call(&call).await?.decode()?;
            redriven.messages += said.messages;
            redriven.full = said.full;
            if !said.more || said.full {
                return Ok(redriven);
            }
        }
    }

    /// Moves these dead messages, 1 to 1000, back to the main part.
    ///
    /// # Errors
    /// If none of them was moved, the reason of the first; or no node serves it in time.
    pub async fn redrive_messages(&self, ids: &[String]) -> Result<Redriven, Error> {
        let body = json!({ "messages": ids });
        let call = Call::post(&self.path(&["redrive"]), body, Repeat::Always);
        self.nodes.call(&call).await?.decode()
    }
}

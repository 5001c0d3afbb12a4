//! Forced release and the check of tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::nodes::{Call, Repeat};

/// Which holds of a lock to end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// Why; it goes into the audit trail.
    pub reason: String,
    /// This hold; `None`: all of the lock.
    pub hold: Option<String>,
    /// End it now. Otherwise it ends at its holder's next renewal, or with its lease.
    pub now: bool,
}

/// What a check says about a fencing token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCheck {
    /// The token is that of a holder of now.
    pub valid: bool,
}

impl Client {
    /// Takes a lock from its holders.
    ///
    /// # Errors
    /// If there is nothing to take, the reason is refused, or no node serves it in time.
    pub async fn force(&self, name: &str, force: &Force) -> Result<Value, Error> {
        let mut body = Map::new();
        body.insert("reason".to_owned(), json!(force.reason));
        body.insert("now".to_owned(), json!(force.now));
        if let Some(hold) = &force.hold {
            body.insert("hold".to_owned(), json!(hold));
        }
        let call = Call::post(&["v1", "locks", name, "force"], Value::Object(body), Repeat::Always)
            .numbered(self.nodes.ids.next());
        self.nodes.call(&call).await?.decode()
    }

    /// Whether a token is that of a holder of now. Good enough before a step that is harmless when
    /// repeated; what must not happen twice belongs under a guard, which remembers the highest token.
    ///
    /// # Errors
    /// If no node can confirm the read in time.
    pub async fn check_token(&self, name: &str, token: u64) -> Result<TokenCheck, Error> {
        let body = json!({ "token": token });
        let call = Call::post(&["v1", "locks", name, "check"], body, Repeat::Always);
        self.nodes.call(&call).await?.decode()
    }
}

//! Batches: a result for each item.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::nodes::Answer;

/// Why one item of a batch was not taken. The others may have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    /// The stable word: `stale_receipt`, `limit_reached`, ...
    pub code: String,
    /// The HTTP status that a request for this item alone would have had.
    pub status: u16,
    /// For people, the same for each error with this code.
    #[serde(default)]
    pub title: String,
    /// For people.
    #[serde(default)]
    pub detail: String,
    /// The same item may be sent again.
    #[serde(default)]
    pub retryable: bool,
    /// Whatever else there is to know.
    #[serde(flatten)]
    pub members: Map<String, Value>,
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.detail)
    }
}

impl std::error::Error for ItemError {}

impl ItemError {
    /// The error of a call that was about this item alone.
    fn into_error(self, node: &str) -> Error {
        Error::Refused {
            node: node.into(),
            status: self.status,
            code: self.code,
            message: self.detail,
            field: None,
            request_id: None,
            members: Box::new(self.members),
        }
    }
}

/// One element of `results`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item<T> {
    Error { error: ItemError },
    Done(T),
}

impl<T> Item<T> {
    fn into_result(self) -> Result<T, ItemError> {
        match self {
            Self::Error { error } => Err(error),
            Self::Done(done) => Ok(done),
        }
    }
}

/// The results of a batch: of one that was answered, and of one of which nothing was taken.
pub(super) fn results<T: DeserializeOwned>(
    answer: Result<&Answer, Error>,
) -> Result<Vec<Result<T, ItemError>>, Error> {
    #[derive(Deserialize)]
    struct Said<T> {
        results: Vec<Item<T>>,
    }
    let items = match answer {
        Ok(answer) => answer.decode::<Said<T>>()?.results,
        Err(error) => {
            let refused = error.member("results").cloned();
            let read = refused.and_then(|value| serde_json::from_value::<Vec<Item<T>>>(value).ok());
            read.ok_or(error)?
        }
    };
    Ok(items.into_iter().map(Item::into_result).collect())
}

/// The result of a batch of one.
pub(super) fn only<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    let first = results(Ok(answer))?.into_iter().next();
    let missing =
        || Error::Answer { node: answer.node.clone(), reason: "it has no result".to_owned() };
    first.ok_or_else(missing)?.map_err(|error| error.into_error(&answer.node))
}

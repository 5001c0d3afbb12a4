//! Answers of batches: one result for each item, and what to say if none was taken.

use dsync_core::types::Index;
use serde_json::{Value, json};

use crate::http::problem::Fault;
use crate::queues::ItemResult;

/// What came of a batch.
pub(super) struct Results {
    /// One for each item, in their order.
    pub(super) items: Vec<Value>,
    /// The newest entry that took one of them.
    pub(super) index: Index,
}

impl Results {
    /// Draws each result; `taken` says what became of an item, or why it was not taken. `name` is put
    /// beside an error, so that it can be told whose it is.
    ///
    /// # Errors
    /// If no item was taken: the fault of the first one, with all results.
    pub(super) fn draw<O>(
        results: Vec<ItemResult<O>>,
        mut name: impl FnMut(usize) -> Value,
        taken: impl Fn(O) -> Result<Value, Fault>,
    ) -> Result<Self, Fault> {
        let (mut index, mut first) = (Index(0), None);
        let mut any = false;
        let mut items = Vec::with_capacity(results.len());
        for (at, result) in results.into_iter().enumerate() {
            let result = result.map_err(Fault::queues);
            let taken = result.and_then(|(entry, outcome)| {
                index = index.max(entry);
                taken(outcome)
            });
            let mut item = name(at);
            match taken {
                Ok(drawn) => {
                    any = true;
                    add(&mut item, drawn);
                }
                Err(fault) => {
                    add(&mut item, json!({ "error": fault.item() }));
                    first.get_or_insert(fault);
                }
            }
            items.push(item);
        }
        match first.filter(|_| !any) {
            Some(fault) => Err(fault.with("results", items)),
            None => Ok(Self { items, index }),
        }
    }
}

fn add(item: &mut Value, members: Value) {
    if let (Some(item), Value::Object(members)) = (item.as_object_mut(), members) {
        item.extend(members);
    }
}

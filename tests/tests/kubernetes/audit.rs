//! What the API server's audit log says of the operator: what it asked for, and what came of it.
//!
//! Only where the log can be read: not on kind.

use std::fs;

use serde_json::Value;

/// The accounts of operators, in whatever namespace.
const ACCOUNT: &str = "system:serviceaccount:";
const NAME: &str = "-operator";

/// A request of an operator that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where the operator runs.
    pub operator: String,
    pub verb: String,
    pub namespace: String,
    pub resource: String,
    pub name: String,
    pub code: u64,
    pub reason: String,
}

impl Request {
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    pub fn is_renewal(&self) -> bool {
        self.is_write() && self.resource == "leases"
    }

    /// The API server has no right for it. In a namespace that is being deleted nothing can be made,
    /// whoever asks: that is no want of a right.
    pub fn is_refused(&self) -> bool {
        self.code == 403 && !self.reason.contains("being terminated")
    }
}

/// All requests of operators so far, in the order in which they were answered.
pub fn requests() -> Vec<Request> {
    let path = std::env::var_os("DSYNC_AUDIT_LOG").expect("the path of the audit log");
    let log = fs::read_to_string(path).unwrap();
    // The last line may still be on its way.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().filter(|line| line.contains(NAME)).filter_map(request).collect()
}

fn request(line: &str) -> Option<Request> {
    let line: Value = serde_json::from_str(line).unwrap();
    let user = line["user"]["username"].as_str()?;
    let (operator, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    if !name.ends_with(NAME) || line["stage"] == "ResponseStarted" {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &line["objectRef"];
    let resource = match object["subresource"].as_str() {
        Some(part) => format!("{}/{part}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    Some(Request {
        operator: operator.to_owned(),
        verb: text(&line["verb"]),
        namespace: text(&object["namespace"]),
        resource,
        name: text(&object["name"]),
        code: line["responseStatus"]["code"].as_u64().unwrap_or_default(),
        reason: text(&line["responseStatus"]["message"]),
    })
}

/// That the operator of that namespace was refused no right so far. One that is being uninstalled is:
/// its rights may go before it has ended.
#[track_caller]
pub fn nothing_was_refused(operator: &str) {
    let refused = requests()
        .into_iter()
        .filter(|one| one.operator == operator && one.is_refused())
        .collect::<Vec<_>>();
    assert!(refused.is_empty(), "{refused:#?}");
}

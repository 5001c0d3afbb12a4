//! What a command finds in its environment.

use dsync_client::queues::Job;

/// A longer one cannot be handed to a process.
const VALUE_BYTES_MAX: usize = 100_000;

/// The variables, none of which makes it impossible to run the command.
pub(super) fn of(topic: &str, job: &Job) -> Vec<(String, String)> {
    let named = [
        ("DSYNC_TOPIC", topic.to_owned()),
        ("DSYNC_MESSAGE_ID", job.id.clone()),
        ("DSYNC_RECEIPT", job.receipt.clone()),
        ("DSYNC_DELIVERIES", job.deliveries.to_string()),
        ("DSYNC_HEADERS", serde_json::to_string(&job.headers).unwrap_or_default()),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value)).into_iter();
    let headers = job.headers.iter().map(|(name, value)| (variable(name), value.clone()));
    named.chain(headers).filter(|(_, value)| can_be_handed_over(value)).collect()
}

/// `DSYNC_HEADER_` and the name in capitals, `_` for everything that a shell takes for no name.
fn variable(header: &str) -> String {
    let capital = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' };
    format!("DSYNC_HEADER_{}", header.chars().map(capital).collect::<String>())
}

fn can_be_handed_over(value: &str) -> bool {
    !value.contains('\0') && value.len() <= VALUE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_a_name_that_shells_take() {
        assert_eq!(variable("content-type"), "DSYNC_HEADER_CONTENT_TYPE");
        assert_eq!(variable("ä b=c;"), "DSYNC_HEADER___B_C_");
    }

    #[test]
    fn what_cannot_be_handed_over_is_left_out() {
        assert!(can_be_handed_over("a=b\n"));
        assert!(!can_be_handed_over("a\0b") && !can_be_handed_over(&"x".repeat(100_001)));
    }
}

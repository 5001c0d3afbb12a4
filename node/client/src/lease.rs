//! How long a hold lasts, counted here.
//!
//! Problem: the cluster says "so many milliseconds are left", counted on its own clock from the entry
//! that carried the request. When was that? Idea: surely not before the request was sent, so what is
//! left is counted from the *sending*, and can only come out too short. Clock rates differ too, by at
//! most a thousandth; that is taken off. Rejected: half of the round trip, which is a guess, and
//! counting from the answer, which is wrong by the whole round trip.
//!
//! Caveat: a clock that is wrong by more than a thousandth breaks the count. Only the fencing token
//! protects against that.

use std::time::Duration;

use crate::clock::BootInstant;

/// What two clocks may gain on each other: one part in this many.
const CLOCK_RATE_PART: u32 = 1_000;

/// The moment from which a hold must count as ended: `remaining_ms` after `sent`, less what the clocks
/// may differ. `None`: it has no lease.
pub(crate) fn counted_end(sent: BootInstant, remaining_ms: Option<u64>) -> Option<BootInstant> {
    let remaining = Duration::from_millis(remaining_ms?);
    Some(sent.plus(remaining - remaining / CLOCK_RATE_PART))
}

/// How long to wait here until so much time has gone by at the cluster.
pub(crate) fn counted_at_least(time: Duration) -> Duration {
    time + time / CLOCK_RATE_PART
}

/// When to renew: a third of the lease after the request that was answered last. Two more thirds are
/// then left for what goes wrong.
pub(crate) fn renewal_due(sent: BootInstant, ttl: Duration) -> BootInstant {
    sent.plus(ttl / 3)
}

/// How long one node may take over a renewal before the next one is asked: a node that hangs must not
/// use up what is left. Six such turns fit between the first attempt and the end.
pub(crate) fn renewal_patience(ttl: Duration, request_timeout: Duration) -> Duration {
    (ttl / 9).min(request_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: BootInstant = BootInstant::from_since_boot_ns(5_000_000_000);

    #[test]
    fn what_is_left_counts_from_the_sending_less_a_thousandth() {
        let end = counted_end(SENT, Some(30_000)).map(|end| end.since(SENT));
        assert_eq!(end, Some(Duration::from_millis(29_970)));
    }

    #[test]
    fn without_a_lease_there_is_no_end() {
        assert_eq!(counted_end(SENT, None), None);
    }

    #[test]
    fn a_hold_is_renewed_at_a_third_of_its_lease_with_time_for_six_hanging_nodes() {
        let ttl = Duration::from_secs(30);
        let due = renewal_due(SENT, ttl);
        assert_eq!(due.since(SENT), Duration::from_secs(10));
        assert_eq!(
            due.plus(6 * renewal_patience(ttl, ttl)).since(SENT),
            Duration::from_secs(30) - Duration::from_nanos(2)
        );
    }
}

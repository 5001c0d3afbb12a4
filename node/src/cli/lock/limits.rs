//! When the command has to end.

use std::time::Duration;

use dsync_client::BootInstant;

const GRACE_MAX: Duration = Duration::from_secs(5);
/// KILL goes out that long before the counted end, so that it has acted by then.
const MARGIN_MAX: Duration = Duration::from_millis(50);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Ask the command to end.
    Term,
    /// End it.
    Kill,
}

/// When TERM and KILL are due, as renewals come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    grace: Duration,
    margin: Duration,
    /// The counted end; `None`: no lease.
    end: Option<BootInstant>,
    lost_at: Option<BootInstant>,
    /// TERM is out; no renewal takes that back.
    terminating: bool,
}

impl Limits {
    /// For this lease (zero: none), which ends so.
    pub(super) fn new(ttl: Duration, end: Option<BootInstant>) -> Self {
        let part = |max: Duration, part: u32| if ttl.is_zero() { max } else { max.min(ttl / part) };
        let (grace, margin) = (part(GRACE_MAX, 3), part(MARGIN_MAX, 10));
        Self { grace, margin, end, lost_at: None, terminating: false }
    }

    /// A renewal was answered.
    pub(super) fn renewed(&mut self, end: Option<BootInstant>) {
        if self.lost_at.is_none() && !self.terminating {
            self.end = end;
        }
    }

    /// It is lost.
    pub(super) fn lost(&mut self, now: BootInstant) {
        self.lost_at.get_or_insert(now);
    }

    /// TERM was sent.
    pub(super) fn terminating(&mut self) {
        self.terminating = true;
    }

    pub(super) fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// Whether the lease ends by then, if it is not renewed any more.
    pub(super) fn end_by(&self, moment: BootInstant) -> bool {
        self.end.is_some_and(|end| end <= moment)
    }

    /// The next thing that is due, and when.
    pub(super) fn next(&self) -> Option<(BootInstant, Due)> {
        if self.terminating {
            return self.kill_at().map(|at| (at, Due::Kill));
        }
        let at = [self.lost_at, self.end.map(|end| end.minus(self.grace))].into_iter().flatten();
        at.min().map(|at| (at, Due::Term))
    }

    /// The end by the lease or after the grace, whatever comes first.
    fn kill_at(&self) -> Option<BootInstant> {
        let by_lease = self.end.map(|end| end.minus(self.margin));
        let by_loss = self.lost_at.map(|lost| lost.plus(self.grace));
        by_lease.into_iter().chain(by_loss).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootInstant {
        BootInstant::from_since_boot_ns(seconds * 1_000_000_000)
    }

    #[test]
    fn term_comes_the_grace_before_the_end_and_kill_at_the_end() {
        let mut limits = Limits::new(Duration::from_secs(30), Some(at(130)));
        assert_eq!(limits.next(), Some((at(125), Due::Term)));
        limits.terminating();
        assert_eq!(limits.next(), Some((at(130).minus(MARGIN_MAX), Due::Kill)));
    }

    #[test]
    fn the_grace_is_at_most_a_third_of_the_lease() {
        let limits = Limits::new(Duration::from_secs(3), Some(at(103)));
        assert_eq!(limits.next(), Some((at(102), Due::Term)));
    }

    #[test]
    fn a_renewal_moves_both_but_takes_no_term_back() {
        let mut limits = Limits::new(Duration::from_secs(30), Some(at(130)));
        limits.renewed(Some(at(140)));
        assert_eq!(limits.next(), Some((at(135), Due::Term)));
        limits.terminating();
        limits.renewed(Some(at(150)));
        assert_eq!(limits.next(), Some((at(140).minus(MARGIN_MAX), Due::Kill)));
    }

    #[test]
    fn after_a_loss_term_comes_at_once_and_kill_after_the_grace_or_at_the_end() {
        let mut early = Limits::new(Duration::from_secs(30), Some(at(130)));
        early.lost(at(110));
        assert_eq!(early.next(), Some((at(110), Due::Term)));
        early.terminating();
        assert_eq!(early.next(), Some((at(115), Due::Kill)));
        let mut late = Limits::new(Duration::from_secs(30), Some(at(130)));
        late.lost(at(128));
        late.terminating();
        assert_eq!(late.next(), Some((at(130).minus(MARGIN_MAX), Due::Kill)));
    }

    #[test]
    fn without_a_lease_nothing_is_due_until_a_loss() {
        let mut limits = Limits::new(Duration::ZERO, None);
        assert_eq!(limits.next(), None);
        limits.lost(at(10));
        limits.terminating();
        assert_eq!(limits.next(), Some((at(15), Due::Kill)));
    }
}

//! What is wrong with a request before anybody looks at the table.

use super::outcome::LockRefusal;
use super::request::{Acquire, ForceRelease, LockItem, Mode, Owner};
use super::turn::Rules;

impl Acquire {
    /// The request's names in order, if it keeps to the rules.
    pub(super) fn checked_items(&self, rules: &Rules) -> Result<Vec<LockItem>, LockRefusal> {
        check_owner(&self.owner, rules)?;
        check_lease(self.ttl_ms, rules)?;
        limit("request_names_max", rules.request_names_max, self.items.len())?;
        let mut items = self.items.clone();
        items.sort_unstable();
        if let Some(twice) = items.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(LockRefusal::NamedTwice(twice[0].name.clone()));
        }
        for item in &items {
            check_item(item, rules)?;
        }
        if items.is_empty() { Err(LockRefusal::NoName) } else { Ok(items) }
    }
}

impl ForceRelease {
    /// A reason stands in the audit trail for ever, so it has to be one.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), LockRefusal> {
        check_name("lock", &self.name, rules)?;
        limit("reason_bytes_max", REASON_BYTES_MAX, self.reason.len())?;
        let printable = !self.reason.is_empty() && !self.reason.chars().any(char::is_control);
        if printable { Ok(()) } else { Err(LockRefusal::NoReason) }
    }
}

/// Most bytes of the reason of a forced release.
const REASON_BYTES_MAX: u32 = 1_024;

/// The owner and the principal behind it have names.
pub(super) fn check_owner(owner: &Owner, rules: &Rules) -> Result<(), LockRefusal> {
    check_name("owner", &owner.name, rules)?;
    check_name("principal", &owner.principal, rules)
}

/// Nobody keeps the others out for years, or holds for no time at all, by a slip of the finger.
pub(super) fn check_lease(ttl_ms: Option<u64>, rules: &Rules) -> Result<(), LockRefusal> {
    let (min, max) = (rules.lease_ms_min, rules.lease_ms_max);
    let refuse =
        |setting: &str, limit| Err(LockRefusal::Limit { setting: setting.to_owned(), limit });
    match ttl_ms {
        Some(ttl_ms) if ttl_ms > max => refuse("lease_ms_max", max),
        Some(ttl_ms) if ttl_ms > 0 && ttl_ms < min => refuse("lease_ms_min", min),
        _ => Ok(()),
    }
}

fn check_item(item: &LockItem, rules: &Rules) -> Result<(), LockRefusal> {
    check_name("lock", &item.name, rules)?;
    let plain = item.permits == 1 && item.permits_max == 1;
    let some = item.permits >= 1 && item.permits <= item.permits_max;
    if !(if item.mode == Mode::Permits { some } else { plain }) {
        return Err(LockRefusal::BadPermits(item.name.clone()));
    }
    let asked = usize::try_from(item.permits_max).unwrap_or(usize::MAX);
    limit("permits_max", rules.permits_max, asked)
}

fn limit(setting: &str, max: u32, asked: usize) -> Result<(), LockRefusal> {
    if u32::try_from(asked).is_ok_and(|asked| asked <= max) {
        return Ok(());
    }
    Err(LockRefusal::Limit { setting: setting.to_owned(), limit: max.into() })
}

/// `what` names the field in the refusal.
fn check_name(what: &str, name: &str, rules: &Rules) -> Result<(), LockRefusal> {
    limit("name_bytes_max", rules.name_bytes_max, name.len())?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(LockRefusal::BadName(what.to_owned()));
    }
    Ok(())
}

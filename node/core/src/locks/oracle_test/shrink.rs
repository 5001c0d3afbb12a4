//! A failing history, made as short as it gets, and written as the golden scripts are.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::seen::Seen;
use super::stage::Stage;
use super::world::{Act, Ask, LOCKS, OWNERS, Part, REASON, Step, Which};
use crate::locks::{Attachment, HoldId, Mode, Rules};
use crate::types::Index;

/// A panic is a difference, too.
pub(super) fn guarded<T>(play: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// Leaves out entries one by one while it still fails in the same way.
pub(super) fn minimal(rules: Rules, mut steps: Vec<Step>, difference: &str) -> String {
    let kind = kind_of(difference);
    let fails = |steps: &[Step]| -> Option<String> {
        difference_in(rules, steps).filter(|difference| kind_of(difference) == kind)
    };
    let mut last = difference.to_owned();
    let mut shorter = true;
    while shorter {
        shorter = false;
        for at in (0..steps.len()).rev() {
            let mut fewer = steps.clone();
            fewer.remove(at);
            if let Some(difference) = fails(&fewer) {
                (steps, last, shorter) = (fewer, difference, true);
            }
        }
    }
    let numbered = renumbered(&steps);
    if let Some(difference) = fails(&numbered) {
        (steps, last) = (numbered, difference);
    }
    script(rules, &steps, &last)
}

fn difference_in(rules: Rules, steps: &[Step]) -> Option<String> {
    let mut stage = Stage::new(rules);
    let mut seen = Seen::default();
    steps.iter().find_map(|step| guarded(|| stage.play(step, &mut seen)).err())
}

/// "lock: ...": what kind of difference it is.
fn kind_of(difference: &str) -> &str {
    difference.split(':').next().unwrap_or_default()
}

/// Entries 1, 2, 3, as in a script.
fn renumbered(steps: &[Step]) -> Vec<Step> {
    let renamed = |id: &mut HoldId| {
        if let Some(at) = steps.iter().position(|step| step.index == id.index.0) {
            id.index = Index(at as u64 + 1);
        }
    };
    let mut numbered = steps.to_vec();
    for (at, step) in numbered.iter_mut().enumerate() {
        step.index = at as u64 + 1;
        match &mut step.act {
            Act::Release(which) | Act::Renew(which, _) | Act::Downgrade(which) => {
                renamed(&mut which.hold);
            }
            Act::Upgrade { which, .. } => renamed(&mut which.hold),
            Act::RenewAll { expected, .. } => expected.iter_mut().for_each(renamed),
            Act::Force { hold: Some(hold), .. } => renamed(hold),
            _ => {}
        }
    }
    numbered
}

fn script(rules: Rules, steps: &[Step], difference: &str) -> String {
    let mut out = format!("\n# {rules:?}\n");
    for (at, step) in steps.iter().enumerate() {
        let number = if step.index == at as u64 + 1 {
            String::new()
        } else {
            format!(" (entry {})", step.index)
        };
        let _ = writeln!(out, "> {} {}{number}", step.now, step.act.text());
    }
    out + difference
}

impl Act {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Ask(_) => "acquire",
            Self::Return { .. } => "release by name",
            Self::Release(_) => "release",
            Self::Renew(..) => "renew",
            Self::RenewAll { .. } => "renew all",
            Self::Upgrade { .. } => "upgrade",
            Self::Downgrade(_) => "downgrade",
            Self::Force { .. } => "force",
            Self::Leave(_) => "leave",
            Self::Attach(_) => "attach",
            Self::Lose { .. } => "lose",
            Self::Resume(_) => "resume",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Mark => "mark".to_owned(),
            Self::Ask(ask) => ask.text(),
            Self::Return { who, name } => format!("{} returns {}", OWNERS[*who], LOCKS[*name]),
            Self::Release(which) => format!("release {}", which.text()),
            Self::Renew(which, ttl) => format!("renew {}{}", which.text(), ttl_text(*ttl)),
            Self::RenewAll { who, ttl, expected } => {
                let ids: Vec<String> = expected.iter().map(|id| id_text(*id)).collect();
                let expecting = if ids.is_empty() { "" } else { " expecting " };
                format!("renew-all {}{}{expecting}{}", OWNERS[*who], ttl_text(*ttl), ids.join(" "))
            }
            Self::Upgrade { which, ttl, queue, via } => {
                format!("upgrade {}{}{}", which.text(), ttl_text(*ttl), end_text(*queue, *via))
            }
            Self::Downgrade(which) => format!("downgrade {}", which.text()),
            Self::Force { name, hold, at_once, reasoned } => {
                let hold = hold.map_or(String::new(), |hold| format!(" hold {}", id_text(hold)));
                let now = if *at_once { " now" } else { "" };
                let reason = if *reasoned { REASON } else { "" };
                format!("force {}{hold}{now} because {reason}", LOCKS[*name])
            }
            Self::Leave(attachment) => format!("leave {}", via_text(*attachment)),
            Self::Attach(attachment) => format!("attach {}", via_text(*attachment)),
            Self::Lose { boot, for_good: false } => format!("lose n{}", boot.0),
            Self::Lose { boot, for_good: true } => format!("replace n{}", boot.0),
            Self::Resume(boot) => format!("resume n{}", boot.0),
        }
    }
}

impl Ask {
    fn text(&self) -> String {
        let part = |part: &Part| match part.mode {
            Mode::Exclusive => LOCKS[part.name].to_owned(),
            Mode::Shared => format!("{}:shared", LOCKS[part.name]),
            Mode::Permits => format!("{}:{}/{}", LOCKS[part.name], part.permits, part.max),
        };
        let parts: Vec<String> = self.parts.iter().map(part).collect();
        let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(",") };
        let (ttl, end) = (ttl_text(self.ttl), end_text(self.queue, self.via));
        format!("{} asks {parts}{ttl}{end}", OWNERS[self.who])
    }
}

impl Which {
    fn text(self) -> String {
        let name = self.name.map_or(String::new(), |name| format!(" of {}", LOCKS[name]));
        let stranger = if self.stranger { " (by another principal)" } else { "" };
        format!("{}{name}{stranger}", id_text(self.hold))
    }
}

fn end_text(queue: bool, via: Option<Attachment>) -> String {
    let via = via.map_or(String::new(), |via| format!(" via {}", via_text(via)));
    format!("{}{via}", if queue { "" } else { " try" })
}

fn ttl_text(ttl: Option<u64>) -> String {
    ttl.map_or(" (default ttl)".to_owned(), |ttl| format!(" ttl {ttl}"))
}

fn id_text(id: HoldId) -> String {
    format!("{}.{}", id.index.0, id.position)
}

fn via_text(attachment: Attachment) -> String {
    format!("n{}.{}", attachment.boot.0, attachment.number)
}

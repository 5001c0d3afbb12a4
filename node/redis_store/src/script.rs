//! The scripts: which parts each is made of, and what Redis may know of it before it runs.
//!
//! One call of a script is one step: Redis runs nothing else meanwhile, writes its effects as one
//! transaction, and looks at its memory, role and disk before the script begins, never in its middle. So a
//! script that was let in does all of it.

use std::sync::LazyLock;

const TOPIC: &str = include_str!("scripts/topic.lua");
const MESSAGE: &str = include_str!("scripts/message.lua");
const VIEW: &str = include_str!("scripts/view.lua");
const LIFECYCLE: &str = include_str!("scripts/lifecycle.lua");
const DEADLINES: &str = include_str!("scripts/deadlines.lua");
const LIST_HEAD: &str = include_str!("scripts/list_head.lua");
const SETTLEMENT: &str = include_str!("scripts/settlement.lua");

/// What a script begins with. Redis makes each function anew at every call, so none has more than it needs.
type Parts = &'static [&'static str];

/// Of what changes a topic.
const CHANGE: Parts = &[TOPIC, MESSAGE, LIFECYCLE, DEADLINES];

const REDIS_CLOCK: &str = include_str!("scripts/clock.lua");

/// Takes the time from the last two arguments, so that tests can say what time it is.
const GIVEN_CLOCK: &str =
    "local function clock()\n  return tonumber(ARGV[#ARGV - 1]), tonumber(ARGV[#ARGV])\nend\n";

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident($file:literal, $flags:literal, $parts:expr)),* $(,)?) => {
        /// A script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Script {
            $($(#[$doc])* $name),*
        }

        impl Script {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// Its file, its flags, what comes before it.
            fn source(self) -> (&'static str, &'static str, Parts) {
                match self {
                    $(Self::$name => (
                        include_str!(concat!("scripts/", $file, ".lua")), $flags, $parts
                    )),*
                }
            }

            /// For the log, and a metric's label.
            pub(crate) fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $file),*
                }
            }
        }
    };
}

// Whatever makes room, or takes little, goes on when the memory is used up; who puts something in does not.
scripts! {
    /// Makes a topic.
    Create("create", "", &[]),
    /// Pushes messages.
    Push("push", "", CHANGE),
    /// Delivers messages.
    Receive("receive", "allow-oom", &[TOPIC, MESSAGE, VIEW, LIFECYCLE, DEADLINES, LIST_HEAD]),
    /// Settles deliveries.
    Settle("settle", "allow-oom", &[TOPIC, MESSAGE, LIFECYCLE, DEADLINES, SETTLEMENT]),
    /// Gives deliveries back.
    GiveBack("give_back", "allow-oom", &[TOPIC, MESSAGE, LIFECYCLE, DEADLINES, SETTLEMENT]),
    /// Clears away what has ended.
    Clear("clear", "allow-oom", CHANGE),
    /// Takes messages out.
    Purge("purge", "allow-oom", &[TOPIC, MESSAGE, LIFECYCLE, DEADLINES, LIST_HEAD]),
    /// Moves the dead back.
    Redrive("redrive", "allow-oom", CHANGE),
    /// Takes one message out.
    Remove("remove", "allow-oom", &[TOPIC, MESSAGE, LIFECYCLE, DEADLINES, LIST_HEAD]),
    /// Changes settings.
    Configure("configure", "allow-oom", CHANGE),
    /// Reads.
    Read("read", "no-writes,allow-oom", &[TOPIC, MESSAGE, VIEW, LIFECYCLE, LIST_HEAD]),
    /// Closes an empty topic.
    Close("close", "allow-oom", CHANGE),
    /// Takes a closed topic's keys away.
    Drop("drop", "allow-oom", &[]),
}

/// What the scripts take the time from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Redis' clock: all nodes mean the same.
    Redis,
    /// What the test says.
    Given {
        /// Milliseconds.
        now: u64,
        /// What the next push numbers its messages by, if that rises.
        number: u64,
    },
}

/// A text that Redis runs, and the name by which it knows it.
pub(crate) struct Text {
    pub(crate) code: String,
    pub(crate) sha: String,
}

impl Script {
    /// The whole text.
    pub(crate) fn text(self, clock: Clock) -> &'static Text {
        static TEXTS: LazyLock<[Vec<Text>; 2]> =
            LazyLock::new(|| [REDIS_CLOCK, GIVEN_CLOCK].map(texts));
        let given = usize::from(clock != Clock::Redis);
        &TEXTS[given][self as usize]
    }

    fn code(self, clock: &str) -> String {
        let (own, flags, parts) = self.source();
        let head = match flags {
            "" => "#!lua\n".to_owned(),
            flags => format!("#!lua flags={flags}\n"),
        };
        // Without a topic there is no time either.
        let clock = if parts.is_empty() { "" } else { clock };
        [&head, clock, &parts.concat(), own].concat()
    }
}

fn texts(clock: &str) -> Vec<Text> {
    let text = |script: &Script| {
        let code = script.code(clock);
        let sha = redis::Script::new(&code).get_hash().to_owned();
        Text { code, sha }
    };
    Script::ALL.iter().map(text).collect()
}

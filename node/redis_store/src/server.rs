//! What a Redis says of itself when a node connects. Pure.
//!
//! A wrong setting is found before the first message is taken, not when it loses one.

use crate::problem::RedisProblem;

/// What an acknowledged push survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The loss of the machine's power: each answer waits for the disk.
    Fsync,
    /// The end of the process at most, and perhaps not the last second.
    Memory,
}

impl Durability {
    /// As answers show it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Memory => "memory",
        }
    }
}

/// What was found out about a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) durability: Durability,
}

/// Judges the answers to INFO and to CONFIG GET appendfsync (`None`: it may not be asked).
pub(crate) fn judge(info: &str, appendfsync: Option<&str>) -> Result<Server, RedisProblem> {
    let said = |field: &str| {
        let lines = info.lines().filter_map(|line| line.trim_end().split_once(':'));
        lines.into_iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value)
    };
    let version = said("redis_version");
    if !is_new_enough(version) {
        return Err(RedisProblem::Version(version.to_owned()));
    }
    if said("loading") == "1" {
        return Err(RedisProblem::Loading);
    }
    if said("role") != "master" {
        return Err(RedisProblem::ReadOnly);
    }
    let policy = said("maxmemory_policy");
    if policy != "noeviction" {
        return Err(RedisProblem::EvictionPolicy(policy.to_owned()));
    }
    let synced = said("aof_enabled") == "1" && appendfsync == Some("always");
    Ok(Server { durability: if synced { Durability::Fsync } else { Durability::Memory } })
}

/// Scripts say in their first line what Redis may know of them since 7.0. Valkey calls itself 7.2.
fn is_new_enough(version: &str) -> bool {
    let major = version.split('.').next().and_then(|it| it.parse::<u32>().ok());
    major.is_some_and(|major| major >= 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n\
                        # Persistence\r\nloading:0\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\n";

    #[test]
    fn a_redis_is_taken_if_it_keeps_what_it_has_taken() {
        assert_eq!(judge(GOOD, Some("always")), Ok(Server { durability: Durability::Fsync }));
        assert_eq!(judge(GOOD, Some("everysec")), Ok(Server { durability: Durability::Memory }));
        assert_eq!(judge(GOOD, None), Ok(Server { durability: Durability::Memory }));
        let no_file = GOOD.replace("aof_enabled:1", "aof_enabled:0");
        assert_eq!(judge(&no_file, Some("always")).unwrap().durability, Durability::Memory);
    }

    #[test]
    fn what_would_lose_messages_is_named() {
        let wrong = [
            ("7.0.15", "6.2.6", "redis_version"),
            ("noeviction", "allkeys-lru", "redis_eviction_policy"),
            ("loading:0", "loading:1", "redis_loading"),
            ("role:master", "role:slave", "redis_read_only"),
        ];
        for (good, bad, code) in wrong {
            assert_eq!(judge(&GOOD.replace(good, bad), None).unwrap_err().code(), code);
        }
    }
}

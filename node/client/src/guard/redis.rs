//! A guard for what is kept in Redis or Valkey.
//!
//! Idea: the mark is a key of its own, and a Lua script compares and writes. The server runs one
//! script at a time, so nothing comes between the comparison and the write. Rejected: `WATCH`, read,
//! `MULTI`, because it needs a connection of its own and tries again under load; the token inside the
//! value, because then every reader has to know of it.
//!
//! - **Numbers.** Lua counts with doubles, which is exact below 2^53, where tokens are. The mark is
//!   written as the text that came in, so that it does not matter how a server prints a double (Lua's
//!   own `tostring` rounds to 14 digits).
//! - **The mark outlives the data.** It has no expiry, and must not get one: a mark that is gone lets
//!   every late holder in. So nothing here deletes a mark, and a server whose eviction policy is one
//!   of the `allkeys-` ones cannot be guarded (choose `noeviction` or a `volatile-` policy).
//! - **One slot.** In a cluster a script's keys must live in one slot. The resource's name is the hash
//!   tag of the mark, so data under that very name, or under [`RedisGuard::key`], is beside it.
//! - **Servers.** Redis 6 and later, and Valkey: `GET`, `SET`, scripts; no blocking command.
//! - **A lost answer.** A call that times out (the `redis` crate waits 500 ms unless told otherwise)
//!   may have been applied. `raise` and `set` may be repeated with the same token; of the commands
//!   given to `run` the caller has to know.
//! - **A fail-over** to a replica may lose the last writes, marks included. What is lost is a tail of
//!   what happened, so mark and data still fit, but a holder that had been shut out may be let in
//!   again until the next one writes.
//!
//! Own scripts embed [`FENCE_LUA`]:
//!
//! ```
//! use dsync_client::guard::redis::{FENCE_LUA, RedisGuard};
//!
//! // KEYS: mark, counter. ARGV: token.
//! let count = format!(
//!     "{FENCE_LUA}
//!     local newer = fence(KEYS[1], ARGV[1])
//!     if newer then return {{newer}} end
//!     return {{false, redis.call('INCR', KEYS[2])}}"
//! );
//! let guard = RedisGuard::new("orders/42");
//! let keys = [guard.mark().to_owned(), guard.key("count")];
//! assert_eq!(keys, ["dsync:fencing:{orders/42}", "{orders/42}:count"]);
//! # assert!(count.contains("local function fence(mark, token)"));
//! ```
//!
//! `MULTI` cannot be stopped by a script inside it: a script that fails there does not undo what
//! stands beside it. So the mark is watched, on a connection that nobody else uses:
//!
//! 1. `RedisGuard::raise`; stale: stop;
//! 2. `WATCH` the mark, then `GET` it; not the own token: stale;
//! 3. `MULTI`, the writes, `EXEC`; a nil answer: the mark was raised in between: stale.

/// The Lua function `fence(mark, token)`, to be put before the text of an own script.
///
/// It raises the mark (a key, to be named in `KEYS`) to the token (text, as in `ARGV`) and returns
/// nil; if the mark is above the token it changes nothing and returns the mark, as text. It raises an
/// error if the token is none, or if the key holds something else than a mark. Call it before the
/// first write of the script: what a script has written before an error stays.
pub const FENCE_LUA: &str = "\
local function fence(mark, token)
  -- Digits only: Lua would also read 1e3 and 0x10. Not above 2^53 - 1: doubles are exact up to there.
  local function number(text, what)
    if string.find(text, '^%d+$') and tonumber(text) <= 9007199254740991 then
      return tonumber(text)
    end
    error('fencing: ' .. what)
  end
  local given = number(token, 'not a token below 2^53')
  local seen = redis.call('GET', mark)
  if seen and number(seen, 'the key of the mark holds something else') > given then
    return seen
  end
  -- The text, not the number: Lua may print large ones rounded. An equal mark is left alone, so that
  -- who watches it is not disturbed by a holder of the same group.
  if not seen or tonumber(seen) < given then
    redis.call('SET', mark, token)
  end
  return nil
end
";

/// What runs after [`FENCE_LUA`]. `KEYS`: mark. `ARGV`: token.
#[cfg(feature = "redis")]
const RAISE_LUA: &str = "return fence(KEYS[1], ARGV[1])";

/// `KEYS`: mark, data. `ARGV`: token, value.
#[cfg(feature = "redis")]
const SET_LUA: &str = "\
local newer = fence(KEYS[1], ARGV[1])
if not newer then redis.call('SET', KEYS[2], ARGV[2]) end
return newer";

/// `KEYS`: mark, those of the commands. `ARGV`: token, then of each command the number of its words
/// and those.
#[cfg(feature = "redis")]
const RUN_LUA: &str = "\
local newer = fence(KEYS[1], ARGV[1])
if newer then return {newer, {}} end
local answers, at = {}, 2
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  answers[#answers + 1] = redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return {false, answers}";

/// Guards everything in Redis that one lock protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisGuard {
    tag: String,
    mark: String,
}

impl RedisGuard {
    /// A guard of a resource; best named like the lock that protects it.
    ///
    /// In a cluster the name is the hash tag of all keys. A `}` would end the tag, so it is written
    /// `%7D` (and `%` is written `%25`).
    #[must_use]
    pub fn new(resource: &str) -> Self {
        let tag = match resource {
            // An empty tag is none to Redis. No other name is written like this.
            "" => "%".to_owned(),
            name => name.replace('%', "%25").replace('}', "%7D"),
        };
        let mark = format!("dsync:fencing:{{{tag}}}");
        Self { tag, mark }
    }

    /// The key of the mark. Never delete it, and give it no expiry.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// A key in the same slot as the mark.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.tag)
    }
}

#[cfg(feature = "redis")]
mod calls {
    use std::sync::LazyLock;

    use ::redis::aio::ConnectionLike;
    use ::redis::{Arg, Cmd, FromRedisValue, RedisError, Script, ToRedisArgs, Value};

    use super::{FENCE_LUA, RAISE_LUA, RUN_LUA, RedisGuard, SET_LUA};
    use crate::guard::{FencingToken, Stale};

    static RAISE: LazyLock<Script> = LazyLock::new(|| script(RAISE_LUA));
    static SET: LazyLock<Script> = LazyLock::new(|| script(SET_LUA));
    static RUN: LazyLock<Script> = LazyLock::new(|| script(RUN_LUA));

    fn script(body: &str) -> Script {
        Script::new(&format!("{FENCE_LUA}{body}"))
    }

    /// Why a guarded call was not carried out.
    #[derive(Debug, thiserror::Error)]
    pub enum RedisGuardError {
        /// A newer holder has been here; nothing was changed.
        #[error(transparent)]
        Stale(#[from] Stale),
        /// The server refuses, or the connection broke; then the call may have been applied.
        #[error(transparent)]
        Redis(#[from] RedisError),
    }

    /// Each call is one script, run in one atomic step.
    ///
    /// ```no_run
    /// use dsync_client::guard::redis::{RedisGuard, RedisGuardError};
    /// # async fn example(
    /// #     connection: &mut redis::aio::MultiplexedConnection,
    /// #     hold: dsync_client::Hold,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let token = hold.token();
    /// let guard = RedisGuard::new("orders/42");
    ///
    /// // Just got the lock: from here on no earlier holder can write.
    /// guard.raise(connection, token).await?;
    /// match guard.set(connection, &guard.key("state"), "paid", token).await {
    ///     Ok(()) => println!("written"),
    ///     Err(RedisGuardError::Stale(stale)) => println!("no longer ours: {stale}"),
    ///     Err(RedisGuardError::Redis(error)) => println!("unknown: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    impl RedisGuard {
        /// Raises the mark to the token, so that older ones are refused from now on.
        ///
        /// # Errors
        /// If a newer token has been seen, or Redis gives no answer.
        pub async fn raise<C: ConnectionLike>(
            &self,
            connection: &mut C,
            token: FencingToken,
        ) -> Result<(), RedisGuardError> {
            let mut call = RAISE.key(self.mark());
            judge(call.arg(token.get()).invoke_async(connection).await?, token)
        }

        /// Raises the mark and sets the value of a key. A set ends an expiry that the key had.
        ///
        /// # Errors
        /// If a newer token has been seen, or Redis gives no answer.
        pub async fn set<C: ConnectionLike>(
            &self,
            connection: &mut C,
            key: &str,
            value: impl ToRedisArgs,
            token: FencingToken,
        ) -> Result<(), RedisGuardError> {
            let mut call = SET.key(self.mark());
            call.key(key).arg(token.get()).arg(value);
            judge(call.invoke_async(connection).await?, token)
        }

        /// Raises the mark and runs commands: none of them if the token is stale, else all in one
        /// step, and what they answer. `keys` are all keys that the commands touch.
        ///
        /// A command that fails ends the call and does not undo those before it. The words of one
        /// command have to fit Lua's stack: some thousands, so divide a large `MSET`.
        ///
        /// ```no_run
        /// # use dsync_client::guard::{FencingToken, redis::{RedisGuard, RedisGuardError}};
        /// # async fn example(
        /// #     connection: &mut redis::aio::MultiplexedConnection,
        /// #     token: FencingToken,
        /// # ) -> Result<(), RedisGuardError> {
        /// let guard = RedisGuard::new("orders/42");
        /// let (count, log) = (guard.key("count"), guard.key("log"));
        /// let commands = [redis::Cmd::incr(&count, 1), redis::Cmd::rpush(&log, "paid")];
        /// let answers: (u64, u64) =
        ///     guard.run(connection, &[&count, &log], &commands, token).await?;
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        /// If a newer token has been seen, a command fails, Redis gives no answer, or its answers
        /// are not what the caller asks them to be.
        pub async fn run<C: ConnectionLike, T: FromRedisValue>(
            &self,
            connection: &mut C,
            keys: &[&str],
            commands: &[Cmd],
            token: FencingToken,
        ) -> Result<T, RedisGuardError> {
            let mut call = RUN.key(self.mark());
            call.key(keys).arg(token.get());
            for command in commands {
                let words = words(command);
                call.arg(words.len()).arg(words);
            }
            let (newer, answers): (Option<u64>, Vec<Value>) = call.invoke_async(connection).await?;
            judge(newer, token)?;
            T::from_redis_value(Value::Array(answers))
                .map_err(|error| RedisError::from(error).into())
        }
    }

    fn words(command: &Cmd) -> Vec<&[u8]> {
        let word = |argument| match argument {
            Arg::Simple(word) => Some(word),
            // The place of a scan's cursor, in a command that a script could not iterate anyway.
            _ => None,
        };
        command.args_iter().filter_map(word).collect()
    }

    /// What the scripts answer: nothing, or the newer token.
    fn judge(newer: Option<u64>, given: FencingToken) -> Result<(), RedisGuardError> {
        let Some(newer) = newer else { return Ok(()) };
        // The script has compared it with 2^53, so this never takes the highest token for another.
        let seen = FencingToken::try_from(newer).unwrap_or(FencingToken::MAX);
        Err(Stale { seen, given }.into())
    }
}

#[cfg(feature = "redis")]
pub use calls::RedisGuardError;

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis finds the part of a key that decides on its slot.
    fn hashed(key: &str) -> &str {
        let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key)
    }

    #[test]
    fn mark_and_data_are_in_one_slot_whatever_the_resource_is_called() {
        for name in ["orders/42", "", "a}b", "{a}", "a{b", "{}x", "%", "%7D", "ü {} %"] {
            let guard = RedisGuard::new(name);
            assert_eq!(hashed(guard.mark()), hashed(&guard.key("data")), "{name:?}");
            assert_eq!(hashed(guard.mark()), guard.tag, "{name:?}");
        }
    }

    #[test]
    fn a_key_named_like_the_resource_is_in_the_slot_of_the_mark() {
        for name in ["orders/42", "user:7", "a b"] {
            assert_eq!(hashed(RedisGuard::new(name).mark()), hashed(name));
        }
    }

    #[test]
    fn two_resources_never_share_a_mark() {
        let names = ["", "%", "%25", "}", "%7D", "a}", "a%7D", "{a}", "a"];
        let marks: std::collections::BTreeSet<_> =
            names.iter().map(|name| RedisGuard::new(name).mark().to_owned()).collect();
        assert_eq!(marks.len(), names.len(), "{marks:?}");
    }
}

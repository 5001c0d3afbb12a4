//! What is special about Redis: its numbers, its transactions, its cluster, and keys of others.

use dsync_client::guard::redis::{FENCE_LUA, RedisGuard, RedisGuardError};
use dsync_client::guard::{FencingToken, Stale};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult, Script, Value, cmd};
use tokio::runtime::Runtime;

use dsync_tests::process::until::until;

use crate::redis_store::connect;
use crate::servers;
use crate::token;

/// A guard on the server of the tests.
struct Guarded {
    runtime: Runtime,
    connection: MultiplexedConnection,
    guard: RedisGuard,
}

impl Guarded {
    fn new(resource: &str) -> Self {
        let (runtime, connection) = connect(servers::redis().address);
        Self { runtime, connection, guard: RedisGuard::new(resource) }
    }

    fn raise(&mut self, token: FencingToken) -> Result<(), RedisGuardError> {
        self.runtime.block_on(self.guard.raise(&mut self.connection, token))
    }

    fn set(&mut self, token: FencingToken, value: &str) -> Result<(), RedisGuardError> {
        let key = self.guard.key("state");
        self.runtime.block_on(self.guard.set(&mut self.connection, &key, value, token))
    }

    fn run<T: FromRedisValue>(
        &mut self,
        token: FencingToken,
        commands: &[Cmd],
    ) -> Result<T, RedisGuardError> {
        let key = self.guard.key("state");
        self.runtime.block_on(self.guard.run(&mut self.connection, &[&key], commands, token))
    }

    fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        self.runtime.block_on(command.query_async(&mut self.connection))
    }

    fn value(&mut self) -> Option<String> {
        let key = self.guard.key("state");
        self.ask(&Cmd::get(key)).unwrap()
    }

    fn mark(&mut self) -> Option<String> {
        let key = self.guard.mark().to_owned();
        self.ask(&Cmd::get(key)).unwrap()
    }
}

fn stale<T>(result: Result<T, RedisGuardError>) -> Stale {
    match result {
        Err(RedisGuardError::Stale(stale)) => stale,
        Err(RedisGuardError::Redis(error)) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn failure<T>(result: Result<T, RedisGuardError>) -> String {
    match result {
        Err(RedisGuardError::Redis(error)) => error.to_string(),
        Err(RedisGuardError::Stale(stale)) => panic!("{stale}"),
        Ok(_) => panic!("it did not fail"),
    }
}

#[test]
fn numbers_are_told_apart_up_to_the_last_below_2_to_the_53() {
    let mut guarded = Guarded::new("boundary");
    let max = FencingToken::MAX;
    let before = token(max.get() - 1);
    for token in [token(0), token(9), token(10), before, max] {
        guarded.set(token, &token.to_string()).unwrap();
        assert_eq!(guarded.mark(), Some(token.to_string()), "written as it was given");
        assert_eq!(guarded.value(), Some(token.to_string()));
    }
    for token in [before, token(9), token(0)] {
        assert_eq!(stale(guarded.set(token, "late")), Stale { seen: max, given: token });
        assert_eq!(stale(guarded.raise(token)), Stale { seen: max, given: token });
    }
    assert_eq!(guarded.value(), Some(max.to_string()));
    guarded.set(max, "again").unwrap();
    assert_eq!(guarded.value().as_deref(), Some("again"), "an equal token is the same holder's");
}

#[test]
fn the_script_itself_refuses_what_is_no_token_and_changes_nothing() {
    let mut guarded = Guarded::new("no-token");
    guarded.raise(token(5)).unwrap();
    let script = Script::new(&format!("{FENCE_LUA}return fence(KEYS[1], ARGV[1])"));
    for word in ["9007199254740992", "18446744073709551615", "-1", "1e3", "0x10", "6.5", "", "nan"]
    {
        let mut call = script.key(guarded.guard.mark());
        let call = call.arg(word).invoke_async::<Value>(&mut guarded.connection);
        let error = guarded.runtime.block_on(call).unwrap_err().to_string();
        assert!(error.contains("not a token below 2^53"), "{word:?}: {error}");
        assert_eq!(guarded.mark().as_deref(), Some("5"));
    }
}

#[test]
fn a_mark_whose_key_holds_something_else_lets_nobody_in() {
    let mut guarded = Guarded::new("foreign");
    let mark = guarded.guard.mark().to_owned();
    for foreign in ["hello", "", "7.5", "-3", "9007199254740992"] {
        guarded.ask::<()>(&Cmd::set(&mark, foreign)).unwrap();
        let error = failure(guarded.set(token(8), "x"));
        assert!(error.contains("holds something else"), "{foreign:?}: {error}");
        assert_eq!(guarded.mark().as_deref(), Some(foreign));
    }
    guarded.ask::<()>(&Cmd::del(&mark)).unwrap();
    guarded.ask::<()>(&Cmd::rpush(&mark, 1)).unwrap();
    assert!(failure(guarded.set(token(8), "x")).contains("WRONGTYPE"));
    assert_eq!(guarded.value(), None);
}

#[test]
fn a_mark_does_not_expire_and_outlives_its_data() {
    let mut guarded = Guarded::new("for-ever");
    guarded.set(token(5), "x").unwrap();
    let mark = guarded.guard.mark().to_owned();
    assert_eq!(guarded.ask::<i64>(&Cmd::pttl(&mark)).unwrap(), -1, "no expiry");
    let data = guarded.guard.key("state");
    let deleted: Vec<u64> = guarded.run(token(6), &[Cmd::del(&data)]).unwrap();
    assert_eq!(deleted, [1]);
    assert_eq!(guarded.mark().as_deref(), Some("6"));
    let late = Stale { seen: token(6), given: token(5) };
    assert_eq!(stale(guarded.set(token(5), "back again")), late);
    assert_eq!(guarded.value(), None);
}

#[test]
fn commands_run_all_in_one_step_or_not_at_all() {
    let mut guarded = Guarded::new("commands");
    let key = guarded.guard.key("state");
    let commands = [
        Cmd::set(&key, "7"),
        Cmd::incr(&key, 35),
        Cmd::get(guarded.guard.key("state") + "-none"),
        Cmd::pexpire(&key, 600_000),
    ];
    let answers: (String, u64, Option<String>, bool) = guarded.run(token(3), &commands).unwrap();
    assert_eq!(answers, ("OK".to_owned(), 42, None, true));
    let refused = guarded.run::<Value>(token(2), &[Cmd::incr(&key, 1)]);
    assert_eq!(stale(refused), Stale { seen: token(3), given: token(2) });
    assert_eq!(guarded.value().as_deref(), Some("42"));
    assert_eq!(guarded.run::<Vec<Value>>(token(4), &[]).unwrap(), []);
    // As documented: a command that fails does not undo what was done before it.
    let commands = [Cmd::set(&key, "text"), Cmd::incr(&key, 1)];
    assert!(failure(guarded.run::<Value>(token(4), &commands)).contains("not an integer"));
    assert_eq!(guarded.value().as_deref(), Some("text"));
}

#[test]
fn an_own_script_embeds_the_guard() {
    let mut guarded = Guarded::new("own-script");
    let script = Script::new(&format!(
        "{FENCE_LUA}
        local newer = fence(KEYS[1], ARGV[1])
        if newer then return {{newer}} end
        return {{false, redis.call('INCR', KEYS[2])}}"
    ));
    let mut count = |token: u64| -> Vec<Option<u64>> {
        let mut call = script.key(guarded.guard.mark());
        call.key(guarded.guard.key("count")).arg(token);
        guarded.runtime.block_on(call.invoke_async(&mut guarded.connection)).unwrap()
    };
    assert_eq!(count(8), [None, Some(1)]);
    assert_eq!(count(7), [Some(8)]);
    assert_eq!(count(8), [None, Some(2)]);
}

#[test]
fn a_transaction_that_watches_the_mark_is_stopped_by_a_newer_holder() {
    let mut first = Guarded::new("multi");
    let mut second = Guarded::new("multi");
    let (mark, key) = (first.guard.mark().to_owned(), first.guard.key("state"));
    let execute = |guarded: &mut Guarded| -> Option<Vec<Value>> {
        guarded.ask::<()>(&cmd("MULTI")).unwrap();
        guarded.ask::<()>(&Cmd::set(&key, "written")).unwrap();
        guarded.ask(&cmd("EXEC")).unwrap()
    };

    first.raise(token(1)).unwrap();
    first.ask::<()>(cmd("WATCH").arg(&mark)).unwrap();
    assert_eq!(first.mark().as_deref(), Some("1"), "still the own token");
    second.raise(token(2)).unwrap();
    assert_eq!(execute(&mut first), None, "the newer holder stopped it");
    assert_eq!(first.value(), None);

    second.ask::<()>(cmd("WATCH").arg(&mark)).unwrap();
    // Neither the same holder nor a late one disturbs it.
    second.raise(token(2)).unwrap();
    assert_eq!(stale(first.raise(token(1))), Stale { seen: token(2), given: token(1) });
    assert!(execute(&mut second).is_some());
    assert_eq!(first.value().as_deref(), Some("written"));
}

#[test]
fn in_a_cluster_mark_and_data_live_in_one_slot() {
    let server = servers::redis_cluster();
    let (runtime, mut connection) = connect(server.address);
    let slots = cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).to_owned();
    runtime.block_on(slots.exec_async(&mut connection)).unwrap();
    until("the cluster of one node serves", || {
        let info = cmd("CLUSTER").arg("INFO").to_owned();
        let info: String = runtime.block_on(info.query_async(&mut connection)).unwrap();
        info.contains("cluster_state:ok").then_some(())
    });
    for resource in ["orders/42", "", "a}b", "{a}b", "a{b", "%7D"] {
        let guard = RedisGuard::new(resource);
        let data = guard.key("state");
        runtime.block_on(guard.set(&mut connection, &data, "x", token(1))).unwrap();
        let commands = [Cmd::get(&data)];
        let keys = [data.as_str()];
        let run = guard.run(&mut connection, &keys, &commands, token(1));
        let answers: Vec<String> = runtime.block_on(run).unwrap();
        assert_eq!(answers, ["x"], "{resource:?}");
    }
    let guard = RedisGuard::new("orders/42");
    runtime.block_on(guard.set(&mut connection, "orders/42", "x", token(1))).unwrap();
    let elsewhere = guard.set(&mut connection, "orders/43", "x", token(2));
    let error = failure(runtime.block_on(elsewhere)).to_lowercase();
    assert!(error.contains("slot"), "{error}");
    let mark = Cmd::get(guard.mark());
    let mark: String = runtime.block_on(mark.query_async(&mut connection)).unwrap();
    assert_eq!(mark, "1", "a refused call raises nothing");
}

//! A value in Redis under a guard.

use std::net::SocketAddr;

use dsync_client::guard::redis::{RedisGuard, RedisGuardError};
use dsync_client::guard::{FencingToken, Stale};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd};
use tokio::runtime::{Builder, Runtime};

use dsync_tests::process::until::PATIENCE;

use crate::store::{Form, Place, Store};

pub struct RedisStore {
    pub runtime: Runtime,
    pub connection: MultiplexedConnection,
    guard: RedisGuard,
    form: Form,
}

/// A connection that waits as long as a loaded machine needs.
pub fn connect(server: SocketAddr) -> (Runtime, MultiplexedConnection) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::open(format!("redis://{server}/")).unwrap();
    let patient = AsyncConnectionConfig::new()
        .set_response_timeout(Some(PATIENCE))
        .set_connection_timeout(Some(PATIENCE));
    let connect = client.get_multiplexed_async_connection_with_config(&patient);
    let connection = runtime.block_on(connect).unwrap();
    (runtime, connection)
}

impl RedisStore {
    pub fn open(place: &Place) -> Self {
        let (runtime, connection) = connect(place.server());
        Self { runtime, connection, guard: RedisGuard::new(&place.resource), form: place.form }
    }
}

impl Store for RedisStore {
    fn write(&mut self, token: FencingToken, value: &str) -> Result<(), Stale> {
        let (guard, connection) = (&self.guard, &mut self.connection);
        let key = guard.key("state");
        let written = match self.form {
            Form::Run => {
                let commands = [Cmd::del(&key), Cmd::set(&key, value)];
                let keys = [key.as_str()];
                let call = guard.run::<_, (u64, String)>(connection, &keys, &commands, token);
                self.runtime.block_on(call).map(|_| ())
            }
            _ => self.runtime.block_on(guard.set(connection, &key, value, token)),
        };
        match written {
            Ok(()) => Ok(()),
            Err(RedisGuardError::Stale(stale)) => Err(stale),
            Err(RedisGuardError::Redis(error)) => panic!("{error}"),
        }
    }

    fn look(&mut self) -> Option<(String, u64)> {
        let both = Cmd::mget(&[self.guard.key("state").as_str(), self.guard.mark()]);
        let (value, mark): (Option<String>, Option<u64>) =
            self.runtime.block_on(both.query_async(&mut self.connection)).unwrap();
        value.zip(mark)
    }
}

//! A client of etcd, to compare with: a lease per client, kept alive as etcd's library does it, and
//! the lock as a key that lives as long as the lease.
//!
//! Two ways, since both are in use, and one is faster than the other:
//!
//! - the *lock service* (`v3lockpb.Lock`): the server does what the library would do;
//! - the *mutex* of etcd's Go library (`concurrency.Mutex`): one transaction that makes the client's
//!   key below the lock's name and reads which key is the oldest there; the lock is held when that is
//!   the own one. To release is to delete it.
//!
//! **Caveat.** Where clients share names the library watches the key before its own; this client asks
//! again. So the mutex is for locks that nobody else wants; with shared names use the lock service.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::grpc::{Channel, GrpcConnection};
use super::plan::Api;
use super::protobuf::{self, Message};
use super::protocol::{Pauses, Protocol, Seat, Trouble};

const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const LEASE_REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const LOCK: &str = "/v3lockpb.Lock/Lock";
const UNLOCK: &str = "/v3lockpb.Lock/Unlock";
const TRANSACTION: &str = "/etcdserverpb.KV/Txn";
const RANGE: &str = "/etcdserverpb.KV/Range";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";

/// `Compare.target`: the revision at which a key was made.
const TARGET_CREATE: u64 = 1;
/// `RangeRequest.sort_order`.
const ASCENDING: u64 = 1;
/// `RangeRequest.sort_target`.
const BY_CREATE: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct EtcdClient {
    seat: Seat,
    api: Api,
    link: Option<Link>,
    /// Outlives connections.
    lease: Option<u64>,
    /// The key that is the hold.
    key: Vec<u8>,
}

/// A connection, and who keeps the lease alive over it.
#[derive(Debug)]
struct Link {
    connection: GrpcConnection,
    keeper: JoinHandle<()>,
}

impl EtcdClient {
    /// A client that has not dialled.
    pub(super) fn new(seat: Seat, api: Api) -> Self {
        Self { seat, api, link: None, lease: None, key: Vec::new() }
    }

    async fn call(&mut self, path: &str, message: Message) -> Result<Bytes, Trouble> {
        self.connect().await?;
        let Some(link) = &self.link else { return Err(Trouble::CONNECT) };
        let mut channel = link.connection.channel();
        let called = timeout(self.seat.timeout, channel.call(path, message)).await;
        let result = called.unwrap_or(Err(Trouble::TIMEOUT));
        if result.is_err() {
            // The lease may be what is wrong.
            (self.link, self.lease) = (None, None);
        }
        result
    }

    async fn lock(&mut self, name: &str) -> Result<u64, Trouble> {
        self.connect().await?;
        let lease = self.lease.unwrap_or_default();
        let message = Message::default().bytes(1, name.as_bytes()).int(2, lease);
        let answer = self.call(LOCK, message).await?;
        self.key = protobuf::bytes(&answer, 2).next().ok_or(Trouble::NONSENSE)?.to_vec();
        Ok(0)
    }

    async fn lock_mutex(&mut self, name: &str) -> Result<u64, Trouble> {
        self.connect().await?;
        let lease = self.lease.unwrap_or_default();
        self.key = format!("{name}/{lease:x}").into_bytes();
        let answer = self.call(TRANSACTION, take_place(name, &self.key, lease)).await?;
        let ranges = protobuf::bytes(&answer, 3).flat_map(|response| protobuf::bytes(response, 1));
        // The last one, in both branches.
        let mut oldest = ranges.last().and_then(oldest_key).map(<[u8]>::to_vec);
        let mut pauses = Pauses::new();
        while oldest.as_ref().is_some_and(|oldest| *oldest != self.key) {
            pauses.pause().await;
            let answer = self.call(RANGE, oldest_below(name)).await?;
            oldest = oldest_key(&answer).map(<[u8]>::to_vec);
        }
        oldest.map(|_| pauses.count).ok_or(Trouble::NONSENSE)
    }
}

impl Protocol for EtcdClient {
    async fn connect(&mut self) -> Result<(), Trouble> {
        if self.link.is_some() {
            return Ok(());
        }
        let connection = GrpcConnection::dial(&mut self.seat).await?;
        let mut channel = connection.channel();
        let lease = match self.lease {
            Some(lease) => lease,
            None => {
                let granted = timeout(self.seat.timeout, grant(&mut channel, self.seat.ttl)).await;
                granted.unwrap_or(Err(Trouble::TIMEOUT))?
            }
        };
        self.lease = Some(lease);
        let keeper = tokio::spawn(keep_alive(channel, lease, self.seat.ttl / 3));
        self.link = Some(Link { connection, keeper });
        Ok(())
    }

    async fn acquire(&mut self, name: &str) -> Result<u64, Trouble> {
        match self.api {
            Api::EtcdMutex => self.lock_mutex(name).await,
            _ => self.lock(name).await,
        }
    }

    async fn release(&mut self, _name: &str) -> Result<(), Trouble> {
        let message = Message::default().bytes(1, &self.key);
        let path = if self.api == Api::EtcdMutex { DELETE } else { UNLOCK };
        self.call(path, message).await.map(|_| ())
    }

    async fn leave(&mut self) {
        if let Some(lease) = self.lease.filter(|_| self.link.is_some()) {
            let _ = self.call(LEASE_REVOKE, Message::default().int(1, lease)).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn grant(channel: &mut Channel, ttl: Duration) -> Result<u64, Trouble> {
    let answer = channel.call(LEASE_GRANT, Message::default().int(1, ttl.as_secs().max(1))).await?;
    protobuf::int(&answer, 2).ok_or(Trouble::NONSENSE)
}

/// A stream in etcd's interface; one message on each is as good, and this seldom.
async fn keep_alive(mut channel: Channel, lease: u64, every: Duration) {
    loop {
        sleep(every).await;
        // If it does not work, the next request says so.
        let _ = channel.call(LEASE_KEEP_ALIVE, Message::default().int(1, lease)).await;
    }
}

/// "If my key was never made, make it; in any case say who is first."
fn take_place(name: &str, key: &[u8], lease: u64) -> Message {
    let never_made = Message::default().int(2, TARGET_CREATE).bytes(3, key);
    let put = Message::default().bytes(1, key).bytes(2, b"").int(3, lease);
    let put = Message::default().message(2, &put);
    let get = Message::default().message(1, &Message::default().bytes(1, key));
    let first = Message::default().message(1, &oldest_below(name));
    Message::default()
        .message(1, &never_made)
        .message(2, &put)
        .message(2, &first)
        .message(3, &get)
        .message(3, &first)
}

/// The oldest of all keys that begin with the name and a slash.
fn oldest_below(name: &str) -> Message {
    // The byte after a slash ends the range.
    let (from, until) = (format!("{name}/"), format!("{name}0"));
    Message::default()
        .bytes(1, from.as_bytes())
        .bytes(2, until.as_bytes())
        .int(3, 1)
        .int(5, ASCENDING)
        .int(6, BY_CREATE)
}

fn oldest_key(range: &[u8]) -> Option<&[u8]> {
    protobuf::bytes(range, 2).next().and_then(|pair| protobuf::bytes(pair, 1).next())
}

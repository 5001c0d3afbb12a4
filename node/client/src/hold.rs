//! What is held: until when, with which tokens, and how it ends.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsync_core::locks::Mode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::acquire::{Granted, needs_confirmation};
use crate::alarm::{self, Ends};
use crate::clock::BootInstant;
use crate::guard::FencingToken;
use crate::lease::{counted_at_least, counted_end, renewal_patience};
use crate::lock_error::{LockError, Loss};
use crate::lock_request::{LockRequest, ttl_json};
use crate::names::TakenNames;
use crate::nodes::{Answer, Call, Nodes, Repeat};
use crate::{long_poll, renewal};

/// One lock of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// Its name.
    pub name: String,
    /// How it is held.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    #[serde(default = "one")]
    pub permits: u32,
    /// Its fencing token: rises over successive holders. Give it to whatever the lock protects.
    pub token: FencingToken,
}

/// Locks that are held, and renewed in the background for as long as this lives.
///
/// A hold can be lost: its lease ends when no renewal is answered in time, and somebody may release it
/// by force. [`lost`](Self::lost) says so, never later than the end as counted here; whoever works under
/// a lock should stop then, or check [`is_held`](Self::is_held) before each step. What a step touches
/// should check the [`token`](Self::token), since any program can be stopped between check and step.
///
/// Dropping it releases it in the background, as far as the runtime still runs;
/// [`release`](Self::release) waits until it is done.
#[derive(Debug)]
#[must_use = "a hold that is dropped is released"]
pub struct Hold {
    held: Arc<Held>,
    renewal: JoinHandle<()>,
    runtime: Handle,
    /// Nothing has to be given back any more.
    over: bool,
}

/// A hold without the wish to have it released when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) nodes: Arc<Nodes>,
    id: String,
    locks: Mutex<Vec<HeldLock>>,
    /// What is asked for at each renewal; `None`: no lease.
    pub(crate) ttl: Option<Duration>,
    /// When the request that was answered last was sent: renewals count from it.
    pub(crate) sent: Mutex<BootInstant>,
    /// The counted end; `None`: no lease. Moves to later only.
    end: watch::Sender<Option<BootInstant>>,
    loss: watch::Sender<Option<Loss>>,
    /// Not given back before.
    keep_until: Option<BootInstant>,
    /// Given back when the hold is over, so that this agent may ask for them again.
    names: Mutex<Option<TakenNames>>,
}

impl Hold {
    pub(crate) fn start(held: Arc<Held>, names: TakenNames) -> Self {
        *held.names.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
        let ends: Arc<dyn Ends> = held.clone();
        alarm::watch(&ends);
        let renewal = tokio::spawn(renewal::keep(Arc::clone(&held)));
        Self { held, renewal, runtime: Handle::current(), over: false }
    }

    /// The hold's own name, never used again in this cluster.
    #[must_use]
    pub fn id(&self) -> &str {
        self.held.id()
    }

    /// The fencing token of the lock, of the first one if there are several.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.held.locks().first().map_or_else(FencingToken::default, |lock| lock.token)
    }

    /// All locks of the hold with their tokens.
    #[must_use]
    pub fn locks(&self) -> Vec<HeldLock> {
        self.held.locks().clone()
    }

    /// Whether it is held right now, by the clock.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.check().is_ok()
    }

    /// As [`is_held`](Self::is_held), with the reason.
    ///
    /// # Errors
    /// How it was lost.
    pub fn check(&self) -> Result<(), Loss> {
        self.held.check()
    }

    /// How much of the lease is left, as counted here: from the sending of the request that was
    /// answered last, less a thousandth for the difference of clocks. Zero when it is lost; `None`
    /// without a lease.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.held.remaining()
    }

    /// The counted end, which each answered renewal moves. `None`: no lease.
    #[must_use]
    pub fn ends_at(&self) -> Option<BootInstant> {
        *self.held.end.borrow()
    }

    /// Follows the counted end.
    #[must_use]
    pub fn follow_end(&self) -> watch::Receiver<Option<BootInstant>> {
        self.held.end.subscribe()
    }

    /// Resolves when the hold is lost, or released, with the reason. Does not borrow the hold.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + 'static {
        let mut loss = self.held.loss.subscribe();
        async move {
            let lost = loss.wait_for(Option::is_some).await;
            lost.ok().and_then(|loss| loss.clone()).unwrap_or(Loss::Released)
        }
    }

    /// Renews now. The background does that by itself.
    ///
    /// # Errors
    /// [`LockError::Lost`] if it is lost; otherwise no node has answered, and it is still held.
    pub async fn renew(&self) -> Result<(), LockError> {
        self.held.renew(None, false).await
    }

    /// Makes the shared lock exclusive, with a new token: waits at most that long for the other
    /// readers, before everybody who waits in the queue. The shared lock is kept if it fails.
    ///
    /// # Errors
    /// [`LockError::Held`] or [`LockError::WaitTimeout`] if other readers stay,
    /// [`LockError::Deadlock`] if another reader waits for the same.
    pub async fn upgrade(&self, wait: Duration) -> Result<(), LockError> {
        self.upgrade_lock(&self.held.first_name(), wait).await
    }

    /// As [`upgrade`](Self::upgrade), for one lock of several.
    ///
    /// # Errors
    /// As there.
    pub async fn upgrade_lock(&self, name: &str, wait: Duration) -> Result<(), LockError> {
        self.held.upgrade(name, wait).await
    }

    /// Makes the exclusive lock shared; its token stays.
    ///
    /// # Errors
    /// If it is lost, or no node answers.
    pub async fn downgrade(&self) -> Result<(), LockError> {
        self.downgrade_lock(&self.held.first_name()).await
    }

    /// As [`downgrade`](Self::downgrade), for one lock of several.
    ///
    /// # Errors
    /// As there.
    pub async fn downgrade_lock(&self, name: &str) -> Result<(), LockError> {
        self.held.downgrade(name).await
    }

    /// The moment up to which it is held however early it is released; see
    /// [`hold_at_least`](LockRequest::hold_at_least).
    #[must_use]
    pub fn keep_until(&self) -> Option<BootInstant> {
        self.held.keep_until
    }

    /// Gives everything back, and returns when the cluster has taken it. What is to be held
    /// [for some time at least](LockRequest::hold_at_least) is given back in the background when that
    /// is over: then this returns at once.
    ///
    /// # Errors
    /// [`LockError::Lost`] if it was lost before; otherwise no node has answered in time, and the
    /// lease ends it.
    pub async fn release(self) -> Result<(), LockError> {
        self.held.check()?;
        match self.held.kept() {
            // Dropped, which sees to it.
            Some(_) => Ok(()),
            None => self.release_now().await,
        }
    }

    /// As [`release`](Self::release), however long it was to be held at least.
    ///
    /// # Errors
    /// As there.
    pub async fn release_now(mut self) -> Result<(), LockError> {
        self.held.check()?;
        self.renewal.abort();
        let released = self.held.release().await;
        self.over = true;
        self.held.lose(Loss::Released);
        released
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.renewal.abort();
        // What is lost is not released: the same owner may hold it again already, by the same id.
        if self.over || self.held.check().is_err() {
            return;
        }
        let _runtime = self.runtime.enter();
        self.held.release_in_background();
    }
}

impl Held {
    pub(crate) fn new(
        asked: &LockRequest,
        granted: Granted,
        sent: BootInstant,
        confirm: bool,
    ) -> Arc<Self> {
        // A grant that is confirmed first has its end from that: until then it has none that counts.
        let end = if confirm { None } else { counted_end(sent, granted.remaining_ms) };
        Arc::new(Self {
            nodes: Arc::clone(&asked.client.nodes),
            id: granted.hold,
            locks: Mutex::new(granted.locks),
            ttl: asked.ttl,
            // From the answer, which came after the grant.
            keep_until: asked.at_least.map(|time| BootInstant::now().plus(counted_at_least(time))),
            sent: Mutex::new(sent),
            end: watch::Sender::new(end),
            loss: watch::Sender::new(None),
            names: Mutex::default(),
        })
    }

    /// The renewal without which some grants are no hold; see `acquire.rs`.
    pub(crate) async fn confirm(&self) -> Result<(), LockError> {
        self.renew(Some(self.nodes.settings.deadline), true).await
    }

    /// Renews; within `patience` or, without, as long as the hold lasts. With a number, it raises the
    /// mark above all requests that were answered, so that late copies of them are refused.
    pub(crate) async fn renew(
        &self,
        patience: Option<Duration>,
        numbered: bool,
    ) -> Result<(), LockError> {
        self.check()?;
        let deadline = self.nodes.settings.deadline;
        let patience = patience.or_else(|| self.remaining()).unwrap_or(deadline);
        let body = json!({ "hold": self.id, "ttl": ttl_json(self.ttl) });
        let mut call = Call::post(&["v1", "locks", "renew"], body, Repeat::Always);
        if numbered {
            call = call.numbered(self.nodes.ids.next());
        }
        if let Some(ttl) = self.ttl {
            call = call.timeout(renewal_patience(ttl, self.nodes.settings.request_timeout));
        }
        let answer = self.nodes.call_within(&call, patience).await;
        self.take(answer.map_err(LockError::from)).map(drop)
    }

    async fn upgrade(&self, name: &str, wait: Duration) -> Result<(), LockError> {
        self.check()?;
        let body = json!({ "hold": self.id, "ttl": ttl_json(self.ttl) });
        let call = Call::post(&["v1", "locks", name, "upgrade"], body, Repeat::Always)
            .numbered(self.nodes.ids.next());
        let answer = long_poll::ask(&self.nodes, &call, wait).await.map_err(LockError::from);
        call.close();
        let confirm =
            answer.as_ref().is_ok_and(|answer| needs_confirmation(answer, wait, self.ttl));
        self.take(answer)?;
        if confirm { self.renew(None, true).await } else { Ok(()) }
    }

    async fn downgrade(&self, name: &str) -> Result<(), LockError> {
        self.check()?;
        let body = json!({ "hold": self.id });
        let call = Call::post(&["v1", "locks", name, "downgrade"], body, Repeat::Always)
            .numbered(self.nodes.ids.next());
        self.take(self.nodes.call(&call).await.map_err(LockError::from))?;
        let mut locks = self.locks();
        for lock in locks.iter_mut().filter(|lock| lock.name == name) {
            lock.mode = Mode::Shared;
        }
        Ok(())
    }

    async fn release(&self) -> Result<(), LockError> {
        self.note_releasing();
        let body = json!({ "hold": self.id });
        let call = Call::post(&["v1", "locks", "release"], body, Repeat::Always)
            .numbered(self.nodes.ids.next());
        self.nodes.call(&call).await.map(drop).map_err(LockError::from)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Until when it is not given back.
    fn kept(&self) -> Option<BootInstant> {
        self.keep_until.filter(|until| BootInstant::now() < *until)
    }

    /// Releases without anybody who waits for it, as soon as it may be.
    fn release_in_background(self: &Arc<Self>) {
        let kept = self.kept();
        if kept.is_none() {
            // Here and not in the task, or a request that comes right after would be refused.
            self.note_releasing();
        }
        let held = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(until) = kept {
                until.reached().await;
            }
            let _ = held.release().await;
            held.lose(Loss::Released);
        });
    }

    /// What an answer about this hold changes here.
    fn take(&self, answer: Result<Answer, LockError>) -> Result<(), LockError> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(LockError::Lost(loss)) => {
                self.lose(loss.clone());
                return Err(loss.into());
            }
            Err(error) => return Err(error),
        };
        let said: Said = answer.decode().map_err(LockError::Call)?;
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = answer.sent;
        let end = counted_end(answer.sent, said.remaining_ms);
        // Never earlier: the cluster does not take back what it promised before. And no answer that
        // leaves it out makes a lease endless.
        self.end.send_if_modified(|now| {
            let later = end > *now;
            if later {
                *now = end;
            }
            later
        });
        for new in said.locks.unwrap_or_default() {
            // In place: the order is the caller's.
            self.locks().iter_mut().filter(|lock| lock.name == new.name).for_each(|lock| {
                *lock = new.clone();
            });
        }
        // A late answer does not bring back what has ended meanwhile.
        self.check().map_err(LockError::Lost)
    }

    pub(crate) fn check(&self) -> Result<(), Loss> {
        self.look();
        self.loss.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn remaining(&self) -> Option<Duration> {
        let end = (*self.end.borrow())?;
        Some(if self.check().is_ok() { end.since(BootInstant::now()) } else { Duration::ZERO })
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.loss.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(loss);
            }
            first
        });
        self.names.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn note_releasing(&self) {
        if let Some(names) = &*self.names.lock().unwrap_or_else(PoisonError::into_inner) {
            names.releasing();
        }
    }

    fn locks(&self) -> std::sync::MutexGuard<'_, Vec<HeldLock>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_name(&self) -> String {
        self.locks().first().map(|lock| lock.name.clone()).unwrap_or_default()
    }
}

impl Ends for Held {
    fn look(&self) -> Option<BootInstant> {
        if self.loss.borrow().is_some() {
            return None;
        }
        let end = (*self.end.borrow())?;
        if BootInstant::now() < end {
            return Some(end);
        }
        self.lose(Loss::Expired);
        None
    }
}

/// What the answers about a hold have in common.
#[derive(Deserialize)]
struct Said {
    remaining_ms: Option<u64>,
    locks: Option<Vec<HeldLock>>,
}

fn one() -> u32 {
    1
}

//! One request that waits at a node, and goes on at another one when that node falls silent.
//!
//! Problem: a request stands in a queue for minutes, on a connection to one node. The node may stop
//! without closing it, or be cut off from the others; then the grant is made, nobody says so, and the
//! place goes to the next one. Idea: beside the request, ask the node now and then whether it lives
//! and knows a leader. When it does not, send the same request, with the same number, to the next
//! node: it takes over the place. The old connection stays open meanwhile, since closing it tells a
//! node that is well after all to leave the queue.
//!
//! A node bounds how long it lets a request wait, so a long wait is several requests, each sent while
//! the one before still stands: the place is never given up in between. What the older connection then
//! says ("superseded") is not an answer.
//!
//! After an answer, the copies that are still open are left to themselves: the node drops a hold whose
//! newest listener hangs up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;
use crate::lock_request::millis;
use crate::nodes::{Answer, Call, Failure, Nodes, PauseGrows, Unserved};

/// Longest wait of one copy of the request.
const WAIT_PER_COPY_MAX: Duration = Duration::from_secs(60);
/// The next copy is sent that long before the one before it runs out.
const OVERLAP: Duration = Duration::from_secs(15);
/// Most copies that stay open.
const OPEN_MAX: usize = 16;

/// Asks with `wait` filled in, until there is an answer. Without a wait it is an ordinary call.
pub(crate) async fn ask(nodes: &Arc<Nodes>, call: &Call, wait: Duration) -> Result<Answer, Error> {
    if wait.is_zero() {
        return nodes.call(&with_wait(call, wait, nodes)).await;
    }
    let wait_ends = Instant::now() + wait;
    let mut copies = Copies {
        nodes,
        call,
        wait_ends,
        give_up: wait_ends + nodes.settings.deadline,
        open: JoinSet::new(),
        newest: 0,
        position: nodes.preferred(),
    };
    copies.run().await
}

/// The copies of one request.
struct Copies<'a> {
    nodes: &'a Arc<Nodes>,
    call: &'a Call,
    wait_ends: Instant,
    /// When to stop looking for a node that answers.
    give_up: Instant,
    /// Dropping these closes their connections, and so leaves the queue.
    open: JoinSet<(u32, usize, Result<Answer, Failure>)>,
    newest: u32,
    position: usize,
}

/// What to do next.
enum Next {
    SameNode,
    Elsewhere(Option<Duration>),
    Answer(Box<Result<Answer, Error>>),
}

impl Copies<'_> {
    async fn run(&mut self) -> Result<Answer, Error> {
        let mut unserved = Unserved::default();
        let mut pause = PauseGrows::new();
        loop {
            let wait = self.send();
            match self.follow(wait, &mut unserved).await {
                Next::Answer(answer) => {
                    if answer.is_ok() {
                        self.open.detach_all();
                    }
                    let sends = self.newest;
                    return answer.map(|answer| answer.sent_times(sends));
                }
                Next::SameNode => {}
                Next::Elsewhere(wanted) => {
                    self.position += 1;
                    sleep(pause.next().max(wanted.unwrap_or_default()).min(OVERLAP)).await;
                }
            }
            if Instant::now() >= self.give_up {
                let patience = self.nodes.settings.deadline;
                return Err(unserved.into_error(self.nodes, self.call, patience));
            }
        }
    }

    /// Sends another copy; says how long it waits.
    fn send(&mut self) -> Duration {
        let left = self.wait_ends.saturating_duration_since(Instant::now());
        // Never zero: a request that does not wait is another request.
        let wait = left.min(WAIT_PER_COPY_MAX).max(Duration::from_millis(1));
        let call = with_wait(self.call, wait, self.nodes);
        self.newest += 1;
        if self.open.len() >= OPEN_MAX {
            // So many nodes in turn have been silent; their connections are not kept for ever.
            self.open.abort_all();
        }
        let (number, position, nodes) = (self.newest, self.position, Arc::clone(self.nodes));
        self.open.spawn(async move { (number, position, nodes.ask(position, &call).await) });
        wait
    }

    /// Until the copies that are open give an answer, or another one has to be sent.
    async fn follow(&mut self, wait: Duration, unserved: &mut Unserved) -> Next {
        let runs_out = Instant::now() + wait.saturating_sub(OVERLAP);
        let another = wait == WAIT_PER_COPY_MAX;
        let nodes = self.nodes;
        let silence = silence(nodes, self.position);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                Some(done) = self.open.join_next() => match done {
                    Ok((number, position, result)) => {
                        if let Some(next) = self.judge(number, position, result, unserved) {
                            return next;
                        }
                    }
                    Err(_) if self.open.is_empty() => return Next::Elsewhere(None),
                    Err(_) => {}
                },
                () = &mut silence => return Next::Elsewhere(None),
                () = sleep_until(runs_out), if another => return Next::SameNode,
                () = sleep_until(self.give_up) => return Next::Elsewhere(None),
            }
        }
    }

    /// What one copy's result means; `None`: nothing, others are open.
    fn judge(
        &self,
        number: u32,
        position: usize,
        result: Result<Answer, Failure>,
        unserved: &mut Unserved,
    ) -> Option<Next> {
        let older = number < self.newest && !self.open.is_empty();
        match result {
            Ok(answer) => {
                self.nodes.prefer(position);
                Some(Next::Answer(Box::new(Ok(answer))))
            }
            Err(Failure::Final(error)) if older && error.code() == Some("superseded") => None,
            Err(Failure::Final(error)) => Some(Next::Answer(Box::new(Err(*error)))),
            Err(failure) => {
                let wanted = unserved.note(failure);
                (!older).then_some(Next::Elsewhere(wanted))
            }
        }
    }
}

/// The request, waiting so long.
pub(crate) fn with_wait(call: &Call, wait: Duration, nodes: &Nodes) -> Call {
    let mut call = call.clone().timeout(wait + nodes.settings.request_timeout);
    if let Some(body) = call.body.as_mut().and_then(|body| body.as_object_mut()) {
        body.insert("wait".to_owned(), json!(millis(wait)));
    }
    call
}

/// Returns when a node did not answer twice in turn, or knew no leader.
pub(crate) async fn silence(nodes: &Nodes, position: usize) {
    let interval = nodes.settings.probe_interval;
    let probe = Call::get(PROBE_PATH).timeout(interval);
    let mut missed = 0;
    while missed < 2 {
        sleep(interval).await;
        let well = match nodes.ask(position, &probe).await {
            Ok(answer) => answer.knows_leader,
            // Whatever it says, it lives.
            Err(Failure::Final(_)) => true,
            Err(Failure::Unserved { .. } | Failure::Unknown(_)) => false,
        };
        missed = if well { 0 } else { missed + 1 };
    }
}

const PROBE_PATH: &[&str] = &["v1", "cluster"];

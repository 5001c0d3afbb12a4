//! What is counted of queues.
//!
//! No topic is a label: their number is the users'. What a topic holds is at `/v1/queues/{topic}`.

use std::collections::BTreeMap;

use dsync_core::queue::QueuesView;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::ReasonLabel;

/// What queues hold, and what has kept Redis from serving them.
#[derive(Clone, Debug, Default)]
pub struct QueueMetrics {
    topics: Gauge,
    messages: Gauge,
    bytes: Gauge,
    waiting: Gauge,
    redis_problems: Family<ReasonLabel, Counter>,
}

impl QueueMetrics {
    /// Takes down what there is now. The metrics routes call it before they answer.
    pub fn record(
        &self,
        queues: &QueuesView<'_>,
        waiting: usize,
        problems: &BTreeMap<&'static str, u64>,
    ) {
        let usage = queues.usage();
        set(&self.topics, queues.topics() as u64);
        set(&self.messages, usage.messages);
        set(&self.bytes, usage.bytes);
        set(&self.waiting, waiting as u64);
        for (reason, total) in problems {
            let counter = self.redis_problems.get_or_create(&ReasonLabel { reason });
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    pub(super) fn register(&self, to: &mut Registry) {
        to.register("queue_topics", "Topics, wherever their messages are", self.topics.clone());
        to.register("queue_log_messages", "Messages in the log's topics", self.messages.clone());
        let (help, bytes) = ("Bytes of the messages in the log's topics", self.bytes.clone());
        to.register_with_unit("queue_log", help, Unit::Bytes, bytes);
        to.register(
            "queue_receives_waiting",
            "Requests that wait for messages at this node",
            self.waiting.clone(),
        );
        to.register(
            "queue_redis_problems",
            "Scripts that Redis did not run for this node, by the problem's code",
            self.redis_problems.clone(),
        );
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

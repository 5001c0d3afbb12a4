//! How long the peer side waits and how much it holds.

use std::time::Duration;

/// Times and sizes of the peer side. The defaults are meant for production; a test or a simulation
/// may choose others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// From accept, or from the first byte sent by a dialler, to a proven stream.
    pub handshake: Duration,
    /// For one whole HTTP header within the handshake.
    pub header: Duration,
    /// For a TCP connection to one address.
    pub connect: Duration,
    /// A stream that has been silent for so long says that it is still there.
    pub keepalive: Duration,
    /// A stream on which nothing came for so long is given up: several keepalives are missing.
    pub idle: Duration,
    /// A peer that takes no byte for so long is given up.
    pub write_stall: Duration,
    /// First pause after a failed dial.
    pub retry_min: Duration,
    /// Longest pause after failed dials.
    pub retry_max: Duration,
    /// Pause before an address that led back to this node is tried again: it may have moved.
    pub own_address: Duration,
    /// How long an older process of a node that comes again has to say that it still lives. Shorter
    /// than what a restart after a cut may take, longer than a living peer's link and process need.
    pub probe: Duration,
    /// Pause before a node asks again that was told that its node id is in use.
    pub retry_in_use: Duration,
    /// How often DNS is asked while a peer is missing.
    pub resolve_missing: Duration,
    /// How often DNS is asked while all are connected, to find new ones.
    pub resolve_settled: Duration,
    /// How often the file of secrets is read.
    pub secret_reload: Duration,
    /// How long a stopping node tries to write what waits.
    pub drain: Duration,
    /// Bytes that may wait for one urgent connection.
    pub urgent_bytes: usize,
    /// Bytes that may wait for one bulk connection.
    pub bulk_bytes: usize,
    /// About how many bytes go into one write.
    pub batch_bytes: usize,
    /// Incoming connections that may be unproven at once; the oldest gives way to the next.
    pub unproven: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(3),
            connect: Duration::from_secs(2),
            keepalive: Duration::from_secs(3),
            idle: Duration::from_secs(15),
            write_stall: Duration::from_secs(5),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(1),
            own_address: Duration::from_secs(30),
            probe: Duration::from_millis(800),
            retry_in_use: Duration::from_millis(100),
            resolve_missing: Duration::from_secs(1),
            resolve_settled: Duration::from_secs(10),
            secret_reload: Duration::from_secs(5),
            drain: Duration::from_secs(1),
            urgent_bytes: 1024 * 1024,
            bulk_bytes: 8 * 1024 * 1024,
            batch_bytes: 256 * 1024,
            unproven: 128,
        }
    }
}

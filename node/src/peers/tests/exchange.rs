//! Messages between honest nodes.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_nodes_exchange_messages_on_both_lanes() {
    let mut nodes = cluster(2).await;
    nodes[0].send(2, heartbeat(7));
    assert_eq!(nodes[1].message().await.message, heartbeat(7));
    nodes[0].send(2, append(8));
    assert_eq!(nodes[1].message().await.message, append(8));
    nodes[1].send(1, append(9));
    let answer = nodes[0].message().await;
    assert_eq!((answer.from, answer.to, answer.message), (NodeId(2), NodeId(1), append(9)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_nodes_reach_each_other_and_each_node_only_gets_what_is_its_own() {
    let mut nodes = cluster(3).await;
    for from in 0..3 {
        for to in (1..=3).filter(|to| *to != from + 1) {
            nodes[usize::try_from(from).unwrap()].send(to, append(from + 1));
        }
    }
    for id in 1..=3_u64 {
        let node = &mut nodes[usize::try_from(id - 1).unwrap()];
        let mut senders = [node.message().await, node.message().await].map(|m| m.from.0);
        senders.sort_unstable();
        assert_eq!(senders.to_vec(), (1..=3).filter(|from| *from != id).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn messages_of_one_lane_arrive_in_the_order_sent() {
    let mut nodes = cluster(2).await;
    (0..500).for_each(|index| nodes[0].send(2, append(index)));
    for index in 0..500 {
        assert_eq!(nodes[1].message().await.message, append(index));
    }
}

#[tokio::test]
async fn the_largest_frame_passes_and_a_larger_message_is_dropped_and_counted() {
    let mut nodes = cluster(2).await;
    // 256 KiB less a few bytes of addresses and lengths.
    nodes[0].send(2, large(frame::FRAME_BODY_BYTES_MAX - 32));
    assert_eq!(nodes[1].message().await.message, large(frame::FRAME_BODY_BYTES_MAX - 32));
    nodes[0].send(2, large(frame::FRAME_BODY_BYTES_MAX));
    assert_eq!(nodes[0].peers.metrics().drops_oversized.get(), 1);
    nodes[0].send(2, append(1));
    assert_eq!(nodes[1].message().await.message, append(1));
}

#[tokio::test]
async fn a_message_to_nobody_known_is_dropped_and_counted() {
    let node = Setup::new(1).start().await;
    node.send(2, append(1));
    assert_eq!(node.peers.metrics().drops_unconnected.get(), 1);
}

/// A new pod can often dial before DNS tells the others of it.
#[tokio::test]
async fn a_node_that_cannot_dial_a_peer_sends_by_the_connections_that_it_accepted() {
    let quiet = Setup::new(1).start().await;
    let mut dialling = Setup::new(2).dialling(&[quiet.address]).start().await;
    quiet.knows(2, |peer| peer.accepted == 2).await;
    quiet.send(2, heartbeat(1));
    assert_eq!(dialling.message().await.message, heartbeat(1));
    quiet.send(2, append(2));
    assert_eq!(dialling.message().await.message, append(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_restarted_node_is_known_by_its_new_boot_id_and_reached_again() {
    let mut nodes = cluster(2).await;
    let second = nodes.pop().unwrap();
    let first = &mut nodes[0];
    second.peers.shutdown().await;
    first.unreachable(2).await;

    let again = TcpListener::bind(second.address).await.unwrap();
    let mut setup = Setup::new(2).dialling(&[first.address]);
    setup.introduction.boot_id = BootId(99);
    let mut second = setup.start_on(again);
    first.knows(2, |peer| peer.introduction.boot_id == BootId(99) && peer.dialled == 2).await;
    first.send(2, append(5));
    assert_eq!(second.message().await.message, append(5));
}

#[tokio::test]
async fn a_new_process_of_a_node_ends_the_connections_of_its_last_one_which_is_asked_first() {
    let node =
        Setup::new(1).limits(|limits| limits.probe = Duration::from_millis(20)).start().await;
    // It says nothing more, as a process that is stopped, or one on a machine that has gone.
    let mut old = proven(node.address, 2, Lane::Urgent).await;
    node.knows(2, |peer| peer.accepted == 1).await;
    let mut own = introduction(2);
    own.boot_id = BootId(99);
    let _new = dial_as(node.address, own, SECRET, Lane::Bulk).await.unwrap();
    assert!(matches!(within(old.reader.next()).await.unwrap().0, Frame::Probe(_)));
    assert!(within(old.reader.next()).await.is_err());
    let peer = node.knows(2, |peer| peer.introduction.boot_id == BootId(99)).await;
    assert_eq!(peer.accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_waits_is_written_before_a_node_stops() {
    let mut nodes = cluster(2).await;
    let mut second = nodes.pop().unwrap();
    let first = nodes.pop().unwrap();
    (0..100).for_each(|index| first.send(2, append(index)));
    first.peers.shutdown().await;
    for index in 0..100 {
        assert_eq!(second.message().await.message, append(index));
    }
    assert!(TcpStream::connect(first.address).await.is_err(), "it still listens");
}

#[tokio::test]
async fn a_peer_that_does_not_read_costs_messages_but_no_memory_and_no_time() {
    const MESSAGES: u64 = 400;
    let mut node = Setup::new(1)
        .limits(|limits| {
            limits.bulk_bytes = 1024 * 1024;
            limits.batch_bytes = 64 * 1024;
        })
        .start()
        .await;
    let _stalled = proven(node.address, 2, Lane::Bulk).await;
    let mut urgent = proven(node.address, 2, Lane::Urgent).await;
    node.knows(2, |peer| peer.accepted == 2).await;
    // `send` cannot wait: it is no async function. 80 MB, far more than sockets hold.
    for _ in 0..MESSAGES {
        node.send(2, large(200 * 1024));
        // Lets the writer fill the socket.
        tokio::task::yield_now().await;
        assert!(node.info(2).unwrap().queued_bytes <= 1024 * 1024);
    }
    assert!(node.peers.metrics().drops_overflow.get() > 0);
    // Told once, so that consensus probes instead of waiting for answers.
    node.unreachable(2).await;
    // The other lane is free.
    node.send(2, heartbeat(1));
    let (frame, _) = within(urgent.reader.next()).await.unwrap();
    assert!(matches!(frame, Frame::Message(PeerFrame::V1(e)) if e.message == heartbeat(1)));
}

#[tokio::test]
async fn a_peer_that_takes_no_byte_is_given_up() {
    let mut node = Setup::new(1)
        .limits(|limits| {
            limits.write_stall = Duration::from_millis(50);
            limits.bulk_bytes = 64 * 1024 * 1024;
            // Its silence must not be what ends it.
            limits.idle = Duration::from_secs(3600);
        })
        .start()
        .await;
    let mut stalled = proven(node.address, 2, Lane::Bulk).await;
    node.knows(2, |peer| peer.accepted == 1).await;
    (0..300).for_each(|_| node.send(2, large(200 * 1024)));
    node.unreachable(2).await;
    node.knows(2, |peer| !peer.is_connected()).await;
    // What is left in the sockets can be read, and then comes the end.
    while within(stalled.reader.next()).await.is_ok() {}
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up() {
    let mut node =
        Setup::new(1).limits(|limits| limits.idle = Duration::from_millis(50)).start().await;
    let _silent = proven(node.address, 2, Lane::Urgent).await;
    node.unreachable(2).await;
    assert!(!node.info(2).unwrap().is_connected());
}

#[tokio::test]
async fn keepalives_flow_both_ways_while_nothing_else_does() {
    let node =
        Setup::new(1).limits(|limits| limits.keepalive = Duration::from_millis(5)).start().await;
    let mut peer = proven(node.address, 2, Lane::Urgent).await;
    for _ in 0..3 {
        assert_eq!(within(peer.reader.next()).await.unwrap().0, Frame::KeepAlive);
    }
}

/// A node that is too busy to take messages slows its peers down; it does not hoard.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_node_that_takes_no_events_stops_reading() {
    const MESSAGES: u64 = 300;
    let mut setup = Setup::new(2);
    setup.events = 16;
    let busy = setup.start().await;
    let first = Setup::new(1).dialling(&[busy.address]).start().await;
    first.knows(2, |peer| peer.dialled == 2).await;
    // 60 MB: more than queue and sockets hold.
    for _ in 0..MESSAGES {
        first.send(2, large(200 * 1024));
        tokio::task::yield_now().await;
    }
    assert!(first.peers.metrics().drops_overflow.get() > 0);
    assert!(busy.peers.metrics().frames_in.get() <= 16);
}

#[tokio::test]
async fn bytes_and_frames_are_counted_alike_on_both_sides() {
    let node = Setup::new(1).start().await;
    let mut peer = proven(node.address, 2, Lane::Bulk).await;
    node.knows(2, |peer| peer.accepted == 1).await;
    node.send(2, append(1));
    let (_, bytes) = within(peer.reader.next()).await.unwrap();
    node.peers.shutdown().await;
    let metrics = node.peers.metrics();
    assert_eq!((metrics.frames_out.get(), metrics.bytes_out.get()), (1, bytes as u64));
    assert_eq!((metrics.accepted.get(), metrics.dialled.get()), (1, 0));
}

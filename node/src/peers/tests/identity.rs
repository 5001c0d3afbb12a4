//! Who may talk to whom, and by which name it is refused.

use super::*;

fn own(id: u64, change: impl FnOnce(&mut Introduction)) -> Introduction {
    let mut own = introduction(id);
    change(&mut own);
    own
}

#[tokio::test]
async fn a_node_hears_who_its_peer_is_and_what_becomes_of_it() {
    let mut nodes = cluster(2).await;
    let introduced = |event| match event {
        PeerEvent::Introduced(introduction) => Some(introduction),
        _ => None,
    };
    assert_eq!(nodes[1].event(introduced).await, introduction(1));
    let founder = own(1, |own| (own.empty, own.cluster_id) = (false, Some(ClusterId(5))));
    nodes[0].peers.set_introduction(founder.clone());
    let seen =
        nodes[1].event(|event| introduced(event).filter(|introduction| !introduction.empty)).await;
    assert_eq!(seen, founder);
    nodes[1].knows(1, |peer| peer.introduction == founder).await;
}

#[tokio::test]
async fn a_connection_begun_before_a_change_hears_of_the_change() {
    let node = Setup::new(1).start().await;
    let shared = node.peers.shared.clone();
    // The judge runs inside the handshake, after the node has said who it is.
    let founder = own(1, |own| own.empty = false);
    let stream = TcpStream::connect(node.address).await.unwrap();
    let judge = async |_: Introduction| {
        shared.table.set_own(founder.clone());
        Ok(1)
    };
    let secrets = secrets(SECRET);
    let dial = handshake::dial(stream, &secrets, Lane::Bulk, introduction(2), judge);
    let mut proven = within(dial).await.unwrap();
    assert!(proven.theirs.empty);
    assert_eq!(within(proven.reader.next()).await.unwrap().0, Frame::Introduction(founder.clone()));
}

#[tokio::test]
async fn nodes_of_two_clusters_refuse_each_other_by_name() {
    let mut first = Setup::new(1);
    first.introduction.cluster_id = Some(ClusterId(1));
    let mut first = first.start().await;
    let mut second = Setup::new(2).dialling(&[first.address]);
    second.introduction.cluster_id = Some(ClusterId(2));
    let mut second = second.start().await;
    let (ours, theirs) = (ClusterId(1), ClusterId(2));
    assert_eq!(first.refusal().await.0, Refusal::OtherCluster { ours, theirs });
    assert!(matches!(second.refusal().await.0, Refusal::OtherCluster { .. }));
    assert_eq!(first.peers.known(), []);
    assert_eq!(second.peers.known(), []);
}

#[tokio::test]
async fn a_node_that_joins_another_cluster_is_told_why_and_left() {
    let mut nodes = cluster(2).await;
    let joined = |id, cluster| own(id, |own| own.cluster_id = Some(ClusterId(cluster)));
    nodes[0].peers.set_introduction(joined(1, 1));
    nodes[1].knows(1, |peer| peer.introduction.cluster_id == Some(ClusterId(1))).await;
    nodes[1].peers.set_introduction(joined(2, 2));
    assert!(matches!(nodes[1].refusal().await.0, Refusal::OtherCluster { .. }));
    nodes[0].knows(2, |peer| !peer.is_connected()).await;
    nodes[1].knows(1, |peer| !peer.is_connected()).await;
}

#[tokio::test]
async fn a_name_held_by_a_living_node_is_refused_to_another_disk() {
    let mut node = Setup::new(1).start().await;
    let holder = proven(node.address, 2, Lane::Urgent).await;
    node.knows(2, |peer| peer.accepted == 1).await;

    let impostor = own(9, |own| own.name = NodeName("node-2".into()));
    let refused = dial_as(node.address, impostor.clone(), SECRET, Lane::Urgent).await;
    let in_use = Refusal::NameInUse { name: NodeName("node-2".into()), holder: NodeId(2) };
    assert!(matches!(refused, Err(HandshakeError::RefusedByPeer(reason)) if reason == in_use));
    assert_eq!(node.refusal().await, (in_use, false));

    // When the holder has gone the name is free.
    drop(holder);
    node.unreachable(2).await;
    let _heir = dial_as(node.address, impostor, SECRET, Lane::Urgent).await.unwrap();
    node.knows(9, PeerInfo::is_connected).await;
    assert_eq!(node.info(2), None);
}

#[tokio::test]
async fn the_own_name_and_the_own_node_id_in_another_process_are_refused() {
    let mut node = Setup::new(1).start().await;
    let namesake = own(9, |own| own.name = NodeName("node-1".into()));
    assert!(dial_as(node.address, namesake, SECRET, Lane::Bulk).await.is_err());
    let holder = NodeId(1);
    let name = NodeName("node-1".into());
    assert_eq!(node.refusal().await.0, Refusal::NameInUse { name, holder });

    let copy = own(1, |own| own.boot_id = BootId(9));
    assert!(dial_as(node.address, copy, SECRET, Lane::Bulk).await.is_err());
    assert_eq!(node.refusal().await.0, Refusal::NodeIdInUse { node_id: NodeId(1) });
}

#[tokio::test]
async fn a_second_process_of_a_living_node_is_refused_until_the_first_has_ended() {
    let nodes = cluster(2).await;
    let mut copy = Setup::new(2).dialling(&[nodes[0].address]);
    copy.introduction.boot_id = BootId(9);
    let mut copy = copy.start().await;
    for _ in 0..3 {
        let in_use = Refusal::NodeIdInUse { node_id: NodeId(2) };
        assert_eq!(copy.refusal().await, (in_use, true));
    }
    let original = nodes[1].introduction.boot_id;
    let seen = nodes[0].info(2).unwrap();
    assert_eq!((seen.introduction.boot_id, seen.dialled, seen.accepted), (original, 2, 2));
    assert_eq!(nodes[1].info(1).map(|peer| (peer.dialled, peer.accepted)), Some((2, 2)));
    assert_eq!(copy.peers.known(), []);

    nodes[1].peers.shutdown().await;
    let heir = |peer: &PeerInfo| peer.introduction.boot_id == BootId(9) && peer.accepted == 2;
    nodes[0].knows(2, heir).await;
}

#[tokio::test]
async fn a_process_on_a_disk_that_was_set_back_is_refused_with_the_evidence() {
    let mut node = Setup::new(1).start().await;
    let old = own(2, |own| (own.boot_count, own.recovered_end) = (BootCount(4), Index(50)));
    let connected = dial_as(node.address, old.clone(), SECRET, Lane::Bulk).await.unwrap();
    node.knows(2, |peer| peer.accepted == 1).await;
    // The log says that an earlier process of that node held more: it is left at once.
    let boot = HeldBoot { boot: BootId(77), count: BootCount(3), held: Index(60) };
    node.peers.set_held([(NodeId(2), boot)].into());
    node.unreachable(2).await;
    drop(connected);

    let (held, recovered) = (Index(60), Index(50));
    let set_back = Refusal::DiskSetBack { boot: old.boot_id, held, recovered };
    let refused = dial_as(node.address, old.clone(), SECRET, Lane::Bulk).await;
    assert!(matches!(refused, Err(HandshakeError::RefusedByPeer(reason)) if reason == set_back));
    assert!(set_back.fatal_for(old.boot_id).is_some());
    assert!(set_back.fatal_for(BootId(9)).is_none(), "another process is not meant");

    // One whose count is not higher is not the newest, whatever it holds.
    let late = own(2, |own| (own.boot_count, own.recovered_end) = (BootCount(3), Index(90)));
    let refused = dial_as(node.address, late, SECRET, Lane::Bulk).await;
    let superseded = |reason: &Refusal| matches!(reason, Refusal::BootSuperseded { .. });
    assert!(matches!(refused, Err(HandshakeError::RefusedByPeer(reason)) if superseded(&reason)));
    // And the next process, on the whole disk, is welcome.
    let next = own(2, |own| (own.boot_count, own.recovered_end) = (BootCount(5), Index(60)));
    let _next = dial_as(node.address, next, SECRET, Lane::Bulk).await.unwrap();
}

#[tokio::test]
async fn versions_without_overlap_are_refused_by_name() {
    let mut node = Setup::new(1).start().await;
    let theirs = ProtocolVersions { min: 7, max: 9 };
    let newer = own(2, |own| own.versions = theirs);
    assert!(dial_as(node.address, newer, SECRET, Lane::Bulk).await.is_err());
    assert_eq!(node.refusal().await.0, Refusal::NoCommonVersion { ours: PROTOCOL, theirs });
}

#[test]
fn two_ranges_of_versions_agree_on_the_newest_that_both_have() {
    let range = |min, max| ProtocolVersions { min, max };
    assert_eq!(range(1, 3).common(range(2, 5)), Some(3));
    assert_eq!(range(2, 5).common(range(1, 3)), Some(3));
    assert_eq!(range(1, 1).common(range(1, 1)), Some(1));
    assert_eq!(range(1, 2).common(range(3, 4)), None);
}

#[tokio::test]
async fn another_node_at_an_address_that_was_listed_by_name_is_refused() {
    let other = Setup::new(2).start().await;
    let mut setup = Setup::new(1);
    setup.peers = format!("node-3={}", other.address).parse().unwrap();
    let mut node = setup.start().await;
    let (expected, found) = (NodeName("node-3".into()), NodeName("node-2".into()));
    assert_eq!(node.refusal().await, (Refusal::WrongNode { expected, found }, false));
    let targets = node.peers.targets();
    assert_eq!(targets[0].expected, Some(NodeName("node-3".into())));
    assert_eq!(targets[0].connected, None);
    assert!(targets[0].problem.is_some());
}

#[tokio::test]
async fn an_introduction_on_the_stream_cannot_change_who_the_peer_is() {
    let node = Setup::new(1).start().await;
    let mut peer = proven(node.address, 2, Lane::Bulk).await;
    liars::write(&mut peer, &Frame::Introduction(introduction(3))).await;
    assert!(within(peer.reader.next()).await.is_err());
    assert_eq!(node.info(3), None);
}

//! Those who know the secret and break the rules, and those who stand in between.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::*;
use crate::peers::handshake::Proven;

pub(super) async fn write(peer: &mut Proven, frame: &Frame) {
    peer.writer.write_all(&frame::encode(frame).unwrap()).await.unwrap();
}

fn envelope(from: u64, to: u64) -> Frame {
    let (from, to, term) = (NodeId(from), NodeId(to), Term(1));
    Frame::Message(PeerFrame::V1(Envelope { from, to, term, message: append(1) }))
}

#[tokio::test]
async fn a_message_in_another_nodes_name_is_dropped_and_closes_the_connection() {
    let mut node = Setup::new(1).start().await;
    let mut peer = proven(node.address, 2, Lane::Bulk).await;
    write(&mut peer, &envelope(3, 1)).await;
    assert!(within(peer.reader.next()).await.is_err());
    node.event(|event| match event {
        PeerEvent::Message(message) => panic!("a forged message came through: {message:?}"),
        PeerEvent::Unreachable(NodeId(2)) => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(node.peers.metrics().forged_senders.get(), 1);
}

#[tokio::test]
async fn a_message_for_another_node_id_is_dropped_and_the_connection_stays() {
    let mut node = Setup::new(1).start().await;
    let mut peer = proven(node.address, 2, Lane::Bulk).await;
    write(&mut peer, &envelope(2, 77)).await;
    write(&mut peer, &envelope(2, 1)).await;
    assert_eq!(node.message().await.to, NodeId(1));
    assert_eq!(node.peers.metrics().drops_misaddressed.get(), 1);
}

#[tokio::test]
async fn broken_frames_and_frames_out_of_place_close_the_connection() {
    let oversized = [u32::MAX.to_le_bytes(), [0; 4]].concat();
    let mut flipped = frame::encode(&Frame::KeepAlive).unwrap().to_vec();
    flipped[8] ^= 1;
    let introduction = introduction(2);
    let hello = frame::encode(&Frame::Hello { lane: Lane::Bulk, introduction }).unwrap().to_vec();
    for (bytes, broken) in [
        (oversized, 1),
        (flipped, 1),
        (frame::seal(b"\xff\xff\xff").unwrap().to_vec(), 1),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1),
        (hello, 0),
    ] {
        let mut node = Setup::new(1).start().await;
        let mut peer = proven(node.address, 2, Lane::Bulk).await;
        peer.writer.write_all(&bytes).await.unwrap();
        assert!(within(peer.reader.next()).await.is_err(), "{bytes:?}");
        node.unreachable(2).await;
        assert_eq!(node.peers.metrics().broken_frames.get(), broken, "{bytes:?}");
    }
}

/// Both ends of a connection that passes through other hands.
struct Tap {
    from_dialler: OwnedReadHalf,
    to_dialler: OwnedWriteHalf,
    from_listener: OwnedReadHalf,
    to_listener: OwnedWriteHalf,
}

impl Tap {
    async fn accept(listener: &TcpListener, target: SocketAddr) -> Self {
        let (dialler, _) = listener.accept().await.unwrap();
        let (from_dialler, to_dialler) = dialler.into_split();
        let (from_listener, to_listener) = TcpStream::connect(target).await.unwrap().into_split();
        Self { from_dialler, to_dialler, from_listener, to_listener }
    }

    /// Passes everything on until both sides are done; gives back what the dialler said.
    async fn relay(mut self) -> Vec<u8> {
        let mut said = Vec::new();
        let forth = async {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = self.from_dialler.read(&mut buffer).await {
                said.extend_from_slice(&buffer[..count]);
                let _ = self.to_listener.write_all(&buffer[..count]).await;
            }
            let _ = self.to_listener.shutdown().await;
        };
        let back = async {
            let _ = tokio::io::copy(&mut self.from_listener, &mut self.to_dialler).await;
            let _ = self.to_dialler.shutdown().await;
        };
        tokio::join!(forth, back);
        said
    }
}

#[tokio::test]
async fn a_recorded_handshake_is_worth_nothing_the_second_time() {
    let node = Setup::new(1).start().await;
    let tap = listener().await;
    let through = tap.local_addr().unwrap();
    let record = async { Tap::accept(&tap, node.address).await.relay().await };
    let honest = async {
        let peer = proven(through, 2, Lane::Urgent).await;
        node.knows(2, |peer| peer.accepted == 1).await;
        drop(peer);
    };
    let (said, ()) = tokio::join!(within(record), honest);
    node.knows(2, |peer| !peer.is_connected()).await;

    let answer = strangers::say(node.address, &said).await;
    assert!(answer.contains("401 Unauthorized") && answer.contains("403 Forbidden"), "{answer}");
    assert!(!answer.contains("101 Switching"), "{answer}");
    assert_eq!(node.peers.metrics().accepted.get(), 1);
}

/// A listener without the secret asks the dialler's own listener for the proofs that it lacks.
#[tokio::test]
async fn a_node_that_is_led_back_to_itself_notices_and_tells_nobody() {
    let tap = listener().await;
    let mut node = Setup::new(1)
        .dialling(&[tap.local_addr().unwrap()])
        .limits(|limits| limits.own_address = Duration::from_millis(1))
        .start()
        .await;
    for _ in 0..4 {
        within(Tap::accept(&tap, node.address).await.relay()).await;
    }
    assert_eq!(node.peers.known(), []);
    assert!(node.events.try_recv().is_err(), "addresses are no trouble");
}

/// A listener without the secret sends the dialler's own proof back.
#[tokio::test]
async fn a_reflected_proof_is_no_proof() {
    let false_listener = listener().await;
    let address = false_listener.local_addr().unwrap();
    let reflect = async {
        let (mut stream, _) = false_listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        let nonce = header(&request, "dsync-peer-nonce");
        let answer = format!(
            "HTTP/1.1 401 Unauthorized\r\ndsync-peer-nonce: {nonce}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let request = read_request(&mut stream).await;
        let proof = header(&request, "dsync-peer-proof");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: dsync-peer\r\n\
             dsync-peer-proof: {proof}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (request, rest)
    };
    let dial = dial_as(address, introduction(1), SECRET, Lane::Urgent);
    let ((request, rest), dialled) = tokio::join!(within(reflect), dial);
    assert!(matches!(dialled, Err(HandshakeError::WrongSecret)));
    // Nor has the false listener learned who the dialler is.
    assert_eq!(rest, b"");
    assert!(!request.contains("node-1"), "{request}");
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    let line = request.lines().find(|line| line.to_lowercase().starts_with(name)).unwrap();
    line.split_once(':').unwrap().1.trim()
}

/// Someone on the way lets the proofs of the secret pass and then speaks with another name. The frame
/// that it puts in place of the dialler's own is whole in every other respect.
#[tokio::test]
async fn an_introduction_that_was_altered_on_the_way_is_noticed() {
    let node = Setup::new(1).start().await;
    let tap = listener().await;
    let through = tap.local_addr().unwrap();
    let alter = async {
        let mut tap = Tap::accept(&tap, node.address).await;
        let back = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut tap.from_listener, &mut tap.to_dialler).await;
        });
        for _ in 0..2 {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(tap.from_dialler.read_u8().await.unwrap());
            }
            tap.to_listener.write_all(&request).await.unwrap();
        }
        let mut frames = frame::FrameReader::new(&mut tap.from_dialler, &[]);
        while let Ok((frame, _)) = frames.next().await {
            let frame = match frame {
                Frame::Hello { lane, .. } => Frame::Hello { lane, introduction: introduction(3) },
                other => other,
            };
            let _ = tap.to_listener.write_all(&frame::encode(&frame).unwrap()).await;
        }
        back.abort();
    };
    let dial = dial_as(through, introduction(2), SECRET, Lane::Urgent);
    let ((), dialled) = tokio::join!(within(alter), dial);
    assert!(matches!(dialled, Err(HandshakeError::Altered)), "{dialled:?}");
    assert_eq!(node.peers.known(), []);
    assert_eq!(node.peers.metrics().accepted.get(), 0);
}

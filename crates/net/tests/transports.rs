//! Each transport carries messages there and back, over IPv4 and IPv6.

mod common;

use common::*;
use farspeak_net::NetConfig;
use farspeak_sansio::Transport;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

async fn udp_echo(bind: &str, connect: Option<&str>) {
    let mut node = Node::start(&[(Transport::Udp, bind.parse().unwrap())], quick());
    let mut address = node.address(0);
    if let Some(ip) = connect {
        address.set_ip(ip.parse().unwrap());
    }
    let any = if address.is_ipv4() { loopback() } else { loopback6() };
    let client = UdpSocket::bind(any).await.unwrap();
    client.connect(address).await.unwrap();
    client.send(b"hello").await.unwrap();
    let mut buffer = [0; 100];
    let length = within(client.recv(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"0 echo: hello");
    let (flow, _) = node.received().await;
    assert_eq!((flow.local, flow.remote), (address, client.local_addr().unwrap()));
}

#[tokio::test]
async fn udp_echoes() {
    udp_echo("127.0.0.1:0", None).await;
    udp_echo("[::1]:0", None).await;
}

#[tokio::test]
async fn udp_on_a_wildcard_answers_from_the_address_asked() {
    udp_echo("0.0.0.0:0", Some("127.0.0.7")).await;
    udp_echo("[::]:0", Some("::1")).await;
}

#[tokio::test]
async fn udp_answers_keep_alives_and_drops_what_is_broken() {
    let node = Node::one(Transport::Udp, quick());
    let client = UdpSocket::bind(loopback()).await.unwrap();
    client.connect(node.address(0)).await.unwrap();
    let mut buffer = [0; 100];
    for (sent, answered) in [(&b"ping"[..], &b"\r\n"[..]), (b"broken", b"that was broken\n")] {
        client.send(sent).await.unwrap();
        let length = within(client.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..length], answered);
    }
}

#[tokio::test]
async fn tcp_echoes() {
    for address in [loopback(), loopback6()] {
        let mut node = Node::start(&[(Transport::Tcp, address)], quick());
        let mut client = node.tcp(0).await;
        client.say("hel").await;
        client.say("lo\nworld\nping\n").await;
        client.expect("0 echo: hello").await;
        client.expect("0 echo: world").await;
        client.expect("").await;
        let (flow, _) = node.received().await;
        assert_eq!((flow.local, flow.remote), (node.address(0), client.io.local_addr().unwrap()));
    }
}

#[tokio::test]
async fn tls_echoes_by_either_version() {
    for address in [loopback(), loopback6()] {
        let node = Node::start(&[(Transport::Tls, address)], quick());
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let config = rustls::ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates({
                    let mut roots = rustls::RootCertStore::empty();
                    roots.add(node.root.clone()).unwrap();
                    roots
                })
                .with_no_client_auth();
            let tcp = TcpStream::connect(node.address(0)).await.unwrap();
            let mut client = Lined::new(within(connector(config).connect(localhost(), tcp)).await.unwrap());
            client.say("thrice\n").await;
            for line in ["1", "2", "3"] {
                client.expect(line).await;
            }
        }
    }
}

async fn websocket<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let mut request = "ws://localhost/sip".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
    let (socket, response) = within(tokio_tungstenite::client_async(request, io)).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
    socket
}

async fn websocket_echo<S: AsyncRead + AsyncWrite + Unpin>(mut client: WebSocketStream<S>) {
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(within(client.next()).await.unwrap().unwrap(), Message::text("0 echo: hello"));
    client.send(Message::binary(&b"\xff"[..])).await.unwrap();
    let answer = within(client.next()).await.unwrap().unwrap();
    assert!(answer.is_text()); // the test machine made it UTF-8
    client.close(None).await.unwrap();
    while let Some(Ok(message)) = within(client.next()).await {
        assert!(message.is_close());
    }
}

#[tokio::test]
async fn websockets_echo() {
    for address in [loopback(), loopback6()] {
        let mut node = Node::start(&[(Transport::Ws, address), (Transport::Wss, address)], quick());
        let tcp = TcpStream::connect(node.address(0)).await.unwrap();
        websocket_echo(websocket(tcp).await).await;
        assert_eq!(node.failed().await.transport, Transport::Ws);
        websocket_echo(websocket(node.tls(1).await.io).await).await;
        assert_eq!(node.failed().await.transport, Transport::Wss);
    }
}

#[tokio::test]
async fn silent_websockets_are_pinged() {
    let mut config = quick();
    config.stream.websocket_ping = std::time::Duration::from_millis(20);
    let node = Node::one(Transport::Ws, config);
    let mut client = websocket(TcpStream::connect(node.address(0)).await.unwrap()).await;
    assert!(within(client.next()).await.unwrap().unwrap().is_ping());
}

#[tokio::test]
async fn websocket_pings_are_answered() {
    let node = Node::one(Transport::Ws, quick());
    let mut client = websocket(TcpStream::connect(node.address(0)).await.unwrap()).await;
    client.send(Message::Ping("still there?".into())).await.unwrap();
    assert_eq!(within(client.next()).await.unwrap().unwrap(), Message::Pong("still there?".into()));
}

#[tokio::test]
async fn messages_that_wait_together_leave_in_one_tls_record() {
    let node = Node::one(Transport::Tls, quick());
    let mut client = node.tls(0).await;
    client.say("thrice\n").await;
    let mut buffer = [0; 100];
    let length = within(client.io.read(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..length], b"1\n2\n3\n");
}

#[tokio::test]
async fn both_wildcards_share_a_port() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let first = Node::start(&[(transport, "0.0.0.0:0".parse().unwrap())], quick());
        let v6 = format!("[::]:{}", first.address(0).port()).parse().unwrap();
        let second = Node::start(&[(transport, v6)], quick());
        assert_eq!(second.address(0), v6);
    }
}

#[tokio::test]
async fn silent_streams_get_a_line_end() {
    let mut config = quick();
    config.stream.keep_alive = std::time::Duration::from_millis(20);
    let node = Node::one(Transport::Tcp, config);
    node.tcp(0).await.expect("").await;
}

async fn http(node: &Node, request: &str) -> String {
    let mut client = TcpStream::connect(node.address(0)).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = within(client.read_to_string(&mut answer)).await;
    answer
}

#[tokio::test]
async fn other_paths_are_not_found_and_sip_wants_an_upgrade() {
    let node = Node::one(Transport::Ws, quick());
    let answer = http(&node, "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let answer = http(&node, "GET /sip HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

#[tokio::test]
async fn routes_can_be_handed_in() {
    let config = NetConfig {
        http: Some(std::sync::Arc::new(|request| {
            let path = request.uri().path().to_owned();
            Box::pin(async move { hyper::Response::new(format!("you asked for {path}").into()) })
        })),
        ..quick()
    };
    let node = Node::one(Transport::Ws, config);
    let answer = http(&node, "GET /phone HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("you asked for /phone"), "{answer}");
}

#[tokio::test]
async fn timers_fire() {
    let node = Node::one(Transport::Tcp, quick());
    let mut client = node.tcp(0).await;
    client.say("later\nlater\n").await;
    client.expect("later").await;
    client.expect("later").await;
}

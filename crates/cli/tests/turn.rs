//! The STUN and TURN service of the real program: every transport, every kind of account, the operator's commands.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::relayed::{Relayed, tls};
use common::{Node, Scratch, text};
use farspeak_sansio::Transport;
use farspeak_sip::digest::{Challenge, Identity};
use rustix::process::Signal;
use serde_json::Value;

/// Peers on this very address may be reached.
const LOOPBACK: &str = "allow_peers = [\"127.0.0.1\"]\n";

fn configure(scratch: &Scratch, turn: &str) {
    scratch.configure("");
    let base = std::fs::read_to_string(scratch.config()).unwrap();
    std::fs::write(scratch.config(), base.replace("[turn]\n", &format!("[turn]\n{turn}"))).unwrap();
}

fn address(node: &Node, transport: &str) -> SocketAddr {
    let all = node.ready["turn"].as_array().unwrap();
    let found = all.iter().find(|it| it["transport"] == transport).unwrap_or_else(|| panic!("{all:?}"));
    found["address"].as_str().unwrap().parse().unwrap()
}

fn authority(scratch: &Scratch) -> Vec<u8> {
    scratch.run(&["ca"]).stdout
}

fn credential(scratch: &Scratch) -> (String, String) {
    let issued = scratch.json(&["turn", "credentials", "--user", "guest", "--ttl", "10m"]);
    assert_eq!(issued["ttl"], 600);
    (issued["username"].as_str().unwrap().to_owned(), issued["credential"].as_str().unwrap().to_owned())
}

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    peer
}

/// There and back through a channel.
fn relays(client: &mut Relayed) {
    let relayed = client.allocate().unwrap();
    let peer = peer();
    let there = peer.local_addr().unwrap();
    client.bind(there).unwrap();
    client.send(there, b"there");
    let mut buffer = [0; 100];
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"there"[..], relayed));
    peer.send_to(b"and back", from).unwrap();
    assert_eq!(client.receive(), (there, b"and back".to_vec()));
}

#[test]
fn turn_alone_relays_over_every_transport() {
    let scratch = Scratch::new();
    configure(&scratch, LOOPBACK);
    let node = Node::start(scratch.command(&["serve", "--json", "--only", "turn"]));
    assert!(node.ready["listening"].as_array().unwrap().is_empty(), "{}", node.ready);
    let (name, password) = credential(&scratch);
    let authority = authority(&scratch);
    for (transport, word) in [(Transport::Udp, "UDP"), (Transport::Tcp, "TCP"), (Transport::Tls, "TLS")] {
        relays(&mut Relayed::connect(transport, address(&node, word), &authority, &name, &password));
    }
    let mut stranger = Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", &name, "guessed");
    stranger.allocate().unwrap_err();
    node.stop();
}

#[test]
fn users_relay_with_the_password_of_their_phones() {
    let scratch = Scratch::new();
    configure(&scratch, LOOPBACK);
    let node = scratch.serve();
    let alice = scratch.json(&["user", "add", "alice"]);
    let password = alice["password"].as_str().unwrap();
    relays(&mut Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "alice", password));
    relays(&mut Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "alice@localhost", password));
    // A name that could be the time in a credential of the shared secret.
    let number = scratch.json(&["user", "add", "4930123456"]);
    let of_number = number["password"].as_str().unwrap();
    relays(&mut Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "4930123456", of_number));
    scratch.run(&["user", "remove", "alice", "--yes"]);
    Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "alice", password).allocate().unwrap_err();
    node.stop();
}

#[test]
fn refuses_private_peers_until_the_configuration_allows_them_and_again_afterwards() {
    let scratch = Scratch::new();
    configure(&scratch, "users = [\"bob:secret\"]\n");
    let node = scratch.serve();
    let mut client = Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "bob", "secret");
    client.allocate().unwrap();
    let peer = peer();
    let there = peer.local_addr().unwrap();
    assert!(client.bind(there).unwrap_err().contains("403"));
    configure(&scratch, &format!("users = [\"bob:secret\"]\n{LOOPBACK}"));
    let changed = scratch.json(&["reload"]);
    assert_eq!(changed["changed"], serde_json::json!(["turn.allow_peers"]));
    let mut client = Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "bob", "secret");
    client.allocate().unwrap();
    client.bind(there).unwrap();
    client.send(there, b"once");
    let mut buffer = [0; 100];
    assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
    configure(&scratch, "users = [\"bob:secret\"]\n");
    scratch.json(&["reload"]);
    client.send(there, b"twice");
    // What the same client asks next is answered after its data was relayed, or was not.
    assert!(client.bind(self::peer().local_addr().unwrap()).unwrap_err().contains("403"));
    peer.set_nonblocking(true).unwrap();
    assert!(peer.recv(&mut buffer).is_err(), "a permission that the new policy refuses is over");
    node.stop();
}

#[test]
fn the_https_port_is_shared_by_protocol_name_and_by_first_byte() {
    let scratch = Scratch::new();
    configure(&scratch, LOOPBACK);
    let node = scratch.serve();
    let https = node.address("WSS");
    let (name, password) = credential(&scratch);
    let authority = authority(&scratch);
    relays(&mut Relayed::connect(Transport::Tls, https, &authority, &name, &password));
    relays(&mut Relayed::connect(Transport::Udp, https, &authority, &name, &password));
    // Without a protocol name, the first byte tells.
    let mut stun = tls(TcpStream::connect(https).unwrap(), &authority, &[]);
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    stun.write_all(&binding).unwrap();
    let mut answer = [0; 20];
    stun.read_exact(&mut answer).unwrap();
    assert_eq!((&answer[..2], &answer[8..]), (&[1, 1][..], &[7; 12][..]));
    for protocols in [&[][..], &["http/1.1"][..]] {
        assert!(get(https, &authority, protocols, "/elsewhere", "").starts_with("HTTP/1.1 404"));
    }
    node.stop();
}

fn get(https: SocketAddr, authority: &[u8], protocols: &[&str], path: &str, header: &str) -> String {
    ask(https, authority, protocols, "GET", path, header)
}

fn ask(https: SocketAddr, authority: &[u8], protocols: &[&str], method: &str, path: &str, header: &str) -> String {
    let mut http = tls(TcpStream::connect(https).unwrap(), authority, protocols);
    write!(http, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = http.read_to_end(&mut answer); // it may end without a goodbye
    text(&answer)
}

#[test]
fn a_user_gets_a_credential_over_https() {
    let scratch = Scratch::new();
    configure(&scratch, LOOPBACK);
    let node = scratch.serve();
    let (https, authority) = (node.address("WSS"), authority(&scratch));
    let alice = scratch.json(&["user", "add", "alice"]);
    let password = alice["password"].as_str().unwrap();
    let refused = get(https, &authority, &[], "/turn", "");
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("algorithm=SHA-256"), "{refused}");
    let wrong = base64("alice:guessed");
    assert!(
        get(https, &authority, &[], "/turn", &format!("Authorization: Basic {wrong}\r\n")).starts_with("HTTP/1.1 401")
    );
    // RFC 7616: each of the two challenges can be answered, each count once.
    for (at, algorithm) in ["SHA-256", "MD5"].into_iter().enumerate() {
        let value = refused.lines().filter_map(|line| line.strip_prefix("www-authenticate: ")).nth(at).unwrap();
        let challenge = Challenge::parse(value).unwrap();
        assert!(value.contains(&format!("algorithm={algorithm}")), "{value}");
        let digest = |password: &str, nc| {
            let answer = challenge.answer(&Identity { username: "alice", password }, "GET", "/turn", "c0ffee", nc);
            get(https, &authority, &[], "/turn", &format!("Authorization: {answer}\r\n"))
        };
        let nc = at as u32 + 1;
        assert!(digest("guessed", nc).starts_with("HTTP/1.1 401"));
        assert!(digest(password, nc).starts_with("HTTP/1.1 200"));
        let replayed = digest(password, nc);
        assert!(replayed.starts_with("HTTP/1.1 401") && replayed.contains("stale=true"), "{replayed}");
    }
    let right = base64(&format!("alice:{password}"));
    let given = get(https, &authority, &["http/1.1"], "/turn", &format!("Authorization: Basic {right}\r\n"));
    assert!(given.starts_with("HTTP/1.1 200") && given.contains("cache-control: no-store"), "{given}");
    let body: Value = serde_json::from_str(given.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let word = |key: &str| body[key].as_str().unwrap().to_owned();
    assert!(word("username").ends_with(":alice") && body["ttl"] == 3600 && body["uris"].as_array().unwrap().len() > 3);
    relays(&mut Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", &word("username"), &word("credential")));
    node.stop();
}

#[test]
fn refuses_web_pages_of_other_origins_unless_they_are_named() {
    const PAGE: &str = "Origin: https://phone.example.org\r\n";
    let scratch = Scratch::new();
    configure(&scratch, "");
    let node = scratch.serve();
    let (https, authority) = (node.address("WSS"), authority(&scratch));
    let right = base64(&format!("alice:{}", scratch.json(&["user", "add", "alice"])["password"].as_str().unwrap()));
    let with_password = format!("{PAGE}Authorization: Basic {right}\r\n");
    let fetch = || get(https, &authority, &[], "/turn", &with_password);
    assert!(
        fetch().starts_with("HTTP/1.1 200") && !fetch().contains("access-control"),
        "the browser keeps it from the page"
    );
    assert!(ask(https, &authority, &[], "OPTIONS", "/turn", PAGE).starts_with("HTTP/1.1 405"));
    configure(&scratch, "web_origins = [\"https://phone.example.org\"]\n");
    scratch.json(&["reload"]);
    assert!(fetch().contains("access-control-allow-origin: https://phone.example.org\r\n"));
    let allowed = ask(https, &authority, &[], "OPTIONS", "/turn", PAGE);
    assert!(allowed.starts_with("HTTP/1.1 204") && allowed.contains("access-control-allow-headers: authorization"));
    let other = ask(https, &authority, &[], "OPTIONS", "/turn", "Origin: https://other.example\r\n");
    assert!(other.starts_with("HTTP/1.1 405") && !other.contains("access-control"), "{other}");
    node.stop();
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            out.push(if at > three.len() { '=' } else { digit });
        }
    }
    out
}

#[test]
fn the_operator_sees_sessions_and_ends_them() {
    let scratch = Scratch::new();
    configure(&scratch, LOOPBACK);
    let node = scratch.serve();
    let (name, password) = credential(&scratch);
    let mut client = Relayed::connect(Transport::Tcp, address(&node, "TCP"), b"", &name, &password);
    relays(&mut client);
    let sessions = scratch.json(&["turn", "sessions"]);
    let session = &sessions["sessions"][0];
    assert_eq!((session["user"].as_str(), session["channels"].as_u64()), (Some("guest"), Some(1)), "{sessions}");
    assert_eq!(session["sent"], serde_json::json!({"packets": 1, "bytes": 5}));
    let status = scratch.json(&["turn", "status"]);
    assert_eq!((status["allocations"].as_u64(), status["connections"].as_i64()), (Some(1), Some(1)), "{status}");
    let (_, metrics) = common::get(node.admin(), "/metrics");
    let sum = |name: &str| -> u64 {
        let samples = metrics.lines().filter(|line| line.starts_with("farspeak_turn_") && line.contains(name));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    for (name, wanted) in [
        ("allocated_total", 1),
        ("transport=\"tcp\",method=\"allocate\",result=\"401\"", 1),
        ("transport=\"tcp\",method=\"allocate\",result=\"success\"", 1),
        ("transport=\"tcp\",method=\"channel_bind\",result=\"success\"", 1),
        ("transport=\"udp\",method=\"allocate\"", 0),
        ("turn_sessions{", 1),
        ("permissions{", 1),
        ("channels{", 1),
    ] {
        assert_eq!(sum(name), wanted, "{name} in\n{metrics}");
    }
    assert!(!metrics.contains("guest"), "who relays is nobody's business");
    assert_eq!(scratch.json(&["turn", "kick", "guest"])["kicked"], 1);
    scratch.fails(&["turn", "kick", "guest"], 4);
    assert!(text(&scratch.run(&["turn", "sessions"]).stdout).contains("nobody relays"));
    assert!(text(&scratch.run(&["turn", "status"]).stdout).contains("guest"));
    node.stop();
}

#[test]
fn a_port_that_is_taken_is_done_without_unless_it_was_asked_for() {
    let scratch = Scratch::new();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    configure(&scratch, "");
    let base = std::fs::read_to_string(scratch.config()).unwrap();
    let asked = base.replacen("[turn]\nudp = \"127.0.0.1:0\"", &format!("[turn]\nudp = \"{taken}\""), 1);
    std::fs::write(scratch.config(), asked).unwrap();
    assert!(scratch.fails(&["serve"], 7).contains(&taken.port().to_string()));
}

#[test]
fn a_reload_by_signal_keeps_what_is_relayed() {
    let scratch = Scratch::new();
    configure(&scratch, LOOPBACK);
    let node = scratch.serve();
    let (name, password) = credential(&scratch);
    let mut client = Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", &name, &password);
    client.allocate().unwrap();
    let peer = peer();
    let there = peer.local_addr().unwrap();
    client.bind(there).unwrap();
    configure(&scratch, &format!("users = [\"bob:secret\"]\n{LOOPBACK}"));
    node.signal(Signal::HUP);
    let is_known = || Relayed::connect(Transport::Udp, address(&node, "UDP"), b"", "bob", "secret").allocate().is_ok();
    let begin = Instant::now();
    while !is_known() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the new account does not count");
    }
    client.send(there, b"still");
    assert_eq!(peer.recv(&mut [0; 100]).unwrap(), 5);
    node.stop();
}

//! `farspeak nat` over loopback, with a STUN server of two addresses that is ours, and without any server.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Scratch, text};
use farspeak_sansio::{Flow, Instant, Transport};
use farspeak_stun::framing::{Framed, StreamFramer};
use farspeak_stun::{Alternate, BindingServer, ServerConfig};

/// A STUN server on 127.0.0.1 and 127.0.0.2, two ports each, and on TCP.
struct Server {
    primary: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(two_addresses: bool) -> Self {
        let bind = |ip: &str, port: u16| UdpSocket::bind((ip, port));
        // Two ports that are free at both addresses.
        let sockets = (0..100).find_map(|_| {
            let (a, b) = (bind("127.0.0.1", 0).ok()?, bind("127.0.0.1", 0).ok()?);
            let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
            let (c, d) = (bind("127.0.0.2", port(&a)).ok()?, bind("127.0.0.2", port(&b)).ok()?);
            let tcp = TcpListener::bind(a.local_addr().unwrap()).ok()?;
            Some(([a, b, c, d], tcp))
        });
        let (sockets, tcp) = sockets.expect("free ports");
        let address = |at: usize| sockets[at].local_addr().unwrap();
        let (primary, other) = (address(0), address(3));
        let alternates = two_addresses.then_some(Alternate { primary, other }).into_iter().collect();
        let mut server = BindingServer::new(ServerConfig { alternates, ..ServerConfig::default() });
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        }
        tcp.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopping.load(Ordering::Relaxed) {
                for socket in &sockets {
                    let Ok((length, remote)) = socket.recv_from(&mut buffer) else { continue };
                    let flow = Flow::unbound(Transport::Udp, socket.local_addr().unwrap(), remote);
                    let mut answer = [0; 1500];
                    let Some(written) = server.answer(Instant::ZERO, &flow, &buffer[..length], &mut answer) else {
                        continue;
                    };
                    let from = sockets.iter().find(|socket| socket.local_addr().unwrap() == written.from).unwrap();
                    from.send_to(&answer[..written.length], written.to).unwrap();
                }
                if let Ok((stream, _)) = tcp.accept() {
                    answer_stream(&mut server, stream);
                }
            }
        });
        Self { primary, stop, thread: Some(thread) }
    }
}

fn answer_stream(server: &mut BindingServer, mut stream: std::net::TcpStream) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let flow = Flow::unbound(Transport::Tcp, stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let (mut framer, mut buffer, mut answer) = (StreamFramer::default(), [0; 2048], [0; 1500]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        framer.push(&buffer[..length]);
        while let Some(Framed::Stun(request)) = framer.next() {
            if let Some(written) = server.answer(Instant::ZERO, &flow, request, &mut answer) {
                stream.write_all(&answer[..written.length]).unwrap();
                return;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Where nobody listens: other tests take their ports of 127.0.0.1.
const DEAD: &str = "127.0.0.77:3478";
const DEAD_PORT: &str = "1";

#[test]
fn a_server_with_two_addresses_tells_everything() {
    let (scratch, server) = (Scratch::new(), Server::start(true));
    let address = server.primary.to_string();
    let arguments = ["nat", "--server", &address, "--tls-port", DEAD_PORT, "--timeout", "60", "--no-router"];
    let report = scratch.json(&arguments);
    assert_eq!(report["ipv4"]["path"], "untranslated", "{report}");
    assert_eq!(report["ipv4"]["filtering"], "endpoint-independent", "{report}");
    let found = &report["servers"][0];
    assert_eq!((&found["udp"], &found["tcp"]), (&"open".into(), &"open".into()), "{report}");
    assert_eq!((&found["tls"], &found["tls_port"]), (&"refused".into(), &"refused".into()), "{report}");
    assert_eq!((&found["mtu"], &found["two_addresses"]), (&1500.into(), &true.into()), "{report}");
    assert_eq!(report["findings"][0]["level"], "good", "{report}");

    let output = scratch.run(&arguments);
    let (screen, progress) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    assert!(screen.contains("no translator, open to everybody") && screen.lines().count() <= 24, "{screen}");
    assert!(progress.contains("UDP gets through"), "progress on standard error: {progress}");
}

#[test]
fn two_servers_with_one_address_each_are_compared() {
    let (scratch, one, two) = (Scratch::new(), Server::start(false), Server::start(false));
    let (one, two) = (one.primary.to_string(), two.primary.to_string());
    let report = scratch.json(&[
        "nat",
        "--server",
        &one,
        "--server",
        &two,
        "--tls-port",
        DEAD_PORT,
        "--timeout",
        "16",
        "--no-router",
    ]);
    assert_eq!(report["servers"].as_array().unwrap().len(), 2);
    assert_eq!(report["servers"][0]["two_addresses"], false, "{report}");
    assert_eq!(report["servers"][1]["udp"], "open", "{report}");
}

#[test]
fn no_server_that_answers_has_its_own_exit_code() {
    let scratch = Scratch::new();
    let output =
        scratch.run(&["nat", "--server", DEAD, "--tls-port", DEAD_PORT, "--timeout", "1", "--no-router", "--json"]);
    assert_eq!(output.status.code(), Some(10), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ipv4"]["path"], &report["servers"][0]["tcp"]), (&"blocked".into(), &"refused".into()));
}

#[test]
fn nobody_is_asked_who_was_not_named() {
    let scratch = Scratch::new();
    let said = scratch.fails(&["nat"], 2);
    assert!(said.contains("--server HOST"), "says what to give: {said}");
    let said = scratch.fails(&["nat", "--server", "no-such-host.invalid"], 4);
    assert!(said.contains("does not resolve"), "{said}");
}

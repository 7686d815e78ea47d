//! The packet loop without a descriptor to spare. Alone in its file: the limit is that of the whole process.
#![cfg(target_os = "linux")]

mod common;
mod forwarder;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use common::{PATIENCE, loopback};
use farspeak_net::relay::RelayConfig;
use farspeak_net::{Listener, StreamConfig};
use farspeak_sansio::Transport;
use forwarder::{Running, message};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

#[test]
fn who_came_when_no_descriptor_was_left_is_served_once_there_is_one() {
    let stream = StreamConfig { sweep: Duration::from_millis(10), ..StreamConfig::default() };
    let config = RelayConfig { stream, ..RelayConfig::default() };
    let running = Running::listen(1, vec![Listener::plain(Transport::Tcp, loopback())], config);
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let next = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    setrlimit(Resource::RLIMIT_NOFILE, next, hard).unwrap();
    client.connect(&running.address(Transport::Tcp).into()).unwrap();
    let begin = Instant::now();
    while running.counters().accepts_failed < 3 {
        assert!(begin.elapsed() < PATIENCE);
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    let mut client = TcpStream::from(client);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&message(b"echo")).unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..], message(b"echo"));
}

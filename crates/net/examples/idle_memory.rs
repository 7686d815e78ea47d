//! Memory of one idle TLS connection, in user space: `cargo run -p farspeak-net --example idle_memory -- 10000`.
//!
//! The clients run in a process of their own, so that only the server's side is measured.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use common::MESSAGE;
use farspeak_net::*;
use farspeak_sansio::Transport;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word, address, count, root] if word == "clients" => clients(address, count.parse().unwrap(), root),
        [] => server(10_000),
        [count] => server(count.parse().unwrap()),
        _ => eprintln!("usage: idle_memory [CONNECTIONS]"),
    }
}

fn server(count: usize) {
    let directory = std::env::temp_dir().join(format!("idle-memory-{}", std::process::id()));
    let authority = Authority::open_or_create(&directory, "idle memory", SystemTime::now()).unwrap();
    let names = Names { dns: vec!["localhost".into()], addresses: Vec::new() };
    let store = CertificateStore::new(authority.server_identities(&names, SystemTime::now()).unwrap());
    let tls = server_config(store, Transport::Tls).unwrap();
    let net = common::echo(Listener::secure(Transport::Tls, "127.0.0.1:0".parse().unwrap(), tls));
    let counters = Arc::clone(&net.counters()[0]);

    let run = |count: usize| {
        let mut clients = Command::new(std::env::current_exe().unwrap())
            .args(["clients", &net.listening()[0].address.to_string(), &count.to_string()])
            .arg(directory.join("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(clients.stdout.take().unwrap()).read_line(&mut line).unwrap(); // all of them are idle
        clients
    };
    // The first ones pay for what the process needs once.
    let mut warm = run(50);
    let before = resident();
    let mut clients = run(count);
    let after = resident();
    println!("connections: {}", counters.connections.get() - 50);
    println!("bytes each: {}", (after - before) / count);
    println!("resident before and after, kB: {} {}", before / 1024, after / 1024);
    drop(clients.stdin.take());
    drop(warm.stdin.take());
    clients.wait().unwrap();
    warm.wait().unwrap();
    net.stop(std::time::Duration::ZERO);
    std::fs::remove_dir_all(directory).unwrap();
}

fn clients(address: &str, count: usize, root: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled(); // as many phones, each for the first time
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut open = Vec::with_capacity(count);
    runtime.block_on(async {
        for _ in 0..count {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
            let mut message = [b'x'; MESSAGE];
            for _ in 0..3 {
                tls.write_all(&message).await.unwrap();
                tls.read_exact(&mut message).await.unwrap();
            }
            open.push(tls);
        }
    });
    println!("idle");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new()); // until the server has measured
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this measurement needs Linux");
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

//! Asks the router for ports, keeps them, and gives them back when its input ends.
//!
//! ```text
//! cargo run -p farspeak-ice --example port_mapping -- --local 192.168.1.2 --gateway 192.168.1.1 udp:5000 tcp:5001
//! ```
//!
//! Each thing that happens is a line: `mapped udp 192.168.1.2:5000 203.0.113.7:5000 PCP 7200`, `lost …`, `unavailable …`.
//! `--way pcp|nat-pmp|upnp` asks in one way alone, `--lifetime SECONDS` for a shorter time. Only the machine that asks
//! is here: who listens on those ports is somebody else.

#[path = "../../sansio/examples/support/random.rs"]
mod random;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use farspeak_ice::port_mapping::{Config, Event, Mapping, PortMapper, Protocol, Way};
use farspeak_net::{Clock, Peer, PeerConfig, Raw};
use random::SystemRandom;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(options))
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // The socket must be bound before the machine can be told where it is.
    let socket = std::net::UdpSocket::bind((options.local, 0))?;
    let (local, gateway) = (socket.local_addr()?, SocketAddr::new(options.gateway, 0));
    let mapper = PortMapper::new(options.config, local, gateway, Box::new(SystemRandom::new()?));
    let (mut peer, handle) =
        Peer::new(mapper, Raw, PeerConfig::default(), Clock::start(), |_, _, _, event| tell(event));
    peer.with(|context, mapper, now| -> Result<(), Box<dyn std::error::Error>> {
        context.adopt(socket)?;
        // Where routers say that they have restarted; another program may have it.
        let _ = context.bind(SocketAddr::new([0; 4].into(), 5350));
        for (protocol, port) in options.ports {
            mapper.map(now, protocol, port)?;
        }
        Ok(())
    })?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = handle.run(|_, mapper, now| mapper.close(now));
        // Routers that are there take a moment; those that are not are not waited for.
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(100));
            let _ = handle.run(|context, mapper, _| {
                if mapper.is_idle() {
                    context.stop()
                }
            });
        }
        let _ = handle.stop();
    });
    peer.run().await;
    Ok(())
}

fn tell(event: Event) {
    let name = |protocol| if protocol == Protocol::Udp { "udp" } else { "tcp" };
    let line = match event {
        Event::Mapped(Mapping { protocol, internal, external, lifetime, by }) => {
            let lifetime = lifetime.map_or_else(|| "forever".to_owned(), |lifetime| lifetime.as_secs().to_string());
            format!("mapped {} {internal} {external} {by} {lifetime}", name(protocol))
        }
        Event::Lost { protocol, internal } => format!("lost {} {internal}", name(protocol)),
        Event::Unavailable { protocol, internal, reason } => {
            format!("unavailable {} {internal} {reason}", name(protocol))
        }
    };
    println!("{line}");
    let _ = io::stdout().flush();
}

struct Options {
    local: IpAddr,
    gateway: IpAddr,
    config: Config,
    ports: Vec<(Protocol, u16)>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn std::error::Error>> {
        let (mut local, mut gateway, mut config, mut ports) = (None, None, Config::default(), Vec::new());
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--local" => local = Some(value()?.parse()?),
                "--gateway" => gateway = Some(value()?.parse()?),
                "--lifetime" => config.lifetime = Duration::from_secs(value()?.parse()?),
                "--way" => {
                    config.ways = vec![match value()?.as_str() {
                        "pcp" => Way::Pcp,
                        "nat-pmp" => Way::NatPmp,
                        "upnp" => Way::Upnp,
                        other => return Err(format!("there is no way {other}").into()),
                    }];
                }
                port => match port.split_once(':') {
                    Some(("udp", port)) => ports.push((Protocol::Udp, port.parse()?)),
                    Some(("tcp", port)) => ports.push((Protocol::Tcp, port.parse()?)),
                    _ => return Err(format!("{port} is neither an option nor a port like udp:5000").into()),
                },
            }
        }
        let (local, gateway) = (local.ok_or("--local is missing")?, gateway.ok_or("--gateway is missing")?);
        Ok(Self { local, gateway, config, ports })
    }
}

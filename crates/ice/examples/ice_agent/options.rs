//! The command line.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use farspeak_ice::{AgentConfig, Engine, IceServer, Mode, Privacy, Trickle};
use farspeak_net::{Interfaces, LocalAddress, local_addresses};
use farspeak_sansio::Transport;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

const USAGE: &str = "usage: ice_agent [--controlling] [--lite] [--components 1|2] [--relay-only] [--no-trickle]
                 [--stun HOST:PORT]... [--turn turn[s]:HOST:PORT[?transport=udp|tcp]]... [--user NAME] [--password TEXT]
                 [--ca FILE] [--engine checklist|is] [--loopback] [--address IP]... [--map-ports]
                 [--consent SECONDS] [--packets N] [--json]";

pub(crate) struct Options {
    pub(crate) agent: AgentConfig,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What the certificates of TURN servers must be for, where they were given by name.
    pub(crate) names: Vec<(SocketAddr, ServerName<'static>)>,
    pub(crate) json: bool,
    /// Whether the router is asked to open ports.
    pub(crate) map_ports: bool,
    /// How many packets to send when a way is selected.
    pub(crate) packets: u32,
    only: Vec<std::net::IpAddr>,
    loopback: bool,
}

impl Options {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut own = Self {
            agent: AgentConfig::default(),
            tls: None,
            names: Vec::new(),
            json: false,
            map_ports: false,
            packets: 10,
            only: Vec::new(),
            loopback: false,
        };
        let (mut user, mut password, mut roots, mut turns) = (String::new(), String::new(), None, Vec::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value\n{USAGE}"));
            match word.as_str() {
                "--controlling" => own.agent.controlling = true,
                "--lite" => own.agent.mode = Mode::Lite,
                "--components" => own.agent.components = value()?.parse()?,
                "--relay-only" => own.agent.privacy = Privacy::RelayOnly,
                "--no-trickle" => own.agent.trickle = Trickle::Half,
                "--stun" => own.agent.servers.push(IceServer::stun(resolve(&value()?)?)),
                "--turn" => turns.push(value()?),
                "--user" => user = value()?,
                "--password" => password = value()?,
                "--ca" => roots = Some(value()?),
                "--engine" => {
                    own.agent.engine =
                        if value()? == "is" { Engine::Is(std::time::Instant::now()) } else { Engine::CheckList };
                }
                "--loopback" => (own.loopback, own.agent.loopback) = (true, true),
                "--consent" => own.agent.timing.consent = Duration::from_secs(value()?.parse()?),
                "--address" => own.only.push(value()?.parse()?),
                "--packets" => own.packets = value()?.parse()?,
                "--map-ports" => own.map_ports = true,
                "--json" => own.json = true,
                _ => return Err(format!("{word} is not known\n{USAGE}").into()),
            }
        }
        for uri in turns {
            let (transport, address) = turn(&uri)?;
            let remote = resolve(address)?;
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
            own.names.push((remote, ServerName::try_from(host.to_owned())?));
            own.agent.servers.push(IceServer::turn(transport, remote, &user, &password));
        }
        if let Some(file) = roots {
            own.tls = Some(Arc::new(trusting(&file)?));
        }
        Ok(own)
    }

    /// Where to gather from.
    pub(crate) fn addresses(&self) -> io::Result<Vec<LocalAddress>> {
        let mut all = local_addresses(Interfaces { loopback: self.loopback })?;
        all.retain(|own| self.only.is_empty() || self.only.contains(&own.ip()));
        Ok(all)
    }
}

/// The scheme, host, port and transport of RFC 7065, the port always written out.
fn turn(uri: &str) -> Result<(Transport, &str), Box<dyn Error>> {
    let (uri, transport) = uri.split_once("?transport=").unwrap_or((uri, ""));
    match (uri.split_once(':'), transport) {
        (Some(("turn", address)), "" | "udp") => Ok((Transport::Udp, address)),
        (Some(("turn", address)), "tcp") => Ok((Transport::Tcp, address)),
        (Some(("turns", address)), "" | "tcp") => Ok((Transport::Tls, address)),
        _ => Err(format!("{uri} is not the address of a TURN server").into()),
    }
}

fn resolve(address: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?.next();
    Ok(found.ok_or_else(|| format!("{address} has no address"))?)
}

fn trusting(file: &str) -> Result<ClientConfig, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

//! Which sockets the TURN service asks for, and what it does without.

use std::net::SocketAddr;
use std::sync::Arc;

use farspeak_net::{BindError, CertificateStore, Listener, server_config_for};
use farspeak_sansio::Transport;

use crate::config::Loaded;

/// One socket to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    transport: Transport,
    address: SocketAddr,
    /// Whether the operator wrote it down: then it is that or nothing.
    chosen: bool,
}

/// The sockets to open, fewer step by step as the system refuses some of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan(Vec<Wanted>);

impl Plan {
    /// `https`: where HTTPS is served, so that its port numbers serve STUN and TURN too; `alone`: by nobody else.
    pub(super) fn new(loaded: &Loaded, https: &[SocketAddr], alone: bool) -> Self {
        let turn = &loaded.config.turn;
        let mut plan = Self(Vec::new());
        let groups = [
            (Transport::Udp, &turn.udp.0, loaded.is_set("turn", "udp")),
            (Transport::Tcp, &turn.tcp.0, loaded.is_set("turn", "tcp")),
            (Transport::Tls, &turn.tls.0, loaded.is_set("turn", "tls")),
        ];
        for (transport, addresses, chosen) in groups {
            addresses.iter().for_each(|address| plan.add(transport, *address, chosen));
        }
        if turn.share_https {
            for address in https {
                plan.add(Transport::Udp, *address, false);
                if alone {
                    plan.add(Transport::Tls, *address, false);
                }
            }
        }
        for pair in super::settings::alternates(&loaded.config) {
            for address in [
                SocketAddr::new(pair.primary.ip(), pair.other.port()),
                SocketAddr::new(pair.other.ip(), pair.primary.port()),
                pair.other,
            ] {
                plan.add(Transport::Udp, address, true);
            }
        }
        plan
    }

    /// Adds a socket unless there is one that serves the same address.
    fn add(&mut self, transport: Transport, address: SocketAddr, chosen: bool) {
        let serves = |it: &Wanted| {
            let (ip, port) = (it.address.ip(), it.address.port());
            it.transport == transport
                && port == address.port()
                && port != 0
                && (ip == address.ip() || ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4())
        };
        if !self.0.iter().any(serves) {
            self.0.push(Wanted { transport, address, chosen });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn listeners(&self, certificates: &Arc<CertificateStore>) -> Result<Vec<Listener>, String> {
        let listener = |wanted: &Wanted| {
            if wanted.transport != Transport::Tls {
                return Ok(Listener::plain(wanted.transport, wanted.address));
            }
            let tls = server_config_for(Arc::clone(certificates), &ALPN)
                .map_err(|error| format!("TLS cannot be set up: {error}"))?;
            Ok(Listener::secure(Transport::Tls, wanted.address, tls))
        };
        self.0.iter().map(listener).collect()
    }

    /// Leaves out a socket that was refused, if the operator has not asked for it; what was left out is said.
    pub(super) fn give_way(&mut self, error: &BindError) -> Option<String> {
        let at = self.0.iter().position(|it| it.transport == error.transport && it.address == error.address)?;
        if self.0[at].chosen {
            return None;
        }
        self.0.remove(at);
        Some(format!("{error}; STUN and TURN go on without it (section [turn])"))
    }
}

/// RFC 7443.
pub(crate) const ALPN: [&str; 2] = ["stun.turn", "stun.nat-discovery"];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan(text: &str, https: &[&str], alone: bool) -> Vec<String> {
        let https: Vec<SocketAddr> = https.iter().map(|address| address.parse().unwrap()).collect();
        let loaded = Loaded::parse(Path::new("f"), text).unwrap();
        Plan::new(&loaded, &https, alone).0.iter().map(|it| format!("{} {}", it.transport, it.address)).collect()
    }

    #[test]
    fn listens_where_clients_expect_it_and_beside_https() {
        let wanted = plan("", &["0.0.0.0:443"], false);
        assert!(wanted.contains(&"UDP 0.0.0.0:3478".to_owned()) && wanted.contains(&"UDP 0.0.0.0:443".to_owned()));
        assert!(wanted.contains(&"TLS [::]:5349".to_owned()) && !wanted.contains(&"TLS 0.0.0.0:443".to_owned()));
        assert!(plan("", &["0.0.0.0:443"], true).contains(&"TLS 0.0.0.0:443".to_owned()));
        assert!(!plan("[turn]\nshare_https = false\n", &["0.0.0.0:443"], true).iter().any(|it| it.ends_with(":443")));
    }

    #[test]
    fn a_second_address_makes_four_sockets_of_two_addresses_and_ports() {
        let text = "[turn]\nudp = [\"192.0.2.1:3478\"]\ntcp = []\ntls = []\nalternate = \"192.0.2.2:3479\"\n";
        let wanted = plan(text, &[], false);
        let four = ["192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"];
        assert_eq!(wanted, four.map(|address| format!("UDP {address}")));
    }
}

//! Which sockets a configuration asks for, and what to do where the system does not give them.

use farspeak_net::{BindError, BindErrorKind, CertificateStore, Listener, server_config_for};
use farspeak_sansio::Transport;

use super::ServeError;
use crate::config::Loaded;

/// The port tried where 443 cannot be had.
const FALLBACK: u16 = 8443;

/// One socket to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    transport: Transport,
    address: std::net::SocketAddr,
    /// Whether the operator wrote it down: then it is that or nothing.
    chosen: bool,
}

/// The sockets to open, changed step by step as the system refuses some of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Plan(Vec<Wanted>);

impl Plan {
    pub(super) fn new(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        let groups = [
            (Transport::Tls, &config.listen.tls.0, loaded.is_set("listen", "tls")),
            (Transport::Wss, &config.listen.https.0, loaded.is_set("listen", "https")),
            (Transport::Udp, &config.legacy.udp.0, true),
            (Transport::Tcp, &config.legacy.tcp.0, true),
            (Transport::Ws, &config.legacy.ws.0, true),
        ];
        let each = groups.into_iter().flat_map(|(transport, addresses, chosen)| {
            addresses.iter().map(move |address| Wanted { transport, address: *address, chosen })
        });
        Self(each.collect())
    }

    /// `with_turn`: whether connections to the HTTPS port may be for TURN (RFC 7443).
    pub(super) fn listeners(
        &self,
        certificates: &std::sync::Arc<CertificateStore>,
        with_turn: bool,
    ) -> Result<Vec<Listener>, ServeError> {
        let listener = |wanted: &Wanted| {
            if !wanted.transport.is_secure() {
                return Ok(Listener::plain(wanted.transport, wanted.address));
            }
            let mut protocols = Vec::new();
            if wanted.transport == Transport::Wss {
                // The preferred first: who names STUN speaks it, even if HTTP is named as well (coturn's tools do).
                protocols.extend(with_turn.then_some(crate::turn::ALPN).into_iter().flatten());
                protocols.push("http/1.1");
            }
            let tls = server_config_for(std::sync::Arc::clone(certificates), &protocols)
                .map_err(|error| ServeError::Other(format!("TLS cannot be set up: {error}")))?;
            Ok(Listener::secure(wanted.transport, wanted.address, tls))
        };
        self.0.iter().map(listener).collect()
    }

    /// Changes the plan so that it may work without what was refused; what was changed is said. `None`: it must not.
    ///
    /// Only defaults give way: HTTPS moves to 8443 if 443 is taken or not allowed, and IPv6 is left out on a machine
    /// that has none.
    pub(super) fn give_way(&mut self, error: &BindError) -> Option<String> {
        let at = self.0.iter().position(|it| it.transport == error.transport && it.address == error.address)?;
        let wanted = self.0[at];
        if wanted.chosen {
            return None;
        }
        if wanted.address.is_ipv6() && no_ipv6(&error.kind) {
            self.0.remove(at);
            return Some(format!("{error}; going on without it"));
        }
        let movable = matches!(error.kind, BindErrorKind::Busy { .. } | BindErrorKind::Denied);
        if wanted.transport == Transport::Wss && movable && wanted.address.port() != FALLBACK {
            for other in self.0.iter_mut().filter(|it| it.transport == Transport::Wss && !it.chosen) {
                other.address.set_port(FALLBACK);
            }
            return Some(format!("{error}; using {FALLBACK} for HTTPS and WebSocket instead (listen.https chooses)"));
        }
        None
    }
}

fn no_ipv6(kind: &BindErrorKind) -> bool {
    /// Linux: "Address family not supported by protocol".
    const EAFNOSUPPORT: i32 = 97;
    match kind {
        BindErrorKind::NoSuchAddress => true,
        BindErrorKind::Other(error) => error.raw_os_error() == Some(EAFNOSUPPORT),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn refused(transport: Transport, address: &str, kind: BindErrorKind) -> BindError {
        BindError { transport, address: address.parse().unwrap(), kind }
    }

    #[test]
    fn https_moves_to_8443_on_both_families() {
        let mut plan = Plan::new(&Loaded::default());
        let said = plan.give_way(&refused(Transport::Wss, "0.0.0.0:443", BindErrorKind::Denied)).unwrap();
        assert!(said.contains("8443"), "{said}");
        let ports: Vec<u16> =
            plan.0.iter().filter(|it| it.transport == Transport::Wss).map(|it| it.address.port()).collect();
        assert_eq!(ports, [8443, 8443]);
        let busy = BindErrorKind::Busy { owner: None };
        assert_eq!(plan.give_way(&refused(Transport::Wss, "0.0.0.0:8443", busy)), None, "once is enough");
    }

    #[test]
    fn sip_over_tls_never_moves() {
        let mut plan = Plan::new(&Loaded::default());
        let busy = BindErrorKind::Busy { owner: None };
        assert_eq!(plan.give_way(&refused(Transport::Tls, "0.0.0.0:5061", busy)), None);
    }

    #[test]
    fn what_the_operator_wrote_never_moves() {
        let loaded = Loaded::parse(Path::new("f"), "[listen]\nhttps = 443\n").unwrap();
        let mut plan = Plan::new(&loaded);
        assert_eq!(plan.give_way(&refused(Transport::Wss, "0.0.0.0:443", BindErrorKind::Denied)), None);
    }

    #[test]
    fn a_machine_without_ipv6_does_without() {
        let mut plan = Plan::new(&Loaded::default());
        let error = std::io::Error::from_raw_os_error(97);
        plan.give_way(&refused(Transport::Tls, "[::]:5061", BindErrorKind::Other(error))).unwrap();
        assert_eq!(plan.0.iter().filter(|it| it.address.is_ipv6()).count(), 1);
    }
}

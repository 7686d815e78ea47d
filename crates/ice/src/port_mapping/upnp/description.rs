//! What a router says of itself, UPnP Device Architecture 1.1 §2.3: where its WAN connections are controlled.

use super::url::Url;
use super::xml::{Scanner, Token, leaf, unescape};

/// A service that maps ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Service {
    pub(super) kind: Kind,
    pub(super) control: Url,
}

/// Which service, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// With AddAnyPortMapping.
    Ip2,
    Ip1,
    /// Of a modem that dials.
    Ppp1,
}

impl Kind {
    pub(super) const fn urn(self) -> &'static str {
        match self {
            Self::Ip2 => "urn:schemas-upnp-org:service:WANIPConnection:2",
            Self::Ip1 => "urn:schemas-upnp-org:service:WANIPConnection:1",
            Self::Ppp1 => "urn:schemas-upnp-org:service:WANPPPConnection:1",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Ip2, Self::Ip1, Self::Ppp1].into_iter().find(|kind| kind.urn() == text)
    }
}

/// Most services that are kept: a router has one or two.
const MOST: usize = 4;

/// The services in a description that was fetched from `url`, the best first, all on the same host.
pub(super) fn services(document: &str, url: &Url) -> Vec<Service> {
    // RFC 3986 in disguise, and deprecated since version 1.1; wrong ones are passed over.
    let base = leaf(document, "URLBase").and_then(|base| url.join(&base)).unwrap_or_else(|| url.clone());
    let mut services: Vec<Service> = Vec::new();
    let (mut element, mut kind, mut control) = ("", None, None);
    for token in Scanner::new(document) {
        match token {
            Token::Start(name) => {
                element = name;
                if name == "service" {
                    (kind, control) = (None, None);
                }
            }
            Token::Text(text) => match element {
                "serviceType" => kind = kind.or_else(|| Kind::read(text.trim())),
                "controlURL" => control = control.or_else(|| base.join(&unescape(text.trim()))),
                _ => {}
            },
            Token::End("service") => {
                if let (Some(kind), Some(control)) = (kind.take(), control.take())
                    && services.len() < MOST
                {
                    services.push(Service { kind, control });
                }
                element = "";
            }
            Token::End(_) => element = "",
        }
    }
    services.sort_by_key(|service| service.kind);
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("http://192.168.1.1:5000/rootDesc.xml").unwrap()
    }

    fn service(kind: &str, control: &str) -> String {
        format!("<service><serviceType>{kind}</serviceType>\n<controlURL>{control}</controlURL></service>")
    }

    #[test]
    fn the_best_service_comes_first() {
        let (ppp, ip) = (service(Kind::Ppp1.urn(), "/ctl/ppp"), service(Kind::Ip1.urn(), "ctl?a=1&amp;b=2"));
        let other = service("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/l3f");
        let document = format!("<root><device><serviceList>{other}{ppp}{ip}</serviceList></device></root>");
        let found = services(&document, &url());
        let found: Vec<_> = found.iter().map(|service| (service.kind, service.control.to_string())).collect();
        let ip = (Kind::Ip1, "http://192.168.1.1:5000/ctl?a=1&b=2".to_owned());
        assert_eq!(found, [ip, (Kind::Ppp1, "http://192.168.1.1:5000/ctl/ppp".to_owned())]);
    }

    #[test]
    fn the_base_counts_if_it_is_the_same_host() {
        for (base, host) in
            [("http://192.168.1.1:49000/", "192.168.1.1:49000"), ("http://9.9.9.9/", "192.168.1.1:5000")]
        {
            let service = service(Kind::Ip2.urn(), "/c");
            let document = format!("<root><URLBase>{base}</URLBase>{service}</root>");
            assert_eq!(services(&document, &url())[0].control.to_string(), format!("http://{host}/c"));
        }
    }

    #[test]
    fn refuses_control_elsewhere_and_more_than_there_can_be() {
        let away = service(Kind::Ip1.urn(), "http://10.0.0.1/ctl");
        assert_eq!(services(&away, &url()), []);
        let many = service(Kind::Ip1.urn(), "/ctl").repeat(1000);
        assert_eq!(services(&many, &url()).len(), MOST);
        assert_eq!(services("<service><serviceType>", &url()), []);
    }
}

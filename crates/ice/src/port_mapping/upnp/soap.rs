//! Actions of WANIPConnection and WANPPPConnection, and what they answer.

use std::net::{IpAddr, Ipv4Addr};

use super::description::{Kind, Service};
use super::http::{self, Page};
use super::xml::{escape, leaf};
use crate::port_mapping::Refusal;
use crate::port_mapping::ask::Key;

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// GetExternalIPAddress.
    Address,
    /// AddPortMapping: this external port or none; it also renews.
    Add { key: Key, external: u16, lease: u32 },
    /// AddAnyPortMapping, from version 2: this one, or another.
    AddAny { key: Key, external: u16, lease: u32 },
    /// DeletePortMapping.
    Delete { key: Key, external: u16 },
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Address => "GetExternalIPAddress",
            Self::Add { .. } => "AddPortMapping",
            Self::AddAny { .. } => "AddAnyPortMapping",
            Self::Delete { .. } => "DeletePortMapping",
        }
    }

    /// The HTTP request. `client` is our address, `description` what the router shows its owner.
    pub(super) fn request(self, service: &Service, client: IpAddr, description: &str) -> Vec<u8> {
        let (name, urn) = (self.name(), service.kind.urn());
        let arguments = match self {
            Self::Address => String::new(),
            // The order is the one of the standard: some routers insist.
            Self::Add { key: (protocol, internal), external, lease }
            | Self::AddAny { key: (protocol, internal), external, lease } => format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
                 <NewProtocol>{}</NewProtocol><NewInternalPort>{internal}</NewInternalPort>\
                 <NewInternalClient>{client}</NewInternalClient><NewEnabled>1</NewEnabled>\
                 <NewPortMappingDescription>{}</NewPortMappingDescription>\
                 <NewLeaseDuration>{lease}</NewLeaseDuration>",
                protocol.name(),
                escape(description)
            ),
            Self::Delete { key: (protocol, _), external } => format!(
                "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort>\
                 <NewProtocol>{}</NewProtocol>",
                protocol.name()
            ),
        };
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{name} xmlns:u=\"{urn}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n"
        );
        http::post(&service.control, &format!("{urn}#{name}"), &body)
    }
}

/// Whether the service has AddAnyPortMapping.
pub(super) const fn has_add_any(kind: Kind) -> bool {
    matches!(kind, Kind::Ip2)
}

/// Whether the action was done, or the error of the service (UPnP Device Architecture 1.1 §3.2.2).
pub(super) fn done(page: &Page) -> Result<(), u16> {
    if page.status == 200 {
        return Ok(());
    }
    Err(leaf(&page.body, "errorCode").and_then(|code| code.parse().ok()).unwrap_or(page.status))
}

/// The address outside; none if the router is not connected.
pub(super) fn address(page: &Page) -> Result<Ipv4Addr, Refusal> {
    done(page).map_err(refusal)?;
    let address = leaf(&page.body, "NewExternalIPAddress").and_then(|text| text.parse().ok());
    address.filter(|address: &Ipv4Addr| !address.is_unspecified()).ok_or(Refusal::NoExternalAddress)
}

/// The port that AddAnyPortMapping gave.
pub(super) fn reserved_port(page: &Page) -> Option<u16> {
    leaf(&page.body, "NewReservedPort")?.parse().ok().filter(|port| *port != 0)
}

/// Errors that have a way out.
pub(super) const INVALID_ACTION: u16 = 401;
pub(super) const OPTIONAL_ACTION: u16 = 602;
pub(super) const CONFLICT: u16 = 718;
pub(super) const ONLY_PERMANENT: u16 = 725;

/// An error in our words (WANIPConnection:2 §2.5).
pub(super) const fn refusal(code: u16) -> Refusal {
    match code {
        606 | 403 => Refusal::NotAuthorized,
        INVALID_ACTION | OPTIONAL_ACTION | 404 => Refusal::Unsupported,
        603 | 728 => Refusal::NoResources,
        CONFLICT | 724 | 729 => Refusal::Conflict,
        code => Refusal::Other(code),
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::Url;
    use super::*;
    use crate::port_mapping::Protocol;

    #[test]
    fn an_action_is_a_whole_request() {
        let control = Url::parse("http://192.168.1.1:5000/ctl/IPConn").unwrap();
        let service = Service { kind: Kind::Ip1, control };
        let action = Action::Add { key: (Protocol::Udp, 4000), external: 5000, lease: 7200 };
        let text = String::from_utf8(action.request(&service, "192.168.1.2".parse().unwrap(), "a<b")).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.contains("SOAPAction: \"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping\""));
        assert!(header.contains(&format!("Content-Length: {}\r\n", body.len())));
        for (name, value) in [
            ("NewExternalPort", "5000"),
            ("NewInternalPort", "4000"),
            ("NewInternalClient", "192.168.1.2"),
            ("NewPortMappingDescription", "a<b"),
            ("NewProtocol", "UDP"),
        ] {
            assert_eq!(leaf(body, name).as_deref(), Some(value));
        }
    }

    #[test]
    fn answers_are_read() {
        let page = |status, body: &str| Page { status, body: body.to_owned() };
        let answer =
            page(200, "<NewExternalIPAddress>9.9.9.9</NewExternalIPAddress><NewReservedPort>5</NewReservedPort>");
        assert_eq!((address(&answer), reserved_port(&answer)), (Ok([9, 9, 9, 9].into()), Some(5)));
        assert_eq!(done(&page(500, "<UPnPError><errorCode>718</errorCode></UPnPError>")), Err(718));
        assert_eq!(done(&page(404, "<html>")), Err(404));
        let none = Err(Refusal::NoExternalAddress);
        assert_eq!(address(&page(200, "<NewExternalIPAddress>0.0.0.0</NewExternalIPAddress>")), none);
        assert_eq!(address(&page(200, "<NewExternalIPAddress></NewExternalIPAddress>")), none);
    }
}

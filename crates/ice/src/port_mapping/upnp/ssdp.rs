//! Looking for the router, UPnP Device Architecture 1.1 §1.3: M-SEARCH by UDP multicast, and its answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where everybody who can be found listens.
pub(super) const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), PORT);
pub(super) const PORT: u16 = 1900;

/// What to look for. A device of version 2 answers to version 1 too, but not all have read that.
pub(super) const TARGETS: [&str; 2] =
    ["urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:device:InternetGatewayDevice:2"];

/// Longest answer that is read, in bytes and in lines.
const LONGEST: usize = 4096;
const MOST_LINES: usize = 64;

/// A search. Answers are spread over one second, the least (MX).
pub(super) fn search(host: SocketAddr, target: &str) -> Vec<u8> {
    format!("M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: {target}\r\n\r\n")
        .into_bytes()
}

/// Where the description of a gateway lies, as an answer to a search says it.
pub(super) fn location(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer).ok().filter(|text| text.len() <= LONGEST)?;
    let mut lines = text.lines();
    let mut status = lines.next()?.split_ascii_whitespace();
    if !status.next()?.starts_with("HTTP/1.") || status.next()? != "200" {
        return None;
    }
    let (mut location, mut is_gateway) = (None, false);
    for line in lines.take(MOST_LINES).take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("LOCATION") {
            location = Some(value);
        } else if name.eq_ignore_ascii_case("ST") {
            is_gateway = TARGETS.contains(&value);
        }
    }
    location.filter(|_| is_gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\
                          ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\n\
                          Location: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n";

    #[test]
    fn an_answer_tells_where_the_description_is() {
        assert_eq!(location(ANSWER.as_bytes()), Some("http://192.168.1.1:5000/rootDesc.xml"));
    }

    #[test]
    fn refuses_what_is_no_answer_of_a_gateway() {
        for (from, to) in [
            ("HTTP/1.1 200", "HTTP/1.1 500"),
            ("HTTP/1.1 200 OK", "NOTIFY * HTTP/1.1"),
            ("InternetGatewayDevice", "MediaServer"),
            ("Location:", "Lokation:"),
        ] {
            assert_eq!(location(ANSWER.replace(from, to).as_bytes()), None, "{to}");
        }
        assert_eq!(location(ANSWER.replace("EXT:", &"X:y\r\n".repeat(2000)).as_bytes()), None);
        assert_eq!(location(b"\xff\xfe"), None);
    }

    #[test]
    fn a_search_names_its_host() {
        let search = String::from_utf8(search(GROUP, TARGETS[0])).unwrap();
        assert!(search.contains("HOST: 239.255.255.250:1900\r\n") && search.ends_with(":1\r\n\r\n"));
    }
}

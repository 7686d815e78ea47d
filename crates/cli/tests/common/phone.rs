//! A phone that knows as much SIP as a test needs.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use farspeak_sip::digest::{Challenge, Identity};

/// One user's phone, or a socket that many share.
pub struct Phone {
    pub socket: UdpSocket,
    server: SocketAddr,
    next: u32,
    /// Requests that have come in: a node that has to wait for an answer repeats them.
    seen: RefCell<HashSet<String>>,
}

/// A response, or a request that came in.
#[derive(Clone, Debug)]
pub struct Reply(pub String);

impl Reply {
    pub fn status(&self) -> u16 {
        let rest = self.0.strip_prefix("SIP/2.0 ").unwrap_or_default();
        rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.0.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The credentials that answer the challenge in it.
    pub fn credentials(&self, name: &str, password: &str, method: &str, uri: &str, count: u32) -> Option<String> {
        let values = [self.headers("WWW-Authenticate"), self.headers("Proxy-Authenticate")].concat();
        let challenge = Challenge::choose(values.into_iter())?;
        Some(challenge.answer(&Identity { username: name, password }, method, uri, "c0ffee", count))
    }
}

impl Phone {
    pub fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, server, next: 0, seen: RefCell::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// A request of `name` to `uri`; `more` are header lines, each with its end.
    pub fn send(&mut self, method: &str, uri: &str, name: &str, call: &str, cseq: u32, more: &str) {
        self.next += 1;
        let (here, branch) = (self.address(), self.next);
        let to = if method == "REGISTER" { format!("sip:{name}@localhost") } else { uri.to_owned() };
        let request = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {here};rport;branch=z9hG4bK{branch}x{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@localhost>;tag=t{call}\r\nTo: <{to}>\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
             {more}Content-Length: 0\r\n\r\n"
        );
        self.socket.send_to(request.as_bytes(), self.server).unwrap();
    }

    /// What comes next, repeated requests left out; the test fails if nothing does.
    pub fn receive(&self) -> Reply {
        let mut buffer = [0; 65_535];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).expect("an answer of the node");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let is_response = text.starts_with("SIP/2.0");
            if length > 4 && (is_response || self.seen.borrow_mut().insert(text.clone())) {
                return Reply(text);
            }
        }
    }

    /// 200 to a request inside a dialog.
    pub fn accept(&self, request: &Reply) {
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for line in request.0.lines().take_while(|line| !line.is_empty()) {
            if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                answer.push_str(&format!("{line}\r\n"));
            }
        }
        answer.push_str("Content-Length: 0\r\n\r\n");
        self.socket.send_to(answer.as_bytes(), self.server).unwrap();
    }

    /// Registers (or asks, without contact) with digest. Gives the final answer. A bare contact is put into brackets.
    pub fn register(&mut self, name: &str, password: &str, contact: Option<&str>) -> Reply {
        let uri = "sip:localhost";
        let contact = match contact {
            Some(value) if value.starts_with('<') => format!("Contact: {value}\r\n"),
            Some(uri) => format!("Contact: <{uri}>\r\n"),
            None => String::new(),
        };
        let call = format!("{name}-{}", self.next);
        self.send("REGISTER", uri, name, &call, 1, &contact);
        let challenge = self.receive();
        let Some(credentials) = challenge.credentials(name, password, "REGISTER", uri, 1) else { return challenge };
        self.send("REGISTER", uri, name, &call, 2, &format!("{contact}Authorization: {credentials}\r\n"));
        self.receive()
    }
}

//! A UPnP router: SSDP, a description, and SOAP, each as good or bad as the test wants.

use std::collections::{BTreeMap, VecDeque};

use farspeak_sansio::{Flow, Instant, Machine, Receive, Transmit, Transport};

/// What the router is like, and what it has done.
pub struct Gateway {
    /// Version of WANIPConnection; 0 for WANPPPConnection.
    pub version: u8,
    /// Where it says that its description is.
    pub location: String,
    /// The URL at which it says that it is controlled.
    pub control: String,
    /// Whether it hears multicast.
    pub multicast: bool,
    pub external: &'static str,
    /// Whether leases must be 0 (error 725).
    pub permanent_only: bool,
    /// External ports of others.
    pub taken: Vec<u16>,
    /// An error for every action.
    pub refuses: Option<u16>,
    pub framing: Framing,
    /// How often it breaks a connection before it answers.
    pub breaks: u32,
    /// Protocol and external port to client, internal port and lease.
    pub table: BTreeMap<(String, u16), (String, u16, u32)>,
    pub actions: Vec<String>,
    pub searches: usize,
    pub out: VecDeque<Transmit>,
    pub closes: VecDeque<Flow>,
}

/// How it tells where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Length,
    Chunked,
    /// By closing; an HTTP/1.0 server.
    End,
    /// By length, and leaves the connection open.
    KeepOpen,
    /// Bytes without end.
    Endless,
    /// Nothing at all.
    Silent,
}

impl Gateway {
    pub fn new() -> Self {
        Self {
            version: 1,
            location: "http://192.168.1.1:5000/rootDesc.xml".to_owned(),
            control: "/ctl/IPConn".to_owned(),
            multicast: true,
            external: "9.9.9.9",
            permanent_only: false,
            taken: Vec::new(),
            refuses: None,
            framing: Framing::Length,
            breaks: 0,
            table: BTreeMap::new(),
            actions: Vec::new(),
            searches: 0,
            out: VecDeque::new(),
            closes: VecDeque::new(),
        }
    }

    fn urn(&self) -> String {
        let service = if self.version == 0 { "WANPPPConnection:1" } else { "WANIPConnection:" };
        let version = if self.version == 0 { String::new() } else { self.version.to_string() };
        format!("urn:schemas-upnp-org:service:{service}{version}")
    }

    fn send(&mut self, flow: Flow, bytes: impl Into<Vec<u8>>) {
        self.out.push_back(Transmit { flow, bytes: bytes.into().into() });
    }

    fn searched(&mut self, flow: Flow, text: &str) {
        self.searches += 1;
        let is_multicast = flow.local.ip().is_multicast();
        let Some(target) = text.lines().find_map(|line| line.strip_prefix("ST: ")) else { return };
        // A device of version 1 does not know version 2.
        if (is_multicast && !self.multicast) || (target.ends_with(":2") && self.version < 2) {
            return;
        }
        let answer = format!("HTTP/1.1 200 OK\r\nST: {target}\r\nLOCATION: {}\r\n\r\n", self.location);
        let from = Flow::unbound(Transport::Udp, "192.168.1.1:1900".parse().unwrap(), flow.remote);
        self.send(from, answer);
    }

    fn reply(&mut self, flow: Flow, status: &str, body: &str) {
        let close = match self.framing {
            Framing::Length => {
                self.send(flow, format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
                true
            }
            Framing::KeepOpen => {
                self.send(flow, format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
                false
            }
            Framing::Chunked => {
                self.send(flow, format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n"));
                for chunk in body.as_bytes().chunks(100) {
                    let text = String::from_utf8_lossy(chunk);
                    self.send(flow, format!("{:x}\r\n{text}\r\n", chunk.len()));
                }
                self.send(flow, "0\r\n\r\n");
                true
            }
            Framing::End => {
                self.send(flow, format!("HTTP/1.0 {status}\r\n\r\n{body}"));
                true
            }
            Framing::Endless => {
                self.send(flow, "HTTP/1.1 200 OK\r\n\r\n");
                for _ in 0..100 {
                    self.send(flow, vec![b'<'; 1000]);
                }
                false
            }
            Framing::Silent => false,
        };
        if close {
            self.closes.push_back(flow);
        }
    }

    fn act(&mut self, text: &str) -> (&'static str, String) {
        let action = text.split_once('#').and_then(|(_, rest)| rest.split_once('"')).map_or("", |(name, _)| name);
        self.actions.push(action.to_owned());
        let argument = |name: &str| {
            let value = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
            value.map_or("", |(value, _)| value).to_owned()
        };
        let number = |name| argument(name).parse::<u32>().unwrap_or(0);
        let (protocol, external) = (argument("NewProtocol"), number("NewExternalPort") as u16);
        let internal = number("NewInternalPort") as u16;
        let (client, lease) = (argument("NewInternalClient"), number("NewLeaseDuration"));
        let owner =
            |table: &BTreeMap<(String, u16), (String, u16, u32)>| table.get(&(protocol.clone(), external)).cloned();
        if let Some(code) = self.refuses {
            return fault(code);
        }
        match action {
            "GetExternalIPAddress" => (OK, format!("<NewExternalIPAddress>{}</NewExternalIPAddress>", self.external)),
            "AddPortMapping" if self.permanent_only && lease != 0 => fault(725),
            "AddPortMapping" => {
                let other =
                    owner(&self.table).is_some_and(|(owner, port, _)| (owner, port) != (client.clone(), internal));
                if other || self.taken.contains(&external) {
                    return fault(718);
                }
                self.table.insert((protocol, external), (client, internal, lease));
                (OK, String::new())
            }
            "AddAnyPortMapping" if self.version >= 2 => {
                let mut external = external;
                while self.taken.contains(&external) {
                    external += 1;
                }
                self.table.insert((protocol, external), (client, internal, lease));
                (OK, format!("<NewReservedPort>{external}</NewReservedPort>"))
            }
            "DeletePortMapping" => {
                self.table.remove(&(protocol, external));
                (OK, String::new())
            }
            _ => fault(401),
        }
    }
}

const OK: &str = "200 OK";

fn fault(code: u16) -> (&'static str, String) {
    let detail = format!("<UPnPError><errorCode>{code}</errorCode></UPnPError>");
    ("500 Internal Server Error", format!("<s:Envelope><s:Body><s:Fault>{detail}</s:Fault></s:Body></s:Envelope>"))
}

impl Machine for Gateway {
    type Event = Flow;

    fn handle_receive(&mut self, _now: Instant, received: Receive<'_>) {
        let text = String::from_utf8_lossy(received.bytes).into_owned();
        let flow = received.flow;
        if flow.local.port() == 1900 && text.starts_with("M-SEARCH") {
            return self.searched(flow, &text);
        }
        if flow.transport != Transport::Tcp {
            return;
        }
        if self.breaks > 0 {
            self.breaks -= 1;
            return self.closes.push_back(flow);
        }
        if text.starts_with("GET ") {
            let (urn, control) = (self.urn(), &self.control);
            let description = format!(
                "<?xml version=\"1.0\"?><root><device><serviceList><service><serviceType>{urn}</serviceType>\
                 <controlURL>{control}</controlURL></service></serviceList></device></root>"
            );
            return self.reply(flow, OK, &description);
        }
        let (status, body) = self.act(&text);
        self.reply(flow, status, &body);
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_flow_failed(&mut self, _now: Instant, _flow: Flow) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// A connection to close.
    fn poll_event(&mut self) -> Option<Flow> {
        self.closes.pop_front()
    }
}

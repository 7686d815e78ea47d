//! Calls through the server with both ends here: INVITE, 180, 200, ACK, then BYE at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::endpoint::{Connector, Endpoint};
use crate::pace::pace;
use crate::registrations::register_once;
use crate::result::{Tally, settle};
use crate::{Failure, Options, message};

const SDP: &str = "v=0\r\no=u 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// A call as its caller sees it.
#[derive(Clone, Copy)]
enum Call {
    /// Not begun, or over and counted.
    None,
    /// INVITE sent; the answer has not come.
    Calling { due: Instant },
    /// BYE sent; the delay of the set-up is known and counts once the call has ended well.
    Ending { due: Instant, answered: Instant },
}

struct Callers {
    calls: Vec<Call>,
    /// Delays from INVITE to 200, of calls that also ended well.
    set_up: Option<Tally>,
}

pub async fn run(options: &Options, connector: &Connector) -> Result<(), Failure> {
    let domain = options.domain.clone();
    let callers = Rc::new(RefCell::new(Callers { calls: Vec::new(), set_up: None }));
    let mut called = Vec::new();
    let mut calling = Vec::new();
    for phone in 0..options.phones {
        let name = format!("callee{phone}");
        called.push(register_once(connector, &domain, &name, 1_000_000_000 + phone, Rc::new(answer)).await?);
        let callers = callers.clone();
        let handler = move |endpoint: &Endpoint, text: &str| callers.borrow_mut().receive(endpoint, text);
        let name = format!("caller{phone}");
        calling.push(register_once(connector, &domain, &name, 2_000_000_000 + phone, Rc::new(handler)).await?);
    }
    callers.borrow_mut().calls.resize(options.total() as usize, Call::None);
    callers.borrow_mut().set_up = Some(Tally::start(options.total()));
    pace(options.rate, options.total(), |number, due| {
        let phone = number % calling.len();
        callers.borrow_mut().calls[number] = Call::Calling { due };
        calling[phone].send(invite(&calling[phone], &domain, phone, number));
    })
    .await;
    settle(Options::PATIENCE, || callers.borrow().set_up.as_ref().is_some_and(Tally::complete)).await;
    let tally = callers.borrow_mut().set_up.take();
    tally.ok_or("the load did not start")?.print();
    Ok(())
}

fn invite(endpoint: &Endpoint, domain: &str, phone: usize, number: usize) -> String {
    let mut out = format!("INVITE sip:callee{phone}@{domain} SIP/2.0\r\n{}", endpoint.via(format_args!("i{number}")));
    out.push_str("Max-Forwards: 70\r\n");
    out.push_str(&format!("From: <sip:caller{phone}@{domain}>;tag=f{number}\r\nTo: <sip:callee{phone}@{domain}>\r\n"));
    out.push_str(&message::call_id(number));
    out.push_str("CSeq: 1 INVITE\r\nUser-Agent: sip-load\r\n");
    out.push_str(&endpoint.contact(&format!("caller{phone}")));
    message::finish(&mut out, SDP);
    out
}

impl Callers {
    fn receive(&mut self, endpoint: &Endpoint, text: &str) {
        let Some(number) = message::operation(text) else { return };
        let invited = message::header(text, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        let Some(call) = self.calls.get(number).copied() else { return };
        match (call, message::status(text), invited) {
            (Call::Calling { due }, 200, true) => {
                endpoint.send(inside(endpoint, text, number, "ACK", 1));
                endpoint.send(inside(endpoint, text, number, "BYE", 2));
                self.calls[number] = Call::Ending { due, answered: Instant::now() };
            }
            (Call::Ending { .. }, 200, true) => endpoint.send(inside(endpoint, text, number, "ACK", 1)),
            (Call::Ending { due, answered }, 200, false) => {
                self.calls[number] = Call::None;
                if let Some(tally) = &mut self.set_up {
                    tally.done(answered - due);
                }
            }
            _ => {}
        }
    }
}

/// A request in the dialog that `response` made (RFC 3261 §12.2.1.1): the recorded route backwards.
fn inside(endpoint: &Endpoint, response: &str, number: usize, method: &str, cseq: u32) -> String {
    let target = message::header(response, "Contact").map_or("", message::address);
    let mut out = format!("{method} {target} SIP/2.0\r\n{}", endpoint.via(format_args!("{}{number}", &method[..1])));
    let mut routes = message::headers(response, "Record-Route").collect::<Vec<_>>();
    routes.reverse();
    for route in routes {
        out.extend(["Route: ", route, "\r\n"]);
    }
    let phone = message::header(response, "From").unwrap_or_default();
    out.push_str(&format!("Max-Forwards: 70\r\nFrom: {phone}\r\n"));
    out.push_str(&format!("To: {}\r\n", message::header(response, "To").unwrap_or_default()));
    out.push_str(&message::call_id(number));
    out.push_str(&format!("CSeq: {cseq} {method}\r\n"));
    message::finish(&mut out, "");
    out
}

/// The called phone: rings and answers at once.
fn answer(endpoint: &Endpoint, text: &str) {
    if text.starts_with("INVITE ") {
        let tag = format!("t{}", message::operation(text).unwrap_or_default());
        let contact = endpoint.contact("callee");
        endpoint.send(message::reply(text, "180 Ringing", &tag, &contact, ""));
        endpoint.send(message::reply(text, "200 OK", &tag, &contact, SDP));
    } else if text.starts_with("BYE ") || text.starts_with("OPTIONS ") {
        endpoint.send(message::reply(text, "200 OK", "t", "", ""));
    }
}

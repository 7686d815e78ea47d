//! A complete user agent over UDP: registers, answers each call with silence, and waits for the caller to hang up.
//!
//! ```text
//! PASSWORD=… cargo run --example answering_machine -- 192.0.2.1:5060 192.0.2.9:5060 example.org alice
//! ```

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant as Clock};
use std::{env, io::ErrorKind::*};

use farspeak_sansio::{Flow, FlowId, Instant, Machine, Receive, Rng, Transport};
use farspeak_sip::user_agent::{Body, Event, Extra, UserAgent, UserAgentConfig};
use farspeak_sip::{digest::Login, endpoint::EndpointConfig, message::StatusCode, registration::Register};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [ours, registrar, domain, user] = &arguments[..] else {
        return Err("usage: answering_machine OUR-ADDRESS:PORT REGISTRAR-ADDRESS:PORT DOMAIN USER".into());
    };
    let socket = UdpSocket::bind(ours)?;
    let local = socket.local_addr()?;
    let flow = |remote: SocketAddr| Flow { id: FlowId::UNBOUND, transport: Transport::Udp, local, remote };

    // No clock, socket or randomness inside: the user agent is told the time, and what came.
    let (start, mut buffer) = (Clock::now(), [0; 65_535]);
    let clock = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let mut ua = UserAgent::new(UserAgentConfig::default(), EndpointConfig::default(), Box::new(SystemRandom));

    let login = Login::password(user, &env::var("PASSWORD").unwrap_or_default());
    let account = Some(ua.at(clock()).add_account(vec![login]));
    ua.at(clock()).register(Register {
        registrar: format!("sip:{domain}").into(),
        aor: format!("<sip:{user}@{domain}>").into(),
        user: user.as_str().into(),
        instance: None,
        contact_params: "".into(),
        route_set: Vec::new(),
        flows: vec![vec![flow(registrar.parse()?)]],
        expires: 600,
        account,
    })?;
    loop {
        // What wants to leave, then what happened, until there is no more of either; then the next deadline.
        loop {
            while let Some(transmit) = ua.poll_transmit() {
                let _ = socket.send_to(&transmit.bytes, transmit.flow.remote); // a lost one is sent again
            }
            let Some(event) = ua.poll_event() else { break };
            hear(&mut ua, clock(), &local, event);
        }
        let wait = ua.poll_timeout().map_or(Duration::MAX, |at| at.saturating_since(clock()));
        socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => ua.handle_receive(clock(), Receive { flow: flow(from), bytes: &buffer[..length] }),
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | ConnectionRefused) => {}
            Err(error) => return Err(error.into()),
        }
        ua.handle_timeout(clock());
    }
}

fn hear(ua: &mut UserAgent, now: Instant, local: &SocketAddr, event: Event) {
    match event {
        Event::Incoming { session, request, .. } => {
            println!("{} calls", request.from().map_or("somebody", |from| from.uri_text));
            let mut agent = ua.at(now);
            let rung = agent.ring(session, StatusCode::RINGING, Extra::new());
            let _ = rung.and_then(|()| agent.accept(session, silence(request.body(), local)));
        }
        // The caller holds, or sends from elsewhere. It may have hung up meanwhile.
        Event::Offer { leg, message } => drop(ua.at(now).accept_offer(leg, silence(message.body(), local))),
        Event::Ended { how, .. } => println!("over: {how:?}"),
        Event::Registration { event, .. } => println!("{event:?}"),
        _ => {}
    }
}

/// An answer to `offer`, or an offer if there is none: the first audio stream without sound, no other (RFC 3264 §6).
fn silence(offer: &[u8], local: &SocketAddr) -> Extra {
    let mut text = format!("v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n", local.ip());
    let offer = if offer.is_empty() { b"m=audio 9 RTP/AVP 0" } else { offer };
    let mut port = 9;
    for media in String::from_utf8_lossy(offer).lines().filter_map(|line| line.strip_prefix("m=")) {
        let mut words = media.splitn(3, ' ');
        let (kind, formats) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or("RTP/AVP 0"));
        let port = if kind == "audio" { std::mem::take(&mut port) } else { 0 };
        text.push_str(&format!("m={kind} {port} {formats}\r\na=inactive\r\n"));
    }
    Extra::new().body(Body::sdp(text.into_bytes()))
}

/// Each hasher of the standard library has keys from the system.
struct SystemRandom;

impl Rng for SystemRandom {
    fn next_u64(&mut self) -> u64 {
        RandomState::new().build_hasher().finish()
    }
}

//! Two sides do whatever they like with a session, and never disagree about it.
//!
//! Random operations (offer, answer, refuse, hold, resume, add, remove, move out of the bundle, restart ICE, new DTLS
//! association, glare, rollback), every description through its text. After each completed exchange: the same streams with
//! the directions reversed, the same codecs in the same order with each other's payload types, opposite DTLS roles, each
//! other's keys. All the time: sections never shrink, versions go up by one exactly if something changed, a payload type
//! keeps its codec, and what is rolled back leaves no trace.

mod negotiate;

use std::collections::HashMap;

use farspeak_sdp::*;
use negotiate::*;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Sdes,
    Dtls,
    Web,
}

struct Side {
    name: u8,
    style: Style,
    negotiation: Negotiation,
    /// Ports, credentials, tls-ids, keys: never the same twice.
    fresh: u32,
    last: Option<Description>,
    sections: usize,
    payload_types: HashMap<(usize, u8), String>,
}

impl Side {
    fn new(name: u8, style: Style, rng: &mut Rng) -> Self {
        let mut capabilities = match style {
            Style::Plain | Style::Sdes => phone(),
            Style::Dtls => Capabilities::audio([Codec::opus(), Codec::pcma(), Codec::pcmu()]).video([h261()]),
            Style::Web => browser(),
        };
        if style == Style::Sdes {
            capabilities.security = SecurityPolicy::default().with_sdes().only(Keying::Sdes);
        }
        if style != Style::Web {
            capabilities.rtcp_mux = if rng.chance(50) { RtcpMux::Negotiate } else { RtcpMux::Off };
            capabilities.bundle = [Bundle::Off, Bundle::Accept, Bundle::Offer][rng.below(3)];
        }
        if rng.chance(30) {
            capabilities.rtp.truncate(1); // no video
        }
        if rng.chance(30) {
            capabilities.rtp[0].codecs.reverse();
        }
        capabilities.max_media = 6;
        let mut negotiation = side(capabilities, u64::from(name));
        negotiation.set_signalling(Signalling::Secure);
        Self { name, style, negotiation, fresh: 0, last: None, sections: 0, payload_types: HashMap::new() }
    }

    fn transport(&mut self) -> LocalTransport {
        self.fresh += 1;
        let port = 10_000 + (self.fresh % 20_000) as u16 * 2;
        let mut transport = match self.style {
            Style::Plain => at(port),
            Style::Sdes => {
                let mut transport = sdes(port, 0);
                for (number, line) in transport.crypto.iter_mut().enumerate() {
                    let unique =
                        (u64::from(self.fresh) << 16 | u64::from(self.name) << 8 | number as u64).to_be_bytes();
                    line.key_params[0].key_salt[..8].copy_from_slice(&unique);
                }
                transport
            }
            Style::Dtls => dtls(port, self.name),
            Style::Web => web(port, self.name),
        };
        self.renew(&mut transport);
        transport
    }

    fn renew(&mut self, transport: &mut LocalTransport) {
        self.fresh += 1;
        if let Some(ice) = &mut transport.ice {
            ice.ufrag = format!("u{}x{}", self.name, self.fresh).into();
            ice.pwd = format!("{:>030}", self.fresh).into();
        }
        if let Some(tls_id) = &mut transport.tls_id {
            *tls_id = format!("{:020}{:010}", self.name, self.fresh).into();
        }
    }

    /// What to offer: what there is, changed at random.
    fn wishes(&mut self, rng: &mut Rng) -> Vec<LocalMedia> {
        match rng.below(12) {
            0 => self.negotiation.hold(),
            1 => self.negotiation.resume(),
            _ => {}
        }
        let mut wishes = self.negotiation.local_media();
        if !wishes.is_empty() {
            let index = rng.below(wishes.len());
            let tagged =
                self.negotiation.agreed().iter().find(|media| media.index == index).and_then(|media| media.bundle);
            let used = self.negotiation.local_transport(index).cloned();
            match rng.below(10) {
                0 => wishes[index] = LocalMedia::rejected(wishes[index].kind.clone()),
                1 => wishes[index].direction = self.direction(rng),
                2 => {
                    let transport = self.transport();
                    wishes[index].bundled = !wishes[index].bundled;
                    wishes[index].transport = Some(transport);
                }
                3 => {
                    // ICE restart, new DTLS association
                    if let Some(mut transport) = used {
                        transport.port = self.transport().port;
                        self.renew(&mut transport);
                        wishes[tagged.unwrap_or(index)].transport = Some(transport);
                    }
                }
                4 => wishes[index].packet_time = Some(20),
                _ => {}
            }
        }
        if wishes.is_empty() || rng.chance(20) {
            let kinds: Vec<MediaKind> =
                self.negotiation.capabilities().rtp.iter().map(|capability| capability.kind.clone()).collect();
            let kind = kinds[rng.below(kinds.len())].clone();
            let place = if rng.chance(70) { self.negotiation.free_section() } else { wishes.len() };
            let media = LocalMedia { direction: self.direction(rng), ..LocalMedia::new(kind, self.transport()) };
            if place < wishes.len() {
                wishes[place] = media;
            } else if place < 6 {
                wishes.push(media);
            }
        }
        wishes
    }

    fn direction(&self, rng: &mut Rng) -> Direction {
        [Direction::SendRecv, Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
            [rng.below(5)]
    }

    fn answers(&mut self, offer: &RemoteOffer, rng: &mut Rng) -> Vec<LocalMedia> {
        let mut wishes = self.negotiation.local_media();
        for media in &offer.media {
            if wishes.len() <= media.index {
                wishes.push(LocalMedia::rejected(media.kind.clone()));
            }
            let wish = &mut wishes[media.index];
            if !media.is_acceptable() || rng.chance(10) {
                *wish = LocalMedia::rejected(media.kind.clone());
            } else if media.is_new || wish.kind != media.kind {
                let needs_none = media.bundled_with.is_some_and(|tagged| tagged != media.index);
                *wish = match needs_none && rng.chance(50) {
                    true => LocalMedia::without_transport(media.kind.clone()),
                    false => LocalMedia::new(media.kind.clone(), self.transport()),
                };
            } else {
                if rng.chance(10) {
                    wish.held = !wish.held;
                }
                if media.ice_restart || media.new_association {
                    let transport = self.transport();
                    wish.transport = Some(transport);
                }
            }
        }
        wishes
    }

    /// What is true of every description that a side sends.
    fn check_sent(&mut self, description: &Description) {
        assert_eq!(sent(description), *description);
        if let Some(last) = &self.last {
            let (before, now) = (last.origin(), description.origin());
            assert!(before.same_session(now));
            let step = now.version - before.version;
            assert_eq!(step, u64::from(last != description), "{last}\n{description}");
        }
        assert!(description.media().len() >= self.sections, "sections never shrink");
        for (index, media) in description.media().iter().enumerate().filter(|(_, media)| !media.is_rejected()) {
            for map in media.rtpmaps() {
                let name = format!("{}/{}", map.encoding, map.clock_rate).to_ascii_lowercase();
                let known = self.payload_types.entry((index, map.payload_type)).or_insert_with(|| name.clone());
                assert_eq!(*known, name, "payload type {} of section {index}", map.payload_type);
            }
        }
        self.last = Some(description.clone());
    }
}

fn check_agreement(alice: &Side, bob: &Side) {
    let (one, other) = (&alice.negotiation, &bob.negotiation);
    assert_eq!(one.media_count(), other.media_count());
    let streams = |side: &Negotiation| side.agreed().iter().map(|media| media.index).collect::<Vec<_>>();
    assert_eq!(streams(one), streams(other));
    for (a, b) in one.agreed().iter().zip(other.agreed()) {
        assert_eq!((&a.kind, &a.protocol, &a.mid), (&b.kind, &b.protocol, &b.mid));
        assert_eq!(a.direction, b.direction.reversed());
        assert_eq!((a.rtcp_mux, a.bundle, a.rtcp_rsize), (b.rtcp_mux, b.bundle, b.rtcp_rsize));
        assert_eq!(a.extensions, b.extensions);
        for (list, peers) in [(&a.codecs, &b.codecs), (&a.telephone_events, &b.telephone_events)] {
            assert_eq!(list.len(), peers.len());
            for (mine, theirs) in list.iter().zip(peers) {
                assert!(mine.encoding.eq_ignore_ascii_case(&theirs.encoding));
                assert_eq!((mine.clock_rate, mine.channels), (theirs.clock_rate, theirs.channels));
                assert_eq!(mine.local_payload_type, theirs.remote_payload_type);
                assert_eq!(mine.remote_payload_type, theirs.local_payload_type);
                assert_eq!(mine.retransmission, theirs.retransmission.map(|(local, remote)| (remote, local)));
                assert_eq!(mine.feedback, theirs.feedback);
            }
        }
        for event in &a.telephone_events {
            assert!(a.codecs.iter().any(|codec| codec.clock_rate == event.clock_rate));
        }
        assert!(!a.codecs.is_empty());
        match (&a.security, &b.security) {
            (Security::None, Security::None) => assert!(alice.style == Style::Plain),
            (Security::Sdes { send, receive }, Security::Sdes { send: sent, receive: received }) => {
                assert_eq!((send, receive), (received, sent));
                assert_ne!(send.key_params, receive.key_params);
            }
            (Security::Dtls { role, association, .. }, Security::Dtls { role: other, association: number, .. }) => {
                assert_eq!(*role, other.reversed());
                assert_eq!(association, number, "a handshake is due on both sides or on none");
            }
            _ => panic!("{:?} and {:?}", a.security, b.security),
        }
        assert_eq!(a.ice.is_some(), b.ice.is_some());
        if let (Some(mine), Some(theirs)) = (&a.ice, &b.ice) {
            assert_eq!(mine.restarted, theirs.restarted);
            let used = other.local_transport(a.index).and_then(|transport| transport.ice.as_ref()).unwrap();
            assert_eq!((&mine.remote.ufrag, &mine.remote.pwd), (&used.ufrag, &used.pwd));
        }
        let used = other.local_transport(a.index).unwrap();
        assert_eq!((&a.remote.connection, a.remote.port), (&used.connection, used.port));
    }
}

/// One operation on the session. Says whether an exchange was completed.
fn step(offerer: &mut Side, answerer: &mut Side, rng: &mut Rng) -> bool {
    let before = (offerer.negotiation.agreed().to_vec(), answerer.negotiation.agreed().to_vec());
    let wishes = offerer.wishes(rng);
    let offer = offerer.negotiation.offer(&wishes).unwrap_or_else(|error| panic!("{error}: {wishes:#?}"));
    offerer.check_sent(&offer);
    let rolled_back = |offerer: &mut Side, answerer: &Side| {
        offerer.negotiation.rollback().unwrap();
        assert_eq!((offerer.negotiation.agreed(), answerer.negotiation.agreed()), (&before.0[..], &before.1[..]));
        assert_eq!(offerer.negotiation.state(), NegotiationState::Stable);
        false
    };
    if rng.chance(5) {
        return rolled_back(offerer, answerer); // it never arrived
    }
    if rng.chance(5) {
        let wishes = answerer.wishes(rng);
        let crossing = answerer.negotiation.offer(&wishes).unwrap();
        answerer.check_sent(&crossing);
        assert_eq!(answerer.negotiation.handle_offer(&offer), Err(OfferError::Glare));
        assert_eq!(offerer.negotiation.handle_offer(&crossing), Err(OfferError::Glare));
        answerer.negotiation.rollback().unwrap();
        return rolled_back(offerer, answerer);
    }
    let received = sent(&offer);
    let report = match answerer.negotiation.handle_offer(&received) {
        Ok(report) => report,
        Err(error) => {
            assert!(matches!(error, OfferError::NothingAcceptable(_)), "{error}\n{offer}");
            return rolled_back(offerer, answerer);
        }
    };
    if rng.chance(5) {
        answerer.negotiation.rollback().unwrap();
        return rolled_back(offerer, answerer);
    }
    let wishes = answerer.answers(&report, rng);
    let answer = answerer.negotiation.answer(&wishes);
    let answer = answer.unwrap_or_else(|error| panic!("{error}\n{offer}\n{report:#?}\n{wishes:#?}"));
    answerer.check_sent(&answer);
    let result = offerer.negotiation.handle_answer(&sent(&answer));
    result.unwrap_or_else(|error| panic!("{error}\n{offer}\n{answer}"));
    for side in [offerer, answerer] {
        assert_eq!(side.negotiation.media_count(), answer.media().len());
        side.sections = side.negotiation.media_count();
    }
    true
}

fn run(seed: u64, steps: usize) -> usize {
    let mut rng = Rng(seed);
    let style = [Style::Plain, Style::Sdes, Style::Dtls, Style::Web][rng.below(4)];
    let (mut alice, mut bob) = (Side::new(1, style, &mut rng), Side::new(2, style, &mut rng));
    let mut completed = 0;
    for _ in 0..steps {
        let done = match rng.chance(50) {
            true => step(&mut alice, &mut bob, &mut rng),
            false => step(&mut bob, &mut alice, &mut rng),
        };
        if done {
            check_agreement(&alice, &bob);
            completed += 1;
        }
    }
    completed
}

/// 100 sessions of 50 exchanges, each of half a dozen operations; `NEGOTIATION_SEEDS=0..2000` runs twenty times as many.
#[test]
fn two_sides_never_disagree() {
    let seeds = std::env::var("NEGOTIATION_SEEDS").ok();
    let range = seeds.as_deref().and_then(|text| text.split_once("..")).map(|(from, to)| (from.parse(), to.parse()));
    let (from, to) = match range {
        Some((Ok(from), Ok(to))) => (from, to),
        _ => (0, 100),
    };
    let mut completed = 0;
    for seed in from..to {
        let outcome = std::panic::catch_unwind(|| run(seed, 50));
        completed += outcome.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(completed > (to - from) as usize * 20, "{completed} exchanges completed");
}

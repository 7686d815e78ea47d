use std::time::Duration;

use farspeak_sansio::{FlowId, SplitMix64};
use farspeak_sip::digest::{Identity, NonceConfig, ParsedChallenge};
use farspeak_sip::message::Limits;

use super::*;
use crate::throttle::ThrottleConfig;
use crate::users::Secret;

struct World {
    config: AuthenticationConfig,
    users: Users,
    nonces: Nonces,
    throttle: Throttle,
    domain: Domain,
    secret: Secret,
    flow: Flow,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut rng = SplitMix64::new(7);
        let users = Users::new("example.org", &mut rng);
        let secret = Secret::generate(&mut rng);
        users.insert(User::new("alice", "example.org", &secret));
        let (local, remote) = ("192.0.2.1:5061".parse().unwrap(), "203.0.113.9:4000".parse().unwrap());
        Self {
            config: AuthenticationConfig::default(),
            users,
            nonces: Nonces::new([7; 32], NonceConfig::default()),
            throttle: Throttle::new(ThrottleConfig::default()),
            domain: Domain::new("example.org").with_alias("sip.example.org"),
            secret,
            flow: Flow { id: FlowId::new(0, 1, 1), transport: Transport::Tls, local, remote },
            now: Instant::ZERO + Duration::from_secs(1000),
        }
    }

    fn without_throttle() -> Self {
        let config = ThrottleConfig { free_failures: u32::MAX, ..ThrottleConfig::default() };
        Self { throttle: Throttle::new(config), ..Self::new() }
    }

    fn authenticator(&self) -> Authenticator<'_> {
        let Self { config, users, nonces, throttle, domain, .. } = self;
        Authenticator { config, users, nonces, throttle, domain }
    }

    fn check(&self, request: &Message) -> Verdict {
        match self.authenticator().check(self.now, &self.flow, request, role(request)) {
            Checked::Verdict(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    fn challenge(&self, request: &Message) -> Answer {
        self.authenticator().challenge(self.now, &self.flow, request, role(request), false)
    }

    /// The nonce of a fresh challenge.
    fn nonce(&self) -> String {
        self.nonces.issue(self.now)
    }

    /// The right value of Authorization, to be spoilt.
    fn answer(&self, username: &str, nonce: &str, method: &str, uri: &str, nc: u32) -> String {
        self.answer_with(Algorithm::Sha256, username, self.secret.reveal(), nonce, method, uri, nc)
    }

    #[expect(clippy::too_many_arguments)]
    fn answer_with(
        &self,
        algorithm: Algorithm,
        username: &str,
        password: &str,
        nonce: &str,
        method: &str,
        uri: &str,
        nc: u32,
    ) -> String {
        let challenge = Challenge { realm: "example.org", nonce, algorithm, stale: false }.to_string();
        let parsed: ParsedChallenge<'_> = Challenge::parse(&challenge).unwrap();
        parsed.answer(&Identity { username, password }, method, uri, "0a4f113b", nc)
    }
}

fn role(request: &Message) -> Role {
    if request.method() == Some(&Method::Register) { Role::Registrar } else { Role::Proxy }
}

/// A request with more header lines, each ended by CRLF.
fn request(method: &str, uri: &str, from: &str, more: &str) -> Message {
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: {from};tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: 1@x\r\nCSeq: 1 {method}\r\n{more}\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn register(authorization: &str) -> Message {
    let more = if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
    request("REGISTER", "sip:example.org", "<sip:alice@example.org>", &more)
}

fn register_as(world: &World, username: &str) -> Message {
    register(&world.answer(username, &world.nonce(), "REGISTER", "sip:example.org", 1))
}

#[test]
fn offers_both_algorithms_the_stronger_first() {
    let world = World::new();
    let answer = world.challenge(&register(""));
    let values: Vec<_> = answer.headers.iter().map(|(name, value)| (*name, Challenge::parse(value).unwrap())).collect();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(values.iter().map(|(_, it)| it.algorithm).collect::<Vec<_>>(), [Algorithm::Sha256, Algorithm::Md5]);
    for (name, challenge) in values {
        assert_eq!((name, &*challenge.realm, challenge.stale), ("WWW-Authenticate", "example.org", false));
        assert!(challenge.offers_auth && !challenge.offers_auth_int);
    }
    let invite = request("INVITE", "sip:bob@example.org", "<sip:alice@example.org>", "");
    let answer = world.challenge(&invite);
    assert_eq!((answer.status, answer.headers[0].0), (StatusCode::PROXY_AUTHENTICATION_REQUIRED, "Proxy-Authenticate"));
}

#[test]
fn offers_md5_alone_to_phones_that_need_it() {
    let mut world = World::new();
    let algorithms = |world: &World, agent: &str| {
        let more = format!("User-Agent: {agent}\r\n");
        let answer = world.challenge(&request("REGISTER", "sip:example.org", "<sip:alice@example.org>", &more));
        answer.headers.iter().map(|(_, value)| Challenge::parse(value).unwrap().algorithm).collect::<Vec<_>>()
    };
    assert_eq!(algorithms(&world, "baresip v1.0.0 (x86_64/linux)"), [Algorithm::Md5]);
    assert_eq!(algorithms(&world, "baresip v3.5.1 (x86_64/Linux)").len(), 2);
    world.flow.transport = Transport::Wss;
    assert_eq!(algorithms(&world, "anything"), [Algorithm::Md5]);
    world.config.sha256_only = vec![Transport::Wss];
    assert_eq!(algorithms(&world, "baresip v1.0.0 (x86_64/linux)"), [Algorithm::Sha256]);
}

#[test]
fn right_credentials_are_valid_with_either_algorithm_and_either_name() {
    let world = World::new();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        for username in ["alice", "alice@example.org"] {
            let secret = world.secret.reveal();
            let value =
                world.answer_with(algorithm, username, secret, &world.nonce(), "REGISTER", "sip:example.org", 1);
            let verdict = world.check(&register(&value));
            assert_eq!(verdict.user().map(|user| user.name.as_str()), Some("alice"), "{algorithm} {username}");
        }
    }
}

#[test]
fn a_proxy_reads_proxy_authorization_alone() {
    let world = World::new();
    let value = world.answer("alice", &world.nonce(), "INVITE", "sip:bob@example.org", 1);
    let from = "<sip:alice@example.org>";
    let invite = |name: &str| request("INVITE", "sip:bob@example.org", from, &format!("{name}: {value}\r\n"));
    assert_eq!(world.check(&invite("Authorization")), Verdict::Absent);
    assert!(world.check(&invite("Proxy-Authorization")).user().is_some());
}

#[test]
fn credentials_wrong_in_any_field_are_wrong() {
    let world = World::without_throttle();
    let nonce = world.nonce();
    let good = world.answer("alice", &nonce, "REGISTER", "sip:example.org", 1);
    let spoil = |from: &str, to: &str| {
        assert!(good.contains(from), "{good} has no {from}");
        good.replacen(from, to, 1)
    };
    let wrong = [
        ("user", spoil("username=\"alice\"", "username=\"alicf\"")),
        ("case of the user", spoil("username=\"alice\"", "username=\"Alice\"")),
        ("realm in the name", spoil("username=\"alice\"", "username=\"alice@example.net\"")),
        ("nonce", spoil(&nonce, &world.nonce())),
        ("uri", spoil("uri=\"sip:example.org\"", "uri=\"sip:example.net\"")),
        ("uri that is none", spoil("uri=\"sip:example.org\"", "uri=\"\"")),
        ("uri that was not hashed", spoil("uri=\"sip:example.org\"", "uri=\"sip:sip.example.org\"")),
        ("count", spoil("nc=00000001", "nc=00000002")),
        ("cnonce", spoil("0a4f113b", "0a4f113c")),
        ("algorithm", spoil("algorithm=SHA-256", "algorithm=SHA-256-sess")),
        ("algorithm of another length", spoil("algorithm=SHA-256", "algorithm=MD5")),
        ("unknown algorithm", spoil("algorithm=SHA-256", "algorithm=SHA-512-256")),
        ("qop", spoil("qop=auth", "qop=auth-int")),
        ("no qop", spoil("qop=auth", "x=y")),
        ("no count", spoil("nc=00000001", "x=y")),
        ("no cnonce", spoil("cnonce=", "x=")),
        ("no user", spoil("username=", "x=")),
        ("no response", spoil("response=", "x=")),
        ("short response", spoil("response=\"", "response=\"0")),
        ("a hashed name", format!("{good}, userhash=true")),
        ("a field twice", format!("{good}, username=\"alice\"")),
        ("another method", world.answer("alice", &nonce, "INVITE", "sip:example.org", 1)),
        (
            "another secret",
            world.answer_with(Algorithm::Sha256, "alice", "300", &nonce, "REGISTER", "sip:example.org", 1),
        ),
        ("an unknown user", world.answer("carol", &nonce, "REGISTER", "sip:example.org", 1)),
        ("the name that stands for nobody", world.answer("anonymous", &nonce, "REGISTER", "sip:example.org", 1)),
        ("an unclosed quote", spoil("\"alice\"", "\"alice")),
    ];
    for (what, value) in wrong {
        assert_eq!(world.check(&register(&value)), Verdict::Wrong, "{what}: {value}");
    }
    assert!(world.check(&register(&good)).user().is_some(), "none of them has used up the count");
}

#[test]
fn credentials_of_other_realms_and_schemes_are_not_ours_to_judge() {
    let world = World::new();
    let good = world.answer("alice", &world.nonce(), "REGISTER", "sip:example.org", 1);
    let other = good.replace("realm=\"example.org\"", "realm=\"example.net\"");
    assert_eq!(world.check(&register(&other)), Verdict::Absent);
    assert_eq!(world.check(&register("Bearer abcdef")), Verdict::Absent);
    let both = format!("{other}\r\nAuthorization: {good}");
    assert!(world.check(&register(&both)).user().is_some());
}

#[test]
fn a_phone_may_answer_both_challenges() {
    let world = World::new();
    let nonce = world.nonce();
    let [strong, weak] = [Algorithm::Sha256, Algorithm::Md5].map(|algorithm| {
        world.answer_with(algorithm, "alice", world.secret.reveal(), &nonce, "REGISTER", "sip:example.org", 1)
    });
    assert!(world.check(&register(&format!("{weak}\r\nAuthorization: {strong}"))).user().is_some());
}

#[test]
fn md5_is_refused_where_sha_256_is_demanded() {
    let mut world = World::new();
    world.config.sha256_only = vec![Transport::Tls, Transport::Wss];
    let weak = |world: &World| {
        let secret = world.secret.reveal();
        let value =
            world.answer_with(Algorithm::Md5, "alice", secret, &world.nonce(), "REGISTER", "sip:example.org", 1);
        register(&value)
    };
    assert_eq!(world.check(&weak(&world)), Verdict::Wrong);
    assert!(world.check(&register_as(&world, "alice")).user().is_some());
    // It is demanded of no other listener.
    world.flow.transport = Transport::Tcp;
    assert!(world.check(&weak(&world)).user().is_some());
    assert_eq!(world.challenge(&register("")).headers.len(), 2);
}

#[test]
fn a_replay_is_stale_and_gives_nothing() {
    let world = World::new();
    let nonce = world.nonce();
    let first = register(&world.answer("alice", &nonce, "REGISTER", "sip:example.org", 1));
    assert!(world.check(&first).user().is_some());
    assert_eq!(world.check(&first), Verdict::Stale);
    let second = register(&world.answer("alice", &nonce, "REGISTER", "sip:example.org", 2));
    assert!(world.check(&second).user().is_some());
    let answer = world.authenticator().challenge(world.now, &world.flow, &first, Role::Registrar, true);
    assert!(answer.headers.iter().all(|(_, value)| Challenge::parse(value).unwrap().stale));
}

#[test]
fn a_spent_or_foreign_nonce_is_stale_only_with_the_right_secret() {
    let mut world = World::new();
    let nonce = world.nonce();
    let foreign = Nonces::new([8; 32], NonceConfig::default()).issue(world.now);
    world.now += Duration::from_secs(301);
    for spent in [nonce.as_str(), &foreign, "0123456789"] {
        let right = world.answer("alice", spent, "REGISTER", "sip:example.org", 1);
        assert_eq!(world.check(&register(&right)), Verdict::Stale, "{spent}");
        let wrong = world.answer_with(Algorithm::Sha256, "alice", "300", spent, "REGISTER", "sip:example.org", 1);
        assert_eq!(world.check(&register(&wrong)), Verdict::Wrong, "{spent}");
    }
}

#[test]
fn phones_may_write_the_uri_in_their_own_way() {
    let world = World::without_throttle();
    let from = "<sip:alice@example.org>";
    let check = |method: &str, target: &str, written: &str| {
        let value = world.answer("alice", &world.nonce(), method, written, 1);
        let header = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        world.check(&request(method, target, from, &format!("{header}: {value}\r\n"))).user().is_some()
    };
    assert!(check("REGISTER", "sip:example.org;transport=tls", "sip:example.org"));
    assert!(check("REGISTER", "sip:example.org", "sip:alice@example.org"));
    assert!(check("REGISTER", "sip:192.0.2.1", "sip:EXAMPLE.org:5061"));
    assert!(check("INVITE", "sip:bob@sip.example.org:5061;transport=tls", "sip:bob@example.org"));
    assert!(check("INVITE", "sip:b%6fb@example.org", "sips:bob@example.org"));
    assert!(check("BYE", "sip:bob@192.168.0.7:5071;ob", "sip:bob@192.168.0.7"));
    assert!(!check("INVITE", "sip:bob@example.org", "sip:carol@example.org"));
    assert!(!check("INVITE", "sip:bob@example.org", "sip:example.org"));
    assert!(!check("BYE", "sip:bob@192.168.0.7", "sip:bob@192.168.0.8"));
    assert!(!check("REGISTER", "sip:example.org", "sip:example.net"));
}

#[test]
fn unknown_and_known_users_get_the_same_answer() {
    let shape = |answer: &Answer| -> Vec<(&'static str, String)> {
        let hidden = |value: &str| value.replace(&*Challenge::parse(value).unwrap().nonce, "N");
        answer.headers.iter().map(|(name, value)| (*name, hidden(value))).collect()
    };
    let world = World::new();
    let mut answers = Vec::new();
    for user in ["alice", "carol"] {
        let wrong = world.answer_with(Algorithm::Md5, user, "300", &world.nonce(), "REGISTER", "sip:example.org", 1);
        let request = register(&wrong);
        assert_eq!(world.check(&request), Verdict::Wrong);
        let answer = world.challenge(&request);
        answers.push((answer.status, shape(&answer)));
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn ack_and_cancel_are_never_challenged() {
    let world = World::new();
    for method in ["ACK", "CANCEL"] {
        let junk =
            request(method, "sip:bob@example.org", "<sip:alice@example.org>", "Proxy-Authorization: Digest x\r\n");
        for _ in 0..100 {
            assert_eq!(world.check(&junk), Verdict::Absent);
        }
    }
}

#[test]
fn guessing_is_slowed_down_then_cut_off() {
    let world = World::new();
    let guess =
        register(&world.answer_with(Algorithm::Md5, "alice", "300", &world.nonce(), "REGISTER", "sip:example.org", 1));
    let check = |now| world.authenticator().check(now, &world.flow, &guess, Role::Registrar);
    let (mut now, mut verified, mut slowed) = (world.now, 0, 0);
    loop {
        match check(now) {
            Checked::Verdict(verdict) => {
                assert_eq!(verdict, Verdict::Wrong);
                verified += 1;
            }
            Checked::Slow(answer) => {
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
                assert!(answer.header("Retry-After").unwrap().parse::<u32>().unwrap() >= 1);
                slowed += 1;
            }
            Checked::CutOff => break,
        }
        now += Duration::from_millis(100);
    }
    assert!((11..20).contains(&verified) && slowed > 20, "{verified} {slowed}");
    // It heals by itself.
    now += Duration::from_secs(7200);
    assert!(matches!(check(now), Checked::Verdict(Verdict::Wrong)));
}

#[test]
fn forged_datagrams_cannot_lock_out_whom_they_name_as_their_source() {
    let mut world = World::new();
    world.flow.transport = Transport::Udp;
    let victim = world.flow;
    let forger = Flow { remote: "198.51.100.66:5060".parse().unwrap(), ..victim };
    let nonce_for = |flow: &Flow| {
        let answer = world.authenticator().challenge(world.now, flow, &register(""), Role::Registrar, false);
        Challenge::parse(&answer.headers[0].1).unwrap().nonce.into_owned()
    };
    let guess = |secret: &str, nonce: &str, nc: u32| {
        register(&world.answer_with(Algorithm::Sha256, "alice", secret, nonce, "REGISTER", "sip:example.org", nc))
    };
    let check = |request: &Message| world.authenticator().check(world.now, &victim, request, Role::Registrar);
    // Nonces that never went to the victim prove nothing: the guess is not judged, right or wrong, and does not count.
    let (own, made_up, stream) = (nonce_for(&forger), "0123456789".to_owned(), world.nonce());
    for nonce in [own, made_up, stream] {
        for nc in 1..50 {
            let secret = if nc == 7 { world.secret.reveal() } else { "300" };
            assert_eq!(check(&guess(secret, &nonce, nc)), Checked::Verdict(Verdict::Stale));
        }
    }
    for _ in 0..50 {
        assert_eq!(check(&register("Digest x")), Checked::Verdict(Verdict::Wrong));
    }
    // The victim still gets in, from any port; one who guesses from there himself is stopped all the same.
    let nonce = nonce_for(&victim);
    assert!(matches!(check(&guess(world.secret.reveal(), &nonce, 1)), Checked::Verdict(Verdict::Valid(_))));
    let guesses = (0..50).map(|nc| check(&guess("300", &nonce, nc)));
    assert_eq!(guesses.filter(|it| *it == Checked::Verdict(Verdict::Wrong)).count(), 11);
    // A foreign nonce beside a guess hides nothing.
    world.now += Duration::from_secs(7200);
    let nonce = world.nonces.issue_to(world.now, Bound::to(&victim).as_bytes());
    let both = |nonce: &str| {
        let [wrong, foreign] = [nonce, "0123456789"]
            .map(|it| world.answer_with(Algorithm::Sha256, "alice", "300", it, "REGISTER", "sip:example.org", 1));
        register(&format!("{wrong}\r\nAuthorization: {foreign}"))
    };
    assert_eq!(world.check(&both(&nonce)), Verdict::Wrong);
}

#[test]
fn from_tells_who_speaks() {
    let world = World::new();
    let alice = world.users.get("alice");
    let originator = |from: &str, user: Option<&User>| {
        let invite = request("INVITE", "sip:bob@example.org", from, "");
        world.authenticator().originator(&world.flow, &invite, user)
    };
    let user = alice.as_deref();
    assert_eq!(originator("<sip:alice@example.org>", user), Originator::Authenticated);
    assert_eq!(originator("\"A\" <sips:al%69ce@SIP.example.org:5061>", user), Originator::Authenticated);
    assert_eq!(originator("<sip:Alice@example.org>", user), Originator::OtherLocal);
    assert_eq!(originator("<sip:bob@example.org>", user), Originator::OtherLocal);
    assert_eq!(originator("<sip:alice@example.org>", None), Originator::OtherLocal);
    assert_eq!(originator("<sip:alice@example.net>", user), Originator::Foreign);
    assert_eq!(originator("<tel:+442071838750>", user), Originator::Foreign);
    for local in ["localhost:9999", "127.0.0.1:9999", "192.0.2.1:9999"] {
        assert_eq!(originator(&format!("<sip:alice@{local}>"), None), Originator::OtherLocal, "{local}");
    }
    for withheld in ["\"Anonymous\" <sip:anonymous@anonymous.invalid>", "<sip:Anonymous@example.org>"] {
        assert_eq!(originator(withheld, user), Originator::Anonymous);
        assert_eq!(originator(withheld, None), Originator::Anonymous);
    }
    assert_eq!(originator("<sip:anonymous@example.net>", user), Originator::Foreign);
}

#[test]
fn believes_a_name_only_when_told_to() {
    let mut world = World::new();
    let invite = |from: &str| request("INVITE", "sip:alice@example.org", from, "");
    assert_eq!(world.check(&invite("<sip:carol@example.org>")), Verdict::Absent);
    world.config.believe_everybody = true;
    for name in ["alice", "carol"] {
        let verdict = world.check(&invite(&format!("<sip:{name}@example.org>")));
        assert_eq!(verdict.user().map(|user| user.name.as_str()), Some(name));
    }
    assert_eq!(world.check(&invite("<sip:alice@elsewhere.example>")), Verdict::Absent);
}

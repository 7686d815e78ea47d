use farspeak_sansio::{FlowId, SplitMix64, Transport};
use farspeak_sip::message::Limits;

use super::*;
use crate::users::Secret;

const CLOCK: Clock = Clock { unix_at_origin_ms: 1_289_690_940_000 }; // Sat, 13 Nov 2010 23:29:00 GMT

struct World {
    config: RegistrarConfig,
    domain: Domain,
    location: Location,
    alice: User,
    flow: Flow,
    now: Instant,
    cseq: u32,
}

/// A REGISTER to be: everything but what a test is about stays as it is.
#[derive(Clone)]
struct Register<'a> {
    uri: &'a str,
    vias: usize,
    to: &'a str,
    call_id: &'a str,
    cseq: Option<u32>,
    /// More lines, without the last CRLF; empty for none.
    lines: &'a str,
}

const PLAIN: Register<'static> = Register {
    uri: "sip:example.org",
    vias: 1,
    to: "<sip:alice@example.org>",
    call_id: "call@phone",
    cseq: None,
    lines: "",
};

impl World {
    fn new() -> Self {
        let secret = Secret::generate(&mut SplitMix64::new(7));
        Self {
            config: RegistrarConfig::default(),
            domain: Domain::new("example.org").with_listener(Transport::Tls, "192.0.2.1:5061".parse().unwrap()),
            location: Location::default(),
            alice: User::new("alice", "example.org", &secret),
            flow: flow(1),
            now: Instant::ZERO,
            cseq: 0,
        }
    }

    fn outcome(&mut self, register: &Register<'_>) -> Outcome {
        self.cseq += 1;
        let request = message(register, self.cseq);
        let Self { config, domain, location, .. } = &*self;
        let registrar = Registrar { config, domain, location, clock: CLOCK };
        registrar.process(self.now, &self.flow, &request, &self.alice)
    }

    /// Registers and lets the store succeed.
    fn send(&mut self, register: Register<'_>) -> Answer {
        match self.outcome(&register) {
            Outcome::Respond(answer) => answer,
            Outcome::Commit(commit) => commit.settle(self.now, &self.location, true),
        }
    }

    fn lines(&mut self, lines: &str) -> Answer {
        self.send(Register { lines, ..PLAIN })
    }

    /// Registers one contact for a minute or more.
    fn contact(&mut self, contact: &str) -> Answer {
        self.lines(&format!("Contact: {contact}"))
    }

    fn fetch(&mut self) -> Vec<String> {
        contacts(&self.send(PLAIN))
    }

    fn bindings(&self) -> Vec<Arc<Binding>> {
        self.location.bindings(self.now, &Aor::new("alice", "example.org"))
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn flow(slot: u32) -> Flow {
    let (local, remote) = ("192.0.2.1:5061".parse().unwrap(), "203.0.113.9:40000".parse().unwrap());
    Flow { id: FlowId::new(0, slot, 1), transport: Transport::Tls, local, remote }
}

fn message(register: &Register<'_>, cseq: u32) -> Message {
    let Register { uri, vias, to, call_id, lines, .. } = register;
    let cseq = register.cseq.unwrap_or(cseq);
    let vias: String = (0..*vias).map(|n| format!("Via: SIP/2.0/TLS h{n}.example;branch=z9hG4bK{n}\r\n")).collect();
    let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
    let text = format!(
        "REGISTER {uri} SIP/2.0\r\n{vias}Max-Forwards: 70\r\nFrom: <sip:alice@example.org>;tag=1\r\nTo: {to}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\nUser-Agent: phone/1\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn contacts(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let values = answer.headers.iter().filter(|(name, _)| *name == "Contact");
    values.map(|(_, value)| value.clone()).collect()
}

fn status(answer: &Answer) -> u16 {
    answer.status.code()
}

const A: &str = "<sip:alice@192.168.0.2:5061;transport=tls>";
const B: &str = "<sip:alice@192.168.0.3:5061;transport=tls>";

#[test]
fn adds_fetches_refreshes_and_removes() {
    // After RFC 3665 §2.1 to §2.5.
    let mut world = World::new();
    assert_eq!(world.fetch(), Vec::<String>::new());
    assert_eq!(contacts(&world.contact(&format!("\"Alice\" {A};expires=600"))), [format!("{A};expires=600")]);
    world.wait(100);
    assert_eq!(world.fetch(), [format!("{A};expires=500")]);
    assert_eq!(contacts(&world.contact(&format!("{A};expires=600"))), [format!("{A};expires=600")]);
    assert_eq!(contacts(&world.contact(&format!("{A};expires=0"))), Vec::<String>::new());
    assert!(world.location.is_empty());
}

#[test]
fn keeps_several_contacts_with_their_preferences() {
    let mut world = World::new();
    let answer = world.lines(&format!("Contact: {A};q=0.2, {B};q=0.75;expires=90\r\nExpires: 120"));
    assert_eq!(contacts(&answer), [format!("{B};expires=90;q=0.75"), format!("{A};expires=120;q=0.2")]);
    let answer = world.lines(&format!("Contact: {A};q=0.0\r\nm: <sip:alice@192.168.0.4>;expires=120"));
    assert_eq!(contacts(&answer).len(), 3);
    assert_eq!(contacts(&answer)[2], format!("{A};expires=3600;q=0.0"));
}

#[test]
fn the_parameter_counts_more_than_the_header_field_and_both_are_bounded() {
    let mut world = World::new();
    assert_eq!(contacts(&world.contact(A)), [format!("{A};expires=3600")]);
    assert_eq!(contacts(&world.lines(&format!("Contact: {A}\r\nExpires: 300"))), [format!("{A};expires=300")]);
    let both = format!("Contact: {A};expires=200\r\nExpires: 300");
    assert_eq!(contacts(&world.lines(&both)), [format!("{A};expires=200")]);
    assert_eq!(contacts(&world.contact(&format!("{A};expires=4294967295"))), [format!("{A};expires=7200")]);
    assert_eq!(contacts(&world.contact(&format!("{A};expires=99999999999"))), [format!("{A};expires=7200")]);
    assert_eq!(contacts(&world.contact(&format!("{A};expires=soon"))), [format!("{A};expires=3600")]);
    for brief in [format!("Contact: {A};expires=59"), format!("Contact: {A}\r\nExpires: 1")] {
        let answer = world.lines(&brief);
        assert_eq!((status(&answer), answer.header("Min-Expires")), (423, Some("60")));
    }
    assert_eq!(world.fetch(), [format!("{A};expires=3600")], "a refused request changes nothing");
}

#[test]
fn a_star_removes_everything_and_only_with_expires_0() {
    let mut world = World::new();
    world.contact(A);
    world.contact(B);
    for wrong in ["Contact: *", "Contact: *\r\nExpires: 60", "Contact: *\r\nExpires: x"] {
        assert_eq!(status(&world.lines(wrong)), 400, "{wrong}");
    }
    assert_eq!(status(&world.lines(&format!("Contact: *\r\nContact: {A}\r\nExpires: 0"))), 400);
    assert_eq!(world.bindings().len(), 2);
    assert_eq!(contacts(&world.lines("Contact: *\r\nExpires: 0")), Vec::<String>::new());
    assert_eq!(contacts(&world.lines("Contact: *\r\nExpires: 0")), Vec::<String>::new());
}

#[test]
fn an_older_request_changes_nothing() {
    let mut world = World::new();
    world.send(Register { cseq: Some(10), lines: &format!("Contact: {A};expires=600"), ..PLAIN });
    for cseq in [9, 10] {
        let lines = [format!("Contact: {A};expires=0"), format!("Contact: {A}"), "Contact: *\r\nExpires: 0".to_owned()];
        for lines in &lines {
            assert_eq!(status(&world.send(Register { cseq: Some(cseq), lines, ..PLAIN })), 500);
        }
    }
    // All or nothing: the new contact is not added either.
    let both = format!("Contact: {B}, {A}");
    assert_eq!(status(&world.send(Register { cseq: Some(10), lines: &both, ..PLAIN })), 500);
    assert_eq!(world.fetch(), [format!("{A};expires=600")]);
    // Another Call-ID is another series: the phone has restarted.
    let restarted =
        Register { cseq: Some(1), call_id: "other@phone", lines: &format!("Contact: {A};expires=70"), ..PLAIN };
    assert_eq!(contacts(&world.send(restarted)), [format!("{A};expires=70")]);
}

#[test]
fn one_bad_contact_spoils_the_request() {
    let mut world = World::new();
    assert_eq!(status(&world.lines(&format!("Contact: {A}, <sip:alice@192.168.0.3>;expires=5"))), 423);
    assert_eq!(status(&world.lines(&format!("Contact: {A}, <tel:+442071838750>"))), 400);
    assert!(world.bindings().is_empty());
}

#[test]
fn contacts_that_cannot_be_called_are_refused() {
    let mut world = World::new();
    let refused = [
        ("<tel:+442071838750>", 400),
        ("<mailto:alice@example.com>", 400),
        ("<http://192.168.0.2/>", 400),
        ("<sip:alice@192.168.0.2?Subject=x>", 400),
        ("<sip:alice@192.168.0.2;method=BYE>", 400),
        ("<sip:alice@>", 400),
        ("<sip:bob@example.org>", 403),
        ("<sip:192.0.2.1:5061>", 403),
        ("<sip:alice@localhost>", 403),
        ("<sip:bob@EXAMPLE.ORG.:5099;transport=tls>", 403),
    ];
    for (contact, expected) in refused {
        assert_eq!(status(&world.contact(contact)), expected, "{contact}");
    }
    let long = format!("<sip:{}@192.168.0.2>", "x".repeat(1100));
    assert_eq!(status(&world.contact(&long)), 400);
    let long = format!("{A};x={}", "x".repeat(1100));
    assert_eq!(status(&world.contact(&long)), 400);
    for fine in
        ["<sip:qj3k@df7jal23ls0d.invalid;transport=ws>", "<sip:[2001:db8::9]:5070>", "sip:alice@pc33.example.net"]
    {
        assert_eq!(status(&world.contact(fine)), 200, "{fine}");
    }
}

#[test]
fn a_sips_contact_needs_sips_throughout() {
    // RFC 5630 §5.2.
    let mut world = World::new();
    let secure = "<sips:alice@192.168.0.2>";
    assert_eq!(status(&world.contact(secure)), 400);
    let lines = format!("Contact: {secure}");
    let register = Register { uri: "sips:example.org", lines: &lines, ..PLAIN };
    assert_eq!(status(&world.send(register.clone())), 200);
    let mixed = format!("Contact: {secure}, {A}");
    assert_eq!(status(&world.send(Register { lines: &mixed, ..register.clone() })), 400);
    let path = format!("Contact: {secure}\r\nSupported: path\r\nPath: <sip:edge.example;lr>");
    assert_eq!(status(&world.send(Register { lines: &path, ..register.clone() })), 400);
    // `sip:` and `sips:` are one address-of-record.
    assert_eq!(status(&world.send(Register { to: "<sips:alice@example.org>", ..register })), 200);
    assert_eq!(world.bindings().len(), 1);
}

#[test]
fn a_contact_is_known_however_it_is_written() {
    // RFC 3261 §19.1.4.
    let mut world = World::new();
    world.contact("<sip:alice@Phone.example.net;transport=tls>");
    world.contact("<sip:%61lice@phone.EXAMPLE.net;transport=TLS;x=1>");
    assert_eq!(world.fetch(), ["<sip:%61lice@phone.EXAMPLE.net;transport=TLS;x=1>;expires=3600"]);
    world.contact("<sip:Alice@phone.example.net;transport=tls>");
    world.contact("<sip:alice@phone.example.net:5061;transport=tls>");
    assert_eq!(world.bindings().len(), 3);
}

#[test]
fn nobody_registers_for_somebody_else_or_elsewhere() {
    let mut world = World::new();
    let lines = format!("Contact: {A}");
    let register = Register { lines: &lines, ..PLAIN };
    for (to, expected) in [
        ("<sip:bob@example.org>", 403),
        ("<sip:Alice@example.org>", 403),
        ("<sip:alice@example.net>", 404),
        ("<sip:example.org>", 404),
        ("<tel:+442071838750>", 404),
    ] {
        assert_eq!(status(&world.send(Register { to, ..register.clone() })), expected, "{to}");
    }
    assert_eq!(status(&world.send(Register { uri: "sip:example.net", ..register.clone() })), 403);
    assert_eq!(status(&world.send(Register { to: "<sip:%61lice@EXAMPLE.org:5061>", ..register })), 200);
    assert_eq!(world.location.users(), 1);
}

#[test]
fn extensions_that_we_do_not_have_are_named() {
    let mut world = World::new();
    let answer = world.lines(&format!("Require: path, gruu, x\r\nContact: {A}"));
    assert_eq!((status(&answer), answer.header("Unsupported")), (420, Some("gruu, x")));
}

#[test]
fn the_path_is_kept_if_the_phone_knows_of_it() {
    // RFC 3327 §5.3.
    let mut world = World::new();
    let path = "Path: <sip:p2.example.com;lr>,\r\n <sip:p1.example.com;lr>\r\nPath: <sip:p0.example.com;lr>";
    let answer = world.lines(&format!("Contact: {A}\r\n{path}"));
    assert_eq!((status(&answer), answer.header("Unsupported")), (420, Some("path")));
    let answer = world.lines(&format!("Contact: {A}\r\nSupported: 100rel, Path\r\n{path}"));
    let kept = "<sip:p2.example.com;lr>, <sip:p1.example.com;lr>, <sip:p0.example.com;lr>";
    assert_eq!(answer.header("Path"), Some(kept));
    assert_eq!(world.bindings()[0].path(), kept);
    assert_eq!(status(&world.lines(&format!("Contact: {A}\r\nSupported: path\r\nPath: nonsense"))), 400);
    let long = format!("Contact: {A}\r\nSupported: path\r\nPath: <sip:{}.example;lr>", "x".repeat(2100));
    assert_eq!(status(&world.lines(&long)), 400);
}

const PHONE: &str = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";

#[test]
fn a_numbered_flow_replaces_itself_whatever_its_contact() {
    // RFC 5626 §6.
    let mut world = World::new();
    let answer = world.lines(&format!("Supported: path, outbound\r\nContact: {A}{PHONE};reg-id=1;expires=600"));
    assert_eq!(answer.header("Require"), Some("outbound"));
    assert_eq!(answer.header("Flow-Timer"), Some("120"));
    assert_eq!(contacts(&answer), [format!("{A};expires=600{PHONE};reg-id=1")]);
    world.flow = flow(2);
    let lower = PHONE.to_lowercase();
    world.lines(&format!("Supported: path, outbound\r\nContact: {B}{lower};reg-id=1;expires=600"));
    assert_eq!(world.bindings().len(), 1);
    assert_eq!(world.bindings()[0].flow(), Some(flow(2)));
    world.lines(&format!("Supported: path, outbound\r\nContact: {B}{PHONE};reg-id=2;expires=600"));
    assert_eq!(world.bindings().len(), 2);
    // One flow at a time, and a removal beside it.
    let two = format!("Contact: {A}{PHONE};reg-id=1, {B}");
    assert_eq!(status(&world.lines(&two)), 400);
    let swap = format!("Contact: {A}{PHONE};reg-id=1, {B}{PHONE};reg-id=2;expires=0");
    assert_eq!(contacts(&world.lines(&swap)).len(), 1);
}

#[test]
fn outbound_is_not_promised_unless_asked_for() {
    let mut world = World::new();
    assert_eq!(world.contact(&format!("{A}{PHONE};reg-id=1")).header("Require"), None);
    assert_eq!(world.lines(&format!("Supported: outbound\r\nContact: {B}")).header("Require"), None);
    let no_instance = world.lines(&format!("Supported: outbound\r\nContact: {B};reg-id=1"));
    assert_eq!(no_instance.header("Require"), None);
    assert_eq!(world.bindings().iter().map(|it| it.reg_id()).collect::<Vec<_>>(), [None, Some(1)]);
}

#[test]
fn a_first_hop_without_outbound_is_told() {
    // RFC 5626 §6, §11.6.
    let mut world = World::new();
    let contact = format!("Contact: {A}{PHONE};reg-id=1");
    let behind = |lines: &str| Register { vias: 2, ..PLAIN }.lines_of(lines);
    assert_eq!(status(&world.send(behind(&format!("{contact}\r\nSupported: path, outbound")).get())), 439);
    let path = "Path: <sip:edge.example;lr>";
    assert_eq!(status(&world.send(behind(&format!("{contact}\r\nSupported: path, outbound\r\n{path}")).get())), 439);
    let answer = world.send(behind(&format!("{contact}\r\nSupported: path\r\n{path}")).get());
    assert_eq!((status(&answer), world.bindings()[0].reg_id()), (200, None));
    let with_ob = "Path: <sip:token@edge.example;lr;ob>";
    let answer = world.send(behind(&format!("{contact}\r\nSupported: path, outbound\r\n{with_ob}")).get());
    assert_eq!((answer.header("Require"), world.bindings()[0].reg_id()), (Some("outbound"), Some(1)));
}

/// A [`Register`] that owns its lines.
struct Owned(Register<'static>, String);

impl Register<'static> {
    fn lines_of(self, lines: &str) -> Owned {
        Owned(self, lines.to_owned())
    }
}

impl Owned {
    fn get(&self) -> Register<'_> {
        Register { lines: &self.1, ..self.0.clone() }
    }
}

#[test]
fn contact_parameters_are_kept_and_echoed_on_one_line() {
    let mut world = World::new();
    let answer = world.contact(&format!("{A};expires=60;methods=\"INVITE,\r\n BYE\";audio;Q=0.5{PHONE}"));
    assert_eq!(contacts(&answer), [format!("{A};expires=60;q=0.5;methods=\"INVITE, BYE\";audio{PHONE}")]);
}

#[test]
fn a_phone_that_comes_back_elsewhere_leaves_no_ghost() {
    let mut world = World::new();
    world.contact(&format!("{A}{PHONE}"));
    // While its connection lives, the same instance under another contact is another contact.
    world.flow = flow(2);
    world.contact(&format!("{B}{PHONE}"));
    assert_eq!(world.bindings().len(), 2);
    world.location.flow_failed(world.now, &flow(1));
    world.location.flow_failed(world.now, &flow(2));
    world.flow = flow(3);
    world.contact(&format!("<sip:alice@192.168.0.4:5061;transport=tls>{PHONE}"));
    assert_eq!(world.bindings().len(), 1);
}

#[test]
fn contacts_are_bounded_and_lost_ones_make_room() {
    let mut world = World::new();
    world.config.max_contacts = 3;
    let place = |n: u32| format!("<sip:alice@192.168.0.{n}>");
    for n in 1..=3 {
        world.flow = flow(n);
        world.wait(1);
        assert_eq!(status(&world.contact(&place(n))), 200);
    }
    world.flow = flow(4);
    assert_eq!(status(&world.contact(&place(4))), 403);
    assert_eq!(status(&world.contact(&place(3))), 200, "a refresh always fits");
    world.location.flow_failed(world.now, &flow(1));
    world.location.flow_failed(world.now, &flow(2));
    assert_eq!(status(&world.contact(&place(4))), 200);
    let mut left: Vec<String> = world.bindings().iter().map(|it| it.contact().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["sip:alice@192.168.0.2", "sip:alice@192.168.0.3", "sip:alice@192.168.0.4"]);
    let many = (1..=4).map(place).collect::<Vec<_>>().join(", ");
    assert_eq!(status(&world.contact(&many)), 403);
}

#[test]
fn the_200_waits_for_the_store_and_a_failure_undoes_the_change() {
    let mut world = World::new();
    world.contact(&format!("{A};expires=600"));
    let lines = format!("Contact: {A};expires=0, {B};expires=600");
    let Outcome::Commit(commit) = world.outcome(&Register { lines: &lines, ..PLAIN }) else { panic!("no commit") };
    let rows: Vec<_> = commit.rows.iter().map(|row| (row.contact.as_str(), row.is_removal())).collect();
    assert_eq!(rows, [(&A[1..A.len() - 1], true), (&B[1..B.len() - 1], false)]);
    assert!(commit.rows.iter().all(|row| row.aor == "alice@example.org" && row.version == commit.version));
    let answer = commit.settle(world.now, &world.location, false);
    assert_eq!((status(&answer), answer.header("Retry-After")), (500, Some("5")));
    assert_eq!(world.fetch(), [format!("{A};expires=600")]);
    assert_eq!(world.location.pending(), 0);
}

#[test]
fn the_store_gets_one_row_for_each_contact_that_changes() {
    let mut world = World::new();
    world.contact(A);
    let lines = format!("Contact: {A};expires=0, {A};q=0.5, {A};q=0.7, {B}, {B};expires=0");
    let Outcome::Commit(commit) = world.outcome(&Register { lines: &lines, ..PLAIN }) else { panic!("no commit") };
    let rows: Vec<_> = commit.rows.iter().map(|row| (row.contact.as_str(), row.q, row.is_removal())).collect();
    assert_eq!(rows, [(&A[1..A.len() - 1], 700, false)]);
}

#[test]
fn a_fetch_needs_no_store() {
    let mut world = World::new();
    assert!(matches!(world.outcome(&PLAIN), Outcome::Respond(_)));
    let unknown = format!("Contact: {A};expires=0");
    assert!(matches!(world.outcome(&Register { lines: &unknown, ..PLAIN }), Outcome::Respond(_)));
}

#[test]
fn a_restart_goes_on_where_the_store_was() {
    let mut world = World::new();
    let lines = format!("Contact: {A}{PHONE};q=0.3;expires=600\r\nSupported: path\r\nPath: <sip:edge.example;lr>");
    let Outcome::Commit(commit) = world.outcome(&Register { lines: &lines, ..PLAIN }) else { panic!("no commit") };
    let before = world.fetch();
    world.location = Location::default();
    world.location.restore(world.now, CLOCK, commit.version, commit.rows.clone());
    assert_eq!(world.fetch(), before);
    assert_eq!(world.bindings()[0].path(), "<sip:edge.example;lr>");
    let old = Register { cseq: Some(1), lines: &lines, ..PLAIN };
    assert_eq!(status(&world.send(old)), 500, "the order of requests survives too");
}

#[test]
fn tells_the_date() {
    let mut world = World::new();
    assert_eq!(world.send(PLAIN).header("Date"), Some("Sat, 13 Nov 2010 23:29:00 GMT"));
    assert_eq!(date(951_827_696_000), "Tue, 29 Feb 2000 12:34:56 GMT");
    assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date(4_102_444_799_000), "Thu, 31 Dec 2099 23:59:59 GMT");
    assert_eq!(date(-5), "Thu, 01 Jan 1970 00:00:00 GMT");
}

#[test]
fn what_is_kept_is_one_line_with_single_spaces() {
    for (text, kept) in
        [("", ""), ("Zoiper v2.10", "Zoiper v2.10"), ("a  b", "a b"), (" a", "a"), ("a ", "a"), (" ", "")]
    {
        assert_eq!(one_line(text), kept, "{text:?}");
    }
    assert_eq!(one_line("a\r\n\tb\tc"), "a b c");
}

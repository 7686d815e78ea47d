//! An answered registration survives the death of the process.

mod common;

use std::collections::HashMap;

use common::{Phone, Reply, Scratch};
use farspeak_node::accounts;
use farspeak_node::config::Durability;
use farspeak_node::entropy::SystemRng;
use farspeak_node::store::Store;

const USERS: usize = 200;

fn add_users(scratch: &Scratch) -> Vec<(String, String)> {
    let mut store = Store::open(&scratch.data(), Durability::Process).unwrap();
    let realm = accounts::realm(&mut store, "localhost").unwrap();
    let mut rng = SystemRng::new();
    let users = (0..USERS).map(|number| {
        let name = format!("user{number:03}");
        let (_, secret) = accounts::add(&mut store, &mut rng, &realm, &name, false, 0).unwrap();
        (name, secret.reveal().to_owned())
    });
    users.collect()
}

/// What the storm has been told.
struct Storm<'a> {
    users: &'a [(String, String)],
    phone: Phone,
    /// By user: the challenge in use, and how often.
    challenges: HashMap<usize, (Reply, u32)>,
    /// By user: CSeq and contact of the request under way.
    under_way: HashMap<usize, u32>,
    answered: Vec<(usize, String)>,
}

impl Storm<'_> {
    fn contact(user: usize, cseq: u32) -> String {
        format!("sip:phone{cseq}@192.0.2.{}:5060", user % 250 + 1)
    }

    fn send(&mut self, user: usize) {
        let cseq = self.under_way.entry(user).or_insert(0);
        *cseq += 1;
        let cseq = *cseq;
        let (name, password) = &self.users[user];
        let mut more = format!("Contact: <{}>\r\n", Self::contact(user, cseq));
        if let Some((challenge, count)) = self.challenges.get_mut(&user) {
            *count += 1;
            let credentials = challenge.credentials(name, password, "REGISTER", "sip:localhost", *count).unwrap();
            more.push_str(&format!("Authorization: {credentials}\r\n"));
        }
        self.phone.send("REGISTER", "sip:localhost", name, &format!("storm-{user}"), cseq, &more);
    }

    fn take(&mut self, reply: Reply) -> Option<usize> {
        let user: usize = reply.header("Call-ID")?.strip_prefix("storm-")?.parse().ok()?;
        let cseq: u32 = reply.header("CSeq")?.split(' ').next()?.parse().ok()?;
        match reply.status() {
            200 => self.answered.push((user, Self::contact(user, cseq))),
            401 => drop(self.challenges.insert(user, (reply, 0))),
            other => panic!("{other} to a registration: {}", reply.0),
        }
        Some(user)
    }
}

#[test]
fn kill_9_in_a_registration_storm_loses_nothing_that_was_answered() {
    let scratch = Scratch::new();
    scratch.configure("[registrar]\nmax_contacts = 1000\n");
    let users = add_users(&scratch);
    let node = scratch.serve();
    let phone = Phone::new(node.address("UDP"));
    let mut storm =
        Storm { users: &users, phone, challenges: HashMap::new(), under_way: HashMap::new(), answered: Vec::new() };
    for user in 0..USERS {
        storm.send(user);
    }
    while storm.answered.len() < 3 * USERS {
        let reply = storm.phone.receive();
        if let Some(user) = storm.take(reply) {
            storm.send(user);
        }
    }
    node.kill();
    // What it had sent before it died counts as well.
    storm.phone.socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 65_535];
    while let Ok((length, _)) = storm.phone.socket.recv_from(&mut buffer) {
        storm.take(Reply(String::from_utf8_lossy(&buffer[..length]).into_owned()));
    }

    let node = scratch.serve();
    let restored = node.ready["restored"].as_u64().unwrap();
    assert!(restored >= storm.answered.len() as u64, "{restored} of {}", storm.answered.len());
    let mut phone = Phone::new(node.address("UDP"));
    let mut held: HashMap<usize, String> = HashMap::new();
    for (user, contact) in &storm.answered {
        let contacts = held.entry(*user).or_insert_with(|| {
            let (name, password) = &users[*user];
            phone.register(name, password, None).0
        });
        assert!(contacts.contains(contact.as_str()), "user {user} was told that {contact} is registered:\n{contacts}");
    }
    let (code, log) = node.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_restarted_node_still_rings_the_phone() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = scratch.serve();
    let password = |name: &str| scratch.json(&["user", "add", name])["password"].as_str().unwrap().to_owned();
    let (alice, bob) = (password("alice"), password("bob"));
    let mut bobs_phone = Phone::new(node.address("UDP"));
    let contact = format!("sip:bob@{}", bobs_phone.address());
    assert_eq!(bobs_phone.register("bob", &bob, Some(&contact)).status(), 200);
    node.kill();

    let node = scratch.serve();
    let mut caller = Phone::new(node.address("UDP"));
    let more = format!("Contact: <sip:alice@{}>\r\n", caller.address());
    caller.send("INVITE", "sip:bob@localhost", "alice", "call", 1, &more);
    let challenge = caller.receive();
    assert_eq!(challenge.status(), 407, "{}", challenge.0);
    let credentials = challenge.credentials("alice", &alice, "INVITE", "sip:bob@localhost", 1).unwrap();
    let more = format!("{more}Proxy-Authorization: {credentials}\r\n");
    caller.send("INVITE", "sip:bob@localhost", "alice", "call", 2, &more);
    let ring = bobs_phone.receive();
    assert!(ring.0.starts_with(&format!("INVITE {contact} SIP/2.0\r\n")), "{}", ring.0);
}

#[test]
fn a_full_disk_refuses_registrations_and_loses_none_that_were_answered() {
    let scratch = Scratch::new();
    scratch.configure("[registrar]\nmax_contacts = 1000\n");
    let password = scratch.json(&["user", "add", "alice"])["password"].as_str().unwrap().to_owned();
    // A bound on file size is a full disk to the store. The signal that comes with it is ignored.
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_farspeak");
    let script =
        format!("trap '' XFSZ; ulimit -f 160; exec {program} serve --json --data {}", scratch.data().display());
    command.args(["-c", &script]);
    let node = common::Node::start(command);
    let mut phone = Phone::new(node.address("UDP"));
    let mut told = Vec::new();
    let refusal = (0..1000).find_map(|number| {
        let contact = format!("sip:alice@192.0.2.1:{}", 1000 + number);
        let reply = phone.register("alice", &password, Some(&contact));
        if reply.status() != 200 {
            return Some(reply);
        }
        told.push(contact);
        None
    });
    let refusal = refusal.expect("the disk is full at last");
    assert_eq!(refusal.status(), 500, "{}", refusal.0);
    let (health, reason) = common::get(node.admin(), "/health");
    assert!(health.contains("503") && reason.contains("cannot be written"), "{health}: {reason}");
    assert_eq!(phone.register("alice", &password, None).status(), 200, "what needs no disk goes on");
    drop(node);

    let node = scratch.serve();
    let mut phone = Phone::new(node.address("UDP"));
    let held = phone.register("alice", &password, None);
    assert_eq!(held.status(), 200);
    assert!(!told.is_empty());
    for contact in told {
        assert!(held.0.contains(&contact));
    }
}

//! `farspeak serve --only turn`: STUN and TURN, and nothing else of the node.

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::relayed::Relayed;
use common::{Node, Scratch, get, text};
use farspeak_sansio::Transport;

fn alone(scratch: &Scratch) -> Node {
    Node::start(scratch.command(&["serve", "--json", "--only", "turn"]))
}

fn udp(node: &Node) -> SocketAddr {
    let all = node.ready["turn"].as_array().unwrap();
    let found = all.iter().find(|it| it["transport"] == "UDP").unwrap_or_else(|| panic!("{all:?}"));
    found["address"].as_str().unwrap().parse().unwrap()
}

/// Names of the threads of a process, sorted.
fn threads(pid: i32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may end between being listed and being asked.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok().map(|name| name.trim().to_owned())
    };
    let mut names: Vec<String> = tasks.filter_map(name).collect();
    names.sort();
    names
}

/// Files of the data directory that a process has open, by their names.
fn open_files(pid: i32, scratch: &Scratch) -> Vec<String> {
    let data = std::fs::canonicalize(scratch.data()).unwrap();
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = all.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
    let of_data = open.filter_map(|path| path.strip_prefix(&data).ok().map(|name| name.display().to_string()));
    let mut names: Vec<String> = of_data.collect();
    names.sort();
    names
}

fn allocates(server: SocketAddr, name: &str, password: &str) -> Result<SocketAddr, String> {
    Relayed::connect(Transport::Udp, server, b"", name, password).allocate()
}

#[test]
fn runs_no_thread_and_opens_no_file_that_the_relay_does_not_need() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = alone(&scratch);
    assert_eq!(node.ready["listening"], serde_json::json!([]), "neither SIP nor HTTPS");
    // A packet loop that answers has a name.
    assert_eq!(scratch.json(&["turn", "status"])["shards_silent"], 0);
    assert_eq!(threads(node.pid()), ["farspeak", "relay-0", "relay-1"]);
    assert_eq!(open_files(node.pid(), &scratch), ["lock"]);
    let mut made: Vec<_> = std::fs::read_dir(scratch.data()).unwrap().map(|it| it.unwrap().file_name()).collect();
    made.sort();
    assert_eq!(made, ["ca", "control.sock", "farspeak.toml", "lock", "turn.secret"], "no store is made");
    let status = scratch.json(&["status"]);
    assert_eq!((&status["only_turn"], &status["listening"]), (&true.into(), &serde_json::json!([])), "{status}");
    assert_eq!((status.get("shards"), status.get("registrations")), (None, None), "{status}");
    let (_, metrics) = get(node.admin(), "/metrics");
    assert!(metrics.contains("farspeak_turn_allocations") && !metrics.contains("farspeak_registrations"), "{metrics}");
    assert!(get(node.admin(), "/health").0.contains("200"));
    scratch.json(&["reload"]);
    assert!(text(&scratch.run(&["status"]).stdout).contains("serve --only turn"));
    assert_eq!(node.stop().0, Some(0));
}

#[test]
fn without_tls_no_authority_is_made() {
    let scratch = Scratch::new();
    scratch.configure("");
    let base = std::fs::read_to_string(scratch.config()).unwrap();
    let clear = base.replace("tls = \"127.0.0.1:0\"", "tls = []").replace("[turn]\n", "[turn]\nshare_https = false\n");
    std::fs::write(scratch.config(), clear).unwrap();
    let node = alone(&scratch);
    assert!(node.ready["certificate_fingerprint"].is_null() && node.ready["authority_fingerprint"].is_null());
    scratch.json(&["reload"]);
    assert!(scratch.json(&["status"])["certificate"].is_null());
    assert!(!scratch.data().join("ca").exists());
    node.stop();
}

#[test]
fn users_of_the_store_relay_and_are_changed_while_it_runs() {
    let scratch = Scratch::new();
    scratch.configure("");
    let alice = scratch.json(&["user", "add", "alice"])["password"].as_str().unwrap().to_owned();
    let node = alone(&scratch);
    assert_eq!(node.ready["users"], 1);
    assert_eq!(open_files(node.pid(), &scratch), ["lock"], "the store is closed again");
    allocates(udp(&node), "alice", &alice).unwrap();
    allocates(udp(&node), "alice", "guessed").unwrap_err();
    let bob = scratch.json(&["user", "add", "bob"])["password"].as_str().unwrap().to_owned();
    allocates(udp(&node), "bob", &bob).unwrap();
    let renewed = scratch.json(&["user", "reset", "bob"])["password"].as_str().unwrap().to_owned();
    allocates(udp(&node), "bob", &bob).unwrap_err();
    allocates(udp(&node), "bob", &renewed).unwrap();
    scratch.json(&["user", "remove", "alice"]);
    allocates(udp(&node), "alice", &alice).unwrap_err();
    assert_eq!(scratch.json(&["user", "list"])["users"].as_array().unwrap().len(), 1);
    assert_eq!(open_files(node.pid(), &scratch), ["lock"]);
    node.stop();
    // The whole node finds what was changed.
    let node = scratch.serve();
    assert_eq!(node.ready["users"], 1);
    node.stop();
}

#[test]
fn a_credential_outlives_the_process_that_made_it_whatever_else_runs() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = alone(&scratch);
    let issued = scratch.json(&["turn", "credentials"]);
    let (name, password) = (issued["username"].as_str().unwrap(), issued["credential"].as_str().unwrap());
    node.kill();
    let node = alone(&scratch);
    allocates(udp(&node), name, password).unwrap();
    node.kill();
    let node = scratch.serve();
    allocates(udp(&node), name, password).unwrap();
    node.stop();
}

#[test]
fn says_what_is_missing_when_there_is_nothing_to_serve() {
    let scratch = Scratch::new();
    scratch.configure("");
    let base = std::fs::read_to_string(scratch.config()).unwrap();
    let (before, turn) = base.split_once("[turn]\n").unwrap();
    let none = turn.replace("\"127.0.0.1:0\"", "[]");
    std::fs::write(scratch.config(), format!("{before}[turn]\nshare_https = false\n{none}")).unwrap();
    assert!(scratch.fails(&["serve", "--only", "turn"], 7).contains("set turn.udp"));
    // A port of somebody else's, which the operator asked for.
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    std::fs::write(
        scratch.config(),
        base.replace("[turn]\nudp = \"127.0.0.1:0\"", &format!("[turn]\nudp = \"{taken}\"")),
    )
    .unwrap();
    assert!(scratch.fails(&["serve", "--only", "turn"], 7).contains(&taken.to_string()));
    let elsewhere = base.replace("relay = [\"127.0.0.1\"]", "relay = [\"192.0.2.77\"]");
    std::fs::write(scratch.config(), &elsewhere).unwrap();
    assert!(
        scratch.fails(&["serve", "--only", "turn"], 7).contains("turn.relay: no relayed address can be on 192.0.2.77")
    );
    std::fs::write(scratch.config(), &base).unwrap();
    let node = alone(&scratch);
    std::fs::write(scratch.config(), &elsewhere).unwrap();
    assert!(scratch.fails(&["reload"], 3).contains("192.0.2.77"));
    assert_eq!(scratch.json(&["turn", "status"])["relay"], serde_json::json!(["127.0.0.1"]), "nothing has changed");
    node.stop();
    assert!(scratch.fails(&["serve", "--only", "sip"], 2).contains("turn"), "says which parts there are");
}

#[test]
fn refuses_to_make_credentials_that_nobody_could_use() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = alone(&scratch);
    for ttl in ["0s", "31d", "5", "9999999999999999d"] {
        let said = scratch.fails(&["turn", "credentials", "--ttl", ttl], 2);
        assert!(said.contains("30m") || said.contains("turn.max_credential_lifetime"), "{said}");
    }
    scratch.fails(&["turn", "credentials", "--user", "two words"], 2);
    scratch.fails(&["turn", "credentials", "--user", &"long".repeat(100)], 2);
    scratch.json(&["turn", "credentials", "--ttl", "30d"]);
    node.stop();
}

#[test]
fn no_log_line_and_no_command_line_tells_who_relays_or_a_secret() {
    let scratch = Scratch::new();
    scratch.configure("[log]\nlevel = \"debug\"\n");
    let base = std::fs::read_to_string(scratch.config()).unwrap();
    let secret = "0123456789abcdef-of-this-test";
    let with_secret = format!("[turn]\nsecret = \"{secret}\"\nusers = [\"bob:s3cr3t-of-bob\"]\n");
    std::fs::write(scratch.config(), base.replace("[turn]\n", &with_secret)).unwrap();
    let node = alone(&scratch);
    let issued = scratch.json(&["turn", "credentials", "--user", "carol"]);
    let (name, password) = (issued["username"].as_str().unwrap(), issued["credential"].as_str().unwrap());
    allocates(udp(&node), name, password).unwrap();
    allocates(udp(&node), name, "guessed").unwrap_err();
    let mut client = Relayed::connect(Transport::Udp, udp(&node), b"", "bob", "s3cr3t-of-bob");
    let relayed = client.allocate().unwrap();
    client.bind("192.0.2.9:4000".parse().unwrap()).unwrap_err();
    let sessions = scratch.json(&["turn", "sessions"]);
    let clients: Vec<&str> =
        sessions["sessions"].as_array().unwrap().iter().filter_map(|it| it["client"].as_str()).collect();
    scratch.json(&["turn", "kick", "bob"]);
    let shown =
        text(&scratch.run(&["config", "show"]).stdout) + &text(&scratch.run(&["config", "show", "--json"]).stdout);
    let typed = std::fs::read_to_string(format!("/proc/{}/cmdline", node.pid())).unwrap();
    let (_, log) = node.stop();
    assert!(shown.contains("(hidden)") && log.contains("stopped"), "{shown}{log}");
    for hidden in ["carol", "bob", "s3cr3t", secret, password, "192.0.2.9", &relayed.to_string()] {
        assert!(!log.contains(hidden), "{hidden} in:\n{log}");
    }
    for client in clients {
        let address = client.rsplit(' ').next().unwrap();
        assert!(!log.contains(address), "{address} in:\n{log}");
    }
    for hidden in ["s3cr3t", secret] {
        assert!(!shown.contains(hidden) && !typed.contains(hidden), "{shown}{typed}");
    }
}

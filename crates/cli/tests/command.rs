//! The command line: what it prints, its exit codes, and what a running node does at once.

mod common;

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use common::{Node, Phone, Scratch, get, text};
use rustix::process::Signal;

#[test]
fn every_kind_of_failure_has_its_own_exit_code() {
    let scratch = Scratch::new();
    scratch.configure("");
    scratch.fails(&["dance"], 2);
    scratch.fails(&["user", "add", "Al ice"], 2);
    scratch.fails(&["user", "remove", "nobody"], 4);
    scratch.fails(&["user", "set", "nobody", "--open-to", "strangers"], 4);
    scratch.fails(&["ladder", "/nowhere/log"], 4);
    scratch.json(&["user", "add", "alice"]);
    scratch.fails(&["user", "add", "alice"], 5);
    assert!(scratch.fails(&["status"], 8).contains("farspeak serve"), "says what to do");
    scratch.fails(&["reload"], 8);
    std::fs::write(scratch.config(), "[listen]\ntsl = 1\n").unwrap();
    scratch.fails(&["config", "check"], 3);
    let said = scratch.fails(&["serve"], 3);
    assert!(said.contains("farspeak.toml:2:1") && said.contains("did you mean `tls`?"), "{said}");
    scratch.fails(&["doctor"], 9);
}

#[test]
fn serve_needs_no_configuration_file_that_exists_only_if_named() {
    let scratch = Scratch::new();
    scratch.fails(&["serve", "--config", "/nowhere/farspeak.toml"], 3);
    assert!(scratch.run(&["config", "check"]).status.success(), "no file, no mistake");
}

#[test]
fn a_service_manager_is_told_when_the_node_is_ready() {
    let scratch = Scratch::new();
    scratch.configure("");
    let path = scratch.path().join("notify");
    let name = format!("farspeak-notify-{}", std::process::id());
    let in_a_folder = (path.display().to_string(), UnixDatagram::bind(&path).unwrap());
    let by_name = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_name = (format!("@{name}"), UnixDatagram::bind_addr(&by_name).unwrap());
    for (variable, manager) in [in_a_folder, abstract_name] {
        let mut command = scratch.command(&["serve", "--json"]);
        command.env("NOTIFY_SOCKET", &variable);
        let node = Node::start(command);
        manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut said = [0; 64];
        let length = manager.recv(&mut said).unwrap();
        assert_eq!(text(&said[..length]), "READY=1", "{variable}");
        drop(node);
    }
}

#[test]
fn a_service_manager_that_is_not_there_stops_nobody() {
    let scratch = Scratch::new();
    scratch.configure("");
    let mut command = scratch.command(&["serve", "--json"]);
    command.env("NOTIFY_SOCKET", scratch.path().join("nobody"));
    assert_eq!(Node::start(command).stop().0, Some(0));
}

#[test]
fn config_default_is_valid_and_show_tells_origins() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.data()).unwrap();
    let printed = scratch.run(&["config", "default"]).stdout;
    std::fs::write(scratch.config(), &printed).unwrap();
    assert!(scratch.run(&["config", "check"]).status.success());
    scratch.configure("[domain]\nname = \"example.org\"\n");
    let shown = scratch.json(&["config", "show"]);
    assert_eq!(shown["domain"]["name"]["value"], "\"example.org\"");
    assert!(shown["domain"]["name"]["origin"].as_str().unwrap().ends_with("farspeak.toml:18"), "{shown}");
    assert_eq!(shown["auth"]["sha256_only"]["origin"], "default");
}

#[test]
fn users_are_added_live_and_their_passwords_work() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = scratch.serve();
    let added = scratch.json(&["user", "add", "alice"]);
    let line = added["phone"]["baresip"].as_str().unwrap();
    let port = node.address("TLS").port();
    assert!(line.starts_with("<sip:alice@localhost;transport=tls>;auth_user=alice;auth_pass="), "{line}");
    assert!(line.contains(&format!("outbound=\"sip:127.0.0.1:{port};transport=tls\";mediaenc=srtp-mand")), "{line}");
    let password = added["password"].as_str().unwrap();
    let mut phone = Phone::new(node.address("UDP"));
    let contact = format!("sip:alice@{}", phone.address());
    assert_eq!(phone.register("alice", password, Some(&contact)).status(), 200);
    let list = scratch.json(&["user", "list"]);
    assert_eq!(list["users"][0]["phones"], 1, "{list}");

    let renewed = scratch.json(&["user", "reset", "alice"])["password"].as_str().unwrap().to_owned();
    assert_eq!(phone.register("alice", password, None).status(), 401, "the old password is void");
    let asked = phone.register("alice", &renewed, None);
    assert_eq!((asked.status(), asked.header("Contact")), (200, None), "the old registration has ended");

    assert_eq!(scratch.json(&["user", "set", "alice", "--open-to", "strangers"])["open_to_strangers"], true);
    scratch.json(&["user", "remove", "alice"]);
    assert_eq!(phone.register("alice", &renewed, None).status(), 401);
    let status = scratch.json(&["status"]);
    assert_eq!((&status["users"], &status["pid"]), (&0.into(), &node.pid().into()), "{status}");
    assert_eq!(node.stop().0, Some(0));
}

#[test]
fn presence_is_shown_to_whom_its_user_names() {
    let scratch = Scratch::new();
    scratch.configure("");
    for live in [false, true] {
        let node = live.then(|| scratch.serve());
        let name = |who: &str| format!("{who}-{live}");
        let (alice, bob) = (name("alice"), name("bob"));
        scratch.json(&["user", "add", &alice]);
        scratch.json(&["user", "add", &bob]);
        let listed = || {
            let users = scratch.json(&["user", "list"]);
            let of = users["users"].as_array().unwrap().iter().find(|user| user["name"] == alice.as_str()).cloned();
            of.unwrap()["presence_to"].as_str().unwrap().to_owned()
        };
        assert_eq!(listed(), "nobody", "the default");
        let answer = scratch.json(&["user", "set", &alice, "--presence-to", &format!("{bob}@localhost")]);
        assert_eq!((answer["presence_to"].as_str(), answer["open_to_strangers"].as_bool()), (Some(&*bob), Some(false)));
        assert_eq!(listed(), bob);
        scratch.json(&["user", "set", &alice, "--open-to", "strangers"]);
        assert_eq!(listed(), bob, "what is not named stays");
        scratch.json(&["user", "set", &alice, "--presence-to", "everybody-here"]);
        assert_eq!(listed(), "everybody-here");
        scratch.fails(&["user", "set", &alice, "--presence-to", "carol"], 4);
        scratch.fails(&["user", "set", &alice, "--presence-to", "carol@example.net"], 2);
        scratch.fails(&["user", "set", &alice], 2);
        scratch.json(&["user", "set", &alice, "--presence-to", &bob]);
        scratch.json(&["user", "remove", &bob]);
        assert_eq!(listed(), "nobody", "whoever is called bob next is somebody else");
        if let Some(node) = node {
            assert_eq!(node.stop().0, Some(0));
        }
    }
}

#[test]
fn a_watcher_is_told_as_soon_as_the_operator_allows_it() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = scratch.serve();
    scratch.json(&["user", "add", "alice"]);
    let bob = scratch.json(&["user", "add", "bob"])["password"].as_str().unwrap().to_owned();
    let mut phone = Phone::new(node.address("UDP"));
    let (uri, contact) = ("sip:alice@localhost", format!("Contact: <sip:bob@{}>\r\n", phone.address()));
    let more = format!("{contact}Event: presence\r\nExpires: 600\r\n");
    phone.send("SUBSCRIBE", uri, "bob", "watch", 1, &more);
    let credentials = phone.receive().credentials("bob", &bob, "SUBSCRIBE", uri, 1).unwrap();
    phone.send("SUBSCRIBE", uri, "bob", "watch", 2, &format!("{more}Proxy-Authorization: {credentials}\r\n"));
    assert_eq!(phone.receive().status(), 200);
    let pending = phone.receive();
    assert!(pending.header("Subscription-State").unwrap().starts_with("pending"), "{}", pending.0);
    phone.accept(&pending);
    scratch.json(&["user", "set", "alice", "--presence-to", "bob"]);
    let active = phone.receive();
    assert!(active.header("Subscription-State").unwrap().starts_with("active"), "{}", active.0);
    assert!(active.0.contains("entity=\"sip:alice@localhost\""), "{}", active.0);
    phone.accept(&active);
    assert_eq!(scratch.json(&["status"])["subscriptions"], 1);
    scratch.json(&["user", "set", "alice", "--presence-to", "nobody"]);
    let over = phone.receive();
    assert!(over.header("Subscription-State").unwrap().starts_with("terminated"), "{}", over.0);
    phone.accept(&over);
    assert_eq!(node.stop().0, Some(0));
}

#[test]
fn users_are_the_same_with_and_without_a_running_node() {
    let scratch = Scratch::new();
    scratch.configure("");
    let offline = scratch.json(&["user", "add", "alice"]);
    let node = scratch.serve();
    let mut phone = Phone::new(node.address("UDP"));
    assert_eq!(phone.register("alice", offline["password"].as_str().unwrap(), None).status(), 200);
    let online = scratch.json(&["user", "add", "bob"]);
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&offline), keys(&online));
}

#[test]
fn a_second_node_on_the_same_data_is_refused() {
    let scratch = Scratch::new();
    scratch.configure("");
    let _node = scratch.serve();
    assert!(scratch.fails(&["serve"], 5).contains("another farspeak works in"));
}

#[test]
fn a_busy_port_is_named_with_its_owner() {
    let scratch = Scratch::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let text = format!("[listen]\ntls = \"127.0.0.1:{port}\"\nhttps = []\n[admin]\nlisten = \"\"\n");
    std::fs::create_dir_all(scratch.data()).unwrap();
    std::fs::write(scratch.config(), text).unwrap();
    let said = scratch.fails(&["serve"], 7);
    let pid = std::process::id().to_string();
    assert!(said.contains(&port.to_string()) && said.contains(&pid), "{said}");
    let found = scratch.run(&["doctor"]);
    assert_eq!(found.status.code(), Some(9));
    assert!(common::text(&found.stdout).contains(&pid), "{}", common::text(&found.stdout));
}

#[test]
fn a_corrupt_store_stops_the_start_and_stays_as_it_is() {
    let scratch = Scratch::new();
    scratch.configure("");
    scratch.json(&["user", "add", "alice"]);
    let file = scratch.data().join("farspeak.db");
    let garbage = b"no database ".repeat(1000);
    std::fs::write(&file, &garbage).unwrap();
    assert!(scratch.fails(&["serve"], 6).contains("left as it is"));
    scratch.fails(&["user", "add", "bob"], 6);
    scratch.fails(&["doctor"], 9);
    assert!(std::fs::read(&file).unwrap() == garbage);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_a_clear_error() {
    let scratch = Scratch::new();
    std::fs::write(scratch.data(), "a file where the directory should be").unwrap();
    let said = scratch.fails(&["serve"], 6);
    assert!(said.contains("cannot write the data directory") && said.contains("--data"), "{said}");
    scratch.fails(&["user", "add", "alice"], 6);
}

#[test]
fn a_read_only_data_directory_is_a_clear_error() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let scratch = Scratch::new();
    scratch.configure("");
    std::fs::set_permissions(scratch.data(), PermissionsExt::from_mode(0o555)).unwrap();
    let mut command = scratch.command(&["serve"]);
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere: run as somebody else, from where anybody may.
        let program = scratch.path().join("farspeak");
        std::fs::copy(env!("CARGO_BIN_EXE_farspeak"), &program).unwrap();
        command = std::process::Command::new(program);
        command.args(["serve", "--data"]).arg(scratch.data()).uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    std::fs::set_permissions(scratch.data(), PermissionsExt::from_mode(0o755)).unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("cannot write the data directory"), "{said}");
}

#[test]
fn a_port_that_needs_a_privilege_says_so() {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if !rustix::process::geteuid().is_root() || lowest.trim() != "1024" {
        return; // nothing to be denied, or nobody to become
    }
    let scratch = Scratch::new();
    let program = scratch.path().join("farspeak");
    std::fs::copy(env!("CARGO_BIN_EXE_farspeak"), &program).unwrap();
    std::fs::create_dir_all(scratch.data()).unwrap();
    std::os::unix::fs::chown(scratch.data(), Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::write(scratch.config(), "[listen]\ntls = \"127.0.0.1:988\"\nhttps = []\n[admin]\nlisten = \"\"\n")
        .unwrap();
    let mut command = std::process::Command::new(program);
    let output = command.args(["serve", "--data"]).arg(scratch.data()).uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("CAP_NET_BIND_SERVICE"), "{said}");
}

#[test]
fn an_unreadable_key_is_a_clear_error() {
    let scratch = Scratch::new();
    scratch.configure("[certificate]\nchain = \"missing.pem\"\nkey = \"missing.key\"\n");
    let said = scratch.fails(&["serve"], 3);
    assert!(said.contains("missing.pem"), "{said}");
}

#[test]
fn sighup_with_a_bad_file_changes_nothing_and_a_good_one_counts_at_once() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = scratch.serve();
    let good = std::fs::read_to_string(scratch.config()).unwrap();
    let fingerprint = scratch.json(&["status"])["certificate"]["fingerprint"].clone();

    for bad in [
        "[registrar]\nmin_expires = 3\n".to_owned(),
        format!("{good}[certificate]\nchain = \"no.pem\"\nkey = \"no.key\"\n"),
    ] {
        std::fs::write(scratch.config(), bad).unwrap();
        node.signal(Signal::HUP);
        assert!(!scratch.fails(&["reload"], 3).is_empty());
        assert_eq!(scratch.json(&["status"])["certificate"]["fingerprint"], fingerprint);
        assert_eq!(get(node.admin(), "/health").0, "HTTP/1.1 200 OK");
    }

    std::fs::write(scratch.config(), good.replace("shards = 2", "shards = 3") + "[registrar]\nmin_expires = \"2m\"\n")
        .unwrap();
    let answer = scratch.json(&["reload"]);
    assert_eq!(answer["changed"], serde_json::json!(["registrar.min_expires"]));
    assert_eq!(answer["after_restart"], serde_json::json!(["node.shards"]));
    let password = scratch.json(&["user", "add", "alice"])["password"].as_str().unwrap().to_owned();
    let mut phone = Phone::new(node.address("UDP"));
    let brief = format!("<sip:alice@{}>;expires=90", phone.address());
    assert_eq!(phone.register("alice", &password, Some(&brief)).header("Min-Expires"), Some("120"));
    let (code, log) = node.stop();
    assert_eq!(code, Some(0));
    assert!(log.contains("nothing was changed by the reload"), "{log}");
}

#[test]
fn no_log_line_tells_who_called_whom() {
    for level in ["info", "debug"] {
        let scratch = Scratch::new();
        scratch.configure(&format!("[log]\nlevel = \"{level}\"\n"));
        let node = scratch.serve();
        let password = |name: &str| scratch.json(&["user", "add", name])["password"].as_str().unwrap().to_owned();
        let (carol, daves) = (password("carol"), password("dave"));
        let mut callee = Phone::new(node.address("UDP"));
        let contact = format!("sip:dave@{}", callee.address());
        assert_eq!(callee.register("dave", &daves, Some(&contact)).status(), 200);
        assert_eq!(callee.register("dave", "wrong", None).status(), 401);
        let mut caller = Phone::new(node.address("UDP"));
        let more = format!("Contact: <sip:carol@{}>\r\n", caller.address());
        caller.send("INVITE", "sip:dave@localhost", "carol", "secretcall", 1, &more);
        let challenge = caller.receive();
        let credentials = challenge.credentials("carol", &carol, "INVITE", "sip:dave@localhost", 1).unwrap();
        let more = format!("{more}Proxy-Authorization: {credentials}\r\n");
        caller.send("INVITE", "sip:dave@localhost", "carol", "secretcall", 2, &more);
        assert!(callee.receive().0.starts_with("INVITE"));
        scratch.json(&["user", "reset", "dave"]);
        scratch.json(&["user", "remove", "dave"]);
        let (ports, (_, log)) = ([caller.address(), callee.address()], node.stop());
        assert!(!log.is_empty());
        for private in ["carol", "dave", "secretcall", &carol, &ports[0].to_string(), &ports[1].to_string()] {
            assert!(!log.contains(private), "{private} at level {level} in:\n{log}");
        }
    }
}

#[test]
fn a_call_in_the_ladder_log_can_be_drawn() {
    let scratch = Scratch::new();
    scratch.configure("[log]\nladder = \"ladder.jsonl\"\n");
    let node = scratch.serve();
    let password = scratch.json(&["user", "add", "alice"])["password"].as_str().unwrap().to_owned();
    let mut phone = Phone::new(node.address("UDP"));
    assert_eq!(phone.register("alice", &password, Some("sip:alice@192.0.2.1")).status(), 200);
    assert_eq!(node.stop().0, Some(0));
    let drawn = text(&scratch.run(&["ladder", "--call", "alice-"]).stdout);
    assert!(drawn.contains("|-------- REGISTER -------->|") && drawn.contains("200 OK"), "{drawn}");
    let listed = scratch.json(&["ladder"]);
    assert_eq!(listed[0]["records"].as_array().unwrap().len(), 4, "{listed}");
    assert!(!drawn.contains("[Trying]"), "{drawn}");
    let states = text(&scratch.run(&["ladder", "--call", "alice-", "--states"]).stdout);
    assert!(states.contains("|         [Trying]          |") && states.contains("[Completed]"), "{states}");
    assert!(!listed.to_string().contains(&password));
    scratch.fails(&["ladder", "--call", "nonsuch"], 4);
}

#[test]
fn the_authority_is_the_one_that_phones_see() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = scratch.serve();
    let shown = scratch.json(&["ca"]);
    assert_eq!(shown["fingerprint"], node.ready["authority_fingerprint"]);
    assert!(shown["pem"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let only = scratch.run(&["ca", "--fingerprint"]);
    assert_eq!(text(&only.stdout).trim(), shown["fingerprint"].as_str().unwrap());
}

#[test]
fn metrics_are_well_formed_and_count() {
    let scratch = Scratch::new();
    scratch.configure("");
    let node = scratch.serve();
    let password = scratch.json(&["user", "add", "alice"])["password"].as_str().unwrap().to_owned();
    let mut phone = Phone::new(node.address("UDP"));
    assert_eq!(phone.register("alice", &password, Some("sip:alice@192.0.2.1")).status(), 200);
    let (status, body) = get(node.admin(), "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for wanted in ["farspeak_registrations 1", "farspeak_journal_commits_total 1", "farspeak_users 1"] {
        assert!(body.lines().any(|line| line == wanted), "{wanted} in\n{body}");
    }
    let mut families = std::collections::HashSet::new();
    for line in body.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(family) => assert!(families.insert(family.to_owned()), "{family} twice"),
            None if line.starts_with('#') => {}
            None => assert!(line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}"),
        }
    }
    assert_eq!(get(node.admin(), "/").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn help_shows_an_example_for_every_command() {
    let scratch = Scratch::new();
    for command in [
        &["serve"][..],
        &["user", "add"],
        &["user", "list"],
        &["user", "remove"],
        &["user", "reset"],
        &["user", "set"],
        &["ca"],
        &["config", "default"],
        &["config", "check"],
        &["config", "show"],
        &["status"],
        &["reload"],
        &["ladder"],
        &["nat"],
        &["turn", "status"],
        &["turn", "sessions"],
        &["turn", "kick"],
        &["turn", "credentials"],
        &["doctor"],
    ] {
        let help = text(&scratch.run(&[command, &["--help"]].concat()).stdout);
        assert!(help.contains("Examples:"), "{command:?}");
    }
    assert!(text(&scratch.run(&["--help"]).stdout).contains("Exit codes:"));
}

use super::*;

fn complaint(text: &str) -> String {
    Loaded::parse(Path::new("f.toml"), text).expect_err(text).to_string()
}

#[test]
fn every_mistake_names_line_column_and_cure() {
    let table = [
        ("[listen]\ntsl = 5061\n", "f.toml:2:1: unknown key `tsl` in `[listen]`; did you mean `tls`?"),
        ("[lisen]\ntls = 5061\n", "f.toml:1:2: unknown section `lisen`; did you mean `listen`?"),
        ("tls = 5061\n", "f.toml:1:1: unknown key `tls`; it belongs below `[listen]` or `[turn]`"),
        (
            "[proxy]\nmin_expires = \"60s\"",
            "f.toml:2:1: unknown key `min_expires` in `[proxy]`; it belongs below `[registrar]`",
        ),
        ("[auth]\ncolour = 1", "f.toml:2:1: unknown key `colour` in `[auth]`; known are sha256_only, nonce_lifetime"),
        ("listen = 3\n", "f.toml:1:1: `listen` is a section: write `[listen]` on a line of its own, its keys below"),
        (
            "[dangerous]\nno_authentication = \"yes\"",
            "f.toml:2:21: `dangerous.no_authentication`: expected true or false, found \"yes\"",
        ),
        (
            "[auth]\nsha256_only = [\"tls\", \"https\"]",
            "f.toml:2:15: `auth.sha256_only`: expected true, false or a list of \"tls\", \"wss\", \"udp\", \"tcp\" and \"ws\", found \"https\"",
        ),
        (
            "[registrar]\n  max_contacts = -1",
            &format!(
                "f.toml:2:18: `registrar.max_contacts`: expected a whole number from 0 to {}, found the number -1",
                usize::MAX
            ),
        ),
        (
            "[registrar]\nmin_expires = 60",
            "f.toml:2:15: `registrar.min_expires`: expected a duration such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\", found the number 60",
        ),
        (
            "[store]\ndurability = \"disk\"",
            "f.toml:2:14: `store.durability`: expected one of \"process\" \"power\", found \"disk\"",
        ),
        (
            "[admin]\nlisten = \"localhost\"",
            "f.toml:2:10: `admin.listen`: expected an address and port such as \"127.0.0.1:9061\" or \"[::1]:9061\", found \"localhost\"",
        ),
        (
            "[registrar]\nmin_expires = \"59m\"\nmax_expires = \"58m\"",
            "f.toml:2:1: `registrar.min_expires` is longer than `max_expires`\nf.toml:3:1: `registrar.default_expires` is not between `min_expires` and `max_expires`",
        ),
        ("[certificate]\nchain = \"a.pem\"", "f.toml:2:1: `certificate.chain` needs `key` beside it"),
        ("[domain]\nname = \"exa mple\"", "f.toml:2:1: `domain.name` is not a domain name such as \"example.org\""),
        ("[legacy]\ntcp = \"0.0.0.0:5061\"", "f.toml:2:1: `legacy.tcp` uses 0.0.0.0:5061 a second time"),
        (
            "[listen]\ntls = []\nhttps = []",
            "f.toml:2:1: `listen.tls` and every other listener is empty: no phone could connect",
        ),
        ("[proxy]\ntimer_c = \"3m\"", "f.toml:2:1: `proxy.timer_c` must be more than 3m (RFC 3261 §16.6 step 11)"),
    ];
    for (text, expected) in table {
        assert_eq!(complaint(text), expected, "{text}");
    }
}

#[test]
fn syntax_errors_have_a_place() {
    for (text, place) in [
        ("[listen\ntls = 1\n", "f.toml:1:"),
        ("[auth]\nsha256_only = \n", "f.toml:2:"),
        ("[auth]\n[auth]\n", "f.toml:2:"),
    ] {
        assert!(complaint(text).starts_with(place), "{text:?}: {}", complaint(text));
    }
}

#[test]
fn says_all_mistakes_at_once_in_order() {
    let text = complaint("[listen]\ntsl = 1\n[auth]\nsha256_only = 3\n");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.starts_with("f.toml:2:1"));
}

#[test]
fn sha256_is_demanded_everywhere_or_on_some_listeners() {
    use farspeak_sansio::Transport::{Tls, Wss};
    let read = |value: &str| {
        let config = Loaded::parse(Path::new("f.toml"), &format!("[auth]\nsha256_only = {value}\n")).unwrap().config;
        let written = config.keys().into_iter().find(|key| key.name == "sha256_only").unwrap().value;
        (config.auth.sha256_only, written)
    };
    assert_eq!(read("false"), (Transports::default(), "false".to_owned()));
    assert_eq!(read("true"), (Transports::all(), "true".to_owned()));
    assert_eq!(read("[]"), (Transports::default(), "false".to_owned()));
    assert_eq!(read("[\"wss\", \"tls\"]"), (Transports(vec![Tls, Wss]), "[\"tls\", \"wss\"]".to_owned()));
}

#[test]
fn the_printed_default_is_the_default() {
    let loaded = Loaded::parse(Path::new("f.toml"), &Config::default_file()).expect("the default is valid");
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn every_key_and_section_says_what_it_means() {
    for key in Config::default().keys() {
        assert!(!key.meaning.is_empty(), "{}.{}", key.section, key.name);
    }
}

#[test]
fn a_value_knows_where_it_comes_from() {
    let loaded = Loaded::parse(Path::new("f.toml"), "# mine\n[domain]\nname = \"example.org\"\n").unwrap();
    assert_eq!(loaded.origin("domain", "name").to_string(), "f.toml:3");
    assert_eq!(loaded.origin("domain", "aliases"), Origin::Default);
}

#[test]
fn a_bare_port_is_everywhere_when_encrypted_and_loopback_when_not() {
    let loaded = Loaded::parse(Path::new("f.toml"), "[listen]\ntls = 6061\n[legacy]\nudp = 6060\n").unwrap();
    assert_eq!(loaded.config.listen.tls, Everywhere::port(6061));
    assert_eq!(loaded.config.legacy.udp.0, ["127.0.0.1:6060".parse().unwrap()]);
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "[certificate]\nchain = \"c.pem\"\nkey = \"/k.pem\"\n";
    let loaded = Loaded::parse(Path::new("/etc/farspeak/f.toml"), text).unwrap();
    assert_eq!(loaded.config.certificate.chain.unwrap(), Path::new("/etc/farspeak/c.pem"));
    assert_eq!(loaded.config.certificate.key.unwrap(), Path::new("/k.pem"));
}

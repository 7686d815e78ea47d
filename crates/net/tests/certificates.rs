//! Certificates: loaded with clear errors, picked by what the client can do, swapped under live connections, made and
//! renewed by our own authority.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::*;
use farspeak_net::*;
use farspeak_sansio::Transport;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

const DAY: Duration = Duration::from_secs(86_400);

/// The certificate that a client sees which knows only the cipher suites with `only` in their names.
async fn served(node: &Node, only: &str) -> Vec<u8> {
    let suites = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
    let suites = suites.iter().copied().filter(|suite| format!("{:?}", suite.suite()).contains(only));
    let provider = CryptoProvider { cipher_suites: suites.collect(), ..rustls::crypto::aws_lc_rs::default_provider() };
    let mut roots = RootCertStore::empty();
    roots.add(node.root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(node.address(0)).await.unwrap();
    let tls = within(connector(config).connect(localhost(), tcp)).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_client_gets_the_certificate_it_can_verify() {
    let node = Node::one(Transport::Tls, quick());
    let [ecdsa, rsa] = [0, 1].map(|index| node.store.current()[index].fingerprint());
    assert_eq!(fingerprint(&served(&node, "TLS13").await), ecdsa);
    // TLS 1.2 with RSA suites alone, though the client lists ECDSA signatures too.
    assert_eq!(fingerprint(&served(&node, "ECDHE_RSA").await), rsa);
}

#[tokio::test]
async fn exchanging_certificates_keeps_connections() {
    let node = Node::one(Transport::Tls, quick());
    let mut old = node.tls(0).await;
    old.say("hello\n").await;
    old.expect("0 echo: hello").await;
    let before = old.io.get_ref().1.peer_certificates().unwrap()[0].clone();
    node.store.replace(vec![node.store.current()[1].clone()]);
    let new = node.tls(0).await;
    let after = new.io.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_ne!(before, after);
    assert_eq!(fingerprint(&after), node.store.current()[0].fingerprint());
    old.say("still here\n").await;
    old.expect("0 echo: still here").await;
}

#[tokio::test]
async fn an_empty_store_refuses_and_counts() {
    let node = Node::one(Transport::Tls, quick());
    node.store.replace(Vec::new());
    let tcp = TcpStream::connect(node.address(0)).await.unwrap();
    assert!(within(connector(node.client_config()).connect(localhost(), tcp)).await.is_err());
}

fn says(chain: &Path, key: &Path, now: SystemTime) -> String {
    Identity::load(chain, key, now).unwrap_err().to_string()
}

#[test]
fn errors_name_the_file_and_the_cause() {
    let directory = directory();
    let now = SystemTime::now();
    let authority = Authority::open_or_create(&directory, "test", now).unwrap();
    authority.server_identities(&names(), now).unwrap();
    let file = |name: &str| directory.join(name);
    let (ecdsa, rsa) = (file("server-ecdsa.pem"), file("server-rsa.pem"));
    assert!(Identity::load(&ecdsa, &ecdsa, now).is_ok());

    let missing = file("missing.pem");
    assert_eq!(says(&missing, &ecdsa, now), format!("{}: there is no such file", missing.display()));
    assert!(says(&directory, &ecdsa, now).starts_with(&format!("{}: cannot be read: ", directory.display())));
    let empty = file("empty.pem");
    fs::write(&empty, "nothing").unwrap();
    assert!(says(&empty, &ecdsa, now).contains("holds no valid certificate"));
    assert!(says(&ecdsa, &empty, now).starts_with(&format!("{}: holds no unencrypted private key", empty.display())));
    assert_eq!(says(&ecdsa, &rsa, now), format!("{}: this key does not belong to the certificate", rsa.display()));
    assert!(says(&ecdsa, &ecdsa, now + 400 * DAY).contains("the certificate expired on 20"));
    assert!(says(&ecdsa, &ecdsa, now - 400 * DAY).contains("is the clock right?"));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_authority_lasts_and_renews_in_time() {
    let directory = directory();
    let now = SystemTime::now();
    let open = |now| Authority::open_or_create(&directory, "Farspeak at home", now).unwrap();
    let fingerprints = |authority: &Authority, names: &Names, now| {
        let identities = authority.server_identities(names, now).unwrap();
        identities.iter().map(Identity::fingerprint).collect::<Vec<_>>()
    };
    let first = open(now);
    let issued = fingerprints(&first, &names(), now);
    assert_eq!(issued.len(), 2);
    assert_eq!(fingerprints(&open(now), &names(), now + 300 * DAY), issued);

    let renewed = fingerprints(&open(now), &names(), now + 370 * DAY);
    assert_ne!(renewed, issued);
    let renamed = Names { dns: vec!["phone.example".into()], ..names() };
    let identities = open(now).server_identities(&renamed, now).unwrap();
    assert_eq!(identities[0].names(), ["phone.example", "127.0.0.1", "::1"]);

    let later = now + 9 * 366 * DAY;
    let second = open(later);
    assert_ne!(second.fingerprint(), first.fingerprint());
    // Same key, same name: what the new one issues is verified by phones that trust the old one.
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots(first.certificate()), provider());
    let verifier = verifier.build().unwrap();
    let identity = &second.server_identities(&names(), later).unwrap()[0];
    let unix = rustls::pki_types::UnixTime::since_unix_epoch(later.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    use rustls::client::danger::ServerCertVerifier;
    verifier.verify_server_cert(&identity.chain()[0], &[], &localhost(), &[], unix).unwrap();
    fs::remove_dir_all(directory).unwrap();
}

fn roots(root: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    Arc::new(roots)
}

#[test]
fn never_overwrites_what_it_cannot_understand() {
    let directory = directory();
    let now = SystemTime::now();
    let authority = Authority::open_or_create(&directory, "test", now).unwrap();
    authority.server_identities(&names(), now).unwrap();
    for name in ["server-rsa.pem", "ca.pem", "ca.key"] {
        let file = directory.join(name);
        fs::write(&file, "precious, if damaged").unwrap();
        let error = Authority::open_or_create(&directory, "test", now)
            .and_then(|authority| authority.server_identities(&names(), now))
            .unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: is damaged; restore it", file.display())), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"precious, if damaged");
    }
    fs::remove_file(directory.join("ca.key")).unwrap();
    let error = Authority::open_or_create(&directory, "test", now).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyGone { .. } | AuthorityError::Damaged { .. }), "{error}");
    fs::remove_dir_all(directory).unwrap();
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let authority = Authority::open_or_create(&directory, "test", SystemTime::now()).unwrap();
    authority.server_identities(&names(), SystemTime::now()).unwrap();
    for name in ["ca.key", "server-ecdsa.pem", "server-rsa.pem"] {
        let mode = fs::metadata(directory.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 4); // nothing half-written is left
    fs::remove_dir_all(directory).unwrap();
}

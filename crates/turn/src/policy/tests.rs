use super::*;

fn judge(policy: &PeerPolicy, ip: &str) -> Result<IpAddr, Refused> {
    policy.judge_ip(ip.parse().unwrap())
}

fn prefixes(text: &[&str]) -> Vec<Prefix> {
    text.iter().map(|one| one.parse().unwrap()).collect()
}

#[test]
fn what_is_on_the_internet_may_be_reached() {
    let policy = PeerPolicy::default();
    for ip in ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "223.255.255.255"] {
        assert_eq!(judge(&policy, ip), Ok(ip.parse().unwrap()));
    }
    for ip in ["2606:4700::1111", "2a00::1", "2400::", "64:ff9b::8.8.8.8", "2001:200::1", "2003::1"] {
        assert_eq!(judge(&policy, ip), Ok(ip.parse().unwrap()));
    }
}

#[test]
fn both_ends_of_every_ipv4_range_are_refused() {
    let policy = PeerPolicy::default();
    let ends = "0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.0 127.255.255.255 \
        169.254.0.0 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.255 192.0.2.0 192.0.2.255 192.31.196.1 \
        192.52.193.1 192.88.99.1 192.168.0.0 192.168.255.255 192.175.48.1 198.18.0.0 198.19.255.255 198.51.100.7 \
        203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255";
    for ip in ends.split(' ') {
        let refused = judge(&policy, ip);
        assert!(matches!(refused, Err(Refused::Special(_))), "{ip}: {refused:?}");
        let mapped = format!("::ffff:{ip}");
        assert_eq!(judge(&policy, &mapped), refused, "{mapped}");
        let nat64 = format!("64:ff9b::{ip}");
        assert_eq!(judge(&policy, &nat64), refused, "{nat64}");
        let isatap = format!("2606:4700::5efe:{ip}");
        assert_eq!(judge(&policy, &isatap), refused, "{isatap}");
        let IpAddr::V4(v4) = ip.parse::<IpAddr>().unwrap() else { unreachable!() };
        let compatible = IpAddr::V6(Ipv6Addr::from_bits(v4.to_bits().into()));
        assert!(policy.judge_ip(compatible).is_err(), "{compatible}");
    }
}

#[test]
fn everything_but_global_unicast_is_refused_of_ipv6() {
    let policy = PeerPolicy::default();
    let list = ":: ::1 ::2 64:ff9b:1::8.8.8.8 100::1 1234::1 2001::1 2001:1ff::1 2001:db8::1 2002:808:808::1 2620:4f:8000::1 \
        3fff:fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 feff::1 ff02::1 ff0e::1";
    for ip in list.split(' ') {
        assert!(judge(&policy, ip).is_err(), "{ip}");
    }
}

#[test]
fn the_most_specific_prefix_decides() {
    let policy = PeerPolicy {
        allow: prefixes(&["10.0.0.0/8", "192.168.7.0/24", "169.254.0.0/16", "9.9.9.9"]),
        deny: prefixes(&["10.1.0.0/16", "9.9.0.0/16", "192.168.7.0/24", "2a00::/16"]),
        own: vec!["10.2.0.1".parse().unwrap(), "2606::1".parse().unwrap()],
        nat64: Vec::new(),
    };
    assert!(judge(&policy, "10.0.0.1").is_ok());
    assert_eq!(judge(&policy, "10.1.0.1"), Err(Refused::Denied));
    assert_eq!(judge(&policy, "10.2.0.1"), Err(Refused::Own));
    assert_eq!(judge(&policy, "::ffff:10.2.0.1"), Err(Refused::Own));
    assert_eq!(judge(&policy, "2606::1"), Err(Refused::Own));
    assert_eq!(judge(&policy, "192.168.7.1"), Err(Refused::Denied));
    assert_eq!(judge(&policy, "9.9.9.9"), Ok("9.9.9.9".parse().unwrap()));
    assert_eq!(judge(&policy, "9.9.9.8"), Err(Refused::Denied));
    assert!(judge(&policy, "169.254.1.1").is_ok());
    assert_eq!(judge(&policy, "169.254.169.254"), Err(Refused::Special("cloud metadata")));
    assert_eq!(judge(&policy, "2a00::1"), Err(Refused::Denied));
}

#[test]
fn an_own_address_is_reached_only_if_it_is_named() {
    let own = vec!["127.0.0.1".parse().unwrap()];
    let wide = PeerPolicy { allow: prefixes(&["127.0.0.0/8"]), own: own.clone(), ..PeerPolicy::default() };
    assert_eq!(judge(&wide, "127.0.0.1"), Err(Refused::Own));
    assert!(judge(&wide, "127.0.0.2").is_ok());
    let named = PeerPolicy { allow: prefixes(&["127.0.0.1"]), own, ..PeerPolicy::default() };
    assert!(judge(&named, "127.0.0.1").is_ok());
}

#[test]
fn addresses_behind_translators_of_every_length_are_judged() {
    // RFC 6052 §2.4, with a private address in the place of 192.0.2.33.
    let examples = [
        ("2606:db8::/32", "2606:db8:a00:221::"),
        ("2606:db8:100::/40", "2606:db8:10a:2:21::"),
        ("2606:db8:122::/48", "2606:db8:122:a00:2:2100::"),
        ("2606:db8:122:300::/56", "2606:db8:122:30a:0:221::"),
        ("2606:db8:122:344::/64", "2606:db8:122:344:a:2:2100::"),
        ("2606:db8:122:344::/96", "2606:db8:122:344::10.0.2.33"),
    ];
    for (prefix, address) in examples {
        assert!(judge(&PeerPolicy::default(), address).is_ok(), "{address}");
        let policy = PeerPolicy { nat64: prefixes(&[prefix]), ..PeerPolicy::default() };
        assert_eq!(judge(&policy, address), Err(Refused::Special("private")), "{address} in {prefix}");
        let open = PeerPolicy { allow: prefixes(&["10.0.0.0/8"]), ..policy };
        assert!(judge(&open, address).is_ok(), "{address} in {prefix}");
    }
}

#[test]
fn allowing_a_tunnel_does_not_allow_what_it_leads_to() {
    let policy = PeerPolicy {
        allow: prefixes(&["2002::/16", "2001::/32", "64:ff9b:1::/48"]),
        nat64: prefixes(&["64:ff9b:1::/96"]),
        ..PeerPolicy::default()
    };
    assert_eq!(judge(&policy, "2002:a00:1::1"), Err(Refused::Special("private")));
    assert!(judge(&policy, "2002:808:808::1").is_ok());
    // Teredo: server 8.8.8.8, client ~127.0.0.1; then server 10.0.0.1, client ~8.8.8.8.
    assert_eq!(judge(&policy, "2001:0:808:808:0:0:80ff:fffe"), Err(Refused::Special("loopback")));
    assert_eq!(judge(&policy, "2001:0:a00:1:0:0:f7f7:f7f7"), Err(Refused::Special("private")));
    assert!(judge(&policy, "2001:0:808:808:0:0:f7f7:f7f7").is_ok());
    assert_eq!(judge(&policy, "64:ff9b:1::10.0.0.1"), Err(Refused::Special("private")));
    assert!(judge(&policy, "64:ff9b:1::8.8.8.8").is_ok());
}

#[test]
fn port_0_is_refused_and_the_canonical_address_is_where_data_goes() {
    let policy = PeerPolicy::default();
    assert_eq!(policy.judge("8.8.8.8:0".parse().unwrap()), Err(Refused::Port));
    assert_eq!(policy.judge("[::ffff:8.8.8.8]:53".parse().unwrap()), Ok("8.8.8.8:53".parse().unwrap()));
}

#[test]
fn prefixes_are_read_as_they_are_written() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0"] {
        assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
    }
    assert_eq!("::1".parse::<Prefix>().unwrap().to_string(), "::1/128");
    for text in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10/8", "", "/", "10.0.0.0/", "10.0.0.0/-1"] {
        assert_eq!(text.parse::<Prefix>(), Err(NotPrefix), "{text}");
    }
}

#[test]
fn whatever_is_refused_is_refused_in_every_dress() {
    let mut rng = farspeak_sansio::SplitMix64::new(7);
    let policy = PeerPolicy { nat64: prefixes(&["2606:1::/96"]), ..PeerPolicy::default() };
    let mut refused = 0;
    for _ in 0..100_000 {
        let ip = Ipv4Addr::from_bits(farspeak_sansio::Rng::next_u64(&mut rng) as u32);
        let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
        let special = special || ip.is_broadcast() || ip.is_documentation() || ip.is_multicast();
        let plain = policy.judge_ip(ip.into());
        assert!(!special || plain.is_err(), "{ip}");
        refused += usize::from(plain.is_err());
        let bits = u128::from(ip.to_bits());
        let dresses = [bits, 0xffff << 32 | bits, 0x64_ff9b << 96 | bits, 0x2606_0001 << 96 | bits];
        for dress in dresses.map(Ipv6Addr::from_bits) {
            assert_eq!(policy.judge_ip(dress.into()).is_err(), plain.is_err(), "{dress}");
        }
        for dress in [0x2002 << 112 | bits << 80, 0x2001 << 112 | !bits & 0xffff_ffff, 0x64_ff9b_0001 << 80 | bits] {
            assert!(policy.judge_ip(Ipv6Addr::from_bits(dress).into()).is_err());
        }
    }
    // 0/8, 10/8, 127/8, 224/3 and a little: an eighth of the space, and three 256ths.
    assert!((13_000..15_000).contains(&refused), "{refused}");
}

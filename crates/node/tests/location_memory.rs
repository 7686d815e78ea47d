//! What a registration costs in memory, measured at 100,000 of them.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::time::Duration;

use farspeak_node::binding::{Binding, BindingParts, Reach};
use farspeak_node::domain::Aor;
use farspeak_node::location::{Change, Location, LocationError};
use farspeak_node::shared::Clock;
use farspeak_sansio::{Flow, FlowId, Instant, Transport};

const BINDINGS: u32 = 100_000;
const MOST_BYTES: usize = 1200;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells this too");
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).expect("a number") * 1024
}

/// A TLS phone as common ones write themselves; each on a connection of its own.
fn register(location: &Location, n: u32, now: Instant) {
    let aor = Aor::new(&format!("user{n:06}"), "example.org");
    let contact = format!("sip:user{n:06}-0x55d0c3a{n:05x}@192.168.{}.{}:54321;transport=tls", n >> 8 & 255, n & 255);
    let instance = format!("urn:uuid:6e0ab2c4-7a31-4b6e-9c3f-0000{n:08x}");
    let params = format!(";+sip.instance=\"<{instance}>\";reg-id=1");
    let call_id = format!("4b6e9c3f{n:08x}d2f7");
    let remote = format!("203.0.{}.{}:{}", n >> 8 & 255, n & 255, 1024 + n % 60_000).parse().expect("an address");
    let local = "198.51.100.1:5061".parse().expect("an address");
    let flow = Flow { id: FlowId::new(0, n, 1), transport: Transport::Tls, local, remote };
    let user_agent = location.intern_agent("baresip v3.5.1 (x86_64/Linux)");
    let updated = location.update(now, Clock::default(), &aor, |_, version| {
        let binding = Binding::new(&BindingParts {
            aor: aor.clone(),
            contact: &contact,
            params: &params,
            instance: &instance,
            reg_id: Some(1),
            q: 1000,
            call_id: &call_id,
            cseq: n,
            path: "",
            user_agent,
            reach: Reach::Flow(flow),
            since: version,
            updated_at: now,
            expires_at: now + Duration::from_secs(3600),
            version,
        });
        Ok::<_, LocationError>((vec![Change::Put(Arc::new(binding.expect("short enough")))], ()))
    });
    location.confirm(&aor, updated.expect("room enough").version);
}

#[test]
fn a_binding_costs_little_memory() {
    let location = Location::default();
    register(&location, BINDINGS, Instant::ZERO); // what is allocated once
    let before = resident();
    (0..BINDINGS).for_each(|n| register(&location, n, Instant::ZERO));
    let first = (resident() - before) / BINDINGS as usize;
    // Refreshing some of them again and again leaves nothing behind.
    (0..BINDINGS / 5).map(|n| n % 2000).for_each(|n| register(&location, n, Instant::ZERO + Duration::from_secs(60)));
    let refreshed = (resident() - before) / BINDINGS as usize;
    println!("{first} bytes per binding, {refreshed} once refreshed");
    assert_eq!(location.len(), BINDINGS as usize + 1);
    assert!(first.max(refreshed) <= MOST_BYTES, "{first} and {refreshed} bytes per binding");
}

//! Random courses: whatever the owner, the network and the server do, in the end an allocation can be had and used, and given
//! back without rest. `FARSPEAK_FULL=1` runs many more; a failure names its seed.

use std::time::Duration;

use farspeak_sansio::{Flow, Rng, SplitMix64, Transport};
use farspeak_sim::{Host, Link, Nat};
use farspeak_turn::client::{Config, Event, Families};

use crate::relay::Relay;
use crate::world::*;

#[test]
fn whatever_happens_it_can_be_used_and_given_back() {
    let courses = if std::env::var("FARSPEAK_FULL").is_ok_and(|full| !full.is_empty()) { 3000 } else { 60 };
    for seed in 1..=courses {
        course(seed);
    }
}

fn course(seed: u64) {
    let mut rng = SplitMix64::new(seed);
    let transport = TRANSPORTS[rng.below(3) as usize];
    let loss = [0.0, 0.02, 0.1][rng.below(3) as usize];
    let mut world = World::with(seed, |config| config.nonce_lifetime = secs(400));
    world.net.set_links(Link::default().loss(loss).duplicate(loss / 2.0).jitter(Duration::from_millis(20)));
    let families = [Families::Any, Families::Both][rng.below(2) as usize];
    let config = Config { mobility: rng.below(3) > 0, families, ..alice() };
    let phone = world.phone("alice", transport, config);
    let nat = (rng.below(2) == 0).then(|| world.net.nat("router", Nat::home_router(), ["198.51.100.77"]));
    if let Some(nat) = nat {
        world.net.put_behind(phone, nat);
    }
    for port in 4001..4004 {
        world.net.bind(phone, Transport::Udp, port);
    }
    let peer = world.echo();
    let others = [address("203.0.113.6:9"), address("127.0.0.1:9"), address("[2001:db8:5::5]:7")];
    let mut restarts = 0;
    for _ in 0..40 {
        let other = others[rng.below(3) as usize];
        let relay = world.relay;
        match rng.below(12) {
            0 | 1 => world.net.at(phone, |phone, now| phone.client.allocate(now)),
            2 => world.net.at(phone, |phone, now| phone.client.permit(now, other.ip())),
            3 => world.net.at(phone, |phone, now| phone.client.bind(now, [peer, other][now.as_nanos() as usize % 2])),
            4 => world.net.at(phone, |phone, _| phone.client.unbind(peer)),
            5 => world.net.at(phone, |phone, _| phone.client.forget([peer, other][other.port() as usize % 2].ip())),
            6 => {
                let _ = world.net.at(phone, |phone, now| phone.client.send(now, peer, b"whatever"));
            }
            7 if transport == Transport::Udp => move_somewhere(&mut world, phone, 4000 + rng.below(4) as u16),
            7 => world.net.reset(phone, relay),
            8 => {
                if let Some(nat) = nat {
                    world.net.nat_table(nat).reboot();
                }
            }
            9 if restarts < 2 => {
                restarts += 1;
                world.net.restart(relay, Relay::new(&RELAY, 10 + restarts, |_| {}));
            }
            10 if rng.below(3) == 0 => world.net.at(phone, |phone, now| phone.client.release(now)),
            _ => {}
        }
        let longest = [100, 5_000, 400_000][rng.below(3) as usize];
        world.net.run_for(Duration::from_millis(rng.below(longest)));
    }
    // What the server still holds of former lives keeps our port busy until it has expired; then everything is as new.
    world.net.run_for(secs(700));
    for _ in 0..5 {
        if !world.net.machine(phone).client.is_allocated() {
            world.net.at(phone, |phone, now| phone.client.allocate(now));
            world.net.run_for(secs(130));
        }
    }
    assert!(world.net.machine(phone).client.is_allocated(), "seed {seed}: {:?}", said(&world, phone));
    world.net.at(phone, |phone, now| {
        phone.client.forget(peer.ip());
        phone.client.permit(now, peer.ip());
        phone.client.bind(now, peer);
    });
    world.net.run_for(secs(20));
    world.hears_echo(phone, peer, &format!("course {seed}"));
    world.part(&[phone]);
}

fn move_somewhere(world: &mut World, phone: Host<Phone>, port: u16) {
    world.net.at(phone, |phone, now| {
        let old = phone.client.flow();
        let mut local = old.local;
        local.set_port(port);
        phone.client.moved(now, Flow { local, ..old });
    });
}

fn said(world: &World, phone: Host<Phone>) -> Vec<Event> {
    world.net.machine(phone).said.clone()
}

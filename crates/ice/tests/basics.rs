//! Two agents find each other: without and with translators, both engines.

mod support;

use farspeak_ice::{AgentConfig, Engine, Event};
use farspeak_sim::Nat;
use support::{End, World, is, put_behind};

fn with(engine: Engine) -> impl Fn(&mut AgentConfig) {
    move |config| config.engine = engine
}

fn ends(engine: Engine, left: &'static str, right: &'static str) -> (End, End) {
    (End::new(&[left]).controlling().config(with(engine)), End::new(&[right]).config(with(engine)))
}

#[test]
fn hosts_in_the_open_connect() {
    for engine in [is(), Engine::CheckList] {
        let (left, right) = ends(engine, "192.0.2.1", "192.0.2.2");
        let mut world = World::new(1, left, right);
        world.start();
        world.connect();
        world.talk();
        let expected = ("192.0.2.1:6000".parse().unwrap(), "192.0.2.2:6001".parse().unwrap(), false);
        assert_eq!(world.selected(0), Some(expected));
    }
}

#[test]
fn home_routers_are_crossed_by_reflexive_addresses() {
    for engine in [is(), Engine::CheckList] {
        let (left, right) = ends(engine, "10.0.0.2", "10.0.0.2");
        let mut world = World::behind(2, left, right, |net, [left, right]| {
            put_behind(net, left, "nat1", Nat::home_router(), "203.0.113.1");
            put_behind(net, right, "nat2", Nat::home_router(), "203.0.113.2");
        });
        world.start();
        world.connect();
        world.talk();
        assert_eq!(world.selected(0).unwrap().1, "203.0.113.2:6001".parse().unwrap());
    }
}

#[test]
fn an_engine_connects_with_the_other() {
    for (one, other) in [(is(), Engine::CheckList), (Engine::CheckList, is())] {
        let left = End::new(&["10.0.0.2"]).controlling().config(with(one));
        let right = End::new(&["10.0.0.2"]).config(with(other));
        let mut world = World::behind(3, left, right, |net, [left, right]| {
            put_behind(net, left, "nat1", Nat::home_router(), "203.0.113.1");
            put_behind(net, right, "nat2", Nat::home_router(), "203.0.113.2");
        });
        world.start();
        world.connect();
        world.talk();
    }
}

#[test]
fn two_components_get_a_pair_each() {
    for engine in [is(), Engine::CheckList] {
        let two = move |config: &mut AgentConfig| (config.components, config.engine) = (2, engine);
        let mut world =
            World::new(4, End::new(&["192.0.2.1"]).controlling().config(two), End::new(&["192.0.2.2"]).config(two));
        world.start();
        world.connect();
        world.talk();
        let components = world.events(1).into_iter().filter_map(|event| match event {
            Event::Selected { component, .. } => Some(component),
            _ => None,
        });
        let mut components: Vec<u16> = components.collect();
        components.sort_unstable();
        components.dedup();
        assert_eq!(components, [1, 2]);
    }
}

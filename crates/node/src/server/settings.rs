//! Turns the operator's configuration into the settings of each part.

use farspeak_net::{Listening, NetConfig};
use farspeak_sip::digest::NonceConfig;
use farspeak_sip::message::Limits;

use crate::authentication::AuthenticationConfig;
use crate::b2bua::{Joining, Which};
use crate::config::{Config, JoinCalls};
use crate::domain::Domain;
use crate::events::EventsConfig;
use crate::registrar::RegistrarConfig;
use crate::shared::{ProxyConfig, Settings};
use crate::throttle::ThrottleConfig;

/// What shards read; can be exchanged while they run.
pub(super) fn settings(config: &Config, listening: &[Listening]) -> Settings {
    let mut domain = Domain::new(&config.domain.name);
    for alias in config.domain.aliases.iter().chain(&config.domain.public_name) {
        domain = domain.with_alias(alias);
    }
    for listener in listening {
        domain = domain.with_listener(listener.transport, listener.address);
    }
    let proxy = ProxyConfig {
        max_targets: config.proxy.max_targets,
        serial_ring: config.proxy.serial_ring,
        timer_c: config.proxy.timer_c,
        udp_keep_alive: config.proxy.udp_keep_alive,
        dialog_lifetime: config.proxy.dialog_lifetime,
        joining: joining(config),
        ..ProxyConfig::default()
    };
    let registrar = RegistrarConfig {
        min_expires: config.registrar.min_expires,
        default_expires: config.registrar.default_expires,
        max_expires: config.registrar.max_expires,
        max_contacts: config.registrar.max_contacts,
        ..RegistrarConfig::default()
    };
    let authentication = AuthenticationConfig {
        sha256_only: config.auth.sha256_only.0.clone(),
        believe_everybody: config.dangerous.no_authentication,
        ..AuthenticationConfig::default()
    };
    let events = &config.events;
    let events = EventsConfig {
        max_subscriptions: events.max_subscriptions,
        max_per_watched: events.max_per_watched,
        max_per_subscriber: events.max_per_subscriber,
        max_per_flow: events.max_per_flow,
        min_expires: events.min_expires,
        max_expires: events.max_expires,
        notify_interval: events.notify_interval,
        registrations_to: events.registrations_to.clone(),
        max_publications: events.max_publications,
        max_publication: events.max_publication,
        max_published: events.max_published,
    };
    Settings {
        domain,
        public_name: config.domain.public_name.clone(),
        proxy,
        registrar,
        authentication,
        events,
        limits: limits(config),
    }
}

fn joining(config: &Config) -> Joining {
    let calls = match config.calls.join {
        JoinCalls::Never => Which::Never,
        JoinCalls::Strangers => Which::Strangers,
        JoinCalls::Always => Which::Always,
    };
    Joining { calls, users: config.calls.join_users.iter().cloned().collect() }
}

fn limits(config: &Config) -> Limits {
    Limits {
        max_message: config.limits.max_message,
        max_header_bytes: config.limits.max_header_bytes,
        max_headers: config.limits.max_headers,
        ..Limits::default()
    }
}

pub(super) fn throttle(config: &Config) -> ThrottleConfig {
    ThrottleConfig {
        free_failures: config.throttle.free_failures,
        cut_off_failures: config.throttle.cut_off_failures,
        max_penalty: config.throttle.max_penalty,
        heal: config.throttle.heal,
        flood_burst: config.throttle.flood_burst,
        flood_rate: config.throttle.flood_rate,
        ..ThrottleConfig::default()
    }
}

pub(super) fn nonces(config: &Config) -> NonceConfig {
    let mut nonces = NonceConfig::default();
    nonces.lifetime = config.auth.nonce_lifetime;
    nonces
}

/// Sockets and their bounds, without the listeners.
pub(super) fn net(config: &Config) -> NetConfig {
    let mut net = NetConfig::default();
    if config.node.shards > 0 {
        net.shards = config.node.shards;
    }
    net.stream.max_connections = config.limits.max_connections;
    net.stream.max_connections_per_source = config.limits.max_connections_per_source;
    net.stream.write_queue = config.limits.write_queue;
    net.stream.websocket_message = config.limits.max_message;
    net
}

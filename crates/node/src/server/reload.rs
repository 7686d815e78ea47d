//! SIGHUP and `farspeak reload`: reads configuration and certificates again. All of it is good, or nothing changes.

use farspeak_net::Identity;
use serde_json::json;

use super::{ServeError, Server, certificates, settings};
use crate::config::{Config, Loaded};
use crate::control::{Answer, Failure, FailureKind};

impl Server {
    /// Takes over what can be taken over while calls go on, and says what cannot.
    pub(super) fn reload(&mut self) -> Answer {
        let result = self.try_reload();
        if let Err(failure) = &result {
            tracing::error!("nothing was changed by the reload: {failure}");
        }
        result
    }

    fn try_reload(&mut self) -> Answer {
        let wrong = |message: String| Failure::new(FailureKind::Config, message);
        let loaded = match &self.loaded.file {
            None if !self.config_file.exists() => Loaded::default(),
            _ => Loaded::read(&self.config_file).map_err(|errors| wrong(errors.to_string()))?,
        };
        let identities = self.identities(&loaded.config).map_err(|error| wrong(error.to_string()))?;
        if certificates::ends_soon(&loaded.config, &identities) {
            tracing::warn!("the certificate ends within two weeks");
        }
        if let Some(turn) = &self.turn {
            let mut in_force = loaded.config.clone();
            keep_fixed(&self.loaded.config, &mut in_force);
            turn.reload(&in_force).map_err(wrong)?;
        }
        // From here on nothing can fail.
        let fixed = needs_restart(&self.loaded.config, &loaded.config);
        let changed = changed(&self.loaded.config, &loaded.config);
        let fingerprint = identities.first().map(Identity::fingerprint);
        self.certificates.replace(identities);
        let mut in_force = loaded.clone();
        keep_fixed(&self.loaded.config, &mut in_force.config);
        self.telemetry.apply(&in_force.config);
        if let Some(sip) = &self.sip {
            sip.origins.replace(&in_force.config.turn.web_origins);
            sip.shared.replace_settings(settings::settings(&in_force.config, sip.net.listening()));
        }
        self.loaded = in_force;
        for key in &fixed {
            tracing::warn!("{key} has changed; it counts after a restart");
        }
        tracing::info!(changed = changed.len(), "configuration and certificates are read again");
        Ok(json!({"changed": changed, "after_restart": fixed, "certificate_fingerprint": fingerprint}))
    }

    /// Looks at the certificates again: those of our own making are renewed in time, files may have been replaced.
    pub(super) fn renew_certificates(&self) {
        match self.identities(&self.loaded.config) {
            Ok(identities) => {
                if certificates::ends_soon(&self.loaded.config, &identities) {
                    tracing::warn!("the certificate ends within two weeks");
                }
                self.certificates.replace(identities);
            }
            Err(error) => tracing::error!("the certificates in use stay: {error}"),
        }
    }

    /// None where nothing uses TLS; listeners do not change while the node runs.
    fn identities(&self, config: &Config) -> Result<Vec<Identity>, ServeError> {
        match self.certificates.current().is_empty() {
            true => Ok(Vec::new()),
            false => certificates::identities(config, &self.data),
        }
    }
}

/// Keys of which what runs depends; the others count at once.
const FIXED: [(&str, &[&str]); 11] = [
    ("domain", &["name"]),
    ("listen", &[]),
    ("legacy", &[]),
    ("throttle", &[]),
    ("auth", &["nonce_lifetime"]),
    ("limits", &[]), // connections that are open keep the framing that they began with
    (
        "turn",
        &[
            "enabled",
            "udp",
            "tcp",
            "tls",
            "share_https",
            "ports",
            "secret",
            "max_credential_lifetime",
            "max_tcp_peers",
            "alternate",
            "proxies",
        ],
    ),
    ("node", &["shards"]),
    ("admin", &[]),
    ("store", &[]),
    ("log", &["format", "ladder"]),
];

fn is_fixed(section: &str, key: &str) -> bool {
    FIXED.iter().any(|(name, keys)| *name == section && (keys.is_empty() || keys.contains(&key)))
}

fn changed(old: &Config, new: &Config) -> Vec<String> {
    let pairs = old.keys().into_iter().zip(new.keys());
    pairs
        .filter(|(old, new)| old.value != new.value && !is_fixed(old.section, old.name))
        .map(|(old, _)| format!("{}.{}", old.section, old.name))
        .collect()
}

fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let pairs = old.keys().into_iter().zip(new.keys());
    pairs
        .filter(|(old, new)| old.value != new.value && is_fixed(old.section, old.name))
        .map(|(old, _)| format!("{}.{}", old.section, old.name))
        .collect()
}

/// What counts after a restart stays as it is until then, also in what `status` and the account lines say.
fn keep_fixed(old: &Config, new: &mut Config) {
    new.domain.name.clone_from(&old.domain.name);
    new.listen.clone_from(&old.listen);
    new.legacy.clone_from(&old.legacy);
    new.throttle.clone_from(&old.throttle);
    new.auth.nonce_lifetime = old.auth.nonce_lifetime;
    new.limits.clone_from(&old.limits);
    let (turn, old_turn) = (&mut new.turn, &old.turn);
    (turn.enabled, turn.share_https, turn.alternate) = (old_turn.enabled, old_turn.share_https, old_turn.alternate);
    turn.max_tcp_peers = old_turn.max_tcp_peers;
    turn.udp.clone_from(&old_turn.udp);
    turn.tcp.clone_from(&old_turn.tcp);
    turn.tls.clone_from(&old_turn.tls);
    turn.ports.clone_from(&old_turn.ports);
    turn.secret.clone_from(&old_turn.secret);
    turn.max_credential_lifetime = old_turn.max_credential_lifetime;
    turn.proxies.clone_from(&old_turn.proxies);
    new.node.shards = old.node.shards;
    new.admin.clone_from(&old.admin);
    new.store.clone_from(&old.store);
    new.log.format = old.log.format;
    new.log.ladder.clone_from(&old.log.ladder);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Loaded::parse(Path::new("f"), text).unwrap().config
    }

    #[test]
    fn tells_what_counts_at_once_from_what_needs_a_restart() {
        let new = config("[listen]\ntls = 6061\n[registrar]\nmax_contacts = 3\n[log]\nlevel = \"debug\"\n");
        assert_eq!(needs_restart(&Config::default(), &new), ["listen.tls"]);
        assert_eq!(changed(&Config::default(), &new), ["registrar.max_contacts", "log.level"]);
    }

    #[test]
    fn says_of_no_bound_on_messages_that_it_counts_before_it_does() {
        let new = config("[limits]\nmax_message = 2000\nmax_header_bytes = 1500\nmax_headers = 40\n");
        let keys = ["limits.max_message", "limits.max_header_bytes", "limits.max_headers"];
        assert_eq!(needs_restart(&Config::default(), &new), keys);
        assert_eq!(changed(&Config::default(), &new), Vec::<String>::new());
        let mut kept = new.clone();
        keep_fixed(&Config::default(), &mut kept);
        assert_eq!(kept.limits, Config::default().limits);
    }

    #[test]
    fn what_is_fixed_and_what_is_kept_are_the_same_keys() {
        let text = Config::default_file();
        let other = text
            .replace("= true", "= maybe")
            .replace("= false", "= true")
            .replace("= maybe", "= false")
            .replace("\"localhost\"", "\"example.org\"")
            .replace("\"\"", "\"longer.x.example\"")
            .replace("= []", "= [\"127.0.0.1:7000\"]")
            .replace("5061", "6061")
            .replace(":443", ":6443");
        // Numbers and durations: a digit more in front of each.
        let other: String = other
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some((key, value)) if !line.starts_with('#') => match value.trim_matches('"').parse::<u64>() {
                    Ok(number) => format!("{key} = {}\n", number + 1),
                    Err(_) => format!("{line}\n"),
                },
                _ => format!("{line}\n"),
            })
            .filter(|line| {
                !line.starts_with("names")
                    && !line.starts_with("aliases")
                    && !line.starts_with("tcp")
                    && !line.starts_with("ws =")
                    && !["relay =", "allow_peers", "deny_peers", "nat64", "proxies", "alternate", "web_origins"]
                        .iter()
                        .any(|key| line.starts_with(key))
            })
            .collect();
        let mut new = config(&other);
        let fixed = needs_restart(&Config::default(), &new);
        assert!(fixed.len() > 10, "{fixed:?}");
        let counts = changed(&Config::default(), &new);
        keep_fixed(&Config::default(), &mut new);
        assert_eq!(needs_restart(&Config::default(), &new), Vec::<String>::new());
        assert_eq!(changed(&Config::default(), &new), counts, "what is said to count does");
    }
}

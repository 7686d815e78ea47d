//! The configuration: one TOML file in which every key is optional.
//!
//! `sections` declares every key once. [`Loaded::read`] turns a file into a [`Config`], or into errors that each say
//! file, line, column, what is wrong and which key was probably meant. The command line asks here for `config
//! default|check|show`; the server turns sections into the settings of the core.

mod schema;
mod sections;
mod suggest;
mod turn;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use schema::Key;
use schema::Section;
pub use sections::{
    AdminConfig, AuthSection, CallsSection, CertificateConfig, DangerousConfig, DomainConfig, EventsSection,
    LegacyConfig, LimitsSection, ListenConfig, LogConfig, NodeSection, ProxySection, RegistrarSection, StoreSection,
    ThrottleSection, TurnSection,
};
pub use suggest::nearest;
pub use value::{
    Durability, Everywhere, Hidden, JoinCalls, LogFormat, LogLevel, Loopback, Ports, Prefixes, RelayAddresses,
    Transports, parse_duration,
};

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $field:ident: $section:ident,)*) => {
        /// Everything that an operator can set.
        #[derive(Clone, PartialEq, Debug, Default)]
        #[non_exhaustive]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $section,)*
        }

        const SECTIONS: &[(&str, &[&str])] = &[$(($section::NAME, $section::MEANING)),*];

        impl Config {
            /// Every key with its present value, in the order of the file.
            pub fn keys(&self) -> Vec<Key> {
                [$(self.$field.keys()),*].concat()
            }

            fn set(&mut self, section: &str, key: &str, value: &DeValue<'_>) -> Option<Result<(), value::Wrong>> {
                match section {
                    $($section::NAME => self.$field.set(key, value),)*
                    _ => None,
                }
            }
        }
    };
}

config! {
    /// Whom this node serves.
    domain: DomainConfig,
    /// Where phones connect.
    listen: ListenConfig,
    /// What the node proves its name with.
    certificate: CertificateConfig,
    /// Listeners without encryption.
    legacy: LegacyConfig,
    /// Bounds of registrations.
    registrar: RegistrarSection,
    /// How phones prove whose they are.
    auth: AuthSection,
    /// What is done about guessing.
    throttle: ThrottleSection,
    /// Bounds on what peers can make the node keep.
    limits: LimitsSection,
    /// How calls are passed on.
    proxy: ProxySection,
    /// Who is told what about users.
    events: EventsSection,
    /// Which calls are joined instead.
    calls: CallsSection,
    /// STUN and TURN.
    turn: TurnSection,
    /// How the process runs.
    node: NodeSection,
    /// Metrics and health.
    admin: AdminConfig,
    /// What is kept on disk.
    store: StoreSection,
    /// Logs.
    log: LogConfig,
    /// What makes the node weaker.
    dangerous: DangerousConfig,
}

impl Config {
    /// The whole file with defaults and meanings, as `config default` prints it. Reading it back gives the defaults.
    pub fn default_file() -> String {
        let mut out = String::from("# Farspeak configuration. Every key is optional; these are the defaults.\n");
        let mut section = "";
        for key in Self::default().keys() {
            if key.section != section {
                section = key.section;
                let meaning = SECTIONS.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, lines)| lines);
                out.push('\n');
                comment(&mut out, meaning);
                out.push_str(&format!("[{section}]\n"));
            }
            comment(&mut out, key.meaning);
            out.push_str(&format!("{} = {}\n", key.name, key.value));
        }
        out
    }
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push('#');
        out.push_str(line);
        out.push('\n');
    }
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file, at this line (from 1).
    File {
        /// Which file.
        file: PathBuf,
        /// Which line.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
        }
    }
}

/// A configuration and where each value comes from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The values in force.
    pub config: Config,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    places: BTreeMap<(String, String), (usize, usize)>,
}

impl Loaded {
    /// Reads and checks `file`. Paths in it are taken relative to the folder that it lies in.
    ///
    /// # Errors
    /// All mistakes of the file at once.
    pub fn read(file: &Path) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let message = format!("cannot read the configuration: {error}");
            ConfigErrors(vec![ConfigError { file: file.to_owned(), place: None, message }])
        })?;
        Self::parse(file, &text)
    }

    /// Checks `text` as if it stood in `file`.
    ///
    /// # Errors
    /// All mistakes of the text at once.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { file, text, errors: Vec::new(), loaded: Self::default() };
        reader.loaded.file = Some(file.to_owned());
        let (table, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            reader.fault(error.span().map(|span| span.start), error.message().to_owned());
        }
        if reader.errors.is_empty() {
            reader.sections(table.get_ref());
        }
        if reader.errors.is_empty() {
            reader.consistency();
        }
        if reader.errors.is_empty() {
            reader.loaded.config.certificate.resolve(file.parent().unwrap_or(Path::new("")));
            if let Some(ladder) = &mut reader.loaded.config.log.ladder {
                *ladder = file.parent().unwrap_or(Path::new("")).join(&*ladder);
            }
            return Ok(reader.loaded);
        }
        reader.errors.sort_by_key(|error| error.place);
        Err(ConfigErrors(reader.errors))
    }

    /// Where the value of a key comes from.
    pub fn origin(&self, section: &str, key: &str) -> Origin {
        match (&self.file, self.places.get(&(section.to_owned(), key.to_owned()))) {
            (Some(file), Some((line, _))) => Origin::File { file: file.clone(), line: *line },
            _ => Origin::Default,
        }
    }

    /// Whether the operator wrote the key down.
    pub fn is_set(&self, section: &str, key: &str) -> bool {
        self.places.contains_key(&(section.to_owned(), key.to_owned()))
    }
}

impl CertificateConfig {
    fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.chain, &mut self.key].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }
}

/// One mistake in the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Which file.
    pub file: PathBuf,
    /// Line and column, both from 1; none if the file could not be read.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All mistakes of a configuration, in the order of the file; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    errors: Vec<ConfigError>,
    loaded: Loaded,
}

impl Reader<'_> {
    fn sections(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let section = name.get_ref().as_ref();
            if !SECTIONS.iter().any(|(known, _)| *known == section) {
                self.unknown_section(section, name.span().start, value.get_ref());
                continue;
            }
            match value.get_ref().as_table() {
                Some(keys) => self.keys(section, keys),
                None => self.fault(
                    Some(name.span().start),
                    format!("`{section}` is a section: write `[{section}]` on a line of its own, its keys below"),
                ),
            }
        }
    }

    fn keys(&mut self, section: &str, keys: &DeTable<'_>) {
        for (name, value) in keys {
            let key = name.get_ref().as_ref();
            match self.loaded.config.set(section, key, value.get_ref()) {
                Some(Ok(())) => {
                    let place = self.place(name.span().start);
                    self.loaded.places.insert((section.to_owned(), key.to_owned()), place);
                }
                Some(Err(wrong)) => self.fault(Some(value.span().start), format!("`{section}.{key}`: {wrong}")),
                None => self.unknown_key(section, key, name),
            }
        }
    }

    fn unknown_section(&mut self, section: &str, at: usize, value: &DeValue<'_>) {
        let known = Config::default().keys();
        let hint = if value.as_table().is_none() && known.iter().any(|key| key.name == section) {
            let homes = known.iter().filter(|key| key.name == section).map(|key| format!("`[{}]`", key.section));
            format!("; it belongs below {}", homes.collect::<Vec<_>>().join(" or "))
        } else {
            match nearest(section, SECTIONS.iter().map(|(name, _)| *name)) {
                Some(name) => format!("; did you mean `{name}`?"),
                None => {
                    format!("; known are {}", SECTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))
                }
            }
        };
        let kind = if value.as_table().is_some() { "section" } else { "key" };
        self.fault(Some(at), format!("unknown {kind} `{section}`{hint}"));
    }

    fn unknown_key(&mut self, section: &str, key: &str, name: &Spanned<std::borrow::Cow<'_, str>>) {
        let known = Config::default().keys();
        let here = known.iter().filter(|known| known.section == section).map(|known| known.name);
        let hint = if let Some(near) = nearest(key, here.clone()) {
            format!("; did you mean `{near}`?")
        } else if let Some(elsewhere) = known.iter().find(|known| known.name == key) {
            format!("; it belongs below `[{}]`", elsewhere.section)
        } else {
            format!("; known are {}", here.collect::<Vec<_>>().join(", "))
        };
        self.fault(Some(name.span().start), format!("unknown key `{key}` in `[{section}]`{hint}"));
    }

    /// What single values cannot show: keys that contradict each other, and values that nothing could work with.
    fn consistency(&mut self) {
        let config = self.loaded.config.clone();
        let registrar = &config.registrar;
        if registrar.min_expires > registrar.max_expires {
            self.at("registrar", "min_expires", "is longer than `max_expires`");
        }
        if registrar.default_expires > registrar.max_expires || registrar.default_expires < registrar.min_expires {
            self.at("registrar", "default_expires", "is not between `min_expires` and `max_expires`");
        }
        if registrar.min_expires.subsec_millis() > 0 || registrar.max_expires.subsec_millis() > 0 {
            self.at("registrar", "min_expires", "and `max_expires` are whole seconds");
        }
        if registrar.min_expires.as_secs() > 3600 {
            self.at("registrar", "min_expires", "must not be more than 1h (RFC 3261 §10.3 step 7)");
        }
        if registrar.max_contacts == 0 {
            self.at("registrar", "max_contacts", "is 0: nobody could register");
        }
        match (&config.certificate.chain, &config.certificate.key) {
            (Some(_), None) => self.at("certificate", "chain", "needs `key` beside it"),
            (None, Some(_)) => self.at("certificate", "key", "needs `chain` beside it"),
            _ => {}
        }
        if !is_host_name(&config.domain.name) {
            self.at("domain", "name", "is not a domain name such as \"example.org\"");
        }
        for (key, names) in [("aliases", &config.domain.aliases)] {
            if names.iter().any(|name| !is_host_name(name)) {
                self.at("domain", key, "holds something that is not a domain name");
            }
        }
        if config.certificate.names.iter().any(|name| !is_host_name(name)) {
            self.at("certificate", "names", "holds something that is not a host name");
        }
        if config.domain.public_name.as_deref().is_some_and(|name| !is_host_name(name)) {
            self.at("domain", "public_name", "is not a host name such as \"sip.example.org\"");
        }
        if config.throttle.free_failures > config.throttle.cut_off_failures {
            self.at("throttle", "free_failures", "is more than `cut_off_failures`");
        }
        if config.throttle.heal.is_zero() {
            self.at("throttle", "heal", "is zero: nobody would ever be slowed down");
        }
        if config.auth.nonce_lifetime.as_secs() < 10 {
            self.at("auth", "nonce_lifetime", "is shorter than 10s: slow phones could never answer in time");
        }
        if config.limits.max_message < 1300 {
            self.at("limits", "max_message", "is below 1300: ordinary calls would be refused");
        }
        if config.limits.max_headers < 32 {
            self.at("limits", "max_headers", "is below 32: ordinary calls would be refused");
        }
        if config.proxy.timer_c.as_secs() <= 180 {
            self.at("proxy", "timer_c", "must be more than 3m (RFC 3261 §16.6 step 11)");
        }
        if config.proxy.dialog_lifetime.as_secs() < 24 * 3600 {
            self.at("proxy", "dialog_lifetime", "is shorter than 1d: long calls could not be ended");
        }
        let streams = [&config.listen.tls.0, &config.listen.https.0, &config.legacy.tcp.0, &config.legacy.ws.0];
        let all: Vec<_> = streams.into_iter().flatten().chain(&config.admin.listen).collect();
        if let Some(twice) = all.iter().enumerate().find(|(index, one)| one.port() != 0 && all[..*index].contains(one))
        {
            let key = self.listen_key(twice.1);
            self.at(key.0, key.1, &format!("uses {} a second time", twice.1));
        }
        if config.listen.tls.0.is_empty()
            && config.listen.https.0.is_empty()
            && all.len() == usize::from(config.admin.listen.is_some())
            && config.legacy.udp.0.is_empty()
        {
            self.at("listen", "tls", "and every other listener is empty: no phone could connect");
        }
        for (key, message) in turn::faults(&config) {
            self.at("turn", key, &message);
        }
    }

    fn listen_key(&self, address: &std::net::SocketAddr) -> (&'static str, &'static str) {
        let config = &self.loaded.config;
        // The last key that names the address is the one to change.
        if config.admin.listen == Some(*address) && self.loaded.is_set("admin", "listen") {
            ("admin", "listen")
        } else if config.legacy.ws.0.contains(address) {
            ("legacy", "ws")
        } else if config.legacy.tcp.0.contains(address) {
            ("legacy", "tcp")
        } else if config.listen.https.0.contains(address) && self.loaded.is_set("listen", "https") {
            ("listen", "https")
        } else {
            ("listen", "tls")
        }
    }

    fn at(&mut self, section: &str, key: &str, message: &str) {
        let place = self.loaded.places.get(&(section.to_owned(), key.to_owned())).copied();
        let place =
            place.or_else(|| self.loaded.places.iter().find(|((name, _), _)| name == section).map(|(_, at)| *at));
        let message = format!("`{section}.{key}` {message}");
        self.errors.push(ConfigError { file: self.file.to_owned(), place: place.or(Some((1, 1))), message });
    }

    fn fault(&mut self, at: Option<usize>, message: String) {
        let place = at.map(|at| self.place(at));
        self.errors.push(ConfigError { file: self.file.to_owned(), place, message });
    }

    /// Line and column of a byte, from 1; the column counts characters.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
    }
}

/// A host name (RFC 3261 §25.1 `hostname`), or an address.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let bare = name.strip_suffix('.').unwrap_or(name);
    name.parse::<std::net::IpAddr>().is_ok() || bare.len() <= 253 && bare.split('.').all(label)
}

#[cfg(test)]
mod tests;

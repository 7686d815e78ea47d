//! What a key of the configuration may hold: each type reads itself from TOML and writes itself back.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use farspeak_sansio::Transport;
use farspeak_turn::{Prefix, RelayAddress};
use toml::Spanned;
use toml::de::DeValue;

/// A type that a key of the configuration may have.
pub(super) trait Value: Sized {
    /// Reads the value. The error completes "expected …".
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong>;
    /// The value as a TOML literal.
    fn write(&self) -> String;
    /// The same for whoever looks over the operator's shoulder: without secrets.
    fn show(&self) -> String {
        self.write()
    }
}

/// Why a value does not fit.
#[derive(Debug)]
pub(super) struct Wrong {
    /// What should stand there.
    pub(super) expected: String,
    /// What stands there, if it is worth naming.
    pub(super) found: String,
}

impl Wrong {
    fn new(expected: impl Into<String>, found: &DeValue<'_>) -> Self {
        Self { expected: expected.into(), found: describe(found) }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quote(text),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

/// A TOML basic string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| Wrong::new("true or false", value))
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
                value
                    .as_integer()
                    .and_then(|number| <$number>::from_str_radix(number.as_str(), number.radix()).ok())
                    .ok_or_else(|| Wrong::new(format!("a whole number from 0 to {}", <$number>::MAX), value))
            }
            fn write(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
whole_numbers!(u8, u32, u64, usize);

impl Value for String {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_str().map(str::to_owned).ok_or_else(|| Wrong::new("a text in quotes", value))
    }
    fn write(&self) -> String {
        quote(self)
    }
}

impl Value for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        value.as_str().map(Self::from).ok_or_else(|| Wrong::new("a path in quotes", value))
    }
    fn write(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

/// An empty text stands for none.
impl<T: Value> Value for Option<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        if value.as_str() == Some("") { Ok(None) } else { T::read(value).map(Some) }
    }
    fn write(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), Value::write)
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), Value::show)
    }
}

/// A secret. Neither `Debug` nor what is said about it shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

const HIDDEN: &str = "(hidden)";

impl Value for Hidden {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong { expected: "a text in quotes".to_owned(), found: "something else".to_owned() };
        value.as_str().map(|text| Self(text.to_owned())).ok_or_else(wrong)
    }
    fn write(&self) -> String {
        quote(&self.0)
    }
    fn show(&self) -> String {
        quote(HIDDEN)
    }
}

impl Value for Vec<Hidden> {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong { expected: "a list of texts in quotes".to_owned(), found: "something else".to_owned() };
        let items = value.as_array().ok_or_else(wrong)?;
        items.iter().map(|item| Hidden::read(item.get_ref()).map_err(|_| wrong())).collect()
    }
    fn write(&self) -> String {
        list(self.iter().map(Value::write))
    }
    fn show(&self) -> String {
        list(self.iter().map(Value::show))
    }
}

impl Value for SocketAddr {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("an address and port such as \"127.0.0.1:9061\" or \"[::1]:9061\"", value);
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)
    }
    fn write(&self) -> String {
        quote(&self.to_string())
    }
}

impl Value for Vec<String> {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = |value: &DeValue<'_>| Wrong::new("a list of texts such as [\"one\", \"two\"]", value);
        let items = value.as_array().ok_or_else(|| wrong(value))?;
        let text = |item: &Spanned<DeValue<'_>>| {
            item.get_ref().as_str().map(str::to_owned).ok_or_else(|| wrong(item.get_ref()))
        };
        items.iter().map(text).collect()
    }
    fn write(&self) -> String {
        list(self.iter().map(|item| quote(item)))
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Addresses to listen on. A bare port number stands for that port on every address, IPv4 and IPv6.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Everywhere(pub Vec<SocketAddr>);

impl Everywhere {
    /// That port on every address.
    pub fn port(port: u16) -> Self {
        Self(vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()])
    }
}

impl Value for Everywhere {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        read_addresses(value, &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]).map(Self)
    }
    fn write(&self) -> String {
        list(self.0.iter().map(Value::write))
    }
}

/// Addresses to listen on. A bare port number stands for that port on 127.0.0.1 alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loopback(pub Vec<SocketAddr>);

impl Value for Loopback {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        read_addresses(value, &[IpAddr::V4(Ipv4Addr::LOCALHOST)]).map(Self)
    }
    fn write(&self) -> String {
        list(self.0.iter().map(Value::write))
    }
}

/// One port or address, or a list of them.
fn read_addresses(value: &DeValue<'_>, hosts: &[IpAddr]) -> Result<Vec<SocketAddr>, Wrong> {
    if let Some(items) = value.as_array() {
        let nested = items.iter().map(|item| read_address(item.get_ref(), hosts));
        return Ok(nested.collect::<Result<Vec<_>, _>>()?.concat());
    }
    read_address(value, hosts)
}

fn read_address(value: &DeValue<'_>, hosts: &[IpAddr]) -> Result<Vec<SocketAddr>, Wrong> {
    let example = "a port such as 5061, or addresses and ports such as [\"192.0.2.1:5061\", \"[2001:db8::1]:5061\"]";
    if let Some(number) = value.as_integer() {
        let port = u16::from_str_radix(number.as_str(), number.radix()).map_err(|_| Wrong::new(example, value))?;
        return Ok(hosts.iter().map(|host| SocketAddr::new(*host, port)).collect());
    }
    let address = value.as_str().and_then(|text| text.parse().ok());
    address.map(|address| vec![address]).ok_or_else(|| Wrong::new(example, value))
}

/// Prefixes of addresses. A single address stands for itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prefixes(pub Vec<Prefix>);

impl Value for Prefixes {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = |value: &DeValue<'_>| {
            let examples = "[\"10.1.0.0/16\", \"2001:db8::/32\", \"192.0.2.7\"]";
            Wrong::new(format!("a list of prefixes such as {examples}, with zeros behind each prefix"), value)
        };
        let items = value.as_array().ok_or_else(|| wrong(value))?;
        let prefix = |item: &Spanned<DeValue<'_>>| {
            item.get_ref().as_str().and_then(|text| text.parse().ok()).ok_or_else(|| wrong(item.get_ref()))
        };
        items.iter().map(prefix).collect::<Result<_, _>>().map(Self)
    }
    fn write(&self) -> String {
        list(self.0.iter().map(|prefix| quote(&prefix.to_string())))
    }
}

/// A secret, or several while one is replaced, the new one first; none is written `""`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Secrets(pub Vec<Hidden>);

impl Secrets {
    fn text(&self, each: fn(&Hidden) -> String) -> String {
        match &self.0[..] {
            [] => quote(""),
            [one] => each(one),
            several => list(several.iter().map(each)),
        }
    }
}

impl Value for Secrets {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let expected = || "a text in quotes, or a list of them such as [\"new\", \"old\"]".to_owned();
        let wrong = |_| Wrong { expected: expected(), found: "something else".to_owned() };
        match value.as_str() {
            Some("") => Ok(Self::default()),
            Some(_) => Ok(Self(vec![Hidden::read(value)?])),
            None => <Vec<Hidden>>::read(value).map(Self).map_err(wrong),
        }
    }
    fn write(&self) -> String {
        self.text(Value::write)
    }
    fn show(&self) -> String {
        self.text(Value::show)
    }
}

/// Addresses to relay from, each with the address that is told, where that is another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RelayAddresses(pub Vec<RelayAddress>);

impl Value for RelayAddresses {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = |value: &DeValue<'_>| {
            Wrong::new("a list of addresses such as [\"192.0.2.1\", \"10.0.0.5 as 203.0.113.5\"]", value)
        };
        let items = value.as_array().ok_or_else(|| wrong(value))?;
        let address = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str().unwrap_or_default();
            let (bind, advertised) = text.split_once(" as ").unwrap_or((text, text));
            let ip = |text: &str| text.trim().parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
            match (ip(bind), ip(advertised)) {
                (Some(bind), Some(advertised)) if bind.is_ipv4() == advertised.is_ipv4() => {
                    Ok(RelayAddress { bind, advertised })
                }
                _ => Err(wrong(item.get_ref())),
            }
        };
        items.iter().map(address).collect::<Result<_, _>>().map(Self)
    }
    fn write(&self) -> String {
        list(self.0.iter().map(|relay| match relay.bind == relay.advertised {
            true => quote(&relay.bind.to_string()),
            false => quote(&format!("{} as {}", relay.bind, relay.advertised)),
        }))
    }
}

/// A range of ports, written `"49152-65535"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ports(pub RangeInclusive<u16>);

impl Value for Ports {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("a range of ports from 1024 on such as \"49152-65535\"", value);
        let (first, last) = value.as_str().and_then(|text| text.split_once('-')).ok_or_else(wrong)?;
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if first >= 1024 && first < last => Ok(Self(first..=last)),
            _ => Err(wrong()),
        }
    }
    fn write(&self) -> String {
        quote(&format!("{}-{}", self.0.start(), self.0.end()))
    }
}

/// Kinds of listeners. `false` stands for none, `true` for all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transports(pub Vec<Transport>);

impl Transports {
    const ALL: [Transport; 5] = [Transport::Tls, Transport::Wss, Transport::Udp, Transport::Tcp, Transport::Ws];

    /// Every kind.
    pub fn all() -> Self {
        Self(Self::ALL.to_vec())
    }
}

impl Value for Transports {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = |value: &DeValue<'_>| {
            Wrong::new("true, false or a list of \"tls\", \"wss\", \"udp\", \"tcp\" and \"ws\"", value)
        };
        if let Some(whether) = value.as_bool() {
            return Ok(if whether { Self::all() } else { Self::default() });
        }
        let items = value.as_array().ok_or_else(|| wrong(value))?;
        let mut named = Vec::with_capacity(items.len());
        for item in items {
            let word = item.get_ref().as_str().unwrap_or_default();
            let known = Self::ALL.into_iter().find(|it| it.as_str().to_ascii_lowercase() == word);
            named.push(known.ok_or_else(|| wrong(item.get_ref()))?);
        }
        // In one order and each once, so that equal demands are equal.
        Ok(Self(Self::ALL.into_iter().filter(|it| named.contains(it)).collect()))
    }
    fn write(&self) -> String {
        match self.0.len() {
            0 => "false".to_owned(),
            len if len == Self::ALL.len() => "true".to_owned(),
            _ => list(self.0.iter().map(|it| quote(&it.as_str().to_ascii_lowercase()))),
        }
    }
}

/// Written with its unit: `"500ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`.
impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("a duration such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\"", value);
        value.as_str().and_then(parse_duration).ok_or_else(wrong)
    }
    fn write(&self) -> String {
        quote(&format_duration(*self))
    }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration as it stands in the configuration: `30s`, `12h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let millis = UNITS.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// The shortest way to write a duration exactly, to the millisecond.
pub(super) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    // `ms` is 1, so one of the units always divides.
    let (name, unit) = UNITS.into_iter().find(|(_, unit)| millis % unit == 0).unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit)
}

/// A choice between a few words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// The word in the configuration file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl Value for $name {
            fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)*
                    _ => Err(Wrong::new(["one of", $(concat!(" \"", $word, "\"")),*].concat(), value)),
                }
            }
            fn write(&self) -> String {
                quote(self.as_str())
            }
        }
    };
}

words! {
    /// What an answered registration survives.
    Durability {
        /// The death of the process: the row is with the operating system before the 200 leaves.
        Process = "process",
        /// The death of the machine: the row is on the disk before the 200 leaves (an fsync per batch).
        Power = "power",
    }
}

words! {
    /// Which calls a back-to-back user agent joins.
    JoinCalls {
        /// None.
        Never = "never",
        /// Those of callers who are not users here.
        Strangers = "strangers",
        /// All.
        Always = "always",
    }
}

words! {
    /// The shape of log lines.
    LogFormat {
        /// Human on a terminal, JSON elsewhere.
        Auto = "auto",
        /// For people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// The least important lines that are logged.
    LogLevel {
        /// What someone must mend.
        Error = "error",
        /// What someone should act on.
        Warn = "warn",
        /// What an operator asked for.
        Info = "info",
        /// Every decision and change of state.
        Debug = "debug",
        /// Every packet.
        Trace = "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_trip() {
        for text in ["500ms", "30s", "5m", "1h", "7d", "90s", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        for text in ["", "30", "s", "1w", "-1s", "1.5s", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn relay_addresses_ports_and_prefixes_round_trip() {
        fn there_and_back<T: Value>(text: &str) -> Option<String> {
            let table = toml::de::DeTable::parse(text).unwrap();
            T::read(table.get_ref().values().next().unwrap().get_ref()).ok().map(|value| value.write())
        }
        let relays = "[\"192.0.2.1\", \"10.0.0.5 as 203.0.113.5\"]";
        assert_eq!(there_and_back::<RelayAddresses>(&format!("x = {relays}")).as_deref(), Some(relays));
        for bad in ["[\"10.0.0.5 as ::1\"]", "[\"0.0.0.0\"]", "\"192.0.2.1\"", "[3]"] {
            assert_eq!(there_and_back::<RelayAddresses>(&format!("x = {bad}")), None, "{bad}");
        }
        assert_eq!(there_and_back::<Ports>("x = \"50000 - 50999\"").as_deref(), Some("\"50000-50999\""));
        for bad in ["\"50999-50000\"", "\"1-80\"", "\"50000\"", "50000"] {
            assert_eq!(there_and_back::<Ports>(&format!("x = {bad}")), None, "{bad}");
        }
        assert_eq!(there_and_back::<Prefixes>("x = [\"10.0.0.0/8\"]").as_deref(), Some("[\"10.0.0.0/8\"]"));
        assert_eq!(there_and_back::<Prefixes>("x = [\"10.0.0.1/8\"]"), None);
    }

    #[test]
    fn a_secret_is_a_text_or_several_and_not_shown() {
        let read = |text: &str| {
            let table = toml::de::DeTable::parse(text).unwrap();
            Secrets::read(table.get_ref().values().next().unwrap().get_ref()).ok()
        };
        for text in ["\"\"", "\"north\"", "[\"south\", \"north\"]"] {
            let secrets = read(&format!("x = {text}")).unwrap();
            assert_eq!(secrets.write(), text);
            assert!(!format!("{secrets:?} {}", secrets.show()).contains("orth"));
        }
        for bad in ["3", "[3]", "[[\"north\"]]"] {
            assert_eq!(read(&format!("x = {bad}")), None, "{bad}");
        }
        assert_eq!(read("x = []"), Some(Secrets::default()));
    }

    #[test]
    fn quotes_what_toml_would_misread() {
        assert_eq!(quote("a\"b\\c\n\u{1}"), r#""a\"b\\c\n\u0001""#);
    }
}

//! What a session and a media description have in common: lines, attributes, connection, bandwidths.

use std::fmt;

use crate::attribute::Attribute;
use crate::error::AttributeError;
use crate::field::{Bandwidth, Connection};
use crate::line::{Line, Lines, Stored, Value};

/// The lines of the session level or of one media description (there without the `m=` line), in order.
///
/// [`Description`](crate::Description) and [`Media`](crate::Media) both dereference to it: every accessor here reads *that*
/// level. What is inherited from the session level (a connection, a direction, fingerprints, setup, ICE) is the caller's
/// `media.setup().or(description.setup())`.
#[derive(Clone)]
pub struct Section {
    pub(crate) lines: Lines,
}

impl Section {
    pub(crate) fn empty() -> Self {
        Self { lines: Lines::empty() }
    }

    /// Every line, in order, also those of unknown type.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> + Clone {
        self.lines.iter()
    }

    /// Every attribute, in order: name, and value if there is a colon.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Option<&str>)> + Clone {
        self.lines.values(b'a').map(split_attribute)
    }

    /// The first attribute of this name (case counts: RFC 8866 §5): `Some(None)` if it has no value.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.values_or_flags(name).next()
    }

    /// Whether there is an attribute of this name, with or without a value.
    pub fn has_attribute(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Every attribute as written, in order.
    pub(crate) fn attribute_lines(&self) -> impl Iterator<Item = &str> + Clone {
        self.lines.values(b'a')
    }

    /// The value of the first attribute of this name that has one.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values_or_flags(name).find_map(|value| value)
    }

    /// The values of all attributes of this name, in order.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + Clone + use<'a, 'n> {
        self.values_or_flags(name).flatten()
    }

    fn values_or_flags<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = Option<&'a str>> + Clone + use<'a, 'n> {
        self.lines.values(b'a').filter_map(move |text| match text.as_bytes().get(name.len()) {
            None => (text == name).then_some(None),
            Some(b':') => text.strip_prefix(name).map(|rest| Some(&rest[1..])),
            Some(_) => None,
        })
    }

    /// All attributes of one type, typed; those that cannot be read as errors.
    pub fn typed<'a, A: Attribute<'a> + 'a>(&'a self) -> impl Iterator<Item = Result<A, AttributeError>> + 'a {
        self.values(A::NAME).map(A::parse)
    }

    /// The first attribute of one type that can be read.
    pub fn first<'a, A: Attribute<'a> + 'a>(&'a self) -> Option<A> {
        self.typed().find_map(Result::ok)
    }

    /// Adds an attribute at the end. CR, LF and NUL in either part become spaces: no value can add a line.
    pub fn push_attribute(&mut self, name: &str, value: Option<&str>) {
        let text = join_attribute(name, value);
        self.lines.lines.push(Stored { letter: b'a', value: Value::owned(&text) });
    }

    /// Adds a typed attribute at the end.
    pub fn push<'a, A: Attribute<'a>>(&mut self, attribute: &A) {
        self.push_attribute(A::NAME, Some(&attribute.to_string()));
    }

    /// Replaces the first attribute of this name and removes the others; adds one at the end if there is none.
    pub fn set_attribute(&mut self, name: &str, value: Option<&str>) {
        let Some(first) = self.position(name) else { return self.push_attribute(name, value) };
        self.lines.lines[first].value = Value::owned(&join_attribute(name, value));
        let mut seen = false;
        self.retain_attributes(|other, _| other != name || !std::mem::replace(&mut seen, true));
    }

    /// Replaces all attributes of one type by this one, in the place of the first.
    pub fn set<'a, A: Attribute<'a>>(&mut self, attribute: &A) {
        self.set_attribute(A::NAME, Some(&attribute.to_string()));
    }

    /// Removes all attributes of this name; says how many there were.
    pub fn remove_attributes(&mut self, name: &str) -> usize {
        let before = self.lines.lines.len();
        self.retain_attributes(|other, _| other != name);
        before - self.lines.lines.len()
    }

    /// Keeps those attributes for which `keep` says so; other lines stay.
    pub fn retain_attributes(&mut self, mut keep: impl FnMut(&str, Option<&str>) -> bool) {
        let mut lines = std::mem::take(&mut self.lines.lines);
        lines.retain(|stored| {
            let (name, value) = split_attribute(self.lines.text(stored));
            stored.letter != b'a' || keep(name, value)
        });
        self.lines.lines = lines;
    }

    /// Gives the first attribute of this name, which has no value, another name.
    pub(crate) fn rename_attribute(&mut self, name: &str, new: &str) {
        if let Some(first) = self.position(name) {
            self.lines.lines[first].value = Value::owned(new);
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.lines
            .lines
            .iter()
            .position(|stored| stored.letter == b'a' && split_attribute(self.lines.text(stored)).0 == name)
    }

    /// The first `c=` line, if there is one that can be read. RFC 8866 §5.7.
    pub fn connection(&self) -> Option<Connection> {
        self.connections().find_map(Result::ok)
    }

    /// Every `c=` line: a media description may have several, for layered multicast.
    pub fn connections(&self) -> impl Iterator<Item = Result<Connection, AttributeError>> + '_ {
        self.lines.values(b'c').map(Connection::parse)
    }

    /// Replaces the first `c=` line, or adds one where RFC 8866 §5 wants it.
    pub fn set_connection(&mut self, connection: &Connection) {
        self.lines.set(b'c', &connection.to_string());
    }

    /// Removes every `c=` line.
    pub fn remove_connections(&mut self) {
        self.lines.remove(b'c');
    }

    /// The `b=` lines that can be read. RFC 8866 §5.8.
    pub fn bandwidths(&self) -> impl Iterator<Item = Bandwidth<'_>> + '_ {
        self.lines.values(b'b').filter_map(|text| Bandwidth::parse(text).ok())
    }

    /// Adds a `b=` line behind those there are.
    pub fn push_bandwidth(&mut self, bandwidth: Bandwidth<'_>) {
        self.lines.insert(b'b', &bandwidth.to_string());
    }

    /// The text of the `i=` line. RFC 8866 §5.4.
    pub fn information(&self) -> Option<&str> {
        self.lines.values(b'i').next()
    }
}

impl fmt::Debug for Section {
    /// The lines, without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

/// By lines alone: where the text lies does not matter.
impl PartialEq for Section {
    fn eq(&self, other: &Self) -> bool {
        let all = |section: &Self| section.lines.lines.len();
        all(self) == all(other)
            && self.lines.lines.iter().zip(&other.lines.lines).all(|(ours, theirs)| {
                ours.letter == theirs.letter && self.lines.bytes(ours) == other.lines.bytes(theirs)
            })
    }
}

impl Eq for Section {}

fn split_attribute(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    }
}

fn join_attribute(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => [name, ":", value].concat(),
        None => name.to_owned(),
    }
}

//! Forwarding: the message with a few lines changed, every other byte as it came (RFC 3261 §16.6).

use std::ops::Range;

use super::{HeaderName, Message, Start, lex};

/// Changes to a message, written out in one go. The message itself stays as it is.
///
/// Values are written as given, except that a line break in them becomes a space: nothing can smuggle a line in.
/// New lines carry the full name of their header field; a name that is no token becomes `X-Unnamed`.
#[derive(Clone, Debug)]
pub struct Edit<'m> {
    message: &'m Message,
    /// The Request-URI, if it changes, in `text`.
    request_uri: Option<Range<usize>>,
    lines: Vec<Line>,
    /// Everything new.
    text: String,
}

#[derive(Clone, Debug)]
struct Line {
    name: HeaderName,
    /// Where the whole line stands, CRLF included: in the message's head or in the edit's text.
    is_new: bool,
    span: Range<usize>,
    /// Where its value stands, ends trimmed.
    value: Range<usize>,
}

impl<'m> Edit<'m> {
    /// No changes yet.
    pub fn new(message: &'m Message) -> Self {
        let mut lines = Vec::with_capacity(message.fields.len() + 4);
        lines.extend(message.fields.iter().map(|field| Line {
            name: field.name,
            is_new: false,
            span: field.start as usize..field.end as usize,
            value: field.value(),
        }));
        Self { message, request_uri: None, lines, text: String::with_capacity(NEW_TEXT) }
    }

    /// Another Request-URI. Nothing happens to a response.
    pub fn set_request_uri(&mut self, uri: &str) -> &mut Self {
        let start = self.text.len();
        push_clean(&mut self.text, uri);
        self.request_uri = Some(start..self.text.len());
        self
    }

    /// A new line above the first of that name; if there is none, on top of all header fields.
    pub fn prepend(&mut self, name: HeaderName, value: &str) -> &mut Self {
        let at = self.position(name).unwrap_or(0);
        let line = self.new_line(name, name.as_str(), value);
        self.lines.insert(at, line);
        self
    }

    /// A new line below the last of that name; if there is none, below all header fields.
    pub fn append(&mut self, name: HeaderName, value: &str) -> &mut Self {
        let at = self.lines.iter().rposition(|line| line.name == name).map_or(self.lines.len(), |last| last + 1);
        let line = self.new_line(name, name.as_str(), value);
        self.lines.insert(at, line);
        self
    }

    /// A new line below all header fields, for names that [`HeaderName`] does not know.
    pub fn append_named(&mut self, name: &str, value: &str) -> &mut Self {
        let line = self.new_line(HeaderName::parse(name), name, value);
        self.lines.push(line);
        self
    }

    /// Takes the first element of the first header field of that name away, and its line with it if it was the only one.
    pub fn remove_first_value(&mut self, name: HeaderName) -> &mut Self {
        let Some(at) = self.position(name) else { return self };
        let value = self.value(at);
        let end = lex::element_end(value);
        if end == value.len() {
            self.lines.remove(at);
        } else {
            let rest = value.len() - lex::trim_start(&value[end + 1..]).len()..value.len();
            self.lines[at] = self.same_line(at, "", rest);
        }
        self
    }

    /// Puts `value` in place of the first element of the first header field of that name; adds the line if there is none.
    pub fn replace_first_value(&mut self, name: HeaderName, value: &str) -> &mut Self {
        let Some(at) = self.position(name) else { return self.prepend(name, value) };
        let old = self.value(at);
        let rest = lex::element_end(old)..old.len();
        self.lines[at] = self.same_line(at, value, rest);
        self
    }

    /// Leaves exactly one header field of that name, where the first one stood, else below all.
    pub fn set(&mut self, name: HeaderName, value: &str) -> &mut Self {
        let Some(at) = self.position(name) else { return self.append(name, value) };
        self.lines[at] = self.same_line(at, value, 0..0);
        let mut index = 0;
        self.lines.retain(|line| {
            index += 1;
            line.name != name || index - 1 == at
        });
        self
    }

    /// The same as [`Self::set`].
    pub fn replace_all(&mut self, name: HeaderName, value: &str) -> &mut Self {
        self.set(name, value)
    }

    /// Takes every header field of that name away.
    pub fn remove_all(&mut self, name: HeaderName) -> &mut Self {
        self.lines.retain(|line| line.name != name);
        self
    }

    /// Takes those header fields of that name away whose whole value `unwanted` picks.
    pub fn remove_where(&mut self, name: HeaderName, unwanted: impl Fn(&str) -> bool) -> &mut Self {
        let (head, text) = (&self.message.head, &self.text);
        self.lines.retain(|line| {
            let source = if line.is_new { text } else { head };
            line.name != name || !unwanted(&source[line.value.clone()])
        });
        self
    }

    /// States the length of the body if the message does not: what came over UDP may leave over a stream, where
    /// Content-Length is a must (RFC 3261 §18.3).
    pub fn ensure_content_length(&mut self) -> &mut Self {
        if self.position(HeaderName::ContentLength).is_none() {
            let length = self.message.body.len().to_string();
            self.append(HeaderName::ContentLength, &length);
        }
        self
    }

    /// Appends the changed message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let message = self.message;
        out.reserve(message.head.len() + self.text.len() + message.body.len());
        let head = message.head.as_bytes();
        let first_line_end = message.fields.first().map_or(head.len() - 2, |field| field.start as usize);
        match (&message.start, &self.request_uri) {
            (Start::Request { uri_start, uri_end, .. }, Some(uri)) => {
                out.extend_from_slice(&head[..*uri_start as usize]);
                out.extend_from_slice(&self.text.as_bytes()[uri.clone()]);
                out.extend_from_slice(&head[*uri_end as usize..first_line_end]);
            }
            _ => out.extend_from_slice(&head[..first_line_end]),
        }
        for line in &self.lines {
            let source = if line.is_new { self.text.as_bytes() } else { head };
            out.extend_from_slice(&source[line.span.clone()]);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&message.body);
    }

    /// The changed message as [`Self::write`] writes it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn position(&self, name: HeaderName) -> Option<usize> {
        self.lines.iter().position(|line| line.name == name)
    }

    fn source(&self, line: &Line) -> &str {
        if line.is_new { &self.text } else { &self.message.head }
    }

    fn value(&self, at: usize) -> &str {
        let line = &self.lines[at];
        &self.source(line)[line.value.clone()]
    }

    /// The line at `at` with another value: `value` and then that part of the old one. Its name and the white space
    /// after the colon stay as they were.
    fn same_line(&mut self, at: usize, value: &str, rest: Range<usize>) -> Line {
        let Line { name, is_new, span, value: old } = self.lines[at].clone();
        let start = self.text.len();
        self.push_old(is_new, span.start..old.start);
        let value_start = self.text.len();
        push_clean(&mut self.text, lex::trim(value));
        self.push_old(is_new, old.start + rest.start..old.start + rest.end);
        self.end_line(name, start, value_start)
    }

    /// Appends part of an old line to the text.
    fn push_old(&mut self, is_new: bool, range: Range<usize>) {
        if is_new {
            self.text.extend_from_within(range);
        } else {
            self.text.push_str(&self.message.head[range]);
        }
    }

    fn new_line(&mut self, name: HeaderName, label: &str, value: &str) -> Line {
        let start = self.text.len();
        if label.is_empty() || !lex::is_token(label) {
            self.text.push_str("X-Unnamed");
        } else {
            self.text.push_str(label);
        }
        self.text.push_str(": ");
        let value_start = self.text.len();
        push_clean(&mut self.text, lex::trim(value));
        self.end_line(name, start, value_start)
    }

    fn end_line(&mut self, name: HeaderName, start: usize, value_start: usize) -> Line {
        let value_end = self.text.len();
        self.text.push_str("\r\n");
        Line { name, is_new: true, span: start..self.text.len(), value: value_start..value_end }
    }
}

/// Room for what a proxy adds: Via, Record-Route, Route, Request-URI and the like.
const NEW_TEXT: usize = 512;

/// Appends `value` with every CR and LF as a space.
pub(super) fn push_clean(out: &mut String, value: &str) {
    if memchr::memchr2(b'\r', b'\n', value.as_bytes()).is_some() {
        out.extend(value.chars().map(|character| if matches!(character, '\r' | '\n') { ' ' } else { character }));
    } else {
        out.push_str(value);
    }
}

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

    /// Another Request-URI; white space in it, which would end it, is left out. Nothing happens to a response.
    pub fn set_request_uri(&mut self, uri: &str) -> &mut Self {
        let start = self.text.len();
        push_uri(&mut self.text, uri);
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
        // Lines that follow each other in the message leave together.
        let mut run = 0..0;
        for line in &self.lines {
            if line.is_new {
                out.extend_from_slice(&head[std::mem::take(&mut run)]);
                out.extend_from_slice(&self.text.as_bytes()[line.span.clone()]);
            } else if line.span.start == run.end {
                run.end = line.span.end;
            } else {
                out.extend_from_slice(&head[run]);
                run = line.span.clone();
            }
        }
        out.extend_from_slice(&head[run]);
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
        if label.is_empty() || !lex::is_token(label.as_bytes()) {
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

/// Appends `uri` without white space and control characters.
pub(super) fn push_uri(out: &mut String, uri: &str) {
    // Hardly ever is there any.
    if !uri.bytes().fold(false, |any, byte| any | (byte <= b' ') | (byte == 0x7f)) {
        out.push_str(uri);
        return;
    }
    out.extend(uri.chars().filter(|character| !character.is_ascii_whitespace() && !character.is_ascii_control()));
}

/// Appends `value` with every CR and LF as a space.
pub(super) fn push_clean(out: &mut String, value: &str) {
    if memchr::memchr2(b'\r', b'\n', value.as_bytes()).is_some() {
        out.extend(value.chars().map(|character| if matches!(character, '\r' | '\n') { ' ' } else { character }));
    } else {
        out.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    const REQUEST: &str = "INVITE sip:bob@b SIP/2.0\r\n\
        vIa:SIP/2.0/UDP one;branch=1 ,\r\n SIP/2.0/UDP two\r\n\
        X-Odd :  kept \r\n\
        Via: SIP/2.0/UDP three\r\n\
        Route: <sip:r1,r1;lr>, <sip:r2;lr>\r\n\
        ROUTE :\r\n\t<sip:r3;lr>\r\n\
        Max-Forwards: 70\r\n\
        \r\nbody";

    fn edited(change: impl Fn(&mut Edit<'_>)) -> String {
        let message = Message::parse(REQUEST.as_bytes(), &Limits::default()).unwrap();
        let mut edit = Edit::new(&message);
        change(&mut edit);
        let bytes = edit.to_vec();
        Message::parse(&bytes, &Limits::default()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn without_changes_every_byte_stays() {
        assert_eq!(edited(|_| ()), REQUEST);
    }

    #[test]
    fn forwarding_changes_what_it_names_and_nothing_else() {
        let forwarded = edited(|edit| {
            edit.set_request_uri("sip:bob@192.0.2.4")
                .prepend(HeaderName::Via, "SIP/2.0/UDP us;branch=z9hG4bK1")
                .prepend(HeaderName::RecordRoute, "<sip:us;lr>")
                .remove_first_value(HeaderName::Route)
                .set(HeaderName::MaxForwards, "69");
        });
        let expected = REQUEST
            .replace("sip:bob@b SIP", "sip:bob@192.0.2.4 SIP")
            .replace("vIa:", "Record-Route: <sip:us;lr>\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\r\nvIa:")
            .replace("<sip:r1,r1;lr>, ", "")
            .replace("70", "69");
        assert_eq!(forwarded, expected);
    }

    #[test]
    fn values_leave_one_by_one_and_lines_with_their_last() {
        assert_eq!(
            edited(|edit| {
                edit.remove_first_value(HeaderName::Route).remove_first_value(HeaderName::Route);
            }),
            REQUEST.replace("Route: <sip:r1,r1;lr>, <sip:r2;lr>\r\n", "")
        );
        let none = edited(|edit| {
            (0..5).for_each(|_| {
                edit.remove_first_value(HeaderName::Route);
            });
        });
        assert!(!none.to_lowercase().contains("route"));
        assert_eq!(
            edited(|edit| {
                edit.remove_first_value(HeaderName::Via);
            }),
            REQUEST.replace("vIa:SIP/2.0/UDP one;branch=1 ,\r\n SIP/2.0/UDP two", "vIa:SIP/2.0/UDP two")
        );
        assert_eq!(
            edited(|edit| {
                edit.replace_first_value(HeaderName::Via, "SIP/2.0/UDP new");
            }),
            REQUEST.replace("vIa:SIP/2.0/UDP one;branch=1 ,", "vIa:SIP/2.0/UDP new,")
        );
    }

    #[test]
    fn set_leaves_one_and_append_goes_below() {
        let set = edited(|edit| {
            edit.set(HeaderName::Route, "<sip:x;lr>").set(HeaderName::Date, "today").append(HeaderName::Via, "last");
        });
        let expected = REQUEST
            .replace("<sip:r1,r1;lr>, <sip:r2;lr>\r\nROUTE :\r\n\t<sip:r3;lr>", "<sip:x;lr>")
            .replace("three\r\n", "three\r\nVia: last\r\n")
            .replace("70\r\n", "70\r\nDate: today\r\n");
        assert_eq!(set, expected);
    }

    #[test]
    fn no_value_can_smuggle_a_line_in() {
        let edited = edited(|edit| {
            edit.set_request_uri("sip:a\r\nEvil: 1")
                .prepend(HeaderName::Via, "x\r\nEvil: 2")
                .append_named("X-Note\r\nEvil", "y\r\n\r\nEvil: 3");
        });
        assert!(!edited.contains("\r\nEvil") && !edited.contains("\nEvil"), "{edited}");
    }

    #[test]
    fn a_message_without_length_gets_one_for_the_stream() {
        let edited = edited(|edit| {
            edit.ensure_content_length().ensure_content_length();
        });
        assert_eq!(edited, REQUEST.replace("70\r\n", "70\r\nContent-Length: 4\r\n"));
    }
}

//! The little of XML that a router's description and its answers need: elements, their text, nothing else.
//!
//! Tolerant, because routers write it by hand: namespaces are dropped, attributes and comments passed over, entities
//! beyond the five of XML left as they stand (none is ever expanded). Its work is linear in the input, which the caller
//! has bounded.

use std::borrow::Cow;

/// A piece of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    /// An element begins: its name without prefix.
    Start(&'a str),
    /// An element ends.
    End(&'a str),
    /// Characters between; CDATA too.
    Text(&'a str),
}

/// Reads a document piece by piece; it ends where the document makes no sense any more.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a str,
    /// An element without content, whose end is still to be told.
    empty: Option<&'a str>,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(document: &'a str) -> Self {
        Self { rest: document, empty: None }
    }

    /// What stands before the mark; goes on behind it.
    fn until(&mut self, mark: &str) -> Option<&'a str> {
        let (before, rest) = self.rest.split_once(mark)?;
        self.rest = rest;
        Some(before)
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(name) = self.empty.take() {
            return Some(Token::End(name));
        }
        loop {
            if !self.rest.starts_with('<') {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return (!text.is_empty()).then_some(Token::Text(text));
            }
            if let Some(rest) = self.rest.strip_prefix("<!--") {
                self.rest = rest;
                self.until("-->")?;
            } else if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                self.rest = rest;
                return self.until("]]>").map(Token::Text);
            } else {
                self.rest = &self.rest[1..];
                let tag = self.until(">")?;
                // Declarations and instructions say nothing that we need.
                if tag.starts_with(['?', '!']) {
                    continue;
                }
                if let Some(name) = tag.strip_prefix('/') {
                    return Some(Token::End(local(name)));
                }
                let name = local(tag);
                self.empty = tag.ends_with('/').then_some(name);
                return Some(Token::Start(name));
            }
        }
    }
}

/// The name in a tag, without prefix.
fn local(tag: &str) -> &str {
    let name = tag.trim_end_matches('/').split_ascii_whitespace().next().unwrap_or_default();
    name.rsplit_once(':').map_or(name, |(_, name)| name)
}

/// The text of the first element of that name, without white space around it.
pub(super) fn leaf<'a>(document: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut scanner = Scanner::new(document);
    scanner.find(|token| *token == Token::Start(name))?;
    match scanner.next()? {
        Token::Text(text) => Some(unescape(text.trim())),
        Token::End(end) if end == name => Some(Cow::Borrowed("")),
        _ => None,
    }
}

/// Puts in the characters that the five entities of XML stand for.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let known = ENTITIES.iter().find_map(|(name, c)| after.strip_prefix(name).map(|after| (*c, after)));
        let (character, after) = known.unwrap_or(('&', after));
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Hides the characters that have a meaning.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        match ENTITIES.iter().find(|(_, c)| *c == character) {
            Some((name, _)) => {
                escaped.push('&');
                escaped.push_str(name);
            }
            None => escaped.push(character),
        }
        escaped
    })
}

const ENTITIES: [(&str, char); 5] = [("amp;", '&'), ("lt;", '<'), ("gt;", '>'), ("quot;", '"'), ("apos;", '\'')];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_routers_write() {
        let document = "<?xml version=\"1.0\"?><!-- a > b --><s:Envelope xmlns:s=\"x\"><u:Reply a='1'>\
                        <NewExternalIPAddress> 9.9.9.9 </NewExternalIPAddress><Empty/><Text><![CDATA[<&>]]></Text></u:Reply>";
        assert_eq!(leaf(document, "NewExternalIPAddress").as_deref(), Some("9.9.9.9"));
        assert_eq!(leaf(document, "Empty").as_deref(), Some(""));
        assert_eq!(leaf(document, "Text").as_deref(), Some("<&>"));
        assert_eq!((leaf(document, "Reply"), leaf(document, "nothing")), (None, None));
        assert_eq!(Scanner::new(document).next(), Some(Token::Start("Envelope")));
    }

    #[test]
    fn ends_where_it_makes_no_sense() {
        for document in ["<", "<a", "<!--", "<![CDATA[x", "<a><b", "</", "<!DOCTYPE a [<!ENTITY b \"c\">]"] {
            assert!(Scanner::new(document).count() <= 3, "{document}");
        }
    }

    #[test]
    fn no_entity_is_expanded_but_the_five() {
        assert_eq!(unescape("a&amp;b&lt;&gt;&apos;&quot;&xxe;&"), "a&b<>'\"&xxe;&");
        assert_eq!(unescape(&escape("<&\"'>x")), "<&\"'>x");
    }
}

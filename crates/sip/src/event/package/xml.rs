//! XML 1.0 with namespaces, as much as event packages need: the one place that knows the XML library.
//!
//! The bodies beside this file hand in bytes and read a bounded tree of [`Element`]s whose names are resolved to
//! namespaces, so no reader ever sees a prefix; they hand back a tree and get bytes. Nothing is expanded that a peer
//! defines: a document type is refused whole, and with it every entity but the five of XML itself.
//!
//! ```
//! use farspeak_sip::event::package::xml::{Element, Limits};
//!
//! let one = Element::parse(br#"<a:note xmlns:a="urn:x" lang="en">R&amp;D</a:note>"#, &Limits::default())?;
//! let other = Element::new("urn:x", "note").with("lang", "en").with_text("R&D");
//! assert_eq!(one, other);
//! assert_eq!(other.to_bytes(), br#"<?xml version="1.0" encoding="UTF-8"?>
//! <note xmlns="urn:x" lang="en">R&amp;D</note>"#);
//! # Ok::<(), farspeak_sip::event::package::BodyError>(())
//! ```

mod read;
mod write;

use std::sync::Arc;

use super::BodyError;

/// What `xml:lang` and its like belong to; bound to `xml` in every document (Namespaces in XML 1.0 §3).
pub const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// How much of a document is read. Each bound is on what a peer could make grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the document. Default 262 144: a conference with some 500 users.
    pub bytes: usize,
    /// Elements within elements, the root counted. Default 32; the packages need 9, locations in presence some 12.
    pub depth: usize,
    /// Elements in all. Default 8192.
    pub elements: usize,
    /// Attributes of one element, declarations of namespaces not counted. Default 32; the packages need 9.
    pub attributes: usize,
    /// Declarations of namespaces in force at one place, and namespaces in all. Default 32.
    pub namespaces: usize,
    /// Bytes of one attribute's value or one name. Default 4096.
    pub value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 262_144, depth: 32, elements: 8192, attributes: 32, namespaces: 32, value: 4096 }
    }
}

/// An element, with its name resolved: two documents that differ in prefixes alone give equal elements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// The namespace's name; empty for none.
    pub namespace: Arc<str>,
    /// The name without prefix.
    pub name: String,
    /// In the order of the document, without declarations of namespaces.
    pub attributes: Vec<Attribute>,
    /// What stands between the tags, in order. Neighbouring pieces of text are one node.
    pub children: Vec<Node>,
}

/// An attribute, with its name resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// The namespace's name; empty for none, as most attributes have none even where their element has one.
    pub namespace: Arc<str>,
    /// The name without prefix.
    pub name: String,
    /// The value, unescaped.
    pub value: String,
}

/// What an element contains. Comments and processing instructions are not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text, unescaped.
    Text(String),
}

impl Element {
    /// An element with nothing in it. `name` must be a name of XML without a colon; [`to_bytes`](Self::to_bytes) writes it
    /// as it is.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), attributes: Vec::new(), children: Vec::new() }
    }

    /// Reads a document and gives its root.
    ///
    /// # Errors
    /// Bytes that are not well-formed XML 1.0 in UTF-8, that have a document type, or that exceed `limits`.
    pub fn parse(document: &[u8], limits: &Limits) -> Result<Self, BodyError> {
        read::document(document, limits)
    }

    /// Writes a document with this element as its root: UTF-8, all namespaces declared at the root, no white space added.
    /// Characters that XML has no way to carry become U+FFFD.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::document(self)
    }

    /// Whether this is the element `name` of `namespace`.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && *self.namespace == *namespace
    }

    /// The value of the attribute `name` that is in no namespace.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_in("", name)
    }

    /// The value of the attribute `name` of `namespace`.
    pub fn attribute_in(&self, namespace: &str, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|it| it.name == name && *it.namespace == *namespace)?;
        Some(&found.value)
    }

    /// The language that the element says its text has (`xml:lang`).
    pub fn language(&self) -> Option<&str> {
        self.attribute_in(XML_NAMESPACE, "lang")
    }

    /// The elements in this one, whatever their names.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The elements `name` of this element's own namespace in it, in order.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements().filter(move |element| element.is(&self.namespace, name))
    }

    /// The first element `name` of this element's own namespace in it.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.is(&self.namespace, name))
    }

    /// The first element `name` of `namespace` in this one.
    pub fn child_in(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.elements().find(|element| element.is(namespace, name))
    }

    /// The element's own text, as it stands: for notes and names that people wrote.
    pub fn text(&self) -> String {
        let pieces = self.children.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        pieces.collect()
    }

    /// The element's own text without white space around it: for URIs, numbers and words, which the RFCs' examples
    /// indent.
    pub fn token(&self) -> String {
        self.text().trim_matches(SPACE).to_owned()
    }

    /// Adds an attribute in no namespace.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute { namespace: "".into(), name: name.to_owned(), value: value.into() });
        self
    }

    /// Adds an attribute in no namespace if there is a value.
    pub fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string()),
            None => self,
        }
    }

    /// Adds `xml:lang` if a language is known.
    pub fn with_language(mut self, language: Option<&str>) -> Self {
        if let Some(language) = language {
            let namespace = XML_NAMESPACE.into();
            self.attributes.push(Attribute { namespace, name: "lang".to_owned(), value: language.to_owned() });
        }
        self
    }

    /// Adds text; empty text adds nothing.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.children.last_mut() {
            Some(Node::Text(before)) => before.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.children.push(Node::Text(text)),
        }
        self
    }

    /// Adds an element at the end.
    pub fn with_child(mut self, child: Element) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    /// Adds elements at the end.
    pub fn with_children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children.into_iter().map(Node::Element));
        self
    }

    /// Adds the element `name`, in this element's namespace, with `text` in it, if there is a text.
    pub(crate) fn with_leaf(self, name: &str, text: Option<impl ToString>) -> Self {
        match text {
            Some(text) => {
                let leaf = Self::new(self.namespace.clone(), name).with_text(text.to_string());
                self.with_child(leaf)
            }
            None => self,
        }
    }

    /// The text of the child `name`, if there is one.
    pub(crate) fn leaf_text(&self, name: &str) -> Option<String> {
        self.child(name).map(Self::text)
    }

    /// The word in the child `name`, if there is one.
    pub(crate) fn leaf_token(&self, name: &str) -> Option<String> {
        self.child(name).map(Self::token)
    }
}

/// White space of XML (XML 1.0 §2.3).
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Whether XML 1.0 §2.2 allows the character at all.
const fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Whether this is a name without a colon (Namespaces in XML 1.0 §4), taking every character beyond ASCII for a letter.
fn is_name(text: &str) -> bool {
    let letter = |it: char| it.is_ascii_alphabetic() || it == '_' || !it.is_ascii();
    let mut characters = text.chars();
    characters.next().is_some_and(letter)
        && characters.all(|it| letter(it) || it.is_ascii_digit() || matches!(it, '-' | '.'))
}

#[cfg(test)]
mod tests;

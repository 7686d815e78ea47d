//! Documents into elements. Called by [`Element::parse`] alone; the only user of the library's reader.

use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::QName;

use super::{Attribute, BodyError, Element, Limits, Node, SPACE, XML_NAMESPACE, is_character, is_name};

/// The namespace of declarations themselves, which nothing may be bound to (Namespaces in XML 1.0 §3).
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

pub(super) fn document(bytes: &[u8], limits: &Limits) -> Result<Element, BodyError> {
    if bytes.len() > limits.bytes {
        return Err(BodyError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BodyError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find(|character| !is_character(character)) {
        return Err(BodyError::Malformed { at, why: "a character that XML does not have" });
    }
    let mut reader = Reader::from_str(text);
    let mut builder =
        Builder { limits, at: 0, open: Vec::new(), root: None, scope: Vec::new(), names: Vec::new(), elements: 0 };
    loop {
        builder.at = at(&reader);
        match reader.read_event().map_err(|_| BodyError::Malformed { at: at(&reader), why: "not well-formed" })? {
            Event::Decl(declaration) => builder.declaration(&declaration)?,
            Event::DocType(_) => return Err(BodyError::Doctype),
            Event::Start(start) => builder.start(&start)?,
            Event::Empty(start) => {
                builder.start(&start)?;
                builder.end()?;
            }
            Event::End(_) => builder.end()?,
            Event::Text(text) => builder.text(&text.xml10_content())?,
            Event::CData(text) => builder.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => builder.reference(&reference)?,
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return builder.finish(),
        }
    }
}

fn at(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// A prefix (empty for the default namespace), what it means, and how deep the element that says so is.
type Binding = (String, Arc<str>, usize);

struct Builder<'a> {
    limits: &'a Limits,
    /// Where the reader is, for error messages.
    at: usize,
    /// Elements whose end has not come, the root first.
    open: Vec<Element>,
    root: Option<Element>,
    scope: Vec<Binding>,
    /// Each namespace's name once: many elements share it, however long it is.
    names: Vec<Arc<str>>,
    elements: usize,
}

impl Builder<'_> {
    fn malformed(&self, why: &'static str) -> BodyError {
        BodyError::Malformed { at: self.at, why }
    }

    /// All bodies are UTF-8 (RFC 3680 §5.1 and its like); a declaration that says otherwise is not believed to be XML that
    /// we can read.
    fn declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), BodyError> {
        if self.root.is_some() || !self.open.is_empty() {
            return Err(self.malformed("a declaration within the document"));
        }
        match declaration.encoding() {
            Some(Ok(name)) if !name.eq_ignore_ascii_case("utf-8") && !name.eq_ignore_ascii_case("us-ascii") => {
                Err(BodyError::NotUtf8)
            }
            Some(Err(_)) => Err(self.malformed("a declaration that does not parse")),
            _ => Ok(()),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), BodyError> {
        if self.root.is_some() {
            return Err(self.malformed("a second root"));
        }
        if self.open.len() >= self.limits.depth {
            return Err(BodyError::TooDeep);
        }
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(BodyError::TooManyElements);
        }
        let attributes = self.attributes(start)?;
        let (namespace, name) = self.resolve(start.name(), true)?;
        let mut element =
            Element { namespace, name, attributes: Vec::with_capacity(attributes.len()), children: vec![] };
        for (name, value) in attributes {
            let (namespace, name) = self.resolve(QName(name), false)?;
            if element.attribute_in(&namespace, &name).is_some() {
                return Err(self.malformed("an attribute twice"));
            }
            element.attributes.push(Attribute { namespace, name, value });
        }
        self.open.push(element);
        Ok(())
    }

    /// The element's attributes with their prefixed names; its declarations of namespaces come into force.
    fn attributes<'s>(&mut self, start: &'s BytesStart<'_>) -> Result<Vec<(&'s str, String)>, BodyError> {
        let depth = self.open.len() + 1;
        let mut attributes = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| self.malformed("an attribute that does not parse"))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|_| self.malformed("a reference to no entity of XML"))?;
            if value.len() > self.limits.value {
                return Err(BodyError::ValueTooLong);
            }
            if !value.chars().all(is_character) {
                return Err(self.malformed("a character that XML does not have"));
            }
            let name = attribute.key.0;
            let prefix = if name == "xmlns" { Some("") } else { name.strip_prefix("xmlns:") };
            if let Some(prefix) = prefix {
                self.bind(prefix, &value, depth)?;
                continue;
            }
            if attributes.len() >= self.limits.attributes {
                return Err(BodyError::TooManyAttributes);
            }
            attributes.push((name, value.into_owned()));
        }
        Ok(attributes)
    }

    /// Namespaces in XML 1.0 §3.
    fn bind(&mut self, prefix: &str, namespace: &str, depth: usize) -> Result<(), BodyError> {
        if prefix == "xml" && namespace == XML_NAMESPACE {
            return Ok(());
        }
        let named = !prefix.is_empty();
        if named && (!is_name(prefix) || namespace.is_empty() || prefix == "xml" || prefix == "xmlns")
            || [XML_NAMESPACE, XMLNS_NAMESPACE].contains(&namespace)
        {
            return Err(self.malformed("a namespace that cannot be declared"));
        }
        if self.scope.iter().any(|(other, _, at)| *at == depth && other == prefix) {
            return Err(self.malformed("an attribute twice"));
        }
        if self.scope.len() >= self.limits.namespaces {
            return Err(BodyError::TooManyAttributes);
        }
        let namespace = self.intern(namespace)?;
        self.scope.push((prefix.to_owned(), namespace, depth));
        Ok(())
    }

    fn intern(&mut self, namespace: &str) -> Result<Arc<str>, BodyError> {
        if let Some(known) = self.names.iter().find(|known| ***known == *namespace) {
            return Ok(known.clone());
        }
        // One less than declarations: written again, the root may declare its own namespace twice.
        if self.names.len() + 1 >= self.limits.namespaces {
            return Err(BodyError::TooManyAttributes);
        }
        let name: Arc<str> = namespace.into();
        self.names.push(name.clone());
        Ok(name)
    }

    /// An attribute without prefix is in no namespace; an element without prefix is in the default one.
    fn resolve(&mut self, name: QName<'_>, is_element: bool) -> Result<(Arc<str>, String), BodyError> {
        let (prefix, local) = name.0.split_once(':').unwrap_or(("", name.0));
        if !is_name(local) || (prefix.is_empty() && name.0.contains(':')) {
            return Err(self.malformed("a name that is none"));
        }
        if local.len() > self.limits.value {
            return Err(BodyError::ValueTooLong);
        }
        let namespace = if prefix == "xml" {
            self.intern(XML_NAMESPACE)?
        } else if prefix.is_empty() && !is_element {
            self.intern("")?
        } else {
            match self.scope.iter().rev().find(|(bound, ..)| bound == prefix) {
                Some((_, namespace, _)) => namespace.clone(),
                None if prefix.is_empty() => self.intern("")?,
                None => return Err(self.malformed("a prefix that nothing declares")),
            }
        };
        Ok((namespace, local.to_owned()))
    }

    fn end(&mut self) -> Result<(), BodyError> {
        let depth = self.open.len();
        let Some(element) = self.open.pop() else { return Err(self.malformed("an end without a start")) };
        self.scope.retain(|(.., at)| *at < depth);
        match self.open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), BodyError> {
        match self.open.last_mut() {
            Some(element) => match element.children.last_mut() {
                Some(Node::Text(before)) => before.push_str(text),
                _ if text.is_empty() => {}
                _ => element.children.push(Node::Text(text.to_owned())),
            },
            None if text.trim_matches(SPACE).is_empty() => {}
            None => return Err(self.malformed("text outside the root")),
        }
        Ok(())
    }

    /// A character by its number, or one of the five entities that need no definition (XML 1.0 §4.6).
    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), BodyError> {
        if self.open.is_empty() {
            return Err(self.malformed("text outside the root"));
        }
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) if is_character(character) => character,
            Ok(None) => match &**reference {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "apos" => '\'',
                "quot" => '"',
                _ => return Err(self.malformed("a reference to no entity of XML")),
            },
            _ => return Err(self.malformed("a character that XML does not have")),
        };
        self.text(character.encode_utf8(&mut [0; 4]))
    }

    fn finish(self) -> Result<Element, BodyError> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err(self.malformed("the end before the root's end")),
        }
    }
}

//! Elements into documents. Called by [`Element::to_bytes`] alone.

use std::sync::Arc;

use super::{Element, Node, XML_NAMESPACE, is_character};

/// Prefixes that people expect to see; any other namespace gets `ns1`, `ns2` ...
const USUAL: [(&str, &str); 6] = [
    ("urn:ietf:params:xml:ns:pidf", "pidf"),
    ("urn:ietf:params:xml:ns:pidf:data-model", "dm"),
    ("urn:ietf:params:xml:ns:pidf:rpid", "rpid"),
    ("urn:ietf:params:xml:ns:pidf:caps", "caps"),
    ("urn:ietf:params:xml:ns:gruuinfo", "gr"),
    ("urn:ietf:params:xml:ns:sa-dialog-info", "sa"),
];

pub(super) fn document(root: &Element) -> Vec<u8> {
    let mut names = Names { default: None, prefixes: Vec::new(), unbound: false };
    names.collect(root);
    // The root's namespace goes without a prefix, unless an element in no namespace needs to be told apart from it.
    if !names.unbound {
        names.default = Some(root.namespace.clone());
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    names.element(&mut out, root, true);
    out.into_bytes()
}

struct Names {
    default: Option<Arc<str>>,
    /// Each namespace with its prefix, and whether an element or an attribute is what needs the prefix.
    prefixes: Vec<(Arc<str>, String, Need)>,
    /// Whether some element is in no namespace.
    unbound: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Need {
    Element,
    Attribute,
}

impl Names {
    fn collect(&mut self, element: &Element) {
        self.unbound |= element.namespace.is_empty();
        self.need(&element.namespace, Need::Element);
        for attribute in &element.attributes {
            self.need(&attribute.namespace, Need::Attribute);
        }
        element.elements().for_each(|child| self.collect(child));
    }

    fn need(&mut self, namespace: &Arc<str>, need: Need) {
        if namespace.is_empty() || **namespace == *XML_NAMESPACE {
            return;
        }
        if let Some((.., known)) = self.prefixes.iter_mut().find(|(known, ..)| known == namespace) {
            // An attribute's need is the stronger one: it cannot use the default namespace.
            if need == Need::Attribute {
                *known = need;
            }
            return;
        }
        let usual = USUAL.iter().find(|(known, _)| *known == &**namespace);
        let prefix = usual.map_or_else(|| format!("ns{}", self.prefixes.len()), |(_, prefix)| (*prefix).to_owned());
        self.prefixes.push((namespace.clone(), prefix, need));
    }

    fn name(&self, out: &mut String, namespace: &Arc<str>, name: &str, need: Need) {
        let default = need == Need::Element && self.default.as_ref() == Some(namespace);
        if **namespace == *XML_NAMESPACE {
            out.push_str("xml:");
        } else if !namespace.is_empty() && !default {
            let found = self.prefixes.iter().find(|(known, ..)| known == namespace);
            let (_, prefix, _) = found.expect("collect() has seen every name of the tree");
            out.push_str(prefix);
            out.push(':');
        }
        out.push_str(name);
    }

    fn element(&self, out: &mut String, element: &Element, is_root: bool) {
        out.push('<');
        self.name(out, &element.namespace, &element.name, Need::Element);
        if is_root {
            self.declarations(out);
        }
        for attribute in &element.attributes {
            out.push(' ');
            self.name(out, &attribute.namespace, &attribute.name, Need::Attribute);
            out.push_str("=\"");
            escape(out, &attribute.value, true);
            out.push('"');
        }
        if element.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for child in &element.children {
            match child {
                Node::Element(child) => self.element(out, child, false),
                Node::Text(text) => escape(out, text, false),
            }
        }
        out.push_str("</");
        self.name(out, &element.namespace, &element.name, Need::Element);
        out.push('>');
    }

    fn declarations(&self, out: &mut String) {
        if let Some(default) = self.default.as_ref().filter(|it| !it.is_empty() && ***it != *XML_NAMESPACE) {
            out.push_str(" xmlns=\"");
            escape(out, default, true);
            out.push('"');
        }
        for (namespace, prefix, need) in &self.prefixes {
            if *need == Need::Element && self.default.as_ref() == Some(namespace) {
                continue;
            }
            out.push_str(" xmlns:");
            out.push_str(prefix);
            out.push_str("=\"");
            escape(out, namespace, true);
            out.push('"');
        }
    }
}

/// Line ends within an attribute, and a carriage return anywhere, survive reading as references alone (XML 1.0 §2.11,
/// §3.3.3).
fn escape(out: &mut String, text: &str, is_attribute: bool) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if is_attribute => out.push_str("&quot;"),
            '\t' if is_attribute => out.push_str("&#9;"),
            '\n' if is_attribute => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            other if is_character(other) => out.push(other),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

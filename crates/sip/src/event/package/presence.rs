//! Presence documents: PIDF (RFC 3863), in the data model of RFC 4479, with the activities of RPID (RFC 4480).
//!
//! Phones publish [`Presence`], the event state compositor makes one document of all their publications ([`compose`]), and
//! watchers get that. On the way nothing is lost that this crate does not understand: elements of other namespaces are
//! kept where they stood (RFC 3863 §4.2), except within activities' attributes.
//!
//! ```
//! use farspeak_sip::event::package::presence::{Basic, Presence, Tuple};
//!
//! let mut presence = Presence::new("pres:someone@example.com");
//! presence.tuples.push(Tuple::new("sg89ae", Basic::Open).with_contact("sip:someone@example.com"));
//! assert_eq!(Presence::parse(&presence.write())?, presence);
//! # Ok::<(), farspeak_sip::event::package::BodyError>(())
//! ```

mod compose;
mod person;

pub use compose::{Publication, compose};
pub use person::{Activities, Activity, ActivityWord, Device, Person};

use super::timestamp::Timestamp;
use super::xml::{Element, Limits};
use super::{BodyError, words};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf";
const MODEL_NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID_NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf:rpid";

/// A document: the root `presence`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Presence {
    /// Whose presence it is, a `pres` or `sip` URI. Mandatory (RFC 3863 §4.1.1), yet documents lack it, those of RFC 4479
    /// §7 among them.
    pub entity: Option<String>,
    /// Services, each with where to reach it and whether it is open.
    pub tuples: Vec<Tuple>,
    /// The human being. More than one if a compositor could not tell which is right (RFC 4479 §3.1).
    pub persons: Vec<Person>,
    /// What the services run on.
    pub devices: Vec<Device>,
    /// Notes on all persons that have none of their own (RFC 4479 §5).
    pub notes: Vec<Note>,
    /// Elements of other namespaces, as they were.
    pub extensions: Vec<Element>,
}

/// A service: one way to reach the presentity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// Unique within the document, and the same in the next one.
    pub id: String,
    /// Whether the service takes calls or messages, if the tuple says.
    pub basic: Option<Basic>,
    /// Other elements of the status, as they were. Not understood here, those marked `mustUnderstand` neither (RFC 3863
    /// §4.2.3).
    pub status_extensions: Vec<Element>,
    /// Where to reach the service.
    pub contact: Option<Contact>,
    /// The devices that offer the service, as URNs (RFC 4479 §5).
    pub device_ids: Vec<String>,
    /// Notes on the service, in one language each.
    pub notes: Vec<Note>,
    /// When the status changed.
    pub timestamp: Option<Timestamp>,
    /// Elements of other namespaces, as they were; RPID's `class`, `relationship` and so on among them.
    pub extensions: Vec<Element>,
}

words! {
    /// Whether a service is available (RFC 3863 §4.1.4).
    Basic {
        /// Ready to take calls or messages.
        Open = "open",
        /// Not so.
        Closed = "closed",
    }
}

/// Where to reach a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contact {
    /// The URI.
    pub uri: String,
    /// Thousandths of the priority, 0 to 1000; none ranks lowest. Values out of range are read as none (RFC 3863 §4.1.5).
    pub priority: Option<u16>,
}

/// What somebody wrote, in one language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// The text.
    pub text: String,
    /// `xml:lang`.
    pub language: Option<String>,
}

impl Presence {
    /// The body's media type.
    pub const MIME: &'static str = "application/pidf+xml";

    /// A document that says nothing yet.
    pub fn new(entity: impl Into<String>) -> Self {
        Self { entity: Some(entity.into()), ..Self::default() }
    }

    /// Reads a body within the default [`Limits`].
    ///
    /// # Errors
    /// XML that is refused, another root, or a tuple, person or device without an id.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        Self::read(&Element::parse(body, &Limits::default())?)
    }

    /// Writes a body.
    pub fn write(&self) -> Vec<u8> {
        self.element().to_bytes()
    }

    /// Reads a root that was parsed within other limits.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), XML apart.
    pub fn read(root: &Element) -> Result<Self, BodyError> {
        if !root.is(NAMESPACE, "presence") {
            return Err(BodyError::Root { expected: "presence" });
        }
        let entity = root.attribute("entity").map(|it| it.trim().to_owned());
        let mut presence = Self { entity, ..Self::default() };
        for child in root.elements() {
            match (&*child.namespace, child.name.as_str()) {
                (NAMESPACE, "tuple") => presence.tuples.push(Tuple::read(child)?),
                (NAMESPACE, "note") => presence.notes.push(Note::read(child)),
                (MODEL_NAMESPACE, "person") => presence.persons.push(Person::read(child)?),
                (MODEL_NAMESPACE, "device") => presence.devices.push(Device::read(child)?),
                _ if is_extension(child) => presence.extensions.push(child.clone()),
                _ => {}
            }
        }
        Ok(presence)
    }

    /// The root, to be written.
    pub fn element(&self) -> Element {
        Element::new(NAMESPACE, "presence")
            .with_some("entity", self.entity.as_ref())
            .with_children(self.tuples.iter().map(Tuple::element))
            .with_children(self.notes.iter().map(|it| it.element(NAMESPACE)))
            .with_children(self.devices.iter().map(Device::element))
            .with_children(self.persons.iter().map(Person::element))
            .with_children(self.extensions.iter().cloned())
    }

    /// Whether any service is open.
    pub fn is_open(&self) -> bool {
        self.tuples.iter().any(|it| it.basic == Some(Basic::Open))
    }

    /// The notes that hold for a person: its own, or else the document's (RFC 4479 §5).
    pub fn notes_of<'a>(&'a self, person: &'a Person) -> &'a [Note] {
        if person.notes.is_empty() { &self.notes } else { &person.notes }
    }
}

impl Tuple {
    /// A tuple that says whether it is open, and nothing else.
    pub fn new(id: impl Into<String>, basic: Basic) -> Self {
        Self {
            id: id.into(),
            basic: Some(basic),
            status_extensions: Vec::new(),
            contact: None,
            device_ids: Vec::new(),
            notes: Vec::new(),
            timestamp: None,
            extensions: Vec::new(),
        }
    }

    /// Adds where to reach the service.
    pub fn with_contact(mut self, uri: impl Into<String>) -> Self {
        self.contact = Some(Contact { uri: uri.into(), priority: None });
        self
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        let id = element.attribute("id").ok_or(BodyError::Missing("tuple@id"))?.to_owned();
        let mut tuple = Self { basic: None, ..Self::new(id, Basic::Closed) };
        for child in element.elements() {
            match (&*child.namespace, child.name.as_str()) {
                (NAMESPACE, "status") => {
                    tuple.basic = child.leaf_token("basic").and_then(|it| Basic::parse(&it));
                    tuple.status_extensions = child.elements().filter(|it| is_extension(it)).cloned().collect();
                }
                (NAMESPACE, "contact") => tuple.contact = Some(Contact::read(child)),
                (NAMESPACE, "note") => tuple.notes.push(Note::read(child)),
                (NAMESPACE, "timestamp") => tuple.timestamp = Timestamp::parse(&child.token()),
                (MODEL_NAMESPACE, "deviceID") => tuple.device_ids.push(child.token()),
                _ if is_extension(child) => tuple.extensions.push(child.clone()),
                _ => {}
            }
        }
        Ok(tuple)
    }

    fn element(&self) -> Element {
        let status = Element::new(NAMESPACE, "status")
            .with_leaf("basic", self.basic)
            .with_children(self.status_extensions.iter().cloned());
        let device = |id: &String| Element::new(MODEL_NAMESPACE, "deviceID").with_text(id);
        Element::new(NAMESPACE, "tuple")
            .with("id", &self.id)
            .with_child(status)
            .with_children(self.device_ids.iter().map(device))
            .with_children(self.extensions.iter().cloned())
            .with_children(self.contact.as_ref().map(Contact::element))
            .with_children(self.notes.iter().map(|it| it.element(NAMESPACE)))
            .with_leaf("timestamp", self.timestamp)
    }
}

impl Contact {
    fn read(element: &Element) -> Self {
        Self { uri: element.token(), priority: element.attribute("priority").and_then(|it| priority(it.trim())) }
    }

    fn element(&self) -> Element {
        let priority = self.priority.map(|it| it.min(1000));
        let priority = priority.map(|it| format!("{}.{:03}", it / 1000, it % 1000));
        Element::new(NAMESPACE, "contact").with_some("priority", priority).with_text(&self.uri)
    }
}

impl Note {
    /// A note in no particular language.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), language: None }
    }

    fn read(element: &Element) -> Self {
        Self { text: element.text(), language: element.language().map(str::to_owned) }
    }

    /// The same element exists in three namespaces.
    fn element(&self, namespace: &str) -> Element {
        Element::new(namespace, "note").with_language(self.language.as_deref()).with_text(&self.text)
    }
}

/// `0.065` in thousandths.
fn priority(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    Some(whole + format!("{fraction:0<3}").parse::<u16>().ok()?).filter(|it| *it <= 1000)
}

/// Whether an element is kept though nobody here knows it: it is of another namespace (`##other` in RFC 3863 §4.4).
/// Unknown elements of PIDF itself are ignored (§4.2.3).
fn is_extension(element: &Element) -> bool {
    !element.namespace.is_empty() && *element.namespace != *NAMESPACE
}

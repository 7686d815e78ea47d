//! Conference information: RFC 4575 §4 and §5.
//!
//! A focus writes [`ConferenceInfo`]; participants parse it and keep a [`ConferenceTable`], which puts full and partial
//! documents together. Unlike in other packages, each part of a document says for itself whether it is full.
//!
//! ```text
//! ConferenceInfo ─┬─ Description, Host, ConferenceState     replaced as a whole
//!                 ├─ Users ── User ── Endpoint ── Media     Part at each level but Media; keys entity, entity, id
//!                 ├─ UriList (sidebars by reference)        Part at the list; key uri
//!                 └─ Sidebars ── ConferenceInfo             Part at each level; key entity
//! ```

mod table;
mod user;

pub use table::{ConferenceTable, DEFAULT_CONFERENCE_ROWS};
pub use user::{
    DisconnectionMethod, Endpoint, EndpointStatus, Execution, JoiningMethod, Media, MediaStatus, SipCall, User, Users,
};

use super::xml::{Element, Limits};
use super::{BodyError, boolean, words};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";

words! {
    /// How much of a part is told (the attribute `state`, §4.4). None in the document means full.
    #[derive(Default)]
    Part {
        /// All of it: it replaces what was known.
        #[default]
        Full = "full",
        /// What changed.
        Partial = "partial",
        /// It is gone.
        Deleted = "deleted",
    }
}

/// A document, the root `conference-info`; or a sidebar within one (§5.9.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConferenceInfo {
    /// The conference's URI.
    pub entity: String,
    /// How much is told. Deleted: the conference is over.
    pub state: Part,
    /// Counts changes within a subscription, one at a time (§5.2). Mandatory at the root, meaningless in sidebars.
    pub version: Option<u32>,
    /// What the conference is about.
    pub description: Option<Description>,
    /// Who hosts it.
    pub host: Option<Host>,
    /// Its state as a whole.
    pub conference_state: Option<ConferenceState>,
    /// Who takes part.
    pub users: Option<Users>,
    /// Sidebars to subscribe to on their own.
    pub sidebars_by_ref: Option<UriList>,
    /// Sidebars told here.
    pub sidebars_by_val: Option<Sidebars>,
}

/// What a conference is about (§5.3).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Description {
    /// A title.
    pub display_text: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// More about it.
    pub free_text: Option<String>,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// Where to join, by purpose (`participation`, `streaming`).
    pub conf_uris: Option<UriList>,
    /// Where to find more, by purpose (`web-page`, `recording`, `event`).
    pub service_uris: Option<UriList>,
    /// How many may take part.
    pub maximum_user_count: Option<u32>,
    /// The media on offer.
    pub available_media: Vec<Medium>,
}

/// Who hosts a conference (§5.4).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Host {
    /// The name.
    pub display_text: Option<String>,
    /// A page about the service or the host.
    pub web_page: Option<String>,
    /// Where to reach the host.
    pub uris: Option<UriList>,
}

/// The state of a conference as a whole (§5.5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ConferenceState {
    /// How many take part, told here or not.
    pub user_count: Option<u32>,
    /// Whether calling it succeeds now.
    pub active: Option<bool>,
    /// Whether nobody can join.
    pub locked: Option<bool>,
}

/// A medium on offer (§5.3.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Medium {
    /// Its label, as in SDP (RFC 4574).
    pub label: String,
    /// Its name.
    pub display_text: Option<String>,
    /// `audio`, `video` and so on, as in SDP.
    pub kind: String,
    /// In which directions it is on offer, seen from the participants.
    pub status: Option<MediaStatus>,
}

/// URIs with purposes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct UriList {
    /// How much is told. Of use for sidebars by reference alone (§4.4).
    pub state: Part,
    /// The URIs.
    pub entries: Vec<UriEntry>,
}

/// A URI and what it is for (§5.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UriEntry {
    /// The URI, compared octet by octet (§4.5).
    pub uri: String,
    /// A name.
    pub display_text: Option<String>,
    /// What happens on access.
    pub purpose: Option<String>,
    /// Who changed the entry, when and why.
    pub modified: Option<Execution>,
}

/// Sidebars told by value (§5.9.2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sidebars {
    /// How much is told.
    pub state: Part,
    /// One per sidebar, by entity.
    pub entries: Vec<ConferenceInfo>,
}

impl ConferenceInfo {
    /// The body's media type.
    pub const MIME: &'static str = "application/conference-info+xml";

    /// A document that says nothing yet.
    pub fn new(entity: impl Into<String>, version: u32, state: Part) -> Self {
        Self {
            entity: entity.into(),
            state,
            version: Some(version),
            description: None,
            host: None,
            conference_state: None,
            users: None,
            sidebars_by_ref: None,
            sidebars_by_val: None,
        }
    }

    /// Reads a body within the default [`Limits`].
    ///
    /// # Errors
    /// XML that is refused, another root, no version, or a key that is missing (§4.5).
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
        if !root.is(NAMESPACE, "conference-info") {
            return Err(BodyError::Root { expected: "conference-info" });
        }
        let info = Self::read_as("conference-info", root)?;
        if info.version.is_none() {
            return Err(BodyError::Missing("conference-info@version"));
        }
        Ok(info)
    }

    /// The root, to be written.
    pub fn element(&self) -> Element {
        self.element_as("conference-info")
    }

    fn read_as(name: &'static str, element: &Element) -> Result<Self, BodyError> {
        let version = match element.attribute("version").map(|it| it.trim().parse()) {
            Some(Ok(version)) => Some(version),
            Some(Err(_)) => return Err(BodyError::Invalid("conference-info@version")),
            None => None,
        };
        Ok(Self {
            entity: key(element, "entity", name)?,
            state: part(element)?,
            version,
            description: element.child("conference-description").map(Description::read).transpose()?,
            host: element.child("host-info").map(Host::read).transpose()?,
            conference_state: element.child("conference-state").map(ConferenceState::read),
            users: element.child("users").map(Users::read).transpose()?,
            sidebars_by_ref: element.child("sidebars-by-ref").map(UriList::read).transpose()?,
            sidebars_by_val: element.child("sidebars-by-val").map(Sidebars::read).transpose()?,
        })
    }

    fn element_as(&self, name: &str) -> Element {
        let element = Element::new(NAMESPACE, name).with("entity", &self.entity);
        with_part(element, self.state)
            .with_some("version", self.version)
            .with_children(self.description.as_ref().map(Description::element))
            .with_children(self.host.as_ref().map(Host::element))
            .with_children(self.conference_state.as_ref().map(ConferenceState::element))
            .with_children(self.users.as_ref().map(Users::element))
            .with_children(self.sidebars_by_ref.as_ref().map(|it| it.element("sidebars-by-ref")))
            .with_children(self.sidebars_by_val.as_ref().map(Sidebars::element))
    }
}

impl Description {
    fn read(element: &Element) -> Result<Self, BodyError> {
        let media = element.child("available-media");
        Ok(Self {
            display_text: element.leaf_text("display-text"),
            subject: element.leaf_text("subject"),
            free_text: element.leaf_text("free-text"),
            keywords: element.child("keywords").map(list).unwrap_or_default(),
            conf_uris: element.child("conf-uris").map(UriList::read).transpose()?,
            service_uris: element.child("service-uris").map(UriList::read).transpose()?,
            maximum_user_count: element.leaf_token("maximum-user-count").and_then(|it| it.parse().ok()),
            available_media: media.into_iter().flat_map(|it| it.children("entry")).filter_map(Medium::read).collect(),
        })
    }

    fn element(&self) -> Element {
        let media = (!self.available_media.is_empty()).then(|| {
            let entries = self.available_media.iter().map(Medium::element);
            Element::new(NAMESPACE, "available-media").with_children(entries)
        });
        let keywords = (!self.keywords.is_empty()).then(|| self.keywords.join(" "));
        Element::new(NAMESPACE, "conference-description")
            .with_leaf("display-text", self.display_text.as_ref())
            .with_leaf("subject", self.subject.as_ref())
            .with_leaf("free-text", self.free_text.as_ref())
            .with_leaf("keywords", keywords)
            .with_children(self.conf_uris.as_ref().map(|it| it.element("conf-uris")))
            .with_children(self.service_uris.as_ref().map(|it| it.element("service-uris")))
            .with_leaf("maximum-user-count", self.maximum_user_count)
            .with_children(media)
    }
}

impl Host {
    fn read(element: &Element) -> Result<Self, BodyError> {
        Ok(Self {
            display_text: element.leaf_text("display-text"),
            web_page: element.leaf_token("web-page"),
            uris: element.child("uris").map(UriList::read).transpose()?,
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "host-info")
            .with_leaf("display-text", self.display_text.as_ref())
            .with_leaf("web-page", self.web_page.as_ref())
            .with_children(self.uris.as_ref().map(|it| it.element("uris")))
    }
}

impl ConferenceState {
    fn read(element: &Element) -> Self {
        Self {
            user_count: element.leaf_token("user-count").and_then(|it| it.parse().ok()),
            active: element.leaf_token("active").and_then(|it| boolean(&it)),
            locked: element.leaf_token("locked").and_then(|it| boolean(&it)),
        }
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "conference-state")
            .with_leaf("user-count", self.user_count)
            .with_leaf("active", self.active)
            .with_leaf("locked", self.locked)
    }
}

impl Medium {
    fn read(element: &Element) -> Option<Self> {
        Some(Self {
            label: element.attribute("label")?.to_owned(),
            display_text: element.leaf_text("display-text"),
            kind: element.leaf_token("type")?,
            status: element.leaf_token("status").and_then(|it| MediaStatus::parse(&it)),
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "entry")
            .with("label", &self.label)
            .with_leaf("display-text", self.display_text.as_ref())
            .with_leaf("type", Some(&self.kind))
            .with_leaf("status", self.status)
    }
}

impl UriList {
    /// Entries without a URI are skipped.
    fn read(element: &Element) -> Result<Self, BodyError> {
        Ok(Self { state: part(element)?, entries: element.children("entry").filter_map(UriEntry::read).collect() })
    }

    fn element(&self, name: &str) -> Element {
        with_part(Element::new(NAMESPACE, name), self.state).with_children(self.entries.iter().map(UriEntry::element))
    }
}

impl UriEntry {
    /// An entry that is nothing but a URI.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), display_text: None, purpose: None, modified: None }
    }

    fn read(element: &Element) -> Option<Self> {
        Some(Self {
            uri: element.leaf_token("uri")?,
            display_text: element.leaf_text("display-text"),
            purpose: element.leaf_token("purpose"),
            modified: element.child("modified").map(Execution::read),
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "entry")
            .with_leaf("uri", Some(&self.uri))
            .with_leaf("display-text", self.display_text.as_ref())
            .with_leaf("purpose", self.purpose.as_ref())
            .with_children(self.modified.as_ref().map(|it| it.element("modified")))
    }
}

impl Sidebars {
    fn read(element: &Element) -> Result<Self, BodyError> {
        let entries =
            element.children("entry").map(|it| ConferenceInfo::read_as("entry", it)).collect::<Result<_, _>>()?;
        Ok(Self { state: part(element)?, entries })
    }

    fn element(&self) -> Element {
        with_part(Element::new(NAMESPACE, "sidebars-by-val"), self.state)
            .with_children(self.entries.iter().map(|it| it.element_as("entry")))
    }
}

/// Reads the attribute `state` (§4.4).
fn part(element: &Element) -> Result<Part, BodyError> {
    match element.attribute("state") {
        Some(word) => Part::parse(word.trim()).ok_or(BodyError::Invalid("@state")),
        None => Ok(Part::Full),
    }
}

fn with_part(element: Element, part: Part) -> Element {
    if part == Part::Full { element } else { element.with("state", part.as_str()) }
}

/// Reads a key: two are the same if their octets are (§4.5).
fn key(element: &Element, name: &str, what: &'static str) -> Result<String, BodyError> {
    element.attribute(name).map(|it| it.trim().to_owned()).ok_or(BodyError::Missing(what))
}

/// Reads a list of words (`keywords`, `languages`).
fn list(element: &Element) -> Vec<String> {
    element.text().split_ascii_whitespace().map(str::to_owned).collect()
}

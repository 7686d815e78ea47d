//! Watcher information: RFC 3858, who watches a resource or would like to (RFC 3857).
//!
//! The notifier of a package such as `presence` writes [`WatcherInfo`] to whoever owns the resource, who learns from it
//! whom to allow: those whose status is pending or waiting. A subscriber keeps a [`WatcherTable`].
//!
//! ```
//! use farspeak_sip::event::package::watcher::{Watcher, WatcherEvent, WatcherInfo, WatcherList, WatcherStatus};
//! use farspeak_sip::event::package::{Applied, DocumentState, watcher::WatcherTable};
//!
//! let bob = Watcher::new("hh8juja87s997-ass7", WatcherStatus::Pending, WatcherEvent::Subscribe, "sip:bob@example.org");
//! let list = WatcherList::new("sip:professor@example.net", "presence", vec![bob]);
//! let body = WatcherInfo { version: 0, state: DocumentState::Full, lists: vec![list] }.write();
//!
//! let mut table = WatcherTable::default();
//! assert_eq!(table.apply(WatcherInfo::parse(&body)?), Applied::Complete);
//! let asking: Vec<_> = table.undecided().map(|watcher| watcher.uri.as_str()).collect();
//! assert_eq!(asking, ["sip:bob@example.org"]);
//! # Ok::<(), farspeak_sip::event::package::BodyError>(())
//! ```

mod table;

pub use super::version::DocumentState;
pub use table::WatcherTable;

use super::xml::{Element, Limits};
use super::{BodyError, version, words};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:watcherinfo";

/// A document: the root `watcherinfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatcherInfo {
    /// Counts documents within a subscription, from 0, one at a time.
    pub version: u32,
    /// Whether the document says everything.
    pub state: DocumentState,
    /// One per resource and package.
    pub lists: Vec<WatcherList>,
}

/// Who watches one resource in one package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatcherList {
    /// The resource, a URI.
    pub resource: String,
    /// The package watched, such as `presence`.
    pub package: String,
    /// In a partial document, those that changed.
    pub watchers: Vec<Watcher>,
}

/// A watcher's subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watcher {
    /// Names the subscription within the document and its successors; a token of RFC 3261.
    pub id: String,
    /// Where the subscription stands.
    pub status: WatcherStatus,
    /// What brought it there.
    pub event: WatcherEvent,
    /// Who it is, as the notifier has authenticated them: a URI.
    pub uri: String,
    /// A name.
    pub display_name: Option<String>,
    /// The name's language (`xml:lang`).
    pub language: Option<String>,
    /// Seconds until the subscription expires.
    pub expiration: Option<u64>,
    /// Seconds since it was made.
    pub duration_subscribed: Option<u64>,
}

words! {
    /// The subscription's state machine (RFC 3857 figure 1).
    WatcherStatus {
        /// Nobody has decided; the subscription lives.
        Pending = "pending",
        /// Allowed.
        Active = "active",
        /// Nobody had decided when the subscription ended; kept so that somebody can.
        Waiting = "waiting",
        /// Over.
        Terminated = "terminated",
    }
}

words! {
    /// What brought a subscription into its state (RFC 3857 §4.7.1).
    WatcherEvent {
        /// A SUBSCRIBE.
        Subscribe = "subscribe",
        /// Somebody allowed it.
        Approved = "approved",
        /// Ended; the watcher may subscribe again at once.
        Deactivated = "deactivated",
        /// Ended; the watcher may subscribe again later.
        Probation = "probation",
        /// Somebody refused it.
        Rejected = "rejected",
        /// It expired.
        Timeout = "timeout",
        /// Nobody decided in all the time that the server waits.
        Giveup = "giveup",
        /// The resource is gone.
        Noresource = "noresource",
    }
}

impl WatcherInfo {
    /// The body's media type.
    pub const MIME: &'static str = "application/watcherinfo+xml";

    /// Reads a body within the default [`Limits`].
    ///
    /// # Errors
    /// XML that is refused, another root, or something mandatory that is missing or unknown (RFC 3858 §3).
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
        if !root.is(NAMESPACE, "watcherinfo") {
            return Err(BodyError::Root { expected: "watcherinfo" });
        }
        let (version, state) = version::read(root, ["watcherinfo@version", "watcherinfo@state"])?;
        let lists = root.children("watcher-list").map(WatcherList::read).collect::<Result<_, _>>()?;
        Ok(Self { version, state, lists })
    }

    /// The root, to be written.
    pub fn element(&self) -> Element {
        Element::new(NAMESPACE, "watcherinfo")
            .with("version", self.version.to_string())
            .with("state", self.state.as_str())
            .with_children(self.lists.iter().map(WatcherList::element))
    }
}

impl WatcherList {
    /// The watchers of a resource in a package.
    pub fn new(resource: impl Into<String>, package: impl Into<String>, watchers: Vec<Watcher>) -> Self {
        Self { resource: resource.into(), package: package.into(), watchers }
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        let resource = element.attribute("resource").ok_or(BodyError::Missing("watcher-list@resource"))?;
        let package = element.attribute("package").ok_or(BodyError::Missing("watcher-list@package"))?;
        let watchers = element.children("watcher").map(Watcher::read).collect::<Result<_, _>>()?;
        Ok(Self::new(resource.trim(), package.trim(), watchers))
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "watcher-list")
            .with("resource", &self.resource)
            .with("package", &self.package)
            .with_children(self.watchers.iter().map(Watcher::element))
    }
}

impl Watcher {
    /// A watcher of whom nothing but the mandatory is told.
    pub fn new(id: impl Into<String>, status: WatcherStatus, event: WatcherEvent, uri: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            status,
            event,
            uri: uri.into(),
            display_name: None,
            language: None,
            expiration: None,
            duration_subscribed: None,
        }
    }

    /// Whether somebody has to decide about it.
    pub fn is_undecided(&self) -> bool {
        matches!(self.status, WatcherStatus::Pending | WatcherStatus::Waiting)
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        let id = element.attribute("id").ok_or(BodyError::Missing("watcher@id"))?;
        let status = element.attribute("status").ok_or(BodyError::Missing("watcher@status"))?;
        let status = WatcherStatus::parse(status.trim()).ok_or(BodyError::Invalid("watcher@status"))?;
        let event = element.attribute("event").ok_or(BodyError::Missing("watcher@event"))?;
        let event = WatcherEvent::parse(event.trim()).ok_or(BodyError::Invalid("watcher@event"))?;
        let number = |name| element.attribute(name).and_then(|it| it.trim().parse().ok());
        Ok(Self {
            display_name: element.attribute("display-name").map(str::to_owned),
            language: element.language().map(str::to_owned),
            expiration: number("expiration"),
            duration_subscribed: number("duration-subscribed"),
            ..Self::new(id, status, event, element.token())
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "watcher")
            .with("id", &self.id)
            .with("status", self.status.as_str())
            .with("event", self.event.as_str())
            .with_some("display-name", self.display_name.as_ref())
            .with_language(self.language.as_deref())
            .with_some("expiration", self.expiration)
            .with_some("duration-subscribed", self.duration_subscribed)
            .with_text(&self.uri)
    }
}

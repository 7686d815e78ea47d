//! Registration information: RFC 3680 §5, with the GRUUs of RFC 5628.
//!
//! A registrar's notifier writes [`RegInfo`]; a subscriber parses it and keeps a [`RegistrationTable`], which puts full
//! and partial documents together.
//!
//! ```
//! use farspeak_sip::event::package::Applied;
//! use farspeak_sip::event::package::reg::{Contact, ContactEvent, DocumentState, RegInfo, Registration, RegistrationTable};
//! use farspeak_sip::event::package::reg::RegistrationState;
//!
//! let contact = Contact::new("76", ContactEvent::Registered, "sip:joe@pc34.example.com");
//! let registration = Registration {
//!     aor: "sip:joe@example.com".to_owned(),
//!     id: "a7".to_owned(),
//!     state: RegistrationState::Active,
//!     contacts: vec![contact],
//! };
//! let body = RegInfo { version: 0, state: DocumentState::Full, registrations: vec![registration] }.write();
//!
//! let mut table = RegistrationTable::default();
//! assert_eq!(table.apply(RegInfo::parse(&body)?), Applied::Complete);
//! assert_eq!(table.registrations()[0].contacts[0].uri, "sip:joe@pc34.example.com");
//! # Ok::<(), farspeak_sip::event::package::BodyError>(())
//! ```

mod table;

pub use super::version::DocumentState;
pub use table::RegistrationTable;

use super::xml::{Element, Limits};
use super::{BodyError, version, words};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:reginfo";
const GRUU_NAMESPACE: &str = "urn:ietf:params:xml:ns:gruuinfo";

/// A document: the root `reginfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegInfo {
    /// Counts documents within a subscription, from 0, one at a time (§5.1).
    pub version: u32,
    /// Whether the document says everything.
    pub state: DocumentState,
    /// One per address-of-record.
    pub registrations: Vec<Registration>,
}

/// What is known of one address-of-record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The address-of-record, a URI.
    pub aor: String,
    /// The same for this address-of-record in all documents of a subscription, and different from all others'.
    pub id: String,
    /// Whether anything is registered.
    pub state: RegistrationState,
    /// In a partial document, those that changed.
    pub contacts: Vec<Contact>,
}

words! {
    /// The registration's state machine (RFC 3680 figure 1).
    RegistrationState {
        /// Nothing is registered.
        Init = "init",
        /// At least one contact is bound.
        Active = "active",
        /// The last contact has just gone; never reported twice.
        Terminated = "terminated",
    }
}

words! {
    /// The contact's state machine (RFC 3680 figure 2).
    ContactState {
        /// Bound to the address-of-record.
        Active = "active",
        /// No longer.
        Terminated = "terminated",
    }
}

words! {
    /// What brought a contact into its state (RFC 3680 §4.7.1).
    ContactEvent {
        /// A REGISTER bound it.
        Registered = "registered",
        /// It was bound by other means.
        Created = "created",
        /// A REGISTER refreshed it.
        Refreshed = "refreshed",
        /// Its time was shortened, so that it registers again; [`Contact::expires`] says to what.
        Shortened = "shortened",
        /// No REGISTER refreshed it in time.
        Expired = "expired",
        /// It was removed and should register again at once.
        Deactivated = "deactivated",
        /// It was removed and should register again after [`Contact::retry_after`].
        Probation = "probation",
        /// A REGISTER removed it.
        Unregistered = "unregistered",
        /// It was removed and need not come again.
        Rejected = "rejected",
    }
}

impl ContactEvent {
    /// The state that the event leads to (figure 2).
    pub const fn state(self) -> ContactState {
        match self {
            Self::Registered | Self::Created | Self::Refreshed | Self::Shortened => ContactState::Active,
            _ => ContactState::Terminated,
        }
    }
}

/// What is known of one contact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contact {
    /// Different from all other contacts' in the subscription.
    pub id: String,
    /// Whether it is bound.
    pub state: ContactState,
    /// What brought it into that state.
    pub event: ContactEvent,
    /// Seconds since it was bound.
    pub duration_registered: Option<u64>,
    /// Seconds until it expires. Mandatory with [`ContactEvent::Shortened`].
    pub expires: Option<u64>,
    /// Seconds until it should register again. Mandatory with [`ContactEvent::Probation`].
    pub retry_after: Option<u64>,
    /// Its priority among the contacts, as the Contact header field had it.
    pub q: Option<String>,
    /// The Call-ID of the last REGISTER about it.
    pub call_id: Option<String>,
    /// The CSeq of the last REGISTER about it.
    pub cseq: Option<u64>,
    /// The contact's URI.
    pub uri: String,
    /// The name to show for it.
    pub display_name: Option<DisplayName>,
    /// Parameters of the Contact header field that RFC 3261 does not define, such as `+sip.instance`, with their values;
    /// an empty value where the parameter has none.
    pub unknown_params: Vec<(String, String)>,
    /// The public GRUU of the contact's instance (RFC 5628 §4).
    pub pub_gruu: Option<String>,
    /// The temporary GRUU (RFC 5628 §4).
    pub temp_gruu: Option<TempGruu>,
}

/// A name, and the language it is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisplayName {
    /// The name.
    pub text: String,
    /// `xml:lang`.
    pub language: Option<String>,
}

/// A temporary GRUU (RFC 5628 §4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TempGruu {
    /// The GRUU last assigned.
    pub uri: String,
    /// The CSeq of the first REGISTER in the current series: temporary GRUUs assigned since then are all still valid.
    pub first_cseq: u32,
}

impl RegInfo {
    /// The body's media type.
    pub const MIME: &'static str = "application/reginfo+xml";

    /// Reads a body within the default [`Limits`].
    ///
    /// # Errors
    /// XML that is refused, another root, or something mandatory that is missing or unknown (§5.1).
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
        if !root.is(NAMESPACE, "reginfo") {
            return Err(BodyError::Root { expected: "reginfo" });
        }
        let (version, state) = version::read(root, ["reginfo@version", "reginfo@state"])?;
        let registrations = root.children("registration").map(Registration::read).collect::<Result<_, _>>()?;
        Ok(Self { version, state, registrations })
    }

    /// The root, to be written.
    pub fn element(&self) -> Element {
        Element::new(NAMESPACE, "reginfo")
            .with("version", self.version.to_string())
            .with("state", self.state.as_str())
            .with_children(self.registrations.iter().map(Registration::element))
    }
}

impl Registration {
    fn read(element: &Element) -> Result<Self, BodyError> {
        let state = attribute(element, "state", "registration@state")?;
        Ok(Self {
            aor: attribute(element, "aor", "registration@aor")?.trim().to_owned(),
            id: attribute(element, "id", "registration@id")?.to_owned(),
            state: RegistrationState::parse(state.trim()).ok_or(BodyError::Invalid("registration@state"))?,
            contacts: element.children("contact").map(Contact::read).collect::<Result<_, _>>()?,
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "registration")
            .with("aor", &self.aor)
            .with("id", &self.id)
            .with("state", self.state.as_str())
            .with_children(self.contacts.iter().map(Contact::element))
    }
}

impl Contact {
    /// A contact of which nothing but the mandatory is told. Its state follows from the event.
    pub fn new(id: impl Into<String>, event: ContactEvent, uri: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            state: event.state(),
            event,
            duration_registered: None,
            expires: None,
            retry_after: None,
            q: None,
            call_id: None,
            cseq: None,
            uri: uri.into(),
            display_name: None,
            unknown_params: Vec::new(),
            pub_gruu: None,
            temp_gruu: None,
        }
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        let state = attribute(element, "state", "contact@state")?;
        let event = attribute(element, "event", "contact@event")?;
        let number = |name| element.attribute(name).and_then(|it| it.trim().parse().ok());
        let text = |name| element.attribute(name).map(str::to_owned);
        let name = element.child("display-name");
        let param = |it: &Element| Some((it.attribute("name")?.to_owned(), it.text()));
        let pub_gruu = element.child_in(GRUU_NAMESPACE, "pub-gruu").and_then(|it| it.attribute("uri"));
        Ok(Self {
            id: attribute(element, "id", "contact@id")?.to_owned(),
            state: ContactState::parse(state.trim()).ok_or(BodyError::Invalid("contact@state"))?,
            event: ContactEvent::parse(event.trim()).ok_or(BodyError::Invalid("contact@event"))?,
            duration_registered: number("duration-registered"),
            expires: number("expires"),
            retry_after: number("retry-after"),
            q: text("q"),
            call_id: text("callid"),
            cseq: number("cseq"),
            uri: element.leaf_token("uri").ok_or(BodyError::Missing("contact/uri"))?,
            display_name: name.map(|it| DisplayName { text: it.text(), language: it.language().map(str::to_owned) }),
            unknown_params: element.children("unknown-param").filter_map(param).collect(),
            pub_gruu: pub_gruu.map(|uri| uri.trim().to_owned()),
            temp_gruu: element.child_in(GRUU_NAMESPACE, "temp-gruu").and_then(TempGruu::read),
        })
    }

    fn element(&self) -> Element {
        let name = self.display_name.as_ref().map(|name| {
            Element::new(NAMESPACE, "display-name").with_language(name.language.as_deref()).with_text(&name.text)
        });
        let param = |(name, value): &(String, String)| {
            Element::new(NAMESPACE, "unknown-param").with("name", name).with_text(value)
        };
        let pub_gruu = self.pub_gruu.as_ref().map(|uri| Element::new(GRUU_NAMESPACE, "pub-gruu").with("uri", uri));
        Element::new(NAMESPACE, "contact")
            .with("id", &self.id)
            .with("state", self.state.as_str())
            .with("event", self.event.as_str())
            .with_some("duration-registered", self.duration_registered)
            .with_some("expires", self.expires)
            .with_some("retry-after", self.retry_after)
            .with_some("q", self.q.as_ref())
            .with_some("callid", self.call_id.as_ref())
            .with_some("cseq", self.cseq)
            .with_leaf("uri", Some(&self.uri))
            .with_children(name)
            .with_children(self.unknown_params.iter().map(param))
            .with_children(pub_gruu)
            .with_children(self.temp_gruu.as_ref().map(TempGruu::element))
    }
}

impl TempGruu {
    fn read(element: &Element) -> Option<Self> {
        let uri = element.attribute("uri")?.trim().to_owned();
        Some(Self { uri, first_cseq: element.attribute("first-cseq")?.trim().parse().ok()? })
    }

    fn element(&self) -> Element {
        Element::new(GRUU_NAMESPACE, "temp-gruu").with("uri", &self.uri).with("first-cseq", self.first_cseq.to_string())
    }
}

fn attribute<'a>(element: &'a Element, name: &str, what: &'static str) -> Result<&'a str, BodyError> {
    element.attribute(name).ok_or(BodyError::Missing(what))
}

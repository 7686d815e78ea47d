//! Who takes part in a conference, and how: RFC 4575 §5.6 to §5.8.

use super::{BodyError, Element, NAMESPACE, Part, UriList, key, list, part, with_part, words};
use crate::event::package::Timestamp;

/// The participants.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Users {
    /// How much is told.
    pub state: Part,
    /// One per participant, by entity.
    pub users: Vec<User>,
}

/// A participant (§5.6).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct User {
    /// The key: the participant's URI, or one in `.invalid` that tells participants apart who stay anonymous.
    pub entity: String,
    /// How much is told.
    pub state: Part,
    /// The name to show.
    pub display_text: Option<String>,
    /// Other URIs of the participant.
    pub associated_aors: Option<UriList>,
    /// Roles, in words for people.
    pub roles: Option<Vec<String>>,
    /// Languages that the participant understands.
    pub languages: Option<Vec<String>>,
    /// The conference that the participant stands for, where foci are cascaded.
    pub cascaded_focus: Option<String>,
    /// The participant's devices or calls, by entity.
    pub endpoints: Vec<Endpoint>,
}

/// A device or call of a participant (§5.7).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Endpoint {
    /// The key: a Contact's URI, a GRUU or the like.
    pub entity: String,
    /// How much is told.
    pub state: Part,
    /// The name to show.
    pub display_text: Option<String>,
    /// Who brought the endpoint into the conference, by a REFER to the focus.
    pub referred: Option<Execution>,
    /// Where the call to the focus stands.
    pub status: Option<EndpointStatus>,
    /// How it joined.
    pub joining_method: Option<JoiningMethod>,
    /// When, why and by whom it joined.
    pub joining_info: Option<Execution>,
    /// How it left.
    pub disconnection_method: Option<DisconnectionMethod>,
    /// When, why and by whose doing it left.
    pub disconnection_info: Option<Execution>,
    /// Its streams, by id.
    pub media: Vec<Media>,
    /// The dialog with the focus; for those who may know (§5.7.9).
    pub call: Option<SipCall>,
}

/// A media stream of an endpoint (§5.8).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Media {
    /// The key.
    pub id: String,
    /// The name to show.
    pub display_text: Option<String>,
    /// `audio`, `video` and so on, as in SDP.
    pub kind: Option<String>,
    /// The label in SDP (RFC 4574).
    pub label: Option<String>,
    /// Where the media come from: for RTP the SSRC.
    pub src_id: Option<String>,
    /// Directions, seen from the participant: a muted one's is `recvonly`.
    pub status: Option<MediaStatus>,
}

/// When, why and by whom something was done (§5.7.2).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Execution {
    /// When.
    pub when: Option<Timestamp>,
    /// Why, preferably as a Reason header field (RFC 3326).
    pub reason: Option<String>,
    /// By whom, a URI.
    pub by: Option<String>,
}

/// The dialog of an endpoint with the focus (§5.7.9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipCall {
    /// The name to show.
    pub display_text: Option<String>,
    /// Its Call-ID.
    pub call_id: String,
    /// The tag in From.
    pub from_tag: String,
    /// The tag in To.
    pub to_tag: String,
}

words! {
    /// Where an endpoint's call stands (§5.7.3).
    EndpointStatus {
        /// Expected soon.
        Pending = "pending",
        /// The focus called; not yet in the roster.
        DialingOut = "dialing-out",
        /// It called; not yet in the roster.
        DialingIn = "dialing-in",
        /// It rings.
        Alerting = "alerting",
        /// In a call, and neither hears nor is heard.
        OnHold = "on-hold",
        /// Takes part.
        Connected = "connected",
        /// Hears, and is not heard by the focus's doing.
        MutedViaFocus = "muted-via-focus",
        /// The focus is ending the call.
        Disconnecting = "disconnecting",
        /// In no call.
        Disconnected = "disconnected",
    }
}

words! {
    /// How an endpoint joined (§5.7.4).
    JoiningMethod {
        /// It called the focus.
        DialedIn = "dialed-in",
        /// The focus called it.
        DialedOut = "dialed-out",
        /// It is the focus.
        FocusOwner = "focus-owner",
    }
}

words! {
    /// How an endpoint left (§5.7.6).
    DisconnectionMethod {
        /// By its own BYE.
        Departed = "departed",
        /// By the focus's BYE, or it was not let in.
        Booted = "booted",
        /// The call did not come about.
        Failed = "failed",
        /// It, or the focus, was busy.
        Busy = "busy",
    }
}

words! {
    /// Directions of a stream, seen from the participant (§5.8.5).
    MediaStatus {
        /// To the participant.
        Recvonly = "recvonly",
        /// From the participant.
        Sendonly = "sendonly",
        /// Both.
        Sendrecv = "sendrecv",
        /// Neither.
        Inactive = "inactive",
    }
}

impl Users {
    pub(super) fn read(element: &Element) -> Result<Self, BodyError> {
        Ok(Self { state: part(element)?, users: element.children("user").map(User::read).collect::<Result<_, _>>()? })
    }

    pub(super) fn element(&self) -> Element {
        with_part(Element::new(NAMESPACE, "users"), self.state).with_children(self.users.iter().map(User::element))
    }
}

impl User {
    /// A participant of whom nothing but the URI is told.
    pub fn new(entity: impl Into<String>) -> Self {
        Self { entity: entity.into(), ..Self::default() }
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        Ok(Self {
            entity: key(element, "entity", "user@entity")?,
            state: part(element)?,
            display_text: element.leaf_text("display-text"),
            associated_aors: element.child("associated-aors").map(UriList::read).transpose()?,
            roles: element.child("roles").map(|it| it.children("entry").map(Element::text).collect()),
            languages: element.child("languages").map(list),
            cascaded_focus: element.leaf_token("cascaded-focus"),
            endpoints: element.children("endpoint").map(Endpoint::read).collect::<Result<_, _>>()?,
        })
    }

    fn element(&self) -> Element {
        let roles = self.roles.as_ref().map(|roles| {
            let entry = |role: &String| Element::new(NAMESPACE, "entry").with_text(role);
            Element::new(NAMESPACE, "roles").with_children(roles.iter().map(entry))
        });
        with_part(Element::new(NAMESPACE, "user").with("entity", &self.entity), self.state)
            .with_leaf("display-text", self.display_text.as_ref())
            .with_children(self.associated_aors.as_ref().map(|it| it.element("associated-aors")))
            .with_children(roles)
            .with_leaf("languages", self.languages.as_ref().map(|it| it.join(" ")))
            .with_leaf("cascaded-focus", self.cascaded_focus.as_ref())
            .with_children(self.endpoints.iter().map(Endpoint::element))
    }
}

impl Endpoint {
    /// An endpoint of which nothing but the status is told.
    pub fn new(entity: impl Into<String>, status: EndpointStatus) -> Self {
        Self { entity: entity.into(), status: Some(status), ..Self::default() }
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        let method = element.leaf_token("disconnection-method");
        let call = element.child("call-info").and_then(|it| it.child("sip"));
        Ok(Self {
            entity: key(element, "entity", "endpoint@entity")?,
            state: part(element)?,
            display_text: element.leaf_text("display-text"),
            referred: element.child("referred").map(Execution::read),
            status: element.leaf_token("status").and_then(|it| EndpointStatus::parse(&it)),
            joining_method: element.leaf_token("joining-method").and_then(|it| JoiningMethod::parse(&it)),
            joining_info: element.child("joining-info").map(Execution::read),
            disconnection_method: method.and_then(|it| DisconnectionMethod::parse(&it)),
            disconnection_info: element.child("disconnection-info").map(Execution::read),
            media: element.children("media").map(Media::read).collect::<Result<_, _>>()?,
            call: call.and_then(SipCall::read),
        })
    }

    fn element(&self) -> Element {
        let call = |call: &SipCall| Element::new(NAMESPACE, "call-info").with_child(call.element());
        with_part(Element::new(NAMESPACE, "endpoint").with("entity", &self.entity), self.state)
            .with_leaf("display-text", self.display_text.as_ref())
            .with_children(self.referred.as_ref().map(|it| it.element("referred")))
            .with_leaf("status", self.status)
            .with_leaf("joining-method", self.joining_method)
            .with_children(self.joining_info.as_ref().map(|it| it.element("joining-info")))
            .with_leaf("disconnection-method", self.disconnection_method)
            .with_children(self.disconnection_info.as_ref().map(|it| it.element("disconnection-info")))
            .with_children(self.media.iter().map(Media::element))
            .with_children(self.call.as_ref().map(call))
    }
}

impl Media {
    fn read(element: &Element) -> Result<Self, BodyError> {
        Ok(Self {
            id: key(element, "id", "media@id")?,
            display_text: element.leaf_text("display-text"),
            kind: element.leaf_token("type"),
            label: element.leaf_token("label"),
            src_id: element.leaf_token("src-id"),
            status: element.leaf_token("status").and_then(|it| MediaStatus::parse(&it)),
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "media")
            .with("id", &self.id)
            .with_leaf("display-text", self.display_text.as_ref())
            .with_leaf("type", self.kind.as_ref())
            .with_leaf("label", self.label.as_ref())
            .with_leaf("src-id", self.src_id.as_ref())
            .with_leaf("status", self.status)
    }
}

impl Execution {
    pub(super) fn read(element: &Element) -> Self {
        Self {
            when: element.leaf_token("when").and_then(|it| Timestamp::parse(&it)),
            reason: element.leaf_text("reason"),
            by: element.leaf_token("by"),
        }
    }

    pub(super) fn element(&self, name: &str) -> Element {
        Element::new(NAMESPACE, name)
            .with_leaf("when", self.when)
            .with_leaf("reason", self.reason.as_ref())
            .with_leaf("by", self.by.as_ref())
    }
}

impl SipCall {
    fn read(element: &Element) -> Option<Self> {
        Some(Self {
            display_text: element.leaf_text("display-text"),
            call_id: element.leaf_token("call-id")?,
            from_tag: element.leaf_token("from-tag")?,
            to_tag: element.leaf_token("to-tag")?,
        })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "sip")
            .with_leaf("display-text", self.display_text.as_ref())
            .with_leaf("call-id", Some(&self.call_id))
            .with_leaf("from-tag", Some(&self.from_tag))
            .with_leaf("to-tag", Some(&self.to_tag))
    }
}

//! Dialog information: RFC 4235 §4, with the shared appearances of RFC 7463 §6.
//!
//! A user agent's notifier writes [`DialogInfo`]; a lamp field parses it and keeps a [`DialogTable`], which puts full and
//! partial documents together.
//!
//! What a watcher may know is the notifier's policy (§3.6): [`Dialog::new`] with nothing but id and state is the least, for
//! "is there a call at all"; [`Dialog::without_participants`] is what others on a shared line see of a call that asks for
//! privacy.

mod participant;
mod table;

pub use super::version::DocumentState;
pub use participant::{Identity, Participant, SessionDescription, Target};
pub use table::DialogTable;

use super::xml::{Element, Limits};
use super::{BodyError, version, words};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:dialog-info";
const SHARED_NAMESPACE: &str = "urn:ietf:params:xml:ns:sa-dialog-info";

/// A document: the root `dialog-info`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialogInfo {
    /// Counts documents within a subscription, from 0, one at a time (§4.1).
    pub version: u32,
    /// Whether the document says everything.
    pub state: DocumentState,
    /// Whose dialogs these are, a URI. Empty if the document lacks it, as the RFC's own sample does (§4.2).
    pub entity: String,
    /// In a partial document, those that changed.
    pub dialogs: Vec<Dialog>,
}

/// One dialog, or a half of one whose other end has not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialog {
    /// Names the dialog within the user agent; not the dialog ID of RFC 3261.
    pub id: String,
    /// Its Call-ID.
    pub call_id: Option<String>,
    /// The observed user's tag.
    pub local_tag: Option<String>,
    /// The other's tag; none yet in a half.
    pub remote_tag: Option<String>,
    /// Whether the observed user called or was called.
    pub direction: Option<Direction>,
    /// Where the dialog stands.
    pub state: DialogState,
    /// What ended the dialog.
    pub event: Option<DialogEvent>,
    /// The response to the INVITE that brought the state about, 100 to 699.
    pub code: Option<u16>,
    /// Seconds since the INVITE.
    pub duration: Option<u64>,
    /// The dialog that this one replaced (RFC 3891).
    pub replaces: Option<DialogId>,
    /// The Referred-By of the REFER that led to this dialog (RFC 3892).
    pub referred_by: Option<Identity>,
    /// The route set, hop by hop.
    pub route_set: Vec<String>,
    /// The observed user's end.
    pub local: Option<Participant>,
    /// The other end.
    pub remote: Option<Participant>,
    /// What RFC 7463 adds.
    pub shared: SharedAppearance,
}

/// A dialog named by Call-ID and tags, in the order of the observed user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialogId {
    /// Its Call-ID.
    pub call_id: String,
    /// The observed user's tag.
    pub local_tag: String,
    /// The other's tag.
    pub remote_tag: String,
}

/// How a dialog takes part in a group of shared appearances (RFC 7463 §5.2, §6). Read and kept; nothing here acts on it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SharedAppearance {
    /// The appearance's number.
    pub appearance: Option<u32>,
    /// Whether the user agent refuses INVITEs that join or take the call: a hint; none means that it does not (§5.2.2).
    pub exclusive: Option<bool>,
    /// Dialogs joined with this one.
    pub joined: Vec<DialogId>,
    /// Dialogs that this one will replace or has replaced.
    pub replaced: Vec<DialogId>,
}

words! {
    /// The dialog's state machine (RFC 4235 figure 3).
    DialogState {
        /// An INVITE was sent or received.
        Trying = "trying",
        /// A provisional response without a tag.
        Proceeding = "proceeding",
        /// A provisional response with a tag.
        Early = "early",
        /// A 2xx.
        Confirmed = "confirmed",
        /// It is over.
        Terminated = "terminated",
    }
}

words! {
    /// What ended a dialog (RFC 4235 figure 3).
    DialogEvent {
        /// A CANCEL.
        Cancelled = "cancelled",
        /// A final response other than 2xx.
        Rejected = "rejected",
        /// Another INVITE with Replaces.
        Replaced = "replaced",
        /// The observed user's BYE.
        LocalBye = "local-bye",
        /// The other's BYE.
        RemoteBye = "remote-bye",
        /// A 481 or 408 to a request within the dialog.
        Error = "error",
        /// No response to a request within the dialog.
        Timeout = "timeout",
    }
}

words! {
    /// Who sent the INVITE.
    Direction {
        /// The observed user.
        Initiator = "initiator",
        /// The other.
        Recipient = "recipient",
    }
}

impl DialogInfo {
    /// The body's media type.
    pub const MIME: &'static str = "application/dialog-info+xml";

    /// Reads a body within the default [`Limits`].
    ///
    /// # Errors
    /// XML that is refused, another root, or something mandatory that is missing or unknown (§4.1).
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
        if !root.is(NAMESPACE, "dialog-info") {
            return Err(BodyError::Root { expected: "dialog-info" });
        }
        let (version, state) = version::read(root, ["dialog-info@version", "dialog-info@state"])?;
        let entity = root.attribute("entity").unwrap_or_default().trim().to_owned();
        let dialogs = root.children("dialog").map(Dialog::read).collect::<Result<_, _>>()?;
        Ok(Self { version, state, entity, dialogs })
    }

    /// The root, to be written.
    pub fn element(&self) -> Element {
        Element::new(NAMESPACE, "dialog-info")
            .with("version", self.version.to_string())
            .with("state", self.state.as_str())
            .with("entity", &self.entity)
            .with_children(self.dialogs.iter().map(Dialog::element))
    }
}

impl Dialog {
    /// A dialog of which nothing but the mandatory is told.
    pub fn new(id: impl Into<String>, state: DialogState) -> Self {
        Self {
            id: id.into(),
            call_id: None,
            local_tag: None,
            remote_tag: None,
            direction: None,
            state,
            event: None,
            code: None,
            duration: None,
            replaces: None,
            referred_by: None,
            route_set: Vec::new(),
            local: None,
            remote: None,
            shared: SharedAppearance::default(),
        }
    }

    /// The dialog with nothing but its id, its state, and its appearance's number and exclusiveness: who talks to whom is
    /// nobody's business (§3.6), yet a line's lamp is lit.
    pub fn without_participants(&self) -> Self {
        let shared = SharedAppearance {
            appearance: self.shared.appearance,
            exclusive: self.shared.exclusive,
            ..SharedAppearance::default()
        };
        Self { shared, ..Self::new(&self.id, self.state) }
    }

    fn read(element: &Element) -> Result<Self, BodyError> {
        let text = |name| element.attribute(name).map(str::to_owned);
        let state = element.child("state").ok_or(BodyError::Missing("dialog/state"))?;
        // The RFC's own examples write `reason` for `event` and `receiver` for `recipient` (§6.2), and one of RFC 7463 §11
        // `active` for `confirmed`.
        let event = state.attribute("event").or_else(|| state.attribute("reason"));
        let direction = match element.attribute("direction").map(str::trim) {
            Some("receiver") => Some(Direction::Recipient),
            word => word.and_then(Direction::parse),
        };
        let standing = match state.token().as_str() {
            "active" => Some(DialogState::Confirmed),
            word => DialogState::parse(word),
        };
        let code = state.attribute("code").and_then(|it| it.trim().parse().ok());
        let hops = element.child("route-set").into_iter().flat_map(|it| it.children("hop"));
        Ok(Self {
            id: text("id").ok_or(BodyError::Missing("dialog@id"))?,
            call_id: text("call-id"),
            local_tag: text("local-tag"),
            remote_tag: text("remote-tag"),
            direction,
            state: standing.ok_or(BodyError::Invalid("dialog/state"))?,
            event: event.and_then(|it| DialogEvent::parse(it.trim())),
            code: code.filter(|code| (100..700).contains(code)),
            duration: element.leaf_token("duration").and_then(|it| it.parse().ok()),
            replaces: element.child("replaces").and_then(DialogId::read),
            referred_by: element.child("referred-by").map(Identity::read),
            route_set: hops.map(Element::token).collect(),
            local: element.child("local").map(Participant::read),
            remote: element.child("remote").map(Participant::read),
            shared: SharedAppearance::read(element),
        })
    }

    fn element(&self) -> Element {
        let state = Element::new(NAMESPACE, "state")
            .with_some("event", self.event)
            .with_some("code", self.code)
            .with_text(self.state.as_str());
        let route_set = (!self.route_set.is_empty()).then(|| {
            let hop = |hop: &String| Element::new(NAMESPACE, "hop").with_text(hop);
            Element::new(NAMESPACE, "route-set").with_children(self.route_set.iter().map(hop))
        });
        Element::new(NAMESPACE, "dialog")
            .with("id", &self.id)
            .with_some("call-id", self.call_id.as_ref())
            .with_some("local-tag", self.local_tag.as_ref())
            .with_some("remote-tag", self.remote_tag.as_ref())
            .with_some("direction", self.direction)
            .with_child(state)
            .with_leaf("duration", self.duration)
            .with_children(self.replaces.as_ref().map(|it| it.element(NAMESPACE, "replaces")))
            .with_children(self.referred_by.as_ref().map(|it| it.element("referred-by")))
            .with_children(route_set)
            .with_children(self.local.as_ref().map(|it| it.element("local")))
            .with_children(self.remote.as_ref().map(|it| it.element("remote")))
            .with_children(self.shared.elements())
    }
}

impl DialogId {
    fn read(element: &Element) -> Option<Self> {
        let text = |name| element.attribute(name).map(str::to_owned);
        Some(Self { call_id: text("call-id")?, local_tag: text("local-tag")?, remote_tag: text("remote-tag")? })
    }

    fn element(&self, namespace: &str, name: &str) -> Element {
        Element::new(namespace, name)
            .with("call-id", &self.call_id)
            .with("local-tag", &self.local_tag)
            .with("remote-tag", &self.remote_tag)
    }
}

impl SharedAppearance {
    fn read(dialog: &Element) -> Self {
        let token = |name| dialog.child_in(SHARED_NAMESPACE, name).map(Element::token);
        let ids = |name: &'static str| {
            dialog.elements().filter(move |it| it.is(SHARED_NAMESPACE, name)).filter_map(DialogId::read).collect()
        };
        Self {
            appearance: token("appearance").and_then(|it| it.parse().ok()),
            exclusive: token("exclusive").and_then(|it| super::boolean(&it)),
            joined: ids("joined-dialog"),
            replaced: ids("replaced-dialog"),
        }
    }

    fn elements(&self) -> impl Iterator<Item = Element> {
        let leaf =
            |name, value: Option<String>| value.map(|value| Element::new(SHARED_NAMESPACE, name).with_text(value));
        let ids = |name: &'static str, ids: &[DialogId]| {
            ids.iter().map(|it| it.element(SHARED_NAMESPACE, name)).collect::<Vec<_>>()
        };
        leaf("appearance", self.appearance.map(|it| it.to_string()))
            .into_iter()
            .chain(leaf("exclusive", self.exclusive.map(|it| it.to_string())))
            .chain(ids("joined-dialog", &self.joined))
            .chain(ids("replaced-dialog", &self.replaced))
    }
}

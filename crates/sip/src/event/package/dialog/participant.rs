//! The two ends of a dialog: RFC 4235 §4.1.6.

use super::NAMESPACE;
use crate::event::package::xml::Element;

/// One end of a dialog (the elements `local` and `remote`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Participant {
    /// Who it is: usually one URI, more if a `sip` and a `tel` URI name the same person. Empty if the document does not
    /// repeat it.
    pub identities: Vec<Identity>,
    /// Where its requests go.
    pub target: Option<Target>,
    /// Its session description, which no watcher gets unless it asked and may (§4.1.6.3).
    pub session_description: Option<SessionDescription>,
    /// The CSeq of its last request.
    pub cseq: Option<u32>,
}

/// A URI with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The name.
    pub display: Option<String>,
    /// The URI.
    pub uri: String,
}

/// The remote target of one end, with the parameters of its Contact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The URI.
    pub uri: String,
    /// Names and values without quotes; `true` for a parameter without a value (§4.1.6.2).
    pub params: Vec<(String, String)>,
}

/// A session description, whatever its format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionDescription {
    /// The media type, such as `application/sdp`.
    pub mime: String,
    /// The description.
    pub text: String,
}

impl Participant {
    pub(super) fn read(element: &Element) -> Self {
        Self {
            identities: element.children("identity").map(Identity::read).collect(),
            target: element.child("target").and_then(Target::read),
            session_description: element.child("session-description").and_then(SessionDescription::read),
            cseq: element.leaf_token("cseq").and_then(|it| it.parse().ok()),
        }
    }

    pub(super) fn element(&self, name: &str) -> Element {
        Element::new(NAMESPACE, name)
            .with_children(self.identities.iter().map(|it| it.element("identity")))
            .with_children(self.target.as_ref().map(Target::element))
            .with_children(self.session_description.as_ref().map(SessionDescription::element))
            .with_leaf("cseq", self.cseq)
    }

    /// Takes over from `older` what this newer document does not repeat (§4.1.6).
    pub(super) fn fill_from(&mut self, older: Self) {
        if self.identities.is_empty() {
            self.identities = older.identities;
        }
        self.target = self.target.take().or(older.target);
        self.session_description = self.session_description.take().or(older.session_description);
    }
}

impl Identity {
    /// The prose and the examples say `display`, the schema says `display-name` (§4.1.6.1, §4.4): both are read, and the
    /// former, which phones know, is written.
    pub(super) fn read(element: &Element) -> Self {
        let display = element.attribute("display").or_else(|| element.attribute("display-name"));
        // RFC 7463 §11.3 has the URI in an attribute.
        let uri = Some(element.token()).filter(|it| !it.is_empty());
        let uri = uri.or_else(|| element.attribute("uri").map(|it| it.trim().to_owned()));
        Self { display: display.map(str::to_owned), uri: uri.unwrap_or_default() }
    }

    pub(super) fn element(&self, name: &str) -> Element {
        Element::new(NAMESPACE, name).with_some("display", self.display.as_ref()).with_text(&self.uri)
    }
}

impl Target {
    fn read(element: &Element) -> Option<Self> {
        let param = |it: &Element| Some((it.attribute("pname")?.to_owned(), it.attribute("pval")?.to_owned()));
        let params = element.children("param").filter_map(param).collect();
        Some(Self { uri: element.attribute("uri")?.trim().to_owned(), params })
    }

    fn element(&self) -> Element {
        let param =
            |(name, value): &(String, String)| Element::new(NAMESPACE, "param").with("pname", name).with("pval", value);
        Element::new(NAMESPACE, "target").with("uri", &self.uri).with_children(self.params.iter().map(param))
    }
}

impl SessionDescription {
    fn read(element: &Element) -> Option<Self> {
        Some(Self { mime: element.attribute("type")?.trim().to_owned(), text: element.text() })
    }

    fn element(&self) -> Element {
        Element::new(NAMESPACE, "session-description").with("type", &self.mime).with_text(&self.text)
    }
}

//! What this user agent can do, as its messages say it: Allow, Supported, Accept and the like (RFC 3261 §11, §20).

use std::sync::Arc;

use super::{Context, Extra, UserAgentConfig};
use crate::header::{Allow, OptionTag, OptionTags};
use crate::message::{HeaderName, Message, Method};

/// Extensions that this layer understands. The default of [`extensions`](super::UserAgentConfig::extensions).
pub(super) const EXTENSIONS: OptionTags = OptionTags::of_known(&[
    OptionTag::Rel100,
    OptionTag::FromChange,
    OptionTag::Gruu,
    OptionTag::HistInfo,
    OptionTag::NoReferSub,
    OptionTag::Outbound,
    OptionTag::Path,
    OptionTag::Replaces,
    OptionTag::Timer,
]);

/// Methods that this layer answers by itself or offers to the application. The default of
/// [`methods`](super::UserAgentConfig::methods).
pub(super) const METHODS: [Method; 11] = [
    Method::Invite,
    Method::Ack,
    Method::Cancel,
    Method::Bye,
    Method::Options,
    Method::Prack,
    Method::Update,
    Method::Info,
    Method::Refer,
    Method::Notify,
    Method::Message,
];

/// Header fields that say what we can do.
pub(super) type AboutUs = Arc<[(HeaderName, String)]>;

impl Context<'_> {
    /// The methods for Allow (RFC 3261 §20.5).
    pub fn allow(&self) -> Allow {
        allow(&self.shared.config)
    }

    /// Whether a request of that method is answered at all. SUBSCRIBE is judged by its package.
    pub fn answers(&self, method: &Method) -> bool {
        let config = &self.shared.config;
        *method == Method::Subscribe || config.methods.contains(method) || config.more_methods.contains(method)
    }

    /// Whether we say that we understand an extension.
    pub fn has_extension(&self, tag: OptionTag) -> bool {
        self.shared.config.extensions.contains(tag)
    }

    /// The extensions that a request demands and nobody here has, for Unsupported (RFC 3261 §8.2.2.3).
    pub fn lacking(&self, request: &Message) -> Vec<String> {
        if self.shared.config.relays {
            return Vec::new();
        }
        let extensions = &self.shared.config.extensions;
        request.require().filter(|tag| !extensions.contains_name(tag)).map(str::to_owned).collect()
    }

    /// What an INVITE, an UPDATE and their 2xx say of us. Written once for as long as the settings stay as they are.
    pub fn about_us(&self) -> AboutUs {
        Arc::clone(self.shared.about_us.get_or_init(|| about(&self.shared.config)))
    }

    /// What the answer to an OPTIONS says besides (RFC 3261 §11.2).
    pub fn accepts(&self) -> Extra {
        let types = self.shared.config.accept.join(", ");
        Extra::new().header(HeaderName::Accept, types).header(HeaderName::AcceptEncoding, "identity")
    }
}

fn allow(config: &UserAgentConfig) -> Allow {
    let mut allow = config.methods.clone();
    config.more_methods.iter().for_each(|method| allow.insert(method.clone()));
    if !config.event_packages.is_empty() {
        allow.insert(Method::Subscribe);
    }
    allow
}

/// RFC 3261 §13.2.1, §13.3.1.4; RFC 6665 §3.3.7; RFC 6086 §5.2.
fn about(config: &UserAgentConfig) -> AboutUs {
    let mut fields = vec![(HeaderName::Allow, allow(config).to_string())];
    fields.push((HeaderName::Supported, config.extensions.to_string()));
    if !config.event_packages.is_empty() {
        fields.push((HeaderName::AllowEvents, config.event_packages.join(", ")));
    }
    if !config.info_packages.is_empty() {
        fields.push((HeaderName::RecvInfo, config.info_packages.join(", ")));
    }
    fields.into()
}

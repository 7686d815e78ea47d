//! Event: the package of a subscription, and which one of several (RFC 6665 §8.2.1).

use std::fmt;

use super::params::ParamList;
use super::{single_header, split_params};
use crate::message::lex;

/// The event package of a SUBSCRIBE, NOTIFY, PUBLISH or REFER's subscription.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// The package, as written: `presence`, `dialog`, `refer`. Compares byte by byte (RFC 6665 §8.2.1).
    pub package: String,
    /// What follows its first dot: `winfo` in `presence.winfo`.
    pub template: Option<String>,
    /// Tells subscriptions of one dialog apart.
    pub id: Option<String>,
    /// The package's own parameters.
    pub params: ParamList,
}

single_header!(Event, Event);

impl Event {
    /// That package, without more.
    pub fn new(package: &str) -> Self {
        let (package, template) = split_template(package);
        Self { package: package.to_owned(), template: template.map(str::to_owned), id: None, params: ParamList::new() }
    }

    fn read(text: &str) -> Option<Self> {
        let (event, params) = split_params(text)?;
        if !is_event_type(event) {
            return None;
        }
        let id = match params.get("id") {
            None => None,
            Some(id) => Some(id.filter(|id| lex::is_token(id.as_bytes()))?.to_owned()),
        };
        Some(Self { id, params: ParamList::except(params, &["id"]), ..Self::new(event) })
    }

    /// Package and template, as Allow-Events lists them.
    pub fn event_type(&self) -> String {
        match &self.template {
            Some(template) => format!("{}.{template}", self.package),
            None => self.package.clone(),
        }
    }

    /// Whether both name the same subscription of a dialog: package, template and `id`, no other parameter
    /// (RFC 6665 §8.2.1).
    pub fn same_subscription(&self, other: &Self) -> bool {
        (&self.package, &self.template, &self.id) == (&other.package, &other.template, &other.id)
    }
}

fn split_template(text: &str) -> (&str, Option<&str>) {
    lex::split_once(text, b'.').map_or((text, None), |(package, template)| (package, Some(template)))
}

/// `event-type = event-package *( "." event-template )`, each a token without dots.
pub(super) fn is_event_type(text: &str) -> bool {
    lex::is_token(text.as_bytes()) && text.split('.').all(|part| !part.is_empty())
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.package)?;
        if let Some(template) = &self.template {
            write!(f, ".{template}")?;
        }
        if let Some(id) = &self.id {
            write!(f, ";id={id}")?;
        }
        self.params.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_template_and_id_are_read() {
        let event = Event::parse("presence.winfo ;x=1;id=93809824;y").unwrap();
        assert_eq!((event.package.as_str(), event.template.as_deref()), ("presence", Some("winfo")));
        assert_eq!(event.to_string(), "presence.winfo;id=93809824;x=1;y");
        assert_eq!(Event::parse(&event.to_string()), Ok(event.clone()));
        assert_eq!(event.event_type(), "presence.winfo");
        for text in ["", ".winfo", "a..b", "a.", "a b", "a;id", "a;id=\"x\"", "refer, dialog"] {
            assert!(Event::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_package_and_id_tell_subscriptions_apart() {
        // RFC 6665 §8.2.1
        let event = |text: &str| Event::parse(text).unwrap();
        assert!(event("dialog;call-id=1").same_subscription(&event("dialog;call-id=2")));
        assert!(!event("refer;id=1").same_subscription(&event("refer")));
        assert!(!event("Refer").same_subscription(&event("refer")));
    }
}

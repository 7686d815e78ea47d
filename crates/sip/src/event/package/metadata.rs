//! What each package defines for RFC 6665 §5.4, as data.

use std::time::Duration;

/// An event package after the checklist of RFC 6665 §5.4.
///
/// The RFCs give default durations and highest rates. The shortest and longest duration are ours: what a notifier should
/// grant unless its configuration says otherwise.
#[derive(PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Package {
    /// The token in Event and Allow-Events (§5.4.1).
    pub name: &'static str,
    /// Where it is defined.
    pub reference: &'static str,
    /// Parameters of Event that belong to it (§5.4.2); `id` belongs to all.
    pub parameters: &'static [&'static str],
    /// How long a subscription lasts if the SUBSCRIBE does not say (§5.4.4).
    pub default_expires: Duration,
    /// The shortest subscription to grant, other than a fetch with `Expires: 0`. Never more than an hour: RFC 6665
    /// §4.2.1.1 forbids a 423 to requests for more than that.
    pub min_expires: Duration,
    /// The longest subscription to grant; requests for more are shortened (RFC 6665 §4.2.1.1).
    pub max_expires: Duration,
    /// Types of NOTIFY bodies, the one first that a SUBSCRIBE without Accept means (§5.4.5).
    pub accept: &'static [&'static str],
    /// Whether each NOTIFY has to carry a body, the first one included. Where not, a body may be missing while there is
    /// nothing to say or nothing may be said yet (RFC 6665 §4.2.1.2).
    pub needs_body: bool,
    /// The shortest time between two NOTIFYs of one subscription (§5.4.10). A notifier may wait longer, and a subscriber
    /// may ask it to (RFC 6446).
    pub min_interval: Duration,
    /// What a SUBSCRIBE that was forked may set up (§5.4.9).
    pub forks: Forks,
}

/// How many subscriptions one SUBSCRIBE may make (RFC 6665 §5.4.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forks {
    /// The first NOTIFY or 2xx makes the dialog; NOTIFYs on others get 481.
    One,
    /// Each notifier's NOTIFY makes a subscription of its own; whoever subscribed merges them or shows them side by side.
    Many,
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

impl Package {
    /// `presence`: RFC 3856 §6.
    pub const PRESENCE: Self = Self {
        name: "presence",
        reference: "RFC 3856",
        parameters: &[],
        default_expires: HOUR,
        min_expires: MINUTE,
        max_expires: DAY,
        accept: &["application/pidf+xml"],
        needs_body: false,
        min_interval: Duration::from_secs(5),
        forks: Forks::One,
    };

    /// The template `winfo`: RFC 3857 §4. [`find`](Self::find) returns it for `presence.winfo` and its like.
    pub const WINFO: Self = Self {
        name: "winfo",
        reference: "RFC 3857",
        parameters: &[],
        default_expires: HOUR,
        min_expires: MINUTE,
        max_expires: DAY,
        accept: &["application/watcherinfo+xml"],
        needs_body: false,
        min_interval: Duration::from_secs(5),
        forks: Forks::Many,
    };

    /// `reg`: RFC 3680 §4. The odd default keeps refreshes apart from those of a registration of an hour.
    pub const REG: Self = Self {
        name: "reg",
        reference: "RFC 3680",
        parameters: &[],
        default_expires: Duration::from_secs(3761),
        min_expires: MINUTE,
        max_expires: DAY,
        accept: &["application/reginfo+xml"],
        needs_body: false,
        min_interval: Duration::from_secs(5),
        forks: Forks::One,
    };

    /// `dialog`: RFC 4235 §3, and RFC 7463 §13.1 for `shared`. A subscription to one dialog, whose Event has `call-id`,
    /// lasts [`DIALOG_EXPIRES`](Self::DIALOG_EXPIRES) by default.
    pub const DIALOG: Self = Self {
        name: "dialog",
        reference: "RFC 4235",
        parameters: &["call-id", "to-tag", "from-tag", "include-session-description", "shared"],
        default_expires: HOUR,
        min_expires: MINUTE,
        max_expires: DAY,
        accept: &["application/dialog-info+xml"],
        needs_body: false,
        min_interval: Duration::from_secs(1),
        forks: Forks::Many,
    };

    /// How long a subscription to one particular dialog lasts by default: two hours (RFC 4235 §3.4).
    pub const DIALOG_EXPIRES: Duration = Duration::from_secs(7200);

    /// `conference`: RFC 4575 §3.
    pub const CONFERENCE: Self = Self {
        name: "conference",
        reference: "RFC 4575",
        parameters: &[],
        default_expires: HOUR,
        min_expires: MINUTE,
        max_expires: DAY,
        accept: &["application/conference-info+xml"],
        needs_body: false,
        min_interval: Duration::from_secs(5),
        forks: Forks::One,
    };

    /// `message-summary`: RFC 3842 §3. Durations "from minutes to weeks"; the state is due at once (§3.8), so each NOTIFY
    /// has it.
    pub const MESSAGE_SUMMARY: Self = Self {
        name: "message-summary",
        reference: "RFC 3842",
        parameters: &[],
        default_expires: HOUR,
        min_expires: MINUTE,
        max_expires: Duration::from_secs(7 * 86_400),
        accept: &["application/simple-message-summary"],
        needs_body: true,
        min_interval: Duration::from_secs(1),
        forks: Forks::Many,
    };

    /// `refer`: RFC 3515 §3, whose subscriptions a REFER makes. The RFC leaves the duration to whoever accepts: longer
    /// than the request referred to may take. The default here is that of an INVITE that rings for Timer C's three minutes
    /// (RFC 3261 §16.6) and two minutes of grace. Every NOTIFY has a body (§2.4.5).
    pub const REFER: Self = Self {
        name: "refer",
        reference: "RFC 3515",
        parameters: &[],
        default_expires: Duration::from_secs(300),
        min_expires: Duration::from_secs(32),
        max_expires: HOUR,
        accept: &["message/sipfrag"],
        needs_body: true,
        min_interval: Duration::from_secs(1),
        forks: Forks::Many,
    };

    /// All of them.
    pub const ALL: &[&Self] = &[
        &Self::PRESENCE,
        &Self::WINFO,
        &Self::REG,
        &Self::DIALOG,
        &Self::CONFERENCE,
        &Self::MESSAGE_SUMMARY,
        &Self::REFER,
    ];

    /// The package that an Event header field names, parameters cut off: `presence`, `presence.winfo`. Case matters
    /// (RFC 6665 §8.2.1).
    ///
    /// None for packages that nobody here knows (489), and for templates on templates: watchers of watchers are not
    /// offered, as RFC 3857 §4.6 lets a server decide.
    pub fn find(event_type: &str) -> Option<&'static Self> {
        if let Some(watched) = Self::watched(event_type) {
            return Self::plain(watched).map(|_| &Self::WINFO);
        }
        Self::plain(event_type)
    }

    /// The package whose watchers an event type is about: `presence` for `presence.winfo` (RFC 3857 §4.7).
    pub fn watched(event_type: &str) -> Option<&str> {
        event_type.strip_suffix(".winfo")
    }

    fn plain(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|it| it.name == name && **it != Self::WINFO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_find_their_package() {
        for package in Package::ALL.iter().filter(|it| ***it != Package::WINFO) {
            assert_eq!(Package::find(package.name), Some(*package));
            assert_eq!(Package::find(&format!("{}.winfo", package.name)), Some(&Package::WINFO));
        }
        for unknown in
            ["", "winfo", "Presence", "presence.winfo.winfo", "presence.", ".winfo", "x.winfo", "presence;id=1"]
        {
            assert_eq!(Package::find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn durations_are_in_order() {
        for package in Package::ALL {
            assert!(package.min_expires <= package.default_expires, "{}", package.name);
            assert!(package.default_expires <= package.max_expires, "{}", package.name);
            assert!(package.min_expires <= HOUR, "RFC 6665 §4.2.1.1: {}", package.name);
            assert!(!package.accept.is_empty());
        }
    }
}

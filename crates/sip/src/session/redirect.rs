//! Following a redirection: the Contacts of 3xx responses as the next targets of a call (RFC 3261 §8.1.3.4), and the
//! history of it (RFC 7044 §9.2).

use std::sync::Arc;

use super::Invite;
use crate::header::{Address, Embedded, HistoryInfo, HistoryTarget, escape_header};
use crate::message::{Contacts, HeaderName, Message, NameAddr, Scheme, StatusCode, Uri};
use crate::user_agent::Extra;

/// Most targets that one call tries, the first one included.
const MAX_TARGETS: usize = 16;

/// Q of a Contact that names none: as much as any.
const DEFAULT_Q: u16 = 1000;

/// The targets of a call that is redirected. Hand it each 3xx ([`Self::follow`]) and call what [`Self::next`] gives, until
/// one answers or there is none:
///
/// ```
/// # use farspeak_sip::session::{Invite, Redirection};
/// # fn failed(redirection: &mut Redirection, response: &farspeak_sip::message::Message) -> Option<Invite> {
/// redirection.follow(response);
/// redirection.next()
/// # }
/// ```
///
/// Each URI is tried once, at most 16 in all, in the order of q. A `sips` call stays one: `sip` Contacts are left out
/// (RFC 5630 §5.1.1). Each attempt is a call of its own, with its own Call-ID. The flow of the attempts is the first
/// one's; the caller sets it if the target asks for another.
#[derive(Clone, Debug)]
pub struct Redirection {
    invite: Invite,
    /// What is still to be tried, best last.
    queue: Vec<Target>,
    /// All that have been tried or wait.
    seen: Vec<Target>,
}

#[derive(Clone, Debug)]
struct Target {
    uri: Arc<str>,
    q: u16,
    /// Header fields that the Contact's URI asks for.
    fields: Vec<(HeaderName, String)>,
    /// Its place in the history, and how it came to be.
    entry: Option<HistoryInfo>,
    /// The entries before, the one that redirected it last.
    history: Vec<HistoryInfo>,
}

impl Redirection {
    /// For a call that has been made.
    pub fn new(invite: Invite) -> Self {
        let entry = Address::new(&invite.opening.target).map(|address| HistoryInfo {
            address,
            index: "1".to_owned(),
            target: None,
        });
        let uri = Arc::clone(&invite.opening.target);
        let first = Target { uri, q: DEFAULT_Q, fields: Vec::new(), entry, history: Vec::new() };
        Self { invite, queue: Vec::new(), seen: vec![first] }
    }

    /// Takes the Contacts of a 3xx to the last attempt; others, and a 305, change nothing. How many new targets there are.
    pub fn follow(&mut self, response: &Message) -> usize {
        // RFC 3261 §21.3.4: the Contact of a 305 is a proxy to go through, not a target.
        let redirects = |status: &StatusCode| status.class() == 3 && status.code() != 305;
        let Some(status) = response.status().filter(redirects) else { return 0 };
        let Ok(Contacts::List(contacts)) = response.contacts() else { return 0 };
        let Some(last) = self.seen.iter().find(|target| target.uri == self.invite.opening.target).cloned() else {
            return 0;
        };
        let mut history = last.history.clone();
        let mut base = String::new();
        if let Some(entry) = &last.entry {
            base.clone_from(&entry.index);
            history.push(because(entry, &format!("SIP;cause={}", status.code())));
        }
        let mut found = Vec::new();
        for contact in contacts.filter_map(Result::ok) {
            if self.seen.len() == MAX_TARGETS {
                break;
            }
            let Some(mut target) = self.target(&contact) else { continue };
            target.entry = Address::new(&target.uri).filter(|_| !base.is_empty()).map(|address| {
                let index = format!("{base}.{}", found.len() + 1);
                HistoryInfo { address, index, target: Some((kind(&contact), base.clone())) }
            });
            target.history.clone_from(&history);
            self.seen.push(target.clone());
            found.push(target);
        }
        let count = found.len();
        // Depth first: what a target names is nearer than its siblings. Among equals in the order of the response.
        found.sort_by_key(|target| std::cmp::Reverse(target.q));
        self.queue.extend(found.into_iter().rev());
        count
    }

    /// The next attempt, with History-Info.
    #[expect(clippy::should_implement_trait, reason = "responses come in between: it is no iterator")]
    pub fn next(&mut self) -> Option<Invite> {
        let target = self.queue.pop()?;
        self.invite.opening.target = Arc::clone(&target.uri);
        let mut invite = self.invite.clone();
        for (name, value) in target.fields {
            if !invite.extra.has(name) {
                invite.extra = invite.extra.header(name, value);
            }
        }
        if !invite.extra.has(HeaderName::HistoryInfo) {
            invite.extra = target.history.iter().chain(&target.entry).fold(invite.extra, with_entry);
        }
        Some(invite)
    }

    /// The target that a Contact names, if it may be tried.
    fn target(&self, contact: &NameAddr<'_>) -> Option<Target> {
        let uri = contact.uri().ok()?;
        let asked = Embedded::of(&uri)?;
        let bare = Uri::parse(&asked.target).ok()?;
        let allowed = match Uri::parse(&self.invite.opening.target).ok()?.scheme {
            Scheme::Sips => bare.scheme == Scheme::Sips,
            _ => matches!(bare.scheme, Scheme::Sip | Scheme::Sips),
        };
        let known = |target: &Target| Uri::parse(&target.uri).is_ok_and(|known| known.equivalent(&bare));
        if !allowed || asked.method.is_some() || self.seen.iter().any(known) {
            return None;
        }
        let fields = asked.honored().map(|field| (field.name, field.value.clone())).collect();
        let q = contact.q().unwrap_or(DEFAULT_Q);
        Some(Target { uri: asked.target.as_str().into(), q, fields, entry: None, history: Vec::new() })
    }
}

fn with_entry(extra: Extra, entry: &HistoryInfo) -> Extra {
    extra.header(HeaderName::HistoryInfo, entry.to_string())
}

/// The entry with the Reason why the request came back from it (RFC 7044 §10.2).
fn because(entry: &HistoryInfo, reason: &str) -> HistoryInfo {
    let uri = entry.address.uri_text();
    let join = if uri.contains('?') { '&' } else { '?' };
    let address = Address::new(&format!("{uri}{join}Reason={}", escape_header(reason)));
    HistoryInfo { address: address.unwrap_or_else(|| entry.address.clone()), ..entry.clone() }
}

/// How a Contact says that it came to be: another user, unless it says `rc` or `np` (RFC 7044 §10.4).
fn kind(contact: &NameAddr<'_>) -> HistoryTarget {
    match (contact.param("rc"), contact.param("np")) {
        (Some(_), _) => HistoryTarget::Contact,
        (_, Some(_)) => HistoryTarget::NoChange,
        _ => HistoryTarget::Mapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::Opening;
    use crate::message::Limits;
    use farspeak_sansio::{Flow, Transport};

    fn call(target: &str) -> Redirection {
        let any = "192.0.2.1:5060".parse().unwrap();
        let opening = Opening {
            target: target.into(),
            from: "<sip:a@b>".into(),
            to: "<sip:bob@b>".into(),
            contact: "<sip:a@192.0.2.1>".into(),
            route_set: Vec::new(),
            flow: Flow::unbound(Transport::Udp, any, any),
            account: None,
        };
        Redirection::new(Invite { opening, extra: Extra::new() })
    }

    fn moved(contacts: &str) -> Message {
        let text = format!("SIP/2.0 302 Moved Temporarily\r\nContact: {contacts}\r\n\r\n");
        Message::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn next(redirection: &mut Redirection) -> Option<String> {
        redirection.next().map(|invite| invite.opening.target.to_string())
    }

    #[test]
    fn targets_are_tried_by_preference_and_deeper_ones_first() {
        let mut redirection = call("sip:bob@b");
        assert_eq!(redirection.follow(&moved("<sip:1@b>;q=0.1, <sip:2@b>;q=0.7, <sip:3@b>;q=0.7, <tel:+1>")), 3);
        assert_eq!(next(&mut redirection).as_deref(), Some("sip:2@b"));
        assert_eq!(redirection.follow(&moved("<sip:4@b>;q=0.01")), 1);
        let order: Vec<_> = std::iter::from_fn(|| next(&mut redirection)).collect();
        assert_eq!(order, ["sip:4@b", "sip:3@b", "sip:1@b"]);
    }

    #[test]
    fn nobody_is_called_twice_and_no_more_than_16() {
        let mut redirection = call("sip:bob@b");
        assert_eq!(redirection.follow(&moved("<sip:bob@B>, <sip:c@b>, <sip:c@b;method=BYE>")), 1);
        next(&mut redirection).unwrap();
        assert_eq!(redirection.follow(&moved("<sip:bob@b>, <sip:c@b>")), 0);
        let many: Vec<_> = (0..99).map(|number| format!("<sip:{number}@b>")).collect();
        assert_eq!(redirection.follow(&moved(&many.join(", "))), MAX_TARGETS - 2);
        assert_eq!(
            call("sip:bob@b").follow(&Message::parse(b"SIP/2.0 486 Busy\r\n\r\n", &Limits::default()).unwrap()),
            0
        );
    }

    #[test]
    fn a_sips_call_never_becomes_another() {
        // RFC 5630 §5.1.1
        let mut redirection = call("sips:bob@b");
        redirection.follow(&moved("<sip:1@b>, <sips:2@b>"));
        assert_eq!(next(&mut redirection).as_deref(), Some("sips:2@b"));
        assert_eq!(next(&mut redirection), None);
    }

    #[test]
    fn the_history_says_who_redirected() {
        // RFC 7044 §10.2, §10.3
        let mut redirection = call("sip:bob@b");
        redirection.follow(&moved("<sip:c@b?Replaces=1%3Bto-tag%3D2%3Bfrom-tag%3D3&Route=x>"));
        redirection.next().unwrap();
        redirection.follow(&moved("<sip:d@b>;rc=1"));
        let expected = Extra::new()
            .header(HeaderName::HistoryInfo, "<sip:bob@b?Reason=SIP%3Bcause%3D302>;index=1")
            .header(HeaderName::HistoryInfo, "<sip:c@b?Reason=SIP%3Bcause%3D302>;index=1.1;mp=1")
            .header(HeaderName::HistoryInfo, "<sip:d@b>;index=1.1.1;rc=1.1");
        assert_eq!(redirection.next().unwrap().extra, expected);
    }
}

//! The registrar: turns a REGISTER of an authenticated user into changes of the location table (RFC 3261 §10.3, with
//! Path of RFC 3327, flows of RFC 5626 §6 and the `sips` rules of RFC 5630 §5.2).
//!
//! The shard hands over the request once the authenticator knows whose it is; the answer is ready at once, but a change
//! is told to the phone only when the store has it:
//!
//! ```text
//!   REGISTER ──> process ──┬─ Respond(answer)                          refused, or nothing to store
//!                          └─ Commit { rows, .. } ──> store ──> settle ──> 200, or 500 and the change undone
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::message::{Contacts, HeaderName, Message, NameAddr, Scheme, StatusCode, Uri};

use crate::answer::Answer;
use crate::binding::{Binding, BindingParts, BindingRow, Reach};
use crate::domain::{Aor, Domain};
use crate::location::{Change, Location, LocationError, apply};
use crate::shared::Clock;
use crate::users::User;

/// Bounds of registrations.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RegistrarConfig {
    /// Shortest registration; a shorter wish gets 423. Default 60 s, at most 1 h (RFC 3261 §10.3 step 7).
    pub min_expires: Duration,
    /// Longest registration; a longer wish is cut. Default 2 h.
    pub max_expires: Duration,
    /// Registration of a phone that does not say how long. Default 1 h.
    pub default_expires: Duration,
    /// Most contacts of one user, and of one request. Default 10.
    ///
    /// Contacts whose connection is gone make room for new ones, the oldest first.
    pub max_contacts: usize,
    /// Longest Contact, its parameters included, in bytes. Default 1024.
    pub max_contact_bytes: usize,
    /// Longest Path, in bytes, over all its values. Default 2048.
    pub max_path_bytes: usize,
    /// How often a phone with outbound is asked to send a keep-alive (RFC 5626 §4.4.1). Default 120 s; zero: not asked.
    pub flow_timer: Duration,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(7200),
            default_expires: Duration::from_secs(3600),
            max_contacts: 10,
            max_contact_bytes: 1024,
            max_path_bytes: 2048,
            flow_timer: Duration::from_secs(120),
        }
    }
}

/// What becomes of a REGISTER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answer now; nothing has changed.
    Respond(Answer),
    /// The table has changed; answer when the store has it.
    Commit(Box<Commit>),
}

/// A registration that waits for the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// Whose bindings changed.
    pub aor: Aor,
    /// Which change of the location table it is.
    pub version: u64,
    /// What the store writes, all or none, in order.
    pub rows: Vec<BindingRow>,
    success: Answer,
}

impl Commit {
    /// The store is done: makes the change final, or undoes it. Gives the answer for the phone.
    pub fn settle(self, now: Instant, location: &Location, stored: bool) -> Answer {
        if stored {
            location.confirm(&self.aor, self.version);
            return self.success;
        }
        location.rollback(now, &self.aor, self.version);
        let reason = "Registration Could Not Be Stored";
        Answer::because(StatusCode::SERVER_INTERNAL_ERROR, reason).with("Retry-After", RETRY_AFTER)
    }
}

/// The registrar of the domain. Made of references when needed; it holds nothing itself.
#[derive(Clone, Copy)]
pub struct Registrar<'a> {
    /// Settings.
    pub config: &'a RegistrarConfig,
    /// Which URIs are ours.
    pub domain: &'a Domain,
    /// The table.
    pub location: &'a Location,
    /// What the time is on the wall, for Date and the store.
    pub clock: Clock,
}

impl Registrar<'_> {
    /// Processes a REGISTER that came over `flow` with the valid credentials of `user`.
    pub fn process(&self, now: Instant, flow: &Flow, request: &Message, user: &User) -> Outcome {
        self.try_process(now, flow, request, user).unwrap_or_else(|refusal| Outcome::Respond(refusal.answer()))
    }

    fn try_process(&self, now: Instant, flow: &Flow, request: &Message, user: &User) -> Result<Outcome, Refusal> {
        let target = request.uri().map_err(|_| Refusal::Bad("Request-URI Cannot Be Read"))?;
        if !self.domain.is_ours(&target, flow) {
            return Err(Refusal::ForeignDomain); // step 1
        }
        self.check_required(request)?; // step 2; steps 3 and 4 are the authenticator's, and the next line
        let aor = self.aor(flow, request, user)?; // step 5
        let wish = self.read(flow, request, &target)?; // step 6

        let updated = self.location.update(now, self.clock, &aor, |old, version| {
            let changes = self.changes(now, flow, &aor, &wish, old, version)?;
            Ok::<_, Refusal>((changes, ()))
        })?;
        let success = self.success(now, &wish, &updated.bindings);
        if updated.version == 0 {
            return Ok(Outcome::Respond(success));
        }
        let commit = Commit { aor, version: updated.version, rows: updated.rows, success };
        Ok(Outcome::Commit(Box::new(commit)))
    }

    /// RFC 3261 §8.2.2.3.
    fn check_required(&self, request: &Message) -> Result<(), Refusal> {
        let known = |tag: &str| SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag));
        let unknown: Vec<&str> = request.require().filter(|tag| !known(tag)).take(16).collect();
        if unknown.is_empty() { Ok(()) } else { Err(Refusal::Unsupported(unknown.join(", "))) }
    }

    /// The canonical address-of-record, which only its user may register (no third-party registration).
    fn aor(&self, flow: &Flow, request: &Message, user: &User) -> Result<Aor, Refusal> {
        let to = request.to().map_err(|_| Refusal::Bad("To Cannot Be Read"))?;
        let uri = to.uri().map_err(|_| Refusal::Bad("To Cannot Be Read"))?;
        // RFC 5630 §5.2: `sip:` and `sips:` name the same address-of-record.
        let aor = self.domain.aor(&uri, flow).ok_or(Refusal::NotOurs)?;
        if aor.user() == user.name { Ok(aor) } else { Err(Refusal::SomebodyElse) }
    }

    /// Reads everything that the request says before anything is changed.
    fn read<'m>(&self, flow: &Flow, request: &'m Message, target: &Uri<'_>) -> Result<Wish<'m>, Refusal> {
        let supports = |tag: &str| request.supported().chain(request.require()).any(|it| it.eq_ignore_ascii_case(tag));
        let path = self.path(request, supports("path"))?;
        let outbound = Outbound {
            first_hop: request.vias().count() == 1,
            edge_has_ob: first_path_has_ob(request),
            asked: supports("outbound"),
        };
        // A malformed Expires counts as one hour (RFC 3261 §20.19); absent, the choice is ours.
        let expires = request.expires().unwrap_or(Some(MALFORMED_EXPIRES));
        let contacts = request.contacts().map_err(|_| Refusal::Bad("Contact Cannot Be Read"))?;
        let wanted = match contacts {
            Contacts::None => Wanted::Nothing,
            Contacts::Star if request.expires() == Ok(Some(0)) => Wanted::RemoveAll,
            Contacts::Star => return Err(Refusal::Bad("Contact * Needs Expires: 0")),
            Contacts::List(list) => {
                let mut places = Vec::new();
                for contact in list {
                    if places.len() >= self.config.max_contacts {
                        return Err(Refusal::TooMany);
                    }
                    let contact = contact.map_err(|_| Refusal::Bad("Contact Cannot Be Read"))?;
                    places.push(self.place(flow, &contact, expires, outbound)?);
                }
                self.check_together(&places, target, request)?;
                Wanted::Places(places)
            }
        };
        Ok(Wish {
            wanted,
            path,
            outbound: outbound.asked,
            call_id: request.call_id().map_err(|_| Refusal::Bad("Call-ID Cannot Be Read"))?,
            cseq: request.cseq().map_err(|_| Refusal::Bad("CSeq Cannot Be Read"))?.number,
            user_agent: one_line(request.header(HeaderName::UserAgent).unwrap_or_default()),
        })
    }

    /// RFC 3327 §5.3: a Path that the phone has not agreed to was put there by somebody else.
    fn path(&self, request: &Message, supported: bool) -> Result<String, Refusal> {
        let values: Vec<&str> = request.headers(HeaderName::Path).collect();
        if values.is_empty() {
            return Ok(String::new());
        }
        if !supported {
            return Err(Refusal::Unsupported("path".to_owned()));
        }
        let is_sip = |path: NameAddr<'_>| path.uri().is_ok_and(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips));
        if !request.paths().all(|path| path.is_ok_and(is_sip)) {
            return Err(Refusal::Bad("Path Cannot Be Read"));
        }
        let path = one_line(&values.join(", ")).into_owned();
        if path.len() > self.config.max_path_bytes { Err(Refusal::Bad("Path Is Too Long")) } else { Ok(path) }
    }

    /// One Contact: where it is, and for how long.
    fn place<'m>(
        &self,
        flow: &Flow,
        contact: &NameAddr<'m>,
        expires: Option<u32>,
        outbound: Outbound,
    ) -> Result<Place<'m>, Refusal> {
        let uri = contact.uri().map_err(|_| Refusal::Bad("Contact Cannot Be Read"))?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return Err(Refusal::Bad("Only SIP Contacts Can Be Registered"));
        }
        // RFC 3261 §19.1.1: what is sent to the contact could carry neither.
        if uri.headers.is_some() || uri.param("method").is_some() {
            return Err(Refusal::Bad("A Contact Has No Method And No Headers"));
        }
        // A request to a live Contact takes that Contact's flow: nobody may have a name of ours as Contact. Addresses may
        // be ours and a phone's at once, behind two NATs; there the proxy prefers the user whom the URI names.
        if self.domain.is_ours(&uri, flow) && (uri.user.is_none() || uri.host.address().is_none()) {
            return Err(Refusal::OurOwnContact);
        }
        let place = Place {
            uri: contact.uri_text,
            is_sips: uri.is_sips(),
            params: kept_params(contact),
            instance: contact.instance(),
            reg_id: contact.reg_id(),
            q: contact.q().unwrap_or(1000),
            seconds: self.granted(contact, expires)?,
        };
        if place.uri.len() + place.params.len() > self.config.max_contact_bytes {
            return Err(Refusal::Bad("Contact Is Too Long"));
        }
        place.under_outbound(outbound)
    }

    /// How long the contact is kept: its own parameter, else the header field, else our choice (step 7).
    fn granted(&self, contact: &NameAddr<'_>, expires: Option<u32>) -> Result<u32, Refusal> {
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let Some(wish) = contact.expires().or(expires) else { return Ok(seconds(self.config.default_expires)) };
        let (min, max) = (seconds(self.config.min_expires).min(3600), seconds(self.config.max_expires));
        if wish > 0 && wish < min.min(max) {
            return Err(Refusal::TooBrief(min.min(max)));
        }
        Ok(wish.min(max))
    }

    /// What the Contacts of one request must agree in.
    fn check_together(&self, places: &[Place<'_>], target: &Uri<'_>, request: &Message) -> Result<(), Refusal> {
        let lasting = || places.iter().filter(|place| place.seconds > 0);
        // RFC 5626 §6: one phone over one flow.
        if lasting().count() > 1 && lasting().any(|place| place.reg_id.is_some()) {
            return Err(Refusal::Bad("One Contact At A Time With reg-id"));
        }
        // RFC 5630 §5.2.
        if places.iter().any(|place| place.is_sips) {
            let is_sips = |path: &NameAddr<'_>| path.uri().is_ok_and(|uri| uri.is_sips());
            let secure = places.iter().all(|place| place.is_sips)
                && target.is_sips()
                && request.paths().all(|path| path.as_ref().is_ok_and(is_sips));
            if !secure {
                return Err(Refusal::Bad("A sips Contact Needs sips Throughout"));
            }
        }
        Ok(())
    }

    /// What to change, seen from the current bindings: all of it or nothing (step 7).
    fn changes(
        &self,
        now: Instant,
        flow: &Flow,
        aor: &Aor,
        wish: &Wish<'_>,
        old: &[Arc<Binding>],
        version: u64,
    ) -> Result<Vec<Change>, Refusal> {
        let in_order = |binding: &Binding| binding.call_id() != wish.call_id || wish.cseq > binding.cseq();
        let places = match &wish.wanted {
            Wanted::Nothing => return Ok(Vec::new()),
            Wanted::RemoveAll if old.iter().all(|binding| in_order(binding)) => {
                return Ok(old.iter().cloned().map(Change::Remove).collect());
            }
            Wanted::RemoveAll => return Err(Refusal::OutOfOrder),
            Wanted::Places(places) => places,
        };
        let mut changes = Vec::with_capacity(places.len());
        let user_agent = self.location.intern_agent(&wish.user_agent);
        for place in places {
            let new = Binding::new(&BindingParts {
                aor: aor.clone(),
                contact: place.uri,
                params: &place.params,
                instance: place.instance.unwrap_or_default(),
                reg_id: place.reg_id,
                q: place.q,
                call_id: wish.call_id,
                cseq: wish.cseq,
                path: &wish.path,
                user_agent: user_agent.clone(),
                reach: Reach::Flow(*flow),
                since: version,
                updated_at: now,
                expires_at: now + Duration::from_secs(u64::from(place.seconds)),
                version,
            });
            let new = new.ok_or(Refusal::Bad("Contact Is Too Long"))?;
            let held: Vec<_> = old.iter().filter(|it| it.is_same_place(&new)).collect();
            if !held.iter().all(|binding| in_order(binding)) {
                return Err(Refusal::OutOfOrder);
            }
            if place.seconds == 0 {
                changes.retain(|change| !matches!(change, Change::Put(it) if it.is_same_place(&new)));
                changes.extend(held.into_iter().cloned().map(Change::Remove));
                continue;
            }
            // A phone that came back under another Contact has left its old one behind.
            let ghosts = old.iter().filter(|it| is_ghost(it, &new) && !it.is_same_place(&new));
            changes.extend(ghosts.cloned().map(Change::Remove));
            let since = held.iter().map(|it| it.since()).min().unwrap_or(version);
            changes.push(Change::Put(Arc::new(new.with_since(since))));
        }
        self.make_room(old, &mut changes)?;
        Ok(changes)
    }

    /// Lost contacts give way, the oldest first; if that is not enough, the request is refused.
    fn make_room(&self, old: &[Arc<Binding>], changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let after = apply(old, changes);
        let excess = after.len().saturating_sub(self.config.max_contacts);
        let mut lost: Vec<_> = after.into_iter().filter(|binding| !binding.is_reachable()).collect();
        if excess > lost.len() {
            return Err(Refusal::TooMany);
        }
        lost.sort_by_key(|binding| binding.updated_at());
        // Before the additions: a removal must not take away what this request has put in the same place.
        changes.splice(0..0, lost.into_iter().take(excess).map(Change::Remove));
        Ok(())
    }

    /// The 200: every current contact with what remains of it (step 8).
    fn success(&self, now: Instant, wish: &Wish<'_>, bindings: &[Arc<Binding>]) -> Answer {
        let mut answer = Answer::new(StatusCode::OK);
        for binding in bindings {
            answer = answer.with("Contact", contact_value(binding, now));
        }
        if !wish.path.is_empty() {
            answer = answer.with("Path", wish.path.clone()); // RFC 3327 §5.3
        }
        let by_flow = matches!(&wish.wanted, Wanted::Places(places) if places.iter().any(Place::is_flow));
        if by_flow && wish.outbound {
            answer = answer.with("Require", "outbound"); // RFC 5626 §6
            if !self.config.flow_timer.is_zero() {
                answer = answer.with("Flow-Timer", self.config.flow_timer.as_secs().to_string());
            }
        }
        answer = answer.with("Supported", SUPPORTED.join(", "));
        answer.with("Date", date(self.clock.unix_ms(now)))
    }
}

/// What a REGISTER asks for.
struct Wish<'m> {
    wanted: Wanted<'m>,
    path: String,
    /// Whether the phone has the extension (RFC 5626).
    outbound: bool,
    call_id: &'m str,
    cseq: u32,
    user_agent: Cow<'m, str>,
}

enum Wanted<'m> {
    /// To be told what there is.
    Nothing,
    /// `Contact: *`.
    RemoveAll,
    Places(Vec<Place<'m>>),
}

/// One Contact, read.
struct Place<'m> {
    uri: &'m str,
    is_sips: bool,
    params: String,
    instance: Option<&'m str>,
    reg_id: Option<u32>,
    q: u16,
    /// 0 removes it.
    seconds: u32,
}

/// What decides whether `reg-id` counts (RFC 5626 §6).
#[derive(Clone, Copy)]
struct Outbound {
    first_hop: bool,
    edge_has_ob: bool,
    asked: bool,
}

impl Place<'_> {
    fn under_outbound(mut self, outbound: Outbound) -> Result<Self, Refusal> {
        let applies = outbound.first_hop || outbound.edge_has_ob;
        if self.reg_id.is_some() && !applies && outbound.asked {
            return Err(Refusal::NoOutboundAtFirstHop);
        }
        if self.instance.is_none() || !applies {
            self.reg_id = None; // ignored
        }
        Ok(self)
    }

    fn is_flow(&self) -> bool {
        self.reg_id.is_some() && self.seconds > 0
    }
}

/// Why a REGISTER is refused. All but the last two are the phone's fault.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Refusal {
    /// It cannot be read, or contradicts itself.
    Bad(&'static str),
    /// It is for a registrar elsewhere.
    ForeignDomain,
    /// To is no address of ours.
    NotOurs,
    /// To is another user than who authenticated.
    SomebodyElse,
    /// A Contact would lead back to this node.
    OurOwnContact,
    /// More contacts than a user may have.
    TooMany,
    /// It requires, or brings along, extensions that do not apply.
    Unsupported(String),
    /// The registration would be too short; the shortest, in seconds.
    TooBrief(u32),
    /// The edge proxy cannot keep the flow (RFC 5626 §11.6).
    NoOutboundAtFirstHop,
    /// An older request than the one that wrote the binding.
    OutOfOrder,
    /// The table is full or the store is behind.
    Overloaded,
}

impl From<LocationError> for Refusal {
    fn from(_: LocationError) -> Self {
        Self::Overloaded
    }
}

impl Refusal {
    fn answer(self) -> Answer {
        match self {
            Self::Bad(reason) => Answer::because(StatusCode::BAD_REQUEST, reason),
            Self::ForeignDomain => Answer::because(StatusCode::FORBIDDEN, "Not The Registrar Of That Domain"),
            Self::NotOurs => Answer::new(StatusCode::NOT_FOUND),
            Self::SomebodyElse => Answer::because(StatusCode::FORBIDDEN, "To Is Not Who Authenticated"),
            Self::OurOwnContact => Answer::because(StatusCode::FORBIDDEN, "Contact Names This Server"),
            Self::TooMany => Answer::because(StatusCode::FORBIDDEN, "Too Many Contacts"),
            Self::Unsupported(tags) => Answer::new(StatusCode::BAD_EXTENSION).with("Unsupported", tags),
            Self::TooBrief(min) => Answer::new(StatusCode::INTERVAL_TOO_BRIEF).with("Min-Expires", min.to_string()),
            Self::NoOutboundAtFirstHop => Answer::new(StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT),
            // RFC 3261 §10.3 step 7 wants a failure and names none; 500 is what §12.2.2 gives a CSeq that is too low.
            Self::OutOfOrder => Answer::because(StatusCode::SERVER_INTERNAL_ERROR, "CSeq Is Not Newer"),
            Self::Overloaded => Answer::new(StatusCode::SERVICE_UNAVAILABLE).with("Retry-After", RETRY_AFTER),
        }
    }
}

/// Whether `old` is what the phone of `new` had before its connection broke: same instance, no way back, and not
/// another numbered flow of it (RFC 5626 §4.2).
fn is_ghost(old: &Binding, new: &Binding) -> bool {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let same_phone = matches!((old.instance(), new.instance()), (Some(old), Some(new)) if same(old, new));
    same_phone && !old.is_reachable() && (old.reg_id().is_none() || new.reg_id().is_none())
}

fn first_path_has_ob(request: &Message) -> bool {
    let first = request.paths().next().and_then(Result::ok);
    first.and_then(|path| Some(path.uri().ok()?.param("ob").is_some())).unwrap_or(false)
}

fn contact_value(binding: &Binding, now: Instant) -> String {
    let mut value = String::with_capacity(binding.contact().len() + binding.params().len() + 32);
    let _ = write!(value, "<{}>;expires={}", binding.contact(), binding.remaining(now)); // a String takes everything
    if binding.q() < 1000 {
        let digits = format!("{:03}", binding.q());
        value.push_str(";q=0.");
        value.push_str(digits.trim_end_matches('0'));
        if binding.q() == 0 {
            value.push('0');
        }
    }
    value.push_str(binding.params());
    value
}

/// The parameters of a Contact that are kept and echoed: all but those that the binding has a place for.
fn kept_params(contact: &NameAddr<'_>) -> String {
    let mut kept = String::new();
    for (name, value) in contact.params.iter() {
        if ["expires", "q"].iter().any(|own| own.eq_ignore_ascii_case(name)) {
            continue;
        }
        kept.extend([";", name]);
        if let Some(value) = value {
            kept.extend(["=", &one_line(value)]);
        }
    }
    kept
}

/// White space of any kind and length becomes one space: what is kept never breaks a line.
fn one_line(text: &str) -> Cow<'_, str> {
    let mut spaced = true; // nothing before the first word
    let tidy = text.bytes().all(|byte| {
        let before = std::mem::replace(&mut spaced, byte == b' ');
        if spaced { !before } else { !byte.is_ascii_whitespace() }
    });
    if tidy && (!spaced || text.is_empty()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// RFC 3261 §20.17: `Sat, 13 Nov 2010 23:29:00 GMT`.
fn date(unix_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = u64::try_from(unix_ms / 1000).unwrap_or(0);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin in March, so that the leap day comes last.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = 400 * era + year_of_era + u64::from(month < 2);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut date = String::with_capacity("Sat, 13 Nov 2010 23:29:00 GMT".len());
    // A String takes everything.
    let _ = write!(date, "{weekday}, {day_of_month:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT");
    date
}

/// The extensions of registrations that we have.
const SUPPORTED: [&str; 2] = ["path", "outbound"];
/// What a malformed Expires counts as, in seconds (RFC 3261 §20.19).
const MALFORMED_EXPIRES: u32 = 3600;
/// When a phone tries again after a fault of ours, in seconds.
const RETRY_AFTER: &str = "5";

#[cfg(test)]
mod tests;

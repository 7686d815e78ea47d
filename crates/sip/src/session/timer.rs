//! Session timers: a session that is not refreshed ends at both ends (RFC 4028).
//!
//! ```text
//!   2xx ──┬─ we refresh: at half the interval UPDATE, or a re-INVITE that changes nothing ──2xx──> from the start
//!         │              refused: again after half of what is left
//!         └─ either end: nothing came in time ──> BYE, min(32 s, interval / 3) before the end      (§10)
//! ```
//!
//! Every INVITE and UPDATE is a refresh, whatever else it is for: [`glare`](super::glare) sends them again after a 422, and
//! the files of the verbs call here when one leaves, comes in, or has its 2xx. What the two ends agree on is in
//! [`interval`](super::interval).

use std::sync::Arc;
use std::time::Duration;

use farspeak_sansio::Instant;

use super::interval::{self, Asked, Wish};
use super::{HowEnded, Opening, Session};
use crate::dialog::DialogKey;
use crate::endpoint::ServerTx;
use crate::header::{MinSe, OptionTag, Refresher, SessionExpires};
use crate::message::{HeaderName, Message, Method, StatusCode};
use crate::user_agent::{Context, Extra, Failure, TimerKind};

/// The session timer of a leg.
#[derive(Debug, Default)]
pub(super) struct SessionTimer {
    running: Option<Running>,
    /// The longest shortest interval that anybody in this dialog has named (§7.4).
    least: Option<u32>,
    /// What our last INVITE or UPDATE asked for, in seconds.
    asked: Option<u32>,
}

/// A timer that both ends have agreed on, or that we keep for ourselves.
#[derive(Debug)]
struct Running {
    /// Seconds.
    interval: u32,
    /// Whether we refresh.
    ours: bool,
    /// When we end the session.
    ends: Instant,
    expiry: u64,
    refresh: Option<u64>,
}

/// How long before the end the session is ended, at most (§10).
const MARGIN: Duration = Duration::from_secs(32);

/// Shortest time between two attempts to refresh.
const PAUSE: Duration = Duration::from_secs(10);

/// Most times that an INVITE is sent again with a longer interval: a bound against servers that always want more.
pub(super) const MAX_RAISES: u32 = 5;

impl SessionTimer {
    pub fn has_timer(&self, serial: u64) -> bool {
        self.running.as_ref().is_some_and(|running| running.expiry == serial || running.refresh == Some(serial))
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// What an INVITE or UPDATE of ours says (§7.1, §7.4), added to what it says otherwise.
    pub fn ask(&mut self, wish: Option<Wish>, extra: &Extra) -> Extra {
        let Some(wish) = wish.filter(|_| !extra.has(HeaderName::SessionExpires)) else {
            self.asked = None;
            return extra.clone();
        };
        let least = self.least.map(|least| least.max(wish.least));
        let refresher = |running: &Running| if running.ours { Refresher::Uac } else { Refresher::Uas };
        let (interval, refresher) = match &self.running {
            Some(running) => (Some(running.interval), Some(refresher(running))),
            None => (wish.interval, None),
        };
        let delta = interval.map(|interval| interval.max(least.unwrap_or(MinSe::DEFAULT.0)));
        self.asked = delta;
        let mut extra = extra.clone();
        if let Some(delta) = delta {
            extra = extra.header(HeaderName::SessionExpires, SessionExpires { delta, refresher }.to_string());
        }
        if let Some(least) = least {
            extra = extra.header(HeaderName::MinSe, MinSe(least).to_string());
        }
        extra
    }

    /// Takes a 422; whether there is any use in asking again.
    pub fn refused(&mut self, response: &Message) -> bool {
        let least = interval::least_of(response);
        self.raise(least);
        matches!((self.asked, least), (Some(asked), Some(least)) if least > asked)
    }

    fn raise(&mut self, least: Option<u32>) {
        self.least = self.least.max(least);
    }
}

impl Context<'_> {
    /// What this end wants; `None` if it acts as one that knows nothing of timers.
    pub(super) fn wish(&self) -> Option<Wish> {
        let config = &self.shared.config;
        let least = config.min_session_interval.max(MinSe::DEFAULT.0);
        let interval = config.session_interval.map(|interval| interval.max(least));
        self.has_extension(OptionTag::Timer).then_some(Wish { interval, least })
    }

    /// Refuses an INVITE or UPDATE whose session interval is too small (§9); `true` if it did.
    pub(super) fn refuse_interval(&mut self, tx: ServerTx, dialog: Option<DialogKey>, request: &Message) -> bool {
        let Some(Wish { least, .. }) = self.wish().filter(|wish| Asked::of(request).is_below(wish.least)) else {
            return false;
        };
        let extra = Extra::new().header(HeaderName::MinSe, MinSe(least).to_string());
        self.respond(tx, StatusCode::SESSION_INTERVAL_TOO_SMALL, dialog, &extra);
        true
    }
}

impl Session {
    /// An INVITE or UPDATE of ours is about to leave in a leg. In an early dialog there is nothing to refresh.
    pub(super) fn ask_for_timer(&mut self, cx: &mut Context<'_>, index: usize, extra: &Arc<Extra>) -> Arc<Extra> {
        let leg = &mut self.legs[index];
        if leg.is_up() { Arc::new(leg.timer.ask(cx.wish(), extra)) } else { Arc::clone(extra) }
    }

    /// A 2xx to an INVITE or UPDATE of ours in a leg that stands (§7.2).
    pub(super) fn timer_agreed(&mut self, cx: &mut Context<'_>, index: usize, response: &Message) {
        if cx.wish().is_none() {
            return;
        }
        let asked = self.legs[index].timer.asked.take();
        let (interval, refresher) = match SessionExpires::of(response) {
            // A 2xx names the refresher; where it does not, we had better do it.
            Ok(Some(expires)) => (expires.delta, expires.refresher.unwrap_or(Refresher::Uac)),
            // The peer knows nothing of timers: it is for our own benefit, and our own work.
            _ => match asked.filter(|_| !interval::supports(response)) {
                Some(asked) => (asked, Refresher::Uac),
                None => return self.legs[index].timer.stop(),
            },
        };
        self.start_timer(cx, index, interval, refresher == Refresher::Uac);
    }

    /// The 2xx to the opening INVITE.
    pub(super) fn timer_agreed_at_first(&mut self, cx: &mut Context<'_>, index: usize, response: &Message) {
        if let Opening::Calling(calling) = &self.opening {
            self.legs[index].timer.asked = calling.timer.asked;
        }
        self.timer_agreed(cx, index, response);
    }

    /// A 2xx of ours to the peer's INVITE or UPDATE is about to leave (§9): what it says of the timer.
    pub(super) fn grant_timer(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        request: &Message,
        extra: &Extra,
    ) -> Extra {
        let leg = &mut self.legs[index];
        let asked = Asked::of(request);
        leg.timer.raise(interval::least_of(request));
        let Some(wish) = cx.wish().filter(|_| !extra.has(HeaderName::SessionExpires)) else { return extra.clone() };
        let current = leg.timer.running.as_ref().map(|running| (running.interval, running.ours));
        let Some(granted) = interval::grant(&asked, wish, current) else {
            match current {
                // A peer without timers: its request is a sign of life, and the timer is ours alone.
                Some((interval, true)) if !asked.supports => self.start_timer(cx, index, interval, true),
                _ => leg.timer.stop(),
            }
            return extra.clone();
        };
        let ours = granted.refresher == Some(Refresher::Uas);
        self.start_timer(cx, index, granted.delta, ours);
        let extra = extra.clone().header(HeaderName::SessionExpires, granted.to_string());
        // §9: MUST if the peer refreshes, SHOULD if it understands.
        if asked.supports { extra.header(HeaderName::Require, OptionTag::Timer.as_str()) } else { extra }
    }

    /// The session lives from now on for the interval.
    fn start_timer(&mut self, cx: &mut Context<'_>, index: usize, interval: u32, ours: bool) {
        let owner = self.owner();
        let leg = &mut self.legs[index];
        // What waits to be sent again only to refresh has nothing left to do.
        leg.backoff.take_if(|backoff| backoff.attempt.refreshes);
        let interval = interval.max(MinSe::DEFAULT.0);
        let whole = Duration::from_secs(interval.into());
        let life = whole - MARGIN.min(whole / 3);
        let expiry = cx.arm(owner, TimerKind::SessionExpiry, life);
        let refresh = ours.then(|| cx.arm(owner, TimerKind::SessionRefresh, whole / 2));
        leg.timer.running = Some(Running { interval, ours, ends: cx.now + life, expiry, refresh });
    }

    /// Half of the time that was left is over: the session wants to be refreshed (§7.4, §10).
    pub(super) fn refresh_due(&mut self, cx: &mut Context<'_>, serial: u64) {
        let Some(index) = self.legs.iter().position(|leg| leg.timer.has_timer(serial)) else { return };
        let owner = self.owner();
        if let Some(running) = &mut self.legs[index].timer.running {
            // Its 2xx starts the timer anew; without one there is another attempt.
            let pause = (running.ends - cx.now) / 2;
            running.refresh = (pause >= PAUSE).then(|| cx.arm(owner, TimerKind::SessionRefresh, pause));
        }
        self.refresh(cx, index);
    }

    /// Refreshes the session, unless something is under way that does so too.
    pub(super) fn refresh(&mut self, cx: &mut Context<'_>, index: usize) {
        let leg = &mut self.legs[index];
        if leg.backoff.is_some() {
            return;
        }
        if leg.peer.allows(&Method::Update) {
            if self.may_update(cx, index, false) {
                let attempt = self.first_attempt(index, Method::Update, Arc::new(Extra::new())).refreshing();
                let _ = self.send_update(cx, index, attempt);
            }
        } else if self.may_reinvite(index) {
            let extra = self.unchanged(index, Extra::new());
            let attempt = self.first_attempt(index, Method::Invite, Arc::new(extra)).refreshing();
            let _ = self.send_reinvite(cx, index, attempt);
        }
    }

    /// A refresh failed in a way that does not end the session: the next attempt is armed already, but for UPDATE there is
    /// another way.
    pub(super) fn refresh_failed(&mut self, cx: &mut Context<'_>, index: usize, method: &Method, failure: &Failure) {
        if *method == Method::Update && matches!(failure.status().code(), 405 | 501) {
            self.legs[index].peer.lacks(method);
            self.refresh(cx, index);
        }
    }

    /// Nobody has refreshed the session in time (§10).
    pub(super) fn session_expired(&mut self, cx: &mut Context<'_>, serial: u64) {
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.timer.has_timer(serial)) else { return };
        leg.timer.stop();
        self.end(cx, HowEnded::Expired);
        let _ = self.hang_up(cx, &Extra::new());
    }

    /// The INVITE that shall open the session was refused with a 422: sends it again with the interval that the 422 names
    /// (§7.3). `false` if that makes no sense.
    pub(super) fn invite_with_longer_interval(&mut self, cx: &mut Context<'_>, response: &Message) -> bool {
        let owner = self.owner();
        let wish = cx.wish();
        let Opening::Calling(calling) = &mut self.opening else { return false };
        let wanted = !calling.cancelled && !self.ended && calling.raises < MAX_RAISES;
        if response.status() != Some(StatusCode::SESSION_INTERVAL_TOO_SMALL)
            || !wanted
            || !calling.timer.refused(response)
        {
            return false;
        }
        let extra = Arc::new(calling.timer.ask(wish, &calling.extra));
        let Some(tx) = cx.request(owner, calling.half, Method::Invite, extra) else { return false };
        calling.tx = tx;
        calling.raises += 1;
        self.drop_early_legs(cx);
        true
    }
}

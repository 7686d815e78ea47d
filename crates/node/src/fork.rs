//! The target set and the response context of one forwarded request (RFC 3261 §16.5–16.7).
//!
//! ```text
//! TargetSet  ──next_group──▶  Branch, Branch, …  ──outcomes──▶  choose_best ──▶ one final response
//! (by q, highest first)       (equal q: in parallel)            (2xx have gone through long before)
//! ```
//!
//! Nothing here sends: [`crate::proxy`] does, and keeps one [`Context`] per server transaction.

use std::sync::Arc;

use farspeak_sansio::{Flow, Instant};
use farspeak_sip::endpoint::ClientTx;
use farspeak_sip::message::{Message, StatusCode};

use crate::binding::Binding;
use crate::route::RoutePlan;

/// Where a request may go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To a registered phone: its Contact becomes the Request-URI.
    Binding(Arc<Binding>),
    /// To the registered phone whose Contact the Request-URI names already.
    Phone(Arc<Binding>),
    /// Along a dialog: over this flow, the Request-URI as it is.
    Dialog(Flow),
}

impl Target {
    /// The flow to send over; `None` for a phone that is out of reach now.
    pub fn flow(&self) -> Option<Flow> {
        match self {
            Self::Binding(binding) | Self::Phone(binding) => binding.flow(),
            Self::Dialog(flow) => Some(*flow),
        }
    }

    /// The registration it is reached by, if by one.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match self {
            Self::Binding(binding) | Self::Phone(binding) => Some(binding),
            Self::Dialog(_) => None,
        }
    }

    fn q(&self) -> u16 {
        self.binding().map_or(1000, |binding| binding.q())
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self.binding(), other.binding()) {
            (Some(a), Some(b)) => a.aor() == b.aor() && a.contact() == b.contact(),
            (None, None) => self.flow() == other.flow(),
            _ => false,
        }
    }
}

/// The targets not yet tried (RFC 3261 §16.5), each at most once per request.
#[derive(Clone, Debug, Default)]
pub struct TargetSet {
    /// Lowest q first: groups are taken off the end.
    waiting: Vec<Target>,
    /// How many may still be added.
    room: usize,
}

impl TargetSet {
    /// The targets, at most `max` of them over the life of the request.
    pub fn new(targets: impl IntoIterator<Item = Target>, max: usize) -> Self {
        let mut set = Self { waiting: Vec::new(), room: max };
        let mut targets: Vec<Target> = targets.into_iter().collect();
        targets.sort_by_key(|target| std::cmp::Reverse(target.q()));
        targets.truncate(max);
        set.room -= targets.len();
        targets.reverse();
        set.waiting = targets;
        set
    }

    /// Adds a target found on the way (a redirect). Nothing happens if it is known or the set is full.
    pub fn add(&mut self, target: Target, tried: &[Branch]) {
        let known = self.waiting.iter().chain(tried.iter().map(|branch| &branch.target));
        if self.room == 0 || known.into_iter().any(|known| known.is_same(&target)) {
            return;
        }
        self.room -= 1;
        let at = self.waiting.partition_point(|waiting| waiting.q() < target.q());
        self.waiting.insert(at, target);
    }

    /// Takes the next group: the targets of the highest q.
    pub fn next_group(&mut self) -> Vec<Target> {
        let Some(q) = self.waiting.last().map(Target::q) else { return Vec::new() };
        let at = self.waiting.partition_point(|target| target.q() < q);
        let mut group = self.waiting.split_off(at);
        group.reverse();
        group
    }

    /// Whether every target has been tried.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets the targets not yet tried (RFC 3261 §16.7 step 5: after a 2xx or 6xx; §16.10: after a CANCEL).
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.room = 0;
    }
}

/// How a branch ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With this final response.
    Response(Arc<Message>),
    /// With silence: Timer B, F or C (RFC 3261 §16.7: as if a 408 had come).
    TimedOut,
    /// It could not be sent, or the phone is out of reach now (RFC 3261 §16.9: as if a 503 had come).
    Unreachable,
}

/// One forwarded copy of the request.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Where it went.
    pub target: Target,
    /// Its client transaction, as long as that lives.
    pub client: Option<ClientTx>,
    /// How it ended; `None` while it is pending.
    pub outcome: Option<Outcome>,
    /// Whether a provisional response has come.
    pub proceeding: bool,
    /// Whether we cancelled it because it took too long: its 487 then stands for a 408.
    pub expired: bool,
    /// Whether a CANCEL is under way.
    pub cancelled: bool,
    /// Distinguishes the Timer C that is armed from those it replaced (RFC 3261 §16.7 step 2).
    pub timer_c: u32,
    /// When a provisional response last armed it.
    pub timer_c_at: Option<Instant>,
}

impl Branch {
    /// A branch that has just been sent.
    pub fn new(target: Target, client: Option<ClientTx>) -> Self {
        Self {
            target,
            client,
            outcome: None,
            proceeding: false,
            expired: false,
            cancelled: false,
            timer_c: 0,
            timer_c_at: None,
        }
    }

    /// Whether no final response has come yet.
    pub fn is_pending(&self) -> bool {
        self.outcome.is_none()
    }
}

/// Everything about one request that is being forwarded (RFC 3261 §16.7 "response context").
#[derive(Debug)]
pub struct Context {
    /// The request as received, our stamps on its Via included.
    pub request: Arc<Message>,
    /// Where it came from.
    pub flow: Flow,
    /// Whether it is an INVITE.
    pub invite: bool,
    /// What its Route said.
    pub plan: RoutePlan,
    /// The second part of its branches (RFC 5393 §4.2).
    pub loop_key: u64,
    /// How many branches may be pending at once (RFC 5393 §5.3).
    pub breadth: u32,
    /// Where it may still go.
    pub targets: TargetSet,
    /// Where it went.
    pub branches: Vec<Branch>,
    /// Whether the caller has cancelled.
    pub cancelled: bool,
    /// Whether a final response has been forwarded or made.
    pub finished: bool,
    /// Whether the server transaction has ended.
    pub server_gone: bool,
    /// Who authenticated with it, as in [`Side`](crate::flow_token::Side); 0 if nobody.
    pub caller: u32,
}

impl Context {
    /// Whether a final response has been sent upstream.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether nothing can happen any more.
    pub fn is_over(&self) -> bool {
        self.server_gone && self.branches.iter().all(|branch| branch.client.is_none())
    }

    /// Whether a branch still waits for its final response.
    pub fn is_pending(&self) -> bool {
        self.branches.iter().any(Branch::is_pending)
    }
}

/// What to answer once every branch has ended without a 2xx.
#[derive(Clone, Debug)]
pub enum Best {
    /// This response, with these other challenges added to it if it is one (RFC 3261 §16.7 step 7).
    Forward(Arc<Message>, Vec<Arc<Message>>),
    /// A response of our own.
    Own(StatusCode),
}

/// Chooses the best response (RFC 3261 §16.7 step 6).
///
/// Any 6xx; else the lowest class. Within 4xx those first that tell the caller how to do better (401, 407, 415, 420,
/// 484), those last that only say that nobody was there (408, 480, 487). A 503 says something about the next hop, not
/// about us, and becomes a 500.
///
/// Deviation: where RFC 3261 §16.9 has a branch that could not be sent count as a 503 too, and nobody could be reached at
/// all, the answer is 480: that, and not a server error, is what being offline means.
pub fn choose_best(branches: &[Branch]) -> Best {
    let mut best: Option<(u16, &Outcome)> = None;
    for branch in branches {
        let Some(outcome) = &branch.outcome else { continue };
        let outcome = if branch.expired { expired(outcome) } else { outcome };
        let rank = rank(outcome);
        if best.is_none_or(|(lowest, _)| rank < lowest) {
            best = Some((rank, outcome));
        }
    }
    match best {
        None | Some((_, Outcome::Unreachable)) => Best::Own(StatusCode::TEMPORARILY_UNAVAILABLE),
        Some((_, Outcome::TimedOut)) => Best::Own(StatusCode::REQUEST_TIMEOUT),
        Some((_, Outcome::Response(response))) => match code(response) {
            503 => Best::Own(StatusCode::SERVER_INTERNAL_ERROR),
            401 | 407 => Best::Forward(Arc::clone(response), other_challenges(branches, response)),
            _ => Best::Forward(Arc::clone(response), Vec::new()),
        },
    }
}

/// A branch that we gave up on has timed out, whatever its 487 says.
fn expired(outcome: &Outcome) -> &Outcome {
    match outcome {
        Outcome::Response(response) if code(response) == 487 => &Outcome::TimedOut,
        other => other,
    }
}

fn other_challenges(branches: &[Branch], chosen: &Arc<Message>) -> Vec<Arc<Message>> {
    let challenge = |branch: &Branch| match &branch.outcome {
        Some(Outcome::Response(response)) if matches!(code(response), 401 | 407) => Some(Arc::clone(response)),
        _ => None,
    };
    branches.iter().filter_map(challenge).filter(|response| !Arc::ptr_eq(response, chosen)).collect()
}

/// Lower is better.
fn rank(outcome: &Outcome) -> u16 {
    let code = match outcome {
        Outcome::Response(response) => code(response),
        Outcome::TimedOut => 408,
        Outcome::Unreachable => return 599,
    };
    match code {
        600.. => code - 600,
        401 | 407 => 400,
        415 | 420 | 484 => 401,
        408 => 499,
        480 => 497,
        487 => 498,
        400..=499 => 402 + (code - 400) / 2,
        503 => 598,
        500..=599 => 500 + (code - 500) / 2,
        _ => code,
    }
}

fn code(response: &Message) -> u16 {
    response.status().map_or(0, |status| status.code())
}

/// Divides Max-Breadth among `branches` parallel branches (RFC 5393 §5.3.3): every one at least 1, together no more than
/// `breadth`. `None` if that cannot be.
pub fn split_breadth(breadth: u32, branches: usize) -> Option<impl Iterator<Item = u32>> {
    let count = u32::try_from(branches).ok().filter(|count| (1..=breadth).contains(count))?;
    let (share, extra) = (breadth / count, breadth % count);
    Some((0..count).map(move |index| share + u32::from(index < extra)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farspeak_sansio::Transport;
    use farspeak_sip::message::Limits;

    use super::*;
    use crate::binding::{BindingParts, Reach};
    use crate::domain::Aor;

    fn flow(port: u16) -> Flow {
        let end = |port| std::net::SocketAddr::from(([192, 0, 2, 1], port));
        Flow::unbound(Transport::Udp, end(5060), end(port))
    }

    fn target(name: &str, q: u16) -> Target {
        let parts = BindingParts {
            aor: Aor::new("bob", "biloxi.example"),
            contact: &format!("sip:{name}@192.0.2.1"),
            params: "",
            instance: "",
            reg_id: None,
            q,
            call_id: "c",
            cseq: 1,
            path: "",
            user_agent: Arc::from(""),
            reach: Reach::Flow(flow(5070)),
            since: 1,
            updated_at: Instant::ZERO,
            expires_at: Instant::ZERO + Duration::from_secs(60),
            version: 1,
        };
        Target::Binding(Arc::new(Binding::new(&parts).expect("short enough")))
    }

    fn names(group: &[Target]) -> Vec<String> {
        let name = |target: &Target| match target {
            Target::Binding(binding) => binding.contact()[4..].split('@').next().unwrap_or("").to_owned(),
            Target::Phone(_) | Target::Dialog(_) => "not by address".to_owned(),
        };
        group.iter().map(name).collect()
    }

    fn response(code: u16) -> Outcome {
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        Outcome::Response(Arc::new(Message::parse(text.as_bytes(), &Limits::default()).expect("a response")))
    }

    fn best_of(outcomes: impl IntoIterator<Item = Outcome>) -> u16 {
        let branch = |outcome| Branch { outcome: Some(outcome), ..Branch::new(Target::Dialog(flow(1)), None) };
        let branches: Vec<Branch> = outcomes.into_iter().map(branch).collect();
        match choose_best(&branches) {
            Best::Forward(response, _) => code(&response),
            Best::Own(status) => status.code(),
        }
    }

    #[test]
    fn equal_q_rings_together_higher_q_first() {
        let mut set = TargetSet::new([target("c", 300), target("a", 900), target("d", 300), target("b", 900)], 16);
        assert_eq!(names(&set.next_group()), ["a", "b"]);
        assert_eq!(names(&set.next_group()), ["c", "d"]);
        assert!(set.is_empty() && set.next_group().is_empty());
    }

    #[test]
    fn leaves_out_the_lowest_q_beyond_its_bound() {
        let mut set = TargetSet::new([target("low", 100), target("high", 900), target("mid", 500)], 2);
        assert_eq!(names(&set.next_group()), ["high"]);
        assert_eq!(names(&set.next_group()), ["mid"]);
        assert!(set.is_empty());
    }

    #[test]
    fn tries_no_target_twice() {
        let mut set = TargetSet::new([target("a", 900)], 3);
        let tried: Vec<Branch> = set.next_group().into_iter().map(|target| Branch::new(target, None)).collect();
        set.add(target("a", 900), &tried);
        assert!(set.is_empty());
        set.add(target("b", 100), &tried);
        set.add(target("c", 200), &tried);
        set.add(target("d", 300), &tried);
        assert_eq!(names(&set.next_group()), ["c"], "the set was full before d");
        assert_eq!(names(&set.next_group()), ["b"]);
    }

    #[test]
    fn best_response_table() {
        let of = |codes: &[u16]| best_of(codes.iter().map(|code| response(*code)));
        assert_eq!(of(&[486, 603]), 603, "any 6xx wins");
        assert_eq!(of(&[302, 486]), 302, "else the lowest class");
        assert_eq!(of(&[500, 486]), 486);
        assert_eq!(of(&[486, 404, 407]), 407, "what the caller can mend first");
        assert_eq!(of(&[486, 420]), 420);
        assert_eq!(of(&[408, 486]), 486, "what nobody said last");
        assert_eq!(of(&[487, 480, 404]), 404);
        assert_eq!(of(&[503]), 500, "a 503 is about the next hop");
        assert_eq!(of(&[503, 501]), 501);
    }

    #[test]
    fn a_phone_out_of_reach_is_an_offline_phone() {
        assert_eq!(best_of([Outcome::Unreachable]), 480);
        assert_eq!(best_of([Outcome::Unreachable, response(486)]), 486);
        assert_eq!(best_of([Outcome::TimedOut]), 408);
        assert_eq!(best_of([Outcome::TimedOut, Outcome::Unreachable]), 408);
        assert_eq!(best_of([]), 480);
    }

    #[test]
    fn a_branch_given_up_has_timed_out() {
        let mut branch = Branch::new(Target::Dialog(flow(1)), None);
        branch.outcome = Some(response(487));
        branch.expired = true;
        assert!(matches!(choose_best(&[branch]), Best::Own(StatusCode::REQUEST_TIMEOUT)));
    }

    #[test]
    fn all_challenges_are_passed_on_together() {
        let branch = |code| Branch { outcome: Some(response(code)), ..Branch::new(Target::Dialog(flow(1)), None) };
        let Best::Forward(_, others) = choose_best(&[branch(401), branch(407), branch(486), branch(401)]) else {
            panic!("a challenge is forwarded");
        };
        assert_eq!(others.len(), 2);
    }

    #[test]
    fn max_breadth_is_split_and_never_exceeded() {
        let split = |breadth, branches| split_breadth(breadth, branches).map(Iterator::collect::<Vec<u32>>);
        assert_eq!(split(60, 1), Some(vec![60]));
        assert_eq!(split(60, 2), Some(vec![30, 30]));
        assert_eq!(split(5, 3), Some(vec![2, 2, 1]));
        assert_eq!(split(1, 1), Some(vec![1]));
        assert_eq!(split(1, 2), None);
        assert_eq!(split(0, 1), None);
        assert_eq!(split(60, 0), None);
    }
}

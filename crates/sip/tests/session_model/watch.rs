//! Watches what each end sends and takes, and keeps books of its own about offers, numbers and acknowledgements: from the
//! messages alone, not from what the machines believe.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use farspeak_sip::header::{RAck, RSeq};
use farspeak_sip::message::{Message, Method};

use crate::world::Check;

/// The number in a session description of ours.
pub type BodyId = u64;

/// The books about both ends.
#[derive(Default)]
pub struct Watch {
    /// By end and Call-ID.
    sides: HashMap<(usize, String), Side>,
    /// By end, branch and method of the request: the last status sent.
    answered: HashMap<(usize, String, String), u16>,
    /// The Call-ID of the last call that each end opened.
    pub opened: [Option<String>; 2],
}

/// One end of one call.
#[derive(Default)]
struct Side {
    /// By local tag: the last CSeq.
    seq: HashMap<String, u32>,
    branches: HashSet<String>,
    /// Our offer without an answer.
    ours: Option<(Carrier, BodyId)>,
    /// Offers that came and wait for our answer or refusal.
    theirs: BTreeMap<Carrier, BodyId>,
    /// Requests seen before: a copy is not another offer.
    taken: BTreeSet<Carrier>,
    invites_sent: BTreeMap<u32, Invite>,
    invites_got: BTreeMap<u32, Invite>,
    /// PRACKs that came: CSeq of the INVITE, RSeq, description.
    pracks_got: BTreeMap<u32, (u32, u32, Option<BodyId>)>,
    /// Reliable responses that came, by CSeq and RSeq.
    reliable_got: BTreeMap<(u32, u32), Option<BodyId>>,
    /// 2xx to INVITE that came, by CSeq: the description, and whether its ACK left.
    success_got: BTreeMap<u32, (Option<BodyId>, bool)>,
    /// What was agreed last: offer and answer.
    agreed: Option<(BodyId, BodyId)>,
    /// The machine has said that the ends may see the session differently since.
    at_odds: Option<(BodyId, BodyId)>,
    bye_done: bool,
}

/// An INVITE, at either end.
#[derive(Clone, Copy, Default)]
struct Invite {
    offer: Option<BodyId>,
    /// Whether the exchange that it began is through.
    settled: bool,
}

/// The message with an offer, by its CSeq; responses by that of their INVITE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Carrier {
    Invite(u32),
    Success(u32),
    Reliable(u32, u32),
    Prack(u32),
    Update(u32),
}

impl Watch {
    /// An end sends a message, retransmissions included.
    pub fn sent(&mut self, who: usize, message: &Message) -> Check {
        let (call, seq) = names(message);
        if message.is_request() && message.method() == Some(&Method::Invite) && message.to_tag().is_none() {
            self.opened[who] = Some(call.clone());
        }
        let branch = message.via().ok().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default();
        if let Some(status) = message.status() {
            let method = message.cseq().map(|cseq| cseq.method.to_string()).unwrap_or_default();
            let may_differ = method != "INVITE" && status.is_final(); // a straggler may come when all is forgotten: 481
            let last = self.answered.insert((who, branch, method), status.code()).unwrap_or_default();
            if last >= 200 && last != status.code() && !may_differ {
                return Err(format!("{who} sends a {} after a {last}", status.code()));
            }
        } else if !self.sides.entry((who, call.clone())).or_default().branches.insert(branch) {
            return Ok(()); // sent again
        }
        let side = self.sides.entry((who, call)).or_default();
        let checked = match message.method() {
            Some(method) => side.request_sent(method, seq, message),
            None => side.response_sent(seq, message),
        };
        checked.map_err(|what| format!("{who} {what}: {}", describe(message)))
    }

    /// An end has taken a message, which was no stray.
    pub fn delivered(&mut self, who: usize, message: &Message) {
        let (call, seq) = names(message);
        let side = self.sides.entry((who, call)).or_default();
        match message.method() {
            Some(method) => side.request_got(method, seq, message),
            None => side.response_got(seq, message),
        }
    }

    /// The flow is gone: what was offered will not be answered.
    pub fn flow_failed(&mut self) {
        for side in self.sides.values_mut() {
            side.ours = None;
        }
    }

    /// An end has heard that a change failed within which offers were answered (RFC 6141 §3.4).
    pub fn may_be_at_odds(&mut self, who: usize, call: &str) {
        let side = self.sides.entry((who, call.to_owned())).or_default();
        side.at_odds = side.agreed;
    }

    /// Both ends of a call that stands: the same agreement, and nothing owed.
    pub fn agree(&self, call: &str) -> Check {
        let side = |who: usize| self.sides.get(&(who, call.to_owned())).ok_or(format!("{who} does not know {call}"));
        for who in [0, 1] {
            let side = side(who)?;
            if side.ours.is_some() || !side.theirs.is_empty() {
                return Err(format!("{who} still has {:?} out, {:?} in, in {call}", side.ours, side.theirs));
            }
        }
        let [one, other] = [side(0)?.agreed, side(1)?.agreed];
        let at_odds = |who| side(who).is_ok_and(|side| side.at_odds.is_some() && side.at_odds == side.agreed);
        if at_odds(0) || at_odds(1) {
            return Ok(());
        }
        if one != other || one.is_none() {
            return Err(format!("the ends agreed on {one:?} and {other:?} in {call}"));
        }
        Ok(())
    }

    pub fn all_acknowledged(&self) -> Check {
        for ((who, call), side) in &self.sides {
            if let Some((seq, _)) = side.success_got.iter().find(|(_, (_, acknowledged))| !acknowledged) {
                return Err(format!("{who} never acknowledged the 2xx to INVITE {seq} in {call}"));
            }
        }
        Ok(())
    }
}

impl Side {
    fn request_sent(&mut self, method: &Method, seq: u32, message: &Message) -> Check {
        let body = body(message);
        if !matches!(method, Method::Ack | Method::Cancel) {
            let last = self.seq.insert(message.from_tag().unwrap_or_default().to_owned(), seq);
            if last.is_some_and(|last| seq != last + 1) {
                return Err(format!("follows CSeq {last:?} by another"));
            }
        }
        // RFC 5057: subscriptions in the dialog go on.
        if self.bye_done && !matches!(method, Method::Ack | Method::Cancel | Method::Notify | Method::Subscribe) {
            return Err("goes on after BYE".to_owned());
        }
        match method {
            Method::Invite => {
                self.invites_sent.insert(seq, Invite { offer: body, settled: false });
                body.map_or(Ok(()), |body| self.offer(Carrier::Invite(seq), body))
            }
            Method::Update => body.map_or(Ok(()), |body| self.offer(Carrier::Update(seq), body)),
            Method::Prack => self.prack_sent(seq, message, body),
            Method::Ack => self.ack_sent(seq, body),
            _ => Ok(()),
        }
    }

    fn prack_sent(&mut self, seq: u32, message: &Message, body: Option<BodyId>) -> Check {
        let Ok(Some(rack)) = RAck::of(message) else { return Err("has no RAck".to_owned()) };
        let of = (rack.cseq, rack.rseq);
        let Some(response) = self.reliable_got.get(&of).copied() else {
            return Err("acknowledges what never came".to_owned());
        };
        if !self.settle_sent(rack.cseq, response, body, Carrier::Reliable(rack.cseq, rack.rseq))
            && let Some(body) = body
        {
            return self.offer(Carrier::Prack(seq), body);
        }
        Ok(())
    }

    fn ack_sent(&mut self, seq: u32, body: Option<BodyId>) -> Check {
        let Some((response, acknowledged)) = self.success_got.get_mut(&seq) else { return Ok(()) };
        *acknowledged = true;
        let response = *response;
        self.settle_sent(seq, response, body, Carrier::Success(seq));
        self.end_of(Carrier::Invite(seq));
        Ok(())
    }

    /// A PRACK or ACK takes the first description of a response to our INVITE: as the answer, or as the offer that `body`
    /// answers. Whether it did.
    fn settle_sent(&mut self, invite: u32, response: Option<BodyId>, body: Option<BodyId>, carrier: Carrier) -> bool {
        let (Some(invite), Some(response)) = (self.invites_sent.get_mut(&invite), response) else { return false };
        if std::mem::replace(&mut invite.settled, true) {
            return false;
        }
        match invite.offer {
            Some(offer) => {
                self.agreed = Some((offer, response));
                self.ours = self.ours.filter(|(_, ours)| *ours != offer);
                false
            }
            None => {
                if let Some(body) = body {
                    self.agreed = Some((response, body));
                }
                self.theirs.remove(&carrier);
                true
            }
        }
    }

    fn response_sent(&mut self, seq: u32, message: &Message) -> Check {
        let (body, status) = (body(message), message.status().map_or(0, |status| status.code()));
        let Ok(cseq) = message.cseq() else { return Ok(()) };
        match cseq.method {
            Method::Invite => {
                let reliable = RSeq::of(message).ok().flatten();
                let carrier = match (status, reliable) {
                    (200..300, _) => Carrier::Success(seq),
                    (101..200, Some(RSeq(rseq))) => Carrier::Reliable(seq, rseq),
                    (300.., _) => {
                        self.end_of(Carrier::Invite(seq));
                        return Ok(());
                    }
                    _ => return Ok(()),
                };
                let (Some(invite), Some(body)) = (self.invites_got.get_mut(&seq), body) else { return Ok(()) };
                if std::mem::replace(&mut invite.settled, true) {
                    return Ok(());
                }
                match invite.offer {
                    Some(offer) => {
                        self.agreed = Some((offer, body));
                        self.theirs.remove(&Carrier::Invite(seq));
                        Ok(())
                    }
                    None => self.offer(carrier, body),
                }
            }
            Method::Update | Method::Prack if status >= 200 => {
                let carrier = if cseq.method == Method::Update { Carrier::Update(seq) } else { Carrier::Prack(seq) };
                if let (Some(offer), Some(answer), 200..300) = (self.theirs.remove(&carrier), body, status) {
                    self.agreed = Some((offer, answer));
                }
                if let Some((invite, rseq, answer)) = self.pracks_got.get(&seq).copied().filter(|_| status < 300) {
                    self.answered(Carrier::Reliable(invite, rseq), answer);
                }
                Ok(())
            }
            Method::Bye if (200..300).contains(&status) => {
                self.bye_done = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn request_got(&mut self, method: &Method, seq: u32, message: &Message) {
        let body = body(message);
        match method {
            Method::Invite => {
                self.invites_got.entry(seq).or_insert(Invite { offer: body, settled: false });
                self.take(Carrier::Invite(seq), body);
            }
            Method::Update => self.take(Carrier::Update(seq), body),
            Method::Prack => {
                let Ok(Some(rack)) = RAck::of(message) else { return };
                let answers = self.ours.is_some_and(|(carrier, _)| carrier == Carrier::Reliable(rack.cseq, rack.rseq));
                if self.pracks_got.insert(seq, (rack.cseq, rack.rseq, body)).is_none() && !answers {
                    self.take(Carrier::Prack(seq), body);
                }
            }
            Method::Ack => self.answered(Carrier::Success(seq), body),
            _ => {}
        }
    }

    fn response_got(&mut self, seq: u32, message: &Message) {
        let (body, status) = (body(message), message.status().map_or(0, |status| status.code()));
        let Ok(cseq) = message.cseq() else { return };
        match (cseq.method, status) {
            (Method::Invite, 101..200) => {
                if let Ok(Some(RSeq(rseq))) = RSeq::of(message) {
                    self.reliable_got.entry((seq, rseq)).or_insert(body);
                }
            }
            (Method::Invite, 200..300) => {
                self.success_got.entry(seq).or_insert((body, false));
            }
            (Method::Invite, 300..) => self.end_of(Carrier::Invite(seq)),
            (Method::Update, 200..) => self.answered(Carrier::Update(seq), body.filter(|_| status < 300)),
            (Method::Prack, 200..) => self.answered(Carrier::Prack(seq), body.filter(|_| status < 300)),
            (Method::Bye, 200..300) => self.bye_done = true,
            _ => {}
        }
    }

    fn offer(&mut self, carrier: Carrier, body: BodyId) -> Check {
        if let Some(before) = self.ours.replace((carrier, body)) {
            return Err(format!("offers {body} while {before:?} is out"));
        }
        match self.theirs.first_key_value() {
            Some(theirs) => Err(format!("offers {body} while {theirs:?} waits")),
            None => Ok(()),
        }
    }

    fn take(&mut self, carrier: Carrier, body: Option<BodyId>) {
        if let Some(body) = body
            && self.taken.insert(carrier)
        {
            self.theirs.insert(carrier, body);
        }
    }

    /// Our offer has its answer, or its refusal.
    fn answered(&mut self, carrier: Carrier, answer: Option<BodyId>) {
        if let Some((_, offer)) = self.ours.take_if(|(ours, _)| *ours == carrier) {
            self.agreed = answer.map(|answer| (offer, answer)).or(self.agreed);
        }
    }

    /// An INVITE has its final response: what it had outstanding is off.
    fn end_of(&mut self, invite: Carrier) {
        let Carrier::Invite(seq) = invite else { return };
        let of = |carrier: &Carrier| matches!(carrier, Carrier::Invite(of) | Carrier::Reliable(of, _) if *of == seq);
        self.ours.take_if(|(carrier, _)| of(carrier));
        self.theirs.retain(|carrier, _| !of(carrier));
    }
}

fn names(message: &Message) -> (String, u32) {
    let seq = message.cseq().map_or(0, |cseq| cseq.number);
    (message.call_id().unwrap_or_default().to_owned(), seq)
}

/// The number that [`crate::app`] has put into a description.
fn body(message: &Message) -> Option<BodyId> {
    let text = std::str::from_utf8(message.body()).ok()?;
    text.strip_prefix("v=0\r\ns=")?.trim_end().parse().ok()
}

/// `200 INVITE 7 rseq 3 {12}` for the ladder.
pub fn describe(message: &Message) -> String {
    let Ok(cseq) = message.cseq() else { return "?".to_owned() };
    let mut text = match message.status() {
        Some(status) => format!("{} {} {}", status.code(), cseq.method, cseq.number),
        None => format!("{} {}", message.method().map_or("?", Method::as_str), cseq.number),
    };
    if let Ok(Some(RSeq(rseq))) = RSeq::of(message) {
        text.push_str(&format!(" rseq {rseq}"));
    }
    if let Ok(Some(rack)) = RAck::of(message) {
        text.push_str(&format!(" rack {rack}"));
    }
    if let Some(body) = body(message) {
        text.push_str(&format!(" {{{body}}}"));
    }
    text.push_str(&format!("  [{}]", &message.call_id().unwrap_or_default().chars().take(4).collect::<String>()));
    text
}

//! Who may reach whom: local users reach local users, a stranger reaches only a user who opted in.
//!
//! The proxy gathers the [`Facts`] of a request that is not a REGISTER and asks [`decide`]; no other place allows
//! anything. Never an open relay: whatever is not named here is refused.
//!
//! ```text
//!   in a dialog of ours (valid flow token)             Allow
//!   right credentials, From is theirs or anonymous
//!       to a local user, or to this node               Allow
//!       to a user who does not exist                   404
//!       to another domain                              403
//!   right credentials, From is somebody else's         403
//!   no credentials, From of another domain,
//!       to a local user open to strangers              Allow
//!   anything else, whoever it is for                   Challenge
//! ```

use farspeak_sip::message::StatusCode;

/// Whom the request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A local user: one who exists, or the Contact of a live registration.
    User {
        /// Whether strangers may reach this user. For a Contact: whether its user's address-of-record is open, *and*
        /// the stranger came by that address; a bare Contact is never open.
        open_to_strangers: bool,
    },
    /// A name in our domain that is nobody's.
    Nobody,
    /// This node itself (no user part), as in an OPTIONS that asks whether it lives.
    Node,
    /// Another domain, or a URI that is not SIP.
    Elsewhere,
}

/// What the credentials of the request say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Credentials {
    /// None for our realm.
    Absent,
    /// Some, and they are wrong or stale.
    Wrong,
    /// A local user's.
    Valid,
}

/// Whom the From header field names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Originator {
    /// The user whose valid credentials the request carries.
    Authenticated,
    /// Nobody (RFC 3323 §4.1): see [`is_anonymous`](crate::authentication::is_anonymous).
    Anonymous,
    /// A name in our domain that is not the authenticated user's (or nobody is authenticated).
    OtherLocal,
    /// Somebody of another domain.
    Foreign,
}

/// What is known of a request that is not a REGISTER, an ACK or a CANCEL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Whether it came by a Record-Route of ours with a valid flow token for its Call-ID.
    pub in_dialog: bool,
    /// What its credentials say.
    pub credentials: Credentials,
    /// Whom its From names.
    pub originator: Originator,
    /// Whom it is for.
    pub target: Target,
}

/// What becomes of the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It may pass.
    Allow,
    /// 407, the same one whatever the reason.
    Challenge,
    /// It is refused.
    Refuse {
        /// With this status.
        status: StatusCode,
        /// And this reason phrase, for the person who reads the phone's display or log.
        reason: &'static str,
    },
}

/// Decides.
pub fn decide(facts: &Facts) -> Decision {
    use Originator::{Anonymous, Authenticated, Foreign, OtherLocal};
    if facts.in_dialog {
        return Decision::Allow;
    }
    match (facts.credentials, facts.originator, facts.target) {
        (Credentials::Valid, OtherLocal | Foreign, _) => refuse(StatusCode::FORBIDDEN, "From Is Not Who Authenticated"),
        (Credentials::Valid, Authenticated | Anonymous, target) => match target {
            Target::User { .. } | Target::Node => Decision::Allow,
            Target::Nobody => refuse(StatusCode::NOT_FOUND, StatusCode::NOT_FOUND.reason()),
            Target::Elsewhere => refuse(StatusCode::FORBIDDEN, "Calls To Other Domains Are Not Configured"),
        },
        // Without proof nobody speaks in the name of a local user, not even to one who is open.
        (Credentials::Absent, Anonymous | Foreign, Target::User { open_to_strangers: true }) => Decision::Allow,
        (Credentials::Absent | Credentials::Wrong, _, _) => Decision::Challenge,
    }
}

fn refuse(status: StatusCode, reason: &'static str) -> Decision {
    Decision::Refuse { status, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: [Target; 5] = [
        Target::User { open_to_strangers: false },
        Target::User { open_to_strangers: true },
        Target::Nobody,
        Target::Node,
        Target::Elsewhere,
    ];
    const ORIGINATORS: [Originator; 4] =
        [Originator::Authenticated, Originator::Anonymous, Originator::OtherLocal, Originator::Foreign];

    fn outcome(credentials: Credentials, originator: Originator, target: Target) -> Decision {
        decide(&Facts { in_dialog: false, credentials, originator, target })
    }

    fn status(decision: Decision) -> u16 {
        match decision {
            Decision::Allow => 0,
            Decision::Challenge => 407,
            Decision::Refuse { status, .. } => status.code(),
        }
    }

    #[test]
    fn the_whole_table() {
        let row = |credentials, originator| TARGETS.map(|target| status(outcome(credentials, originator, target)));
        // Local user, open local user, nobody, this node, elsewhere.
        assert_eq!(row(Credentials::Valid, Originator::Authenticated), [0, 0, 404, 0, 403]);
        assert_eq!(row(Credentials::Valid, Originator::Anonymous), [0, 0, 404, 0, 403]);
        assert_eq!(row(Credentials::Valid, Originator::OtherLocal), [403; 5]);
        assert_eq!(row(Credentials::Valid, Originator::Foreign), [403; 5]);
        assert_eq!(row(Credentials::Absent, Originator::Foreign), [407, 0, 407, 407, 407]);
        assert_eq!(row(Credentials::Absent, Originator::Anonymous), [407, 0, 407, 407, 407]);
        assert_eq!(row(Credentials::Absent, Originator::OtherLocal), [407; 5]);
        assert_eq!(row(Credentials::Wrong, Originator::Foreign), [407; 5]);
        assert_eq!(row(Credentials::Wrong, Originator::OtherLocal), [407; 5]);
    }

    #[test]
    fn never_relays_to_another_domain() {
        for originator in ORIGINATORS {
            for credentials in [Credentials::Absent, Credentials::Wrong, Credentials::Valid] {
                assert_ne!(outcome(credentials, originator, Target::Elsewhere), Decision::Allow);
            }
        }
    }

    #[test]
    fn a_stranger_cannot_tell_who_exists() {
        for originator in ORIGINATORS {
            for credentials in [Credentials::Absent, Credentials::Wrong] {
                let known = outcome(credentials, originator, Target::User { open_to_strangers: false });
                assert_eq!(known, outcome(credentials, originator, Target::Nobody));
                assert_eq!(known, outcome(credentials, originator, Target::Elsewhere));
            }
        }
    }

    #[test]
    fn a_token_of_ours_needs_no_digest() {
        for originator in ORIGINATORS {
            let facts =
                Facts { in_dialog: true, credentials: Credentials::Absent, originator, target: Target::Elsewhere };
            assert_eq!(decide(&facts), Decision::Allow);
        }
    }
}

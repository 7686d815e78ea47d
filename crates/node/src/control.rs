//! The control API: how the command line talks to a node that runs, over a Unix socket in the data directory.
//!
//! One request and one answer, each a JSON object on a line, then the connection closes. The socket is open to the owner
//! of the data directory alone; it is the permission. [`perform_on_store`] does the same for a store that no node uses,
//! so that commands give the same answers either way.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::accounts::{self, AccountError};
use crate::domain::Aor;
use crate::entropy::SystemRng;
use crate::store::{Store, StoreError};
use crate::users::{PresenceTo, User};

/// What a node can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Adds a user.
    UserAdd {
        /// The name.
        name: String,
        /// Whether strangers may ring the user.
        open_to_strangers: bool,
    },
    /// Lists users.
    UserList,
    /// Removes a user and the user's registrations.
    UserRemove {
        /// The name.
        name: String,
    },
    /// Gives a user a new secret and ends the user's registrations.
    UserReset {
        /// The name.
        name: String,
    },
    /// Changes who may ring a user, and who may see the user's presence.
    UserSet {
        /// The name.
        name: String,
        /// Whether strangers may ring; `None` leaves it.
        open_to_strangers: Option<bool>,
        /// Who may see the presence, in words that [`PresenceTo::read`] takes; `None` leaves it.
        presence_to: Option<Vec<String>>,
    },
    /// How the node is.
    Status,
    /// Read configuration and certificates again.
    Reload,
    /// How the STUN and TURN service is.
    TurnStatus,
    /// Who relays.
    TurnSessions,
    /// End what somebody relays.
    TurnKick {
        /// A user, or a session by its `#id`.
        whom: String,
    },
    /// A time-limited credential.
    TurnCredentials {
        /// For whom: quotas and reports count by it.
        name: String,
        /// How long it is good; `None`: as the configuration says.
        ttl: Option<Duration>,
    },
}

impl Request {
    fn to_json(&self) -> Value {
        match self {
            Self::UserAdd { name, open_to_strangers } => {
                json!({"command": "user.add", "name": name, "open_to_strangers": open_to_strangers})
            }
            Self::UserList => json!({"command": "user.list"}),
            Self::UserRemove { name } => json!({"command": "user.remove", "name": name}),
            Self::UserReset { name } => json!({"command": "user.reset", "name": name}),
            Self::UserSet { name, open_to_strangers, presence_to } => {
                let (open, to) = (open_to_strangers, presence_to);
                json!({"command": "user.set", "name": name, "open_to_strangers": open, "presence_to": to})
            }
            Self::Status => json!({"command": "status"}),
            Self::Reload => json!({"command": "reload"}),
            Self::TurnStatus => json!({"command": "turn.status"}),
            Self::TurnSessions => json!({"command": "turn.sessions"}),
            Self::TurnKick { whom } => json!({"command": "turn.kick", "whom": whom}),
            Self::TurnCredentials { name, ttl } => {
                json!({"command": "turn.credentials", "name": name, "ttl_s": ttl.map(|ttl| ttl.as_secs())})
            }
        }
    }

    /// Reads a request from its line.
    ///
    /// # Errors
    /// It is none; the text says why.
    pub fn parse(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        let name = || value["name"].as_str().map(str::to_owned).ok_or_else(|| "`name` is missing".to_owned());
        let open = || value["open_to_strangers"].as_bool();
        match value["command"].as_str() {
            Some("user.add") => Ok(Self::UserAdd { name: name()?, open_to_strangers: open().unwrap_or(false) }),
            Some("user.list") => Ok(Self::UserList),
            Some("user.remove") => Ok(Self::UserRemove { name: name()? }),
            Some("user.reset") => Ok(Self::UserReset { name: name()? }),
            Some("user.set") => {
                let presence_to = words(&value["presence_to"])?;
                let open_to_strangers = open();
                if open_to_strangers.is_none() && presence_to.is_none() {
                    return Err("neither `open_to_strangers` nor `presence_to` is there".to_owned());
                }
                Ok(Self::UserSet { name: name()?, open_to_strangers, presence_to })
            }
            Some("status") => Ok(Self::Status),
            Some("reload") => Ok(Self::Reload),
            Some("turn.status") => Ok(Self::TurnStatus),
            Some("turn.sessions") => Ok(Self::TurnSessions),
            Some("turn.kick") => {
                let whom = value["whom"].as_str().ok_or_else(|| "`whom` is missing".to_owned())?;
                Ok(Self::TurnKick { whom: whom.to_owned() })
            }
            Some("turn.credentials") => {
                Ok(Self::TurnCredentials { name: name()?, ttl: value["ttl_s"].as_u64().map(Duration::from_secs) })
            }
            Some(other) => Err(format!("unknown command {other:?}")),
            None => Err("`command` is missing".to_owned()),
        }
    }
}

/// A list of words, if there is one.
fn words(value: &Value) -> Result<Option<Vec<String>>, String> {
    let Some(list) = value.as_array() else { return Ok(None) };
    let words = list.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>();
    words.map(Some).ok_or_else(|| "`presence_to` is no list of words".to_owned())
}

/// Why a request was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// What happened and what to do.
    pub message: String,
}

/// What kind of failure it was: scripts tell them apart by the exit code made of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// The request makes no sense: a bad name, an unknown command.
    Invalid,
    /// There is no such user.
    Unknown,
    /// The name is taken.
    Taken,
    /// The configuration or a certificate is wrong.
    Config,
    /// The store cannot be read or written.
    Store,
    /// Anything else.
    Failed,
}

impl FailureKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Invalid, "invalid"),
        (Self::Unknown, "unknown"),
        (Self::Taken, "taken"),
        (Self::Config, "config"),
        (Self::Store, "store"),
        (Self::Failed, "failed"),
    ];

    /// The word in the JSON answer.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("failed", |(_, word)| word)
    }
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let kind = match &error {
            AccountError::Name(_) => FailureKind::Invalid,
            AccountError::Taken(_) => FailureKind::Taken,
            AccountError::Unknown(_) => FailureKind::Unknown,
            AccountError::Damaged(_) | AccountError::Store(_) => FailureKind::Store,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(FailureKind::Store, error.to_string())
    }
}

/// What came of a request.
pub type Answer = Result<Value, Failure>;

/// The line that carries an answer.
pub fn answer_line(answer: &Answer) -> String {
    let value = match answer {
        Ok(value) => json!({ "ok": value }),
        Err(failure) => json!({"error": {"kind": failure.kind.as_str(), "message": failure.message}}),
    };
    format!("{value}\n")
}

fn parse_answer(line: &str) -> Option<Answer> {
    let value: Value = serde_json::from_str(line).ok()?;
    if let Some(ok) = value.get("ok") {
        return Some(Ok(ok.clone()));
    }
    let error = value.get("error")?;
    let word = error.get("kind")?.as_str()?;
    let kind = FailureKind::ALL.iter().find(|(_, known)| *known == word).map_or(FailureKind::Failed, |(kind, _)| *kind);
    Some(Err(Failure::new(kind, error.get("message")?.as_str()?)))
}

/// Asks the node that listens on `socket`.
///
/// # Errors
/// No node listens there (`NotFound` or `ConnectionRefused`), or it did not answer within half a minute.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", request.to_json()).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut line)?;
    parse_answer(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the node's answer makes no sense"))
}

const PATIENCE: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 1 << 30;
/// Longest request line that a node reads, in bytes.
pub const MAX_REQUEST: u64 = 65_536;

/// What has to change in a running node after the store has changed.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// This user is new or different.
    Put(User),
    /// This user is new or different, and the user's registrations end.
    Renew(User),
    /// This user is gone, and so are the user's registrations. The others are different: they had named this one.
    Gone(String, Vec<User>),
}

/// Does what a request about users asks, in the store.
///
/// # Errors
/// As the request's failure; the store is as before.
pub fn perform_on_store(store: &mut Store, domain: &str, request: &Request) -> Result<(Value, Effect), Failure> {
    let realm = accounts::realm(store, domain)?;
    let mut rng = SystemRng::new();
    let with_secret = |user: &User, secret: &crate::users::Secret| {
        json!({
            "name": user.name, "address": format!("sip:{}@{domain}", user.name), "password": secret.reveal(),
            "open_to_strangers": user.open_to_strangers,
        })
    };
    match request {
        Request::UserAdd { name, open_to_strangers } => {
            let (user, secret) = accounts::add(store, &mut rng, &realm, name, *open_to_strangers, unix_ms())?;
            Ok((with_secret(&user, &secret), Effect::Put(user)))
        }
        Request::UserReset { name } => {
            let (user, secret) = accounts::reset(store, &mut rng, &realm, name)?;
            store.remove_bindings(Aor::new(name, domain).as_str())?;
            Ok((with_secret(&user, &secret), Effect::Renew(user)))
        }
        Request::UserRemove { name } => {
            let others = accounts::remove(store, name)?;
            store.remove_bindings(Aor::new(name, domain).as_str())?;
            Ok((json!({ "name": name }), Effect::Gone(name.clone(), others)))
        }
        Request::UserSet { name, open_to_strangers, presence_to } => {
            let to = presence_to.as_ref().map(|words| PresenceTo::read(words, domain)).transpose();
            let to = to.map_err(|error| Failure::new(FailureKind::Invalid, error.to_string()))?;
            let user = accounts::set(store, name, *open_to_strangers, to.as_ref())?;
            let (open, to) = (user.open_to_strangers, user.presence_to.to_string());
            Ok((json!({"name": name, "open_to_strangers": open, "presence_to": to}), Effect::Put(user)))
        }
        Request::UserList => {
            let users: Vec<Value> = store
                .users()?
                .iter()
                .map(|row| {
                    json!({
                        "name": row.name, "address": format!("sip:{}@{domain}", row.name),
                        "open_to_strangers": row.open_to_strangers, "presence_to": row.presence_to, "created_at_unix_ms": row.created_at_unix_ms,
                    })
                })
                .collect();
            Ok((json!({ "users": users }), Effect::None))
        }
        Request::Status
        | Request::Reload
        | Request::TurnStatus
        | Request::TurnSessions
        | Request::TurnKick { .. }
        | Request::TurnCredentials { .. } => Err(Failure::new(
            FailureKind::Failed,
            "no node runs on this data directory; start one with `farspeak serve`",
        )),
    }
}

/// Milliseconds since 1970, by the clock on the wall.
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        let name = || "alice".to_owned();
        for request in [
            Request::UserAdd { name: name(), open_to_strangers: true },
            Request::UserList,
            Request::UserRemove { name: name() },
            Request::UserReset { name: name() },
            Request::UserSet { name: name(), open_to_strangers: Some(false), presence_to: None },
            Request::UserSet { name: name(), open_to_strangers: None, presence_to: Some(vec![name()]) },
            Request::Status,
            Request::Reload,
            Request::TurnStatus,
            Request::TurnSessions,
            Request::TurnKick { whom: name() },
            Request::TurnCredentials { name: name(), ttl: None },
            Request::TurnCredentials { name: name(), ttl: Some(Duration::from_secs(60)) },
        ] {
            assert_eq!(Request::parse(&request.to_json().to_string()), Ok(request));
        }
        for bad in [
            "",
            "3",
            "{}",
            r#"{"command":"dance"}"#,
            r#"{"command":"user.add"}"#,
            r#"{"command":"user.set","name":"a"}"#,
        ] {
            assert!(Request::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_round_trip() {
        for answer in [Ok(json!({"a": 1})), Err(Failure::new(FailureKind::Taken, "taken"))] {
            assert_eq!(parse_answer(&answer_line(&answer)), Some(answer));
        }
    }
}

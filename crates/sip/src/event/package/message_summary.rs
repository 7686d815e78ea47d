//! Message summaries: RFC 3842 §3.5 and §5.2, what waits in a mailbox. Text rather than XML, for small phones.
//!
//! ```
//! use farspeak_sip::event::package::message_summary::{Count, MessageSummary};
//!
//! let summary = MessageSummary::parse(b"Messages-Waiting: yes\r\nVoice-Message: 1/3 (0/1)\r\n")?;
//! assert!(summary.waiting);
//! let voice = summary.class("voice-message").unwrap();
//! assert_eq!((voice.all, voice.urgent), (Count { new: 1, old: 3 }, Some(Count { new: 0, old: 1 })));
//! # Ok::<(), farspeak_sip::event::package::BodyError>(())
//! ```

use super::BodyError;

/// What waits for an account.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MessageSummary {
    /// Whether any new message waits (`Messages-Waiting`). The one line that every summary has.
    pub waiting: bool,
    /// The account, as a URI without angle brackets (`Message-Account`). Mandatory where the subscription was to a group
    /// of accounts.
    pub account: Option<String>,
    /// Counts per message context class, in the order of the document.
    pub classes: Vec<ClassSummary>,
    /// Header fields of messages new since the last notification, one list per message. Never in the first notification
    /// (§3.5); names and values are the sender's, folded lines joined by a space.
    pub messages: Vec<Vec<(String, String)>>,
}

/// How many messages of one class there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassSummary {
    /// The class as RFC 3458 §6.2 names it: `Voice-Message`, `Fax-Message`, `Text-Message` ... Case does not matter.
    pub class: String,
    /// All messages, urgent or not.
    pub all: Count,
    /// The urgent ones among them, if the mailbox tells urgent ones apart.
    pub urgent: Option<Count>,
}

/// Messages by whether somebody has heard them. A count in a document that exceeds 2^32 - 1 is read as that (§3.5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// New ones.
    pub new: u32,
    /// Old ones.
    pub old: u32,
}

/// Bytes of a document that are read.
const MAX_BYTES: usize = 65_536;
/// Lines of a document that are read.
const MAX_LINES: usize = 1024;
/// Bytes of one header field, continuation lines included.
const MAX_LINE: usize = 4096;

impl MessageSummary {
    /// The body's media type.
    pub const MIME: &'static str = "application/simple-message-summary";

    /// Reads a body. Lines that end in LF alone, as some mailboxes send them, are accepted; lines before the first blank
    /// one that are no counts are skipped.
    ///
    /// # Errors
    /// No `Messages-Waiting: yes|no` as the first line, a line without a colon, text that is not UTF-8, more than 64 KiB,
    /// 1024 lines or 4096 bytes in a line.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        if body.len() > MAX_BYTES {
            return Err(BodyError::TooLarge);
        }
        let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
        let mut groups = groups(text)?.into_iter();
        let mut summary = Self::default();
        let mut lines = groups.next().unwrap_or_default().into_iter();
        match lines.next() {
            Some((name, status)) if name.eq_ignore_ascii_case("Messages-Waiting") => {
                summary.waiting = match status.to_ascii_lowercase().as_str() {
                    "yes" => true,
                    "no" => false,
                    _ => return Err(BodyError::Invalid("Messages-Waiting")),
                };
            }
            _ => return Err(BodyError::Missing("Messages-Waiting")),
        }
        for (name, value) in lines {
            if name.eq_ignore_ascii_case("Message-Account") {
                summary.account.get_or_insert(value);
            } else if let Some((all, urgent)) = counts(&value) {
                summary.classes.push(ClassSummary { class: name, all, urgent });
            }
        }
        summary.messages = groups.collect();
        Ok(summary)
    }

    /// Writes a body. Control characters within values, of which line ends would begin a new line, are written as spaces;
    /// a tab stays.
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("Messages-Waiting: {}\r\n", if self.waiting { "yes" } else { "no" });
        if let Some(account) = &self.account {
            push_line(&mut out, "Message-Account", account);
        }
        for ClassSummary { class, all, urgent } in &self.classes {
            let mut value = format!("{}/{}", all.new, all.old);
            if let Some(urgent) = urgent {
                value.push_str(&format!(" ({}/{})", urgent.new, urgent.old));
            }
            push_line(&mut out, class, &value);
        }
        for message in self.messages.iter().filter(|it| !it.is_empty()) {
            out.push_str("\r\n");
            for (name, value) in message {
                push_line(&mut out, name, value);
            }
        }
        out.into_bytes()
    }

    /// The counts of a class, named in any case.
    pub fn class(&self, class: &str) -> Option<&ClassSummary> {
        self.classes.iter().find(|it| it.class.eq_ignore_ascii_case(class))
    }

    /// What several mailboxes that one forked SUBSCRIBE reached have together (§3.10): messages wait if they wait in any.
    /// Counts are added if every summary has some, and left out otherwise, as a sum that lacks a mailbox would lie. The
    /// account stays if all name the same one.
    pub fn merge<'a>(summaries: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut merged = Self::default();
        let mut counted = true;
        for (position, summary) in summaries.into_iter().enumerate() {
            merged.waiting |= summary.waiting;
            if position == 0 {
                merged.account.clone_from(&summary.account);
            } else if merged.account != summary.account {
                merged.account = None;
            }
            counted &= !summary.classes.is_empty();
            summary.classes.iter().for_each(|class| merged.add(class));
            merged.messages.extend(summary.messages.iter().cloned());
        }
        if !counted {
            merged.classes.clear();
        }
        merged
    }

    fn add(&mut self, more: &ClassSummary) {
        match self.classes.iter_mut().find(|it| it.class.eq_ignore_ascii_case(&more.class)) {
            Some(known) => {
                known.all = known.all.plus(more.all);
                known.urgent = match (known.urgent, more.urgent) {
                    (Some(one), Some(other)) => Some(one.plus(other)),
                    (one, other) => one.or(other),
                };
            }
            None => self.classes.push(more.clone()),
        }
    }
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self { new: self.new.saturating_add(other.new), old: self.old.saturating_add(other.old) }
    }
}

/// Header fields, unfolded, in groups that blank lines part.
fn groups(text: &str) -> Result<Vec<Vec<(String, String)>>, BodyError> {
    let mut groups: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for (number, line) in text.split('\n').enumerate() {
        let at = line.as_ptr() as usize - text.as_ptr() as usize;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let malformed = |why| Err(BodyError::Malformed { at, why });
        if number > MAX_LINES {
            return Err(BodyError::TooManyElements);
        }
        if line.len() > MAX_LINE {
            return Err(BodyError::ValueTooLong);
        }
        if line.contains(|it: char| it.is_ascii_control() && it != '\t') {
            return malformed("a control character");
        }
        let group = groups.last_mut().expect("there is one from the start");
        if line.is_empty() {
            if !group.is_empty() {
                groups.push(Vec::new());
            }
        } else if line.starts_with([' ', '\t']) {
            let Some((_, value)) = group.last_mut() else { return malformed("a continuation of nothing") };
            if !value.is_empty() && !trim(line).is_empty() {
                value.push(' ');
            }
            value.push_str(trim(line));
            if value.len() > MAX_LINE {
                return Err(BodyError::ValueTooLong);
            }
        } else {
            let Some((name, value)) = line.split_once(':') else { return malformed("a line without a colon") };
            let name = trim(name);
            if name.is_empty() || !name.bytes().all(is_token) {
                return malformed("a line without a name");
            }
            group.push((name.to_owned(), trim(value).to_owned()));
        }
    }
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

/// `2/8 (0/2)`: new and old, and the urgent ones among them.
fn counts(value: &str) -> Option<(Count, Option<Count>)> {
    match value.split_once('(') {
        Some((all, urgent)) => {
            let urgent = trim(urgent).strip_suffix(')')?;
            Some((count(all)?, Some(count(urgent)?)))
        }
        None => Some((count(value)?, None)),
    }
}

fn count(text: &str) -> Option<Count> {
    let (new, old) = text.split_once('/')?;
    let number = |text: &str| {
        let text = trim(text);
        let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        // A larger value is treated as the largest (§3.5).
        is_number.then(|| text.parse().unwrap_or(u32::MAX))
    };
    Some(Count { new: number(new)?, old: number(old)? })
}

/// Characters of a token (RFC 3261 §25.1).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn push_line(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(": ");
    out.extend(value.chars().map(|it| if it.is_ascii_control() && it != '\t' { ' ' } else { it }));
    out.push_str("\r\n");
}

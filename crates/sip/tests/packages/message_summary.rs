//! Message summaries: RFC 3842 §3.5, §3.10, §4.1 and §5.2.

use farspeak_sip::event::package::BodyError;
use farspeak_sip::event::package::message_summary::{ClassSummary, Count, MessageSummary};

fn read(text: &str) -> MessageSummary {
    MessageSummary::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn class(class: &str, new: u32, old: u32, urgent: Option<(u32, u32)>) -> ClassSummary {
    let urgent = urgent.map(|(new, old)| Count { new, old });
    ClassSummary { class: class.to_owned(), all: Count { new, old }, urgent }
}

#[test]
fn alice_learns_what_waits() {
    // §4.1, A3
    let summary =
        read("Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\nVoice-Message: 2/8 (0/2)\r\n");
    assert!(summary.waiting);
    assert_eq!(summary.account.as_deref(), Some("sip:alice@vmail.example.com"));
    assert_eq!(summary.classes, [class("Voice-Message", 2, 8, Some((0, 2)))]);
    assert_eq!(MessageSummary::parse(&summary.write()).as_ref(), Ok(&summary));
}

#[test]
fn new_messages_bring_their_headers() {
    // §4.1, A5
    let summary = read(concat!(
        "Messages-Waiting: yes\r\n",
        "Message-Account: sip:alice@vmail.example.com\r\n",
        "Voice-Message: 4/8 (1/2)\r\n",
        "\r\n",
        "To: <alice@atlanta.example.com>\r\n",
        "From: <bob@biloxi.example.com>\r\n",
        "Subject: carpool tomorrow?\r\n",
        "Date: Sun, 09 Jul 2000 21:23:01 -0700\r\n",
        "Priority: normal\r\n",
        "Message-ID: 13784434989@vmail.example.com\r\n",
        "\r\n",
        "To: <alice@example.com>\r\n",
        "From: <cathy-the-bob@example.com>\r\n",
        "Subject: HELP! at home ill,\r\n present for me please\r\n",
        "Date: Sun, 09 Jul 2000 21:25:12 -0700\r\n",
        "Priority: urgent\r\n",
        "Message-ID: 13684434990@vmail.example.com\r\n",
    ));
    assert_eq!(summary.class("voice-message"), Some(&class("Voice-Message", 4, 8, Some((1, 2)))));
    let subjects: Vec<_> = summary.messages.iter().map(|it| it[2].1.as_str()).collect();
    assert_eq!(subjects, ["carpool tomorrow?", "HELP! at home ill, present for me please"]);
    assert_eq!(MessageSummary::parse(&summary.write()).as_ref(), Ok(&summary));
}

#[test]
fn the_shortest_summary_is_one_line() {
    assert_eq!(read("Messages-Waiting: no\r\n"), MessageSummary::default());
    assert_eq!(read("messages-waiting :NO"), MessageSummary::default());
    assert_eq!(MessageSummary::default().write(), b"Messages-Waiting: no\r\n");
}

#[test]
fn the_grammar_leaves_room_for_space_and_case() {
    let summary = read("MESSAGES-WAITING:Yes\nfax-message :  2 / 4 ( 0/ 1 )\nvoice-message: 0/0\n\n\n");
    assert_eq!(summary.classes, [class("fax-message", 2, 4, Some((0, 1))), class("voice-message", 0, 0, None)]);
}

#[test]
fn counts_end_at_32_bits() {
    let summary = read("Messages-Waiting: yes\r\nText-Message: 4294967296/99999999999999999999999\r\n");
    assert_eq!(summary.classes, [class("Text-Message", u32::MAX, u32::MAX, None)]);
}

#[test]
fn lines_that_are_no_counts_are_skipped() {
    let summary = read("Messages-Waiting: yes\r\nX-Extra: hello\r\nVoice-Message: 1/x\r\nFax-Message: 1/2 (3/4\r\n");
    assert!(summary.classes.is_empty());
}

#[test]
fn forked_mailboxes_add_up() {
    // §3.10
    let one = read("Messages-Waiting: no\r\nMessage-Account: sip:a@b\r\nVoice-Message: 0/3\r\n");
    let other =
        read("Messages-Waiting: yes\r\nMessage-Account: sip:a@b\r\nvoice-message: 2/1 (1/0)\r\nFax-Message: 1/0\r\n");
    let merged = MessageSummary::merge([&one, &other]);
    assert!(merged.waiting);
    assert_eq!(merged.account.as_deref(), Some("sip:a@b"));
    assert_eq!(merged.classes, [class("Voice-Message", 2, 4, Some((1, 0))), class("Fax-Message", 1, 0, None)]);
    let bare = read("Messages-Waiting: no\r\n");
    let merged = MessageSummary::merge([&bare, &other]);
    assert!(merged.waiting && merged.classes.is_empty() && merged.account.is_none());
    assert_eq!(MessageSummary::merge([]), MessageSummary::default());
}

#[test]
fn what_is_no_summary_is_refused() {
    let error = |text: &str| MessageSummary::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error(""), BodyError::Missing("Messages-Waiting"));
    assert_eq!(error("Voice-Message: 1/2\r\nMessages-Waiting: yes\r\n"), BodyError::Missing("Messages-Waiting"));
    assert_eq!(error("Messages-Waiting: perhaps\r\n"), BodyError::Invalid("Messages-Waiting"));
    for malformed in [" folded", "no colon", ": no name", "Messages-Waiting: yes\r\nA B: c", "Messages-Waiting: yes\0"]
    {
        assert!(matches!(error(malformed), BodyError::Malformed { .. }), "{malformed}");
    }
    assert_eq!(MessageSummary::parse(b"Messages-Waiting: \xff"), Err(BodyError::NotUtf8));
}

#[test]
fn a_summary_is_bounded() {
    let with = |rest: String| MessageSummary::parse(format!("Messages-Waiting: yes\r\n{rest}").as_bytes()).map(|_| ());
    assert_eq!(with("a: 1/1\r\n".repeat(1000)), Ok(()));
    assert_eq!(with("a: 1/1\r\n".repeat(1100)), Err(BodyError::TooManyElements));
    assert_eq!(with(format!("a: {}\r\n", "x".repeat(5000))), Err(BodyError::ValueTooLong));
    assert_eq!(with(format!("a: x\r\n{}", " xxxxxxxxxxxx\r\n".repeat(900))), Err(BodyError::ValueTooLong));
    assert_eq!(with("a: 1/1\r\n".repeat(10_000)), Err(BodyError::TooLarge));
}

#[test]
fn values_cannot_smuggle_lines() {
    let mut summary =
        MessageSummary { account: Some("sip:a@b\r\nVoice-Message: 9/9".to_owned()), ..Default::default() };
    assert!(read(std::str::from_utf8(&summary.write()).unwrap()).classes.is_empty());
    summary.account = Some("sip:a@b\n\nTo: x".to_owned());
    assert!(read(std::str::from_utf8(&summary.write()).unwrap()).messages.is_empty());
}

#[test]
fn a_tab_within_a_value_survives() {
    let summary = read("Messages-Waiting: yes\r\nTo: bob\tbuilder\r\n\r\nSubject: a\t\tb\r\n");
    assert_eq!(summary.messages[0][0].1, "a\t\tb");
    assert_eq!(MessageSummary::parse(&summary.write()).as_ref(), Ok(&summary));
}

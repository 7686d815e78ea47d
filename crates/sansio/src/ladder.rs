//! The ladder log: what a machine sent, received and decided, in the order it happened.

use crate::{Flow, Instant};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind<'a> {
    /// A message arrived over the flow.
    Received(&'a [u8]),
    /// A message was sent over the flow.
    Sent(&'a [u8]),
    /// A timer fired, by its name in the RFC ("Timer B").
    Timer(&'a str),
    /// A state was entered, by its name in the RFC ("Proceeding").
    State(&'a str),
}

/// One line of the ladder log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When.
    pub at: Instant,
    /// Between whom, if it concerns a flow.
    pub flow: Option<Flow>,
    /// Which call, transaction or leg (Call-ID, branch), if known.
    pub subject: &'a str,
    /// What.
    pub kind: RecordKind<'a>,
}

/// Takes the ladder log. Holds real addresses of persons: off unless somebody asked for it.
pub trait Ladder {
    /// Writes one line.
    fn record(&mut self, record: Record<'_>);
}

//! The ladder: what travelled between hosts, drawn as the RFCs draw it.

use std::fmt;
use std::net::SocketAddr;

use farspeak_sansio::{Instant, Transport};

use crate::{HostId, Network};

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It reached its host.
    Delivered,
    /// The link lost it.
    Lost,
    /// The translator of this name did not let it pass.
    Filtered(String),
    /// There is no such host, nobody listens there, or it is switched off.
    Unreachable,
}

/// A message that travelled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// When it was sent.
    pub sent: Instant,
    /// When it arrived, or when its fate was settled.
    pub at: Instant,
    /// Who sent it.
    pub from: HostId,
    /// Whom it was for, if the network could tell.
    pub to: Option<HostId>,
    /// Where it was sent to, as its sender saw it; on a stream, as its receiver saw the sender.
    pub remote: SocketAddr,
    /// What carried it.
    pub transport: Transport,
    /// How the ladder calls it.
    pub label: String,
    /// What it was.
    pub bytes: Vec<u8>,
    /// What became of it.
    pub fate: Fate,
}

enum Line {
    Sighting(Box<Sighting>),
    Note(Instant, String),
}

/// Names a message for the ladder.
pub(crate) type Label = Box<dyn Fn(&[u8]) -> String>;

/// Everything that travelled.
pub(crate) struct Log {
    pub(crate) label: Label,
    pub(crate) names: Vec<String>,
    /// How many sightings [`Network::expect`] has passed.
    pub(crate) cursor: usize,
    lines: Vec<Line>,
}

impl Log {
    pub(crate) fn new(label: Label) -> Self {
        Self { label, names: Vec::new(), cursor: 0, lines: Vec::new() }
    }

    pub(crate) fn saw(&mut self, sighting: Sighting) {
        self.lines.push(Line::Sighting(Box::new(sighting)));
    }

    pub(crate) fn note(&mut self, at: Instant, text: String) {
        self.lines.push(Line::Note(at, text));
    }

    pub(crate) fn sightings(&self) -> impl DoubleEndedIterator<Item = &Sighting> {
        self.lines.iter().filter_map(|line| match line {
            Line::Sighting(sighting) => Some(&**sighting),
            Line::Note(..) => None,
        })
    }
}

impl Network {
    /// Every message so far, in the order in which its fate was settled.
    pub fn sightings(&self) -> impl DoubleEndedIterator<Item = &Sighting> {
        self.log.sightings()
    }

    /// Draws everything so far: a column for each host, a line for each message, at the time of its arrival.
    ///
    /// `>` and `<` arrived, `x` did not.
    pub fn ladder(&self) -> String {
        let mut drawing = format!("seed {}\n", self.seed);
        let columns = Columns { names: &self.log.names };
        drawing.push_str(&columns.header());
        for line in &self.log.lines {
            match line {
                Line::Sighting(sighting) => drawing.push_str(&columns.arrow(sighting)),
                Line::Note(at, text) => drawing.push_str(&format!("{:>12}  # {text}\n", at.to_string())),
            }
        }
        drawing
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ladder())
    }
}

/// How a message is called unless somebody says better: its first word.
pub(crate) fn first_word(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let word = text.split_ascii_whitespace().next().unwrap_or("(empty)");
    word.chars().map(|c| if c.is_control() { '.' } else { c }).take(24).collect()
}

/// Width of the time, and of the space between two hosts.
const MARGIN: usize = 14;
const WIDTH: usize = 24;

struct Columns<'a> {
    names: &'a [String],
}

impl Columns<'_> {
    fn header(&self) -> String {
        let mut line = " ".repeat(MARGIN);
        for (at, name) in self.names.iter().enumerate() {
            // The middle of the name stands over the line of its host.
            let start =
                (self.column(at) + 1).saturating_sub(name.chars().count().div_ceil(2)).max(line.chars().count());
            line.extend(std::iter::repeat_n(' ', start - line.chars().count()));
            line.push_str(name);
            line.push(' ');
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }

    fn arrow(&self, sighting: &Sighting) -> String {
        let mut canvas: Vec<char> = format!("{:>12}", sighting.at.to_string()).chars().collect();
        canvas.resize(self.column(self.names.len().saturating_sub(1)) + 1, ' ');
        for at in 0..self.names.len() {
            canvas[self.column(at)] = '|';
        }
        let from = sighting.from.0;
        // What nobody was to receive goes one column to the side.
        let aside = if from + 1 < self.names.len() { from + 1 } else { from.saturating_sub(1) };
        let to = sighting.to.map_or(aside, |to| to.0);
        let (left, right) = (self.column(from.min(to)), self.column(from.max(to)));
        if left < right {
            canvas[left + 1..right].fill('-');
            let label: Vec<char> = sighting.label.chars().take(right - left - 5).collect();
            let start = left + 1 + (right - left - 1 - label.len()) / 2;
            canvas[start - 1] = ' ';
            canvas[start..start + label.len()].copy_from_slice(&label);
            canvas[start + label.len()] = ' ';
            let head = match (&sighting.fate, from < to) {
                (Fate::Delivered, true) => (right - 1, '>'),
                (Fate::Delivered, false) => (left + 1, '<'),
                (_, true) => (right - 2, 'x'),
                (_, false) => (left + 2, 'x'),
            };
            canvas[head.0] = head.1;
            match (&sighting.fate, from < to) {
                (Fate::Delivered, _) => {}
                (_, true) => canvas[right - 1] = ' ',
                (_, false) => canvas[left + 1] = ' ',
            }
        }
        let mut line: String = canvas.into_iter().collect();
        match &sighting.fate {
            Fate::Delivered if left == right => line.push_str(&format!("  {} (to itself)", sighting.label)),
            Fate::Delivered => {}
            Fate::Lost => line.push_str("  lost"),
            Fate::Filtered(by) => line.push_str(&format!("  stopped by {by}")),
            Fate::Unreachable => line.push_str(&format!("  unreachable {}", sighting.remote)),
        }
        line.push('\n');
        line
    }

    const fn column(&self, at: usize) -> usize {
        MARGIN + 6 + at * WIDTH
    }
}

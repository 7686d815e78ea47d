//! `a=simulcast`: one source in several RTP streams. RFC 8853.

use std::fmt;

use super::rid::is_rid;
use super::{Attribute, words};
use crate::error::AttributeError;
use crate::media::Media;

/// The streams to send and to receive at once. Each is a list of alternatives, the most preferred first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Simulcast<'a> {
    /// What the writer sends; empty if it says nothing of it.
    pub send: Vec<Vec<SimulcastStream<'a>>>,
    /// What the writer receives; empty if it says nothing of it.
    pub recv: Vec<Vec<SimulcastStream<'a>>>,
}

/// One alternative for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SimulcastStream<'a> {
    /// The name of an `a=rid`.
    pub rid: &'a str,
    /// Whether it starts paused (`~`).
    pub paused: bool,
}

impl<'a> Attribute<'a> for Simulcast<'a> {
    const NAME: &'static str = "simulcast";

    fn parse(value: &'a str) -> Result<Self, AttributeError> {
        let error = |expected| AttributeError { attribute: Self::NAME, expected };
        let mut simulcast = Self::default();
        let mut words = words(value);
        while let Some(direction) = words.next() {
            let streams = match direction {
                "send" => &mut simulcast.send,
                "recv" => &mut simulcast.recv,
                _ => return Err(error("send or recv")),
            };
            if !streams.is_empty() {
                return Err(error("each direction once"));
            }
            let read: Option<_> = words.next().and_then(streams_of);
            *streams = read.ok_or(error("streams by name, with ; and , between them"))?;
        }
        if simulcast == Self::default() {
            return Err(error("send or recv"));
        }
        Ok(simulcast)
    }
}

fn streams_of(list: &str) -> Option<Vec<Vec<SimulcastStream<'_>>>> {
    let stream = |text| {
        let (rid, paused) = str::strip_prefix(text, '~').map_or((text, false), |rid| (rid, true));
        is_rid(rid).then_some(SimulcastStream { rid, paused })
    };
    list.split(';').map(|alternatives| alternatives.split(',').map(stream).collect()).collect()
}

impl fmt::Display for Simulcast<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (direction, streams) in [("send", &self.send), ("recv", &self.recv)] {
            let mut separator = ' ';
            for alternatives in streams {
                match separator {
                    ' ' => write!(f, "{between}{direction} ")?,
                    _ => f.write_str(";")?,
                }
                separator = ';';
                for (index, stream) in alternatives.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{}{}", if stream.paused { "~" } else { "" }, stream.rid)?;
                }
                between = " ";
            }
        }
        Ok(())
    }
}

impl Media {
    /// Its `a=simulcast`, of which there can be one.
    pub fn simulcast(&self) -> Option<Simulcast<'_>> {
        self.first()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{refuses, round_trips};
    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_8853() {
        let both: Simulcast = round_trips("send 1,2,3;~4,~5 recv 6;~7,~8");
        assert_eq!((both.send.len(), both.recv.len()), (2, 2));
        assert_eq!(both.send[1][1], SimulcastStream { rid: "5", paused: true });
        let one: Simulcast = round_trips("send hi;mid;lo");
        assert_eq!((one.send.len(), one.recv.len()), (3, 0));
        assert_eq!(Simulcast::parse("recv 1;~4 send 6").unwrap().to_string(), "send 6 recv 1;~4");
        refuses::<Simulcast>(&[
            "",
            "send",
            "send 1 send 2",
            "send 1;;2",
            "send ~",
            "send rid=1",
            "both 1",
            "send 1 recv",
        ]);
    }
}

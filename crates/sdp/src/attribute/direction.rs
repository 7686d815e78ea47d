//! `a=sendrecv`, `a=sendonly`, `a=recvonly`, `a=inactive`. RFC 8866 §6.7.

use std::fmt;

use crate::section::Section;

/// In which direction media flows, as the one who wrote the description sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both; what holds where neither level says anything.
    #[default]
    SendRecv,
    /// From the writer to the reader.
    SendOnly,
    /// From the reader to the writer.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The direction of this attribute name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.as_str() == name)
    }

    /// The name of the attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The direction of this much sending and receiving.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same as the other side sees it.
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow: an answer is `wanted.and_with(offer.reversed())` (RFC 3264 §6.1).
    pub fn and_with(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    const ALL: [Self; 4] = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Section {
    /// The direction that this level states; the first, if there are several.
    pub fn direction(&self) -> Option<Direction> {
        self.attribute_lines().find_map(Direction::parse)
    }

    /// States the direction: in the place of the first one stated, or at the end.
    pub fn set_direction(&mut self, direction: Direction) {
        match self.direction() {
            Some(old) if old == direction => {}
            Some(old) => self.rename_attribute(old.as_str(), direction.as_str()),
            None => self.push_attribute(direction.as_str(), None),
        }
        let mut seen = false;
        self.retain_attributes(|name, value| {
            value.is_some() || Direction::parse(name).is_none() || !std::mem::replace(&mut seen, true)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverses_and_intersects() {
        use Direction::*;
        assert_eq!(Direction::ALL.map(Direction::reversed), [SendRecv, RecvOnly, SendOnly, Inactive]);
        assert_eq!(SendOnly.and_with(RecvOnly), Inactive);
        assert_eq!(SendRecv.and_with(RecvOnly), RecvOnly);
        for direction in Direction::ALL {
            assert_eq!(Direction::parse(&direction.to_string()), Some(direction));
            assert_eq!(Direction::new(direction.sends(), direction.receives()), direction);
        }
        assert_eq!(Direction::parse("sendreceive"), None);
    }

    #[test]
    fn is_stated_once_and_in_its_place() {
        let mut section = Section::empty();
        assert_eq!(section.direction(), None);
        section.push_attribute("sendonly", None);
        section.push_attribute("mid", Some("0"));
        section.push_attribute("recvonly", None);
        assert_eq!(section.direction(), Some(Direction::SendOnly));
        section.set_direction(Direction::Inactive);
        assert_eq!(section.attributes().collect::<Vec<_>>(), [("inactive", None), ("mid", Some("0"))]);
        section.set_direction(Direction::Inactive);
        assert_eq!(section.attributes().count(), 2);
    }
}

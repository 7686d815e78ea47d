//! Small things that a media stream says of itself: `a=ptime`, `a=maxptime`, `a=label`, `a=content`.

use crate::media::Media;

impl Media {
    /// Milliseconds of sound in a packet: `a=ptime`. RFC 8866 §6.4. Lenient: fractions, which some send, are rounded.
    pub fn ptime(&self) -> Option<u32> {
        self.values("ptime").find_map(milliseconds)
    }

    /// Most milliseconds of sound in a packet: `a=maxptime`. RFC 8866 §6.5.
    pub fn maxptime(&self) -> Option<u32> {
        self.values("maxptime").find_map(milliseconds)
    }

    /// A name for others to refer to: `a=label`. RFC 4574.
    pub fn label(&self) -> Option<&str> {
        self.value("label")
    }

    /// What is shown or heard: `a=content`, such as `main` and `slides`. RFC 4796.
    pub fn content(&self) -> impl Iterator<Item = &str> + '_ {
        self.values("content").flat_map(|value| value.split(',')).map(|word| word.trim_matches(' '))
    }
}

fn milliseconds(value: &str) -> Option<u32> {
    let value: f32 = value.trim_matches(' ').parse().ok()?;
    (value > 0.0 && value < 60_000.0).then_some(value.round().max(1.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MediaKind, Protocol};

    #[test]
    fn reads_packet_times_and_names() {
        let mut media = Media::new(MediaKind::Audio, 9, Protocol::RtpAvp);
        for (name, value) in [("ptime", "-1"), ("ptime", "nan"), ("ptime", "20"), ("maxptime", "7.5"), ("label", "10")]
        {
            media.push_attribute(name, Some(value));
        }
        media.push_attribute("content", Some("slides,main"));
        assert_eq!((media.ptime(), media.maxptime(), media.label()), (Some(20), Some(8), Some("10")));
        assert_eq!(media.content().collect::<Vec<_>>(), ["slides", "main"]);
    }
}

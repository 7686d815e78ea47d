//! `a=sctp-port`, `a=max-message-size`: data channels. RFC 8841 §5, §6.

use crate::field::number;
use crate::media::Media;

impl Media {
    /// The SCTP port: `a=sctp-port`. RFC 8841 §5.1.
    pub fn sctp_port(&self) -> Option<u16> {
        self.values("sctp-port").find_map(|value| number(value.trim_matches(' ')))
    }

    /// Longest SCTP message the writer takes, in bytes; 0 for any. RFC 8841 §6.1: without the line it is 64 KiB.
    pub fn max_message_size(&self) -> Option<u64> {
        self.values("max-message-size").find_map(|value| number(value.trim_matches(' ')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MediaKind, Protocol};

    #[test]
    fn reads_port_and_size() {
        let mut media = Media::new(MediaKind::Application, 9, Protocol::UdpDtlsSctp);
        assert_eq!((media.sctp_port(), media.max_message_size()), (None, None));
        media.push_attribute("sctp-port", Some("x"));
        media.push_attribute("sctp-port", Some("5000"));
        media.push_attribute("max-message-size", Some("1073741823"));
        assert_eq!((media.sctp_port(), media.max_message_size()), (Some(5000), Some(1_073_741_823)));
    }
}

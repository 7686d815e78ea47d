//! RSeq and RAck: the numbers of reliable provisional responses (RFC 3262 §7.1, §7.2).

use std::fmt;

use super::single_header;
use crate::message::{CSeq, Method, lex};

/// Number of a reliable provisional response. Counts up by one within a transaction (RFC 3262 §7.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RSeq(
    /// 1 to 2^32 − 1; the first one below 2^31 (RFC 3262 §3).
    pub u32,
);

single_header!(RSeq, RSeq);

impl RSeq {
    fn read(text: &str) -> Option<Self> {
        lex::number(text).filter(|number| *number > 0).map(Self)
    }
}

impl fmt::Display for RSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which response a PRACK confirms: its RSeq, and the CSeq of the request that it answers (RFC 3262 §7.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RAck {
    /// The response's RSeq, from 1.
    pub rseq: u32,
    /// The number in the CSeq of the response, below 2^31.
    pub cseq: u32,
    /// The method in the CSeq of the response.
    pub method: Method,
}

single_header!(RAck, RAck);

impl RAck {
    fn read(text: &str) -> Option<Self> {
        let (rseq, cseq) = text.split_at(text.bytes().position(lex::is_space)?);
        let RSeq(rseq) = RSeq::read(rseq)?;
        let CSeq { number, method } = CSeq::parse(lex::trim_start(cseq)).ok()?;
        Some(Self { rseq, cseq: number, method })
    }

    /// Whether a response with these two is the one that is confirmed.
    pub fn confirms(&self, rseq: RSeq, cseq: &CSeq) -> bool {
        self.rseq == rseq.0 && self.cseq == cseq.number && self.method == cseq.method
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.rseq, self.cseq, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rack_is_read_as_in_rfc3262_section_7_2() {
        let rack = RAck::parse("776656 1 INVITE").unwrap();
        assert_eq!(rack, RAck { rseq: 776_656, cseq: 1, method: Method::Invite });
        assert_eq!(rack.to_string(), "776656 1 INVITE");
        assert!(rack.confirms(RSeq(776_656), &CSeq { number: 1, method: Method::Invite }));
        assert_eq!(RAck::parse("1\t 2\r\n INVITE").unwrap().cseq, 2);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in ["", "0 1 INVITE", "1 INVITE", "1 2", "4294967296 1 INVITE", "1 2147483648 INVITE", "1 1 IN VITE"] {
            assert!(RAck::parse(text).is_err(), "{text}");
        }
        assert!(RSeq::parse("0").is_err() && RSeq::parse("4294967296").is_err() && RSeq::parse("-1").is_err());
        assert_eq!(RSeq::parse(" 4294967295 "), Ok(RSeq(u32::MAX)));
    }
}

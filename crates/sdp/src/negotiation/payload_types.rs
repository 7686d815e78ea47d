//! Which payload type means which codec in what this side writes: once given, it means that codec until the session ends.
//! RFC 3264 §8.3.2. Streams that share a transport share the numbers too (RFC 9143 §9.1.1).

use std::collections::BTreeMap;

/// The payload types of one session, by media section. At most 128 for each section.
#[derive(Debug, Clone, Default)]
pub(crate) struct PayloadTypes {
    sections: Vec<BTreeMap<u8, Box<str>>>,
}

impl PayloadTypes {
    /// A payload type for the codec of this identity in section `index`: `wanted` if it is free there and in the sections
    /// `shared`, else one that already means this codec, else `preferred`, else the next free dynamic one.
    ///
    /// `None` if all are taken.
    pub(crate) fn claim(
        &mut self,
        index: usize,
        identity: &str,
        wanted: Option<u8>,
        preferred: Option<u8>,
        shared: &[usize],
    ) -> Option<u8> {
        while self.sections.len() <= index {
            self.sections.push(BTreeMap::new());
        }
        let usable = |number: u8| {
            shared.iter().copied().chain([index]).all(|section| {
                self.sections.get(section).and_then(|taken| taken.get(&number)).is_none_or(|name| **name == *identity)
            })
        };
        let known = || {
            shared.iter().copied().chain([index]).rev().find_map(|section| {
                let taken = self.sections.get(section)?;
                taken.iter().find(|(number, name)| ***name == *identity && usable(**number)).map(|(number, _)| *number)
            })
        };
        let number = wanted
            .filter(|number| usable(*number))
            .or_else(known)
            .or_else(|| preferred.filter(|number| usable(*number)))
            // RFC 3551 §6 for the first range, RFC 5761 §4 for the second: never 64 to 95, which RTCP needs.
            .or_else(|| {
                (96..=127).chain(35..=63).find(|number| usable(*number) && self.is_fresh(*number, index, shared))
            })?;
        self.sections[index].insert(number, identity.into());
        Some(number)
    }

    /// Not in use at all in these sections: [`claim`](Self::claim) takes a new number rather than a second name.
    fn is_fresh(&self, number: u8, index: usize, shared: &[usize]) -> bool {
        shared
            .iter()
            .copied()
            .chain([index])
            .all(|section| self.sections.get(section).is_none_or(|taken| !taken.contains_key(&number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_codec_and_a_codec_its_number() {
        let mut numbers = PayloadTypes::default();
        assert_eq!(numbers.claim(0, "opus", None, None, &[]), Some(96));
        assert_eq!(numbers.claim(0, "vp8", None, None, &[]), Some(97));
        assert_eq!(numbers.claim(0, "opus", None, Some(100), &[]), Some(96));
        assert_eq!(numbers.claim(0, "vp8", Some(96), None, &[]), Some(97), "96 is taken");
        assert_eq!(numbers.claim(0, "opus", Some(110), None, &[]), Some(110), "a second number is allowed");
    }

    #[test]
    fn sections_with_one_transport_share_the_numbers() {
        let mut numbers = PayloadTypes::default();
        assert_eq!(numbers.claim(0, "opus", None, None, &[0, 1]), Some(96));
        assert_eq!(numbers.claim(1, "vp8", None, None, &[0, 1]), Some(97));
        assert_eq!(numbers.claim(1, "opus", None, None, &[0, 1]), Some(96));
        assert_eq!(numbers.claim(2, "vp8", Some(96), None, &[]), Some(96), "a transport of its own");
    }

    #[test]
    fn runs_out_without_taking_those_that_rtcp_needs() {
        let mut numbers = PayloadTypes::default();
        let taken: Vec<u8> = (0..200).map_while(|n| numbers.claim(0, &format!("codec{n}"), None, None, &[])).collect();
        assert_eq!(taken.len(), 61);
        assert!(taken.iter().all(|number| !(64..96).contains(number)));
    }
}

//! `profile-level-id` of H.264: which values mean the same profile, and what an answer says. RFC 6184 §8.1, §8.2.2.

use super::codec::{parameter, with_parameter};

/// A profile with the constraints that make it one, from the first two octets of `profile-level-id` (RFC 6184 table 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    Extended,
    High,
    ConstrainedHigh,
    /// Any other: `profile_idc` and `profile-iop` as they are.
    Other(u8, u8),
    /// Not six hexadecimal digits: equal to nothing that can be offered.
    Invalid,
}

impl Profile {
    pub(crate) fn of(text: Option<&str>) -> Self {
        let Some([idc, iop, level]) = octets(text) else { return Self::Invalid };
        // constraint_set3_flag says "level 1b" for these three and is no part of the profile.
        let iop = if matches!(idc, 66 | 77 | 88) && level == 11 { iop & !0x10 } else { iop };
        match (idc, iop) {
            (0x42, iop) if iop & 0x4f == 0x40 => Self::ConstrainedBaseline,
            (0x4d, iop) if iop & 0x8f == 0x80 => Self::ConstrainedBaseline,
            (0x58, iop) if iop & 0xcf == 0xc0 => Self::ConstrainedBaseline,
            (0x42, iop) if iop & 0x4f == 0 => Self::Baseline,
            (0x58, iop) if iop & 0xcf == 0x80 => Self::Baseline,
            (0x4d, iop) if iop & 0xaf == 0 => Self::Main,
            (0x58, iop) if iop & 0xcf == 0 => Self::Extended,
            (0x64, 0) => Self::High,
            (0x64, 0x0c) => Self::ConstrainedHigh,
            (idc, iop) => Self::Other(idc, iop),
        }
    }

    pub(crate) fn name(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }
}

/// Our parameters with the offer's profile and the level that RFC 6184 §8.2.2 lets an answer have: ours if both sides allow
/// asymmetry, else the lower one.
pub(crate) fn answer(ours: &str, offered: &str) -> String {
    let (Some(mine), Some(theirs)) =
        (octets(parameter(ours, "profile-level-id")), octets(parameter(offered, "profile-level-id")))
    else {
        return ours.to_owned();
    };
    let asymmetric = |fmtp| parameter(fmtp, "level-asymmetry-allowed") == Some("1");
    let lower = if level(theirs) <= level(mine) { theirs } else { mine };
    let level = if asymmetric(ours) && asymmetric(offered) { mine } else { lower };
    let [idc, iop, _] = theirs;
    let one_b = matches!(idc, 66 | 77 | 88) && self::level(level) == LEVEL_1B;
    let iop = if matches!(idc, 66 | 77 | 88) { iop & !0x10 | if one_b { 0x10 } else { 0 } } else { iop };
    let level = match (self::level(level) == LEVEL_1B, one_b) {
        (true, true) => 11,
        (true, false) => 9,
        (false, _) => level[2],
    };
    with_parameter(ours, "profile-level-id", &format!("{idc:02x}{iop:02x}{level:02x}"))
}

/// Ten times the level, twice: so that level 1b has room between 1 and 1.1.
fn level([idc, iop, level]: [u8; 3]) -> u16 {
    match (idc, level) {
        (66 | 77 | 88, 11) if iop & 0x10 != 0 => LEVEL_1B,
        (66 | 77 | 88, _) => 2 * u16::from(level),
        (_, 9) => LEVEL_1B,
        _ => 2 * u16::from(level),
    }
}

const LEVEL_1B: u16 = 21;

/// The three octets; baseline at level 1 if there is no such parameter (RFC 6184 §8.1).
fn octets(text: Option<&str>) -> Option<[u8; 3]> {
    let Some(text) = text else { return Some([0x42, 0, 10]) };
    if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    let [_, idc, iop, level] = number.to_be_bytes();
    Some([idc, iop, level])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_profiles_of_table_5() {
        let cases = [
            ("42e01f", Profile::ConstrainedBaseline),
            ("42c01f", Profile::ConstrainedBaseline),
            ("4d801f", Profile::ConstrainedBaseline),
            ("58c01f", Profile::ConstrainedBaseline),
            ("42001f", Profile::Baseline),
            ("588015", Profile::Baseline),
            ("4d001f", Profile::Main),
            ("58001f", Profile::Extended),
            ("64001f", Profile::High),
            ("640c1f", Profile::ConstrainedHigh),
            ("6e001f", Profile::Other(0x6e, 0)),
            ("42é1f", Profile::Invalid),
            ("+2e01f", Profile::Invalid),
        ];
        for (text, profile) in cases {
            assert_eq!(Profile::of(Some(text)), profile, "{text}");
        }
        assert_eq!(Profile::of(None), Profile::Baseline);
    }

    #[test]
    fn the_answers_level_is_the_lower_one_unless_both_allow_asymmetry() {
        assert_eq!(answer("profile-level-id=42e01f", "profile-level-id=42e00d"), "profile-level-id=42e00d");
        assert_eq!(answer("profile-level-id=42e00d", "profile-level-id=42c01f"), "profile-level-id=42c00d");
        let ours = "profile-level-id=42e01f;level-asymmetry-allowed=1";
        assert_eq!(answer(ours, "level-asymmetry-allowed=1;profile-level-id=42e00d"), ours);
        assert_eq!(
            answer(ours, "profile-level-id=42e00d"),
            "profile-level-id=42e00d;level-asymmetry-allowed=1",
            "the offer does not allow it"
        );
    }

    #[test]
    fn level_1b_lies_between_1_and_1_1() {
        assert_eq!(answer("profile-level-id=42e00b", "profile-level-id=42f00b"), "profile-level-id=42f00b");
        assert_eq!(answer("profile-level-id=42e00a", "profile-level-id=42f00b"), "profile-level-id=42e00a");
    }
}

//! How many notifications a subscriber wants: `min-rate`, `max-rate`, `adaptive-min-rate` (RFC 6446 §5–§7, §9.1).

use std::fmt;
use std::time::Duration;

use super::ParamList;

/// Notifications per second: 0 to 99.9999999999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rate {
    /// In units of 10^-10 per second, which the grammar can just tell apart.
    units: u64,
}

const UNITS: u64 = 10_000_000_000;

impl Rate {
    /// The parameter that bounds the rate from above.
    pub const MAX: &'static str = "max-rate";
    /// The parameter that bounds the rate from below.
    pub const MIN: &'static str = "min-rate";
    /// The parameter that bounds the average rate from below.
    pub const ADAPTIVE_MIN: &'static str = "adaptive-min-rate";

    /// One notification in `interval`; no less than 10^-10, no more than just under 100 per second.
    pub fn every(interval: Duration) -> Self {
        let units = u128::from(UNITS) * 1_000_000_000 / interval.as_nanos().max(1);
        Self { units: u64::try_from(units).unwrap_or(u64::MAX).clamp(1, 100 * UNITS - 1) }
    }

    /// `1*2DIGIT [ "." 1*10DIGIT ]`
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || whole.len() > 2 || fraction.len() > 10 {
            return None;
        }
        let fraction = format!("{fraction:0<10}");
        Some(Self { units: whole.parse::<u64>().ok()? * UNITS + fraction.parse::<u64>().ok()? })
    }

    /// The parameter of that name of an Event or Subscription-State; `None` also if it is malformed.
    pub fn of(params: &ParamList, name: &str) -> Option<Self> {
        Self::parse(params.value(name)?)
    }

    /// The time between two notifications; `None` for a rate of 0.
    pub fn interval(self) -> Option<Duration> {
        let nanos = (u128::from(UNITS) * 1_000_000_000).checked_div(u128::from(self.units))?;
        // At most 10^19, which fits.
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:010}", self.units % UNITS);
        write!(f, "{}", self.units / UNITS)?;
        match fraction.trim_end_matches('0') {
            "" => Ok(()),
            fraction => write!(f, ".{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_exactly() {
        for (text, millis) in [("0.05", 20_000), ("1", 1000), ("10.0", 100), ("0.0000000001", 10_000_000_000_000)] {
            assert_eq!(Rate::parse(text).unwrap().interval(), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(Rate::parse("0").unwrap().interval(), None);
        assert_eq!(Rate::every(Duration::from_secs(20)).to_string(), "0.05");
        assert_eq!(Rate::every(Duration::ZERO).to_string(), "99.9999999999");
        for text in ["", ".", "1.", ".1", "100", "1.00000000001", "-1", "1e2"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
        let params = ParamList::new().with("max-rate", Some("0.1"));
        assert_eq!(Rate::of(&params, Rate::MAX), Rate::parse("0.10"));
    }
}

//! Points in time as documents write them: RFC 3339, by way of RFC 3863 §4.1.7.

use std::fmt;

/// A point in time, in UTC. Two that are equal may have been written with different offsets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// Seconds from the Unix epoch to the end of year 9999 and from the start of year 0, which is what RFC 3339 can write.
const LAST: i64 = 253_402_300_799;
const FIRST: i64 = -62_167_219_200;

impl Timestamp {
    /// The point `seconds` after the Unix epoch. None outside of the years 0 to 9999.
    pub const fn from_unix(seconds: i64) -> Option<Self> {
        if seconds < FIRST || seconds > LAST { None } else { Some(Self { seconds, nanos: 0 }) }
    }

    /// Seconds since the Unix epoch; fractions are cut off towards the past.
    pub const fn unix(self) -> i64 {
        self.seconds
    }

    /// Reads `2005-05-30T16:09:44.5+05:00`. A time without an offset, which RFC 3339 does not allow and clients write, is
    /// taken for UTC; digits beyond nanoseconds are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut bytes = text.bytes();
        let mut number = |digits: usize, end: Option<u8>| {
            let mut value = 0i64;
            for _ in 0..digits {
                let digit = bytes.next().filter(u8::is_ascii_digit)?;
                value = value * 10 + i64::from(digit - b'0');
            }
            match end {
                Some(end) => bytes.next().filter(|it| it.eq_ignore_ascii_case(&end)).map(|_| value),
                None => Some(value),
            }
        };
        let (year, month, day) = (number(4, Some(b'-'))?, number(2, Some(b'-'))?, number(2, Some(b'T'))?);
        let (hour, minute, second) = (number(2, Some(b':'))?, number(2, Some(b':'))?, number(2, None)?);
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let rest = text.get("2005-05-30T16:09:44".len()..)?;
        let (nanos, offset) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
                let (digits, offset) = rest.split_at(end);
                (fraction(digits)?, offset)
            }
            None => (0, rest),
        };
        let days = days_before(year, month) + day - 1;
        let local = days * 86_400 + hour * 3600 + minute * 60 + second;
        let seconds = local - offset_seconds(offset)?;
        Self::from_unix(seconds).map(|it| Self { nanos, ..it })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.seconds.div_euclid(86_400), self.seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Digits after the point, as nanoseconds.
fn fraction(digits: &str) -> Option<u32> {
    let kept = digits.get(..digits.len().min(9)).filter(|it| !it.is_empty())?;
    format!("{kept:0<9}").parse().ok()
}

/// `Z`, `+05:00`, or nothing.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes() {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => (1, &text[1..]),
        [b'-', ..] => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str, most: i64| {
        let is_number = text.len() == 2 && text.bytes().all(|it| it.is_ascii_digit());
        text.parse::<i64>().ok().filter(|it| is_number && *it <= most)
    };
    Some(sign * (number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to the first of the month.
fn days_before(year: i64, month: i64) -> i64 {
    let past = year - 1;
    let leaps = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    // 719 162 days lie between 0001-01-01 and the epoch.
    let years = past * 365 + leaps - 719_162;
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>()
}

/// The date of a day counted from the epoch.
fn date(days: i64) -> (i64, i64, i64) {
    // 146 097 days make 400 years, so that this is a year off at most.
    let mut year = 1970 + (days * 400).div_euclid(146_097);
    while days_before(year, 1) > days {
        year -= 1;
    }
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while days_before(year, month) + days_in(year, month) <= days {
        month += 1;
    }
    (year, month, days - days_before(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_to_utc() {
        let read = |text| Timestamp::parse(text).map(|it| it.to_string());
        assert_eq!(read("2005-05-30T16:09:44+05:00").as_deref(), Some("2005-05-30T11:09:44Z"));
        assert_eq!(read("2004-10-21T13:20:00.000-05:00").as_deref(), Some("2004-10-21T18:20:00Z"));
        assert_eq!(read("2001-10-27t16:49:29.2500z").as_deref(), Some("2001-10-27T16:49:29.25Z"));
        assert_eq!(read(" 2000-02-29T23:59:60 ").as_deref(), Some("2000-03-01T00:00:00Z"));
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00Z").map(Timestamp::unix), Some(0));
        assert_eq!(Timestamp::parse("2026-11-21T13:06:12Z").map(Timestamp::unix), Some(1_795_266_372));
        for (text, seconds) in [("0000-01-01T00:00:00Z", FIRST), ("9999-12-31T23:59:59Z", LAST)] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::unix), Some(seconds));
            assert_eq!(read(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn every_day_reads_back() {
        for days in (-719_528..2_932_896).step_by(13) {
            let timestamp = Timestamp::from_unix(days * 86_400 + 7).unwrap();
            assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp));
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "2005-05-30",
            "2005-02-29T00:00:00Z",
            "2005-13-01T00:00:00Z",
            "2005-00-01T00:00:00Z",
            "2005-01-00T00:00:00Z",
            "2005-01-01T24:00:00Z",
            "2005-01-01T00:00:61Z",
            "2005-01-01T00:00:00.Z",
            "2005-01-01T00:00:00+5:00",
            "2005-01-01T00:00:00+0500",
            "2005-01-01T00:00:00+99:00",
            "2005-01-01 00:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2005-01-01T00:00:00é",
            "é005-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}

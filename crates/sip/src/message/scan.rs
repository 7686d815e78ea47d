//! Finds bytes eight and more at a time (the lines of a header are too short for a vector search to pay off).
//!
//! The arithmetic is that of "Bit Twiddling Hacks": of the marked bytes of a word the lowest, which stands first in the
//! text, is always right; those above it need not be, so only the lowest is used.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The index of the first CR or LF from `at` on.
#[inline(always)]
pub(super) fn line_break(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = up_to_cr(bytes, at)?;
        // Nothing else below CR is common.
        match bytes[at] {
            b'\r' | b'\n' => return Some(at),
            _ => at += 1,
        }
    }
}

/// The index of the first byte from `at` on that is CR or less.
#[inline(always)]
fn up_to_cr(bytes: &[u8], mut at: usize) -> Option<usize> {
    const LIMIT: u64 = ONES * (b'\r' as u64 + 1);
    let mut rest = bytes.get(at..)?;
    while let Some((block, after)) = rest.split_first_chunk::<16>() {
        // Without an early exit, so that the compiler compares all sixteen at once.
        if block.iter().fold(false, |any, byte| any | (*byte <= b'\r')) {
            for half in block.as_chunks().0 {
                let marked = less_than(LIMIT, u64::from_le_bytes(*half));
                if marked != 0 {
                    return Some(at + first(marked));
                }
                at += 8;
            }
        }
        at += 16;
        rest = after;
    }
    rest.iter().position(|byte| *byte <= b'\r').map(|length| at + length)
}

/// Whether there is a control character (0–31 or 127).
#[inline]
pub(super) fn any_control(bytes: &[u8]) -> bool {
    let mark = |word: u64| less_than(ONES * 32, word) | zero(word ^ (ONES * 127));
    let (words, tail) = bytes.as_chunks();
    match bytes.last_chunk() {
        // What is left after the last whole word, together with bytes that are looked at anyway.
        Some(last) => words.iter().chain([last]).fold(0, |marked, word| marked | mark(u64::from_le_bytes(*word))) != 0,
        None => tail.iter().any(u8::is_ascii_control),
    }
}

/// The index of the first `byte` from `at` on; not for 0.
#[inline]
pub(super) fn byte(byte: u8, bytes: &[u8], mut at: usize) -> Option<usize> {
    while at < bytes.len() {
        let marked = zero(word_at(bytes, at) ^ (ONES * byte as u64));
        if marked != 0 {
            return Some(at + first(marked));
        }
        at += 8;
    }
    None
}

/// The index of the first byte from `at` on that is a colon, white space or a control character below it.
#[inline(always)]
pub(super) fn colon_or_space(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    while let Some((word, after)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        let marked = zero(word ^ (ONES * b':' as u64)) | less_than(ONES * (b' ' as u64 + 1), word);
        if marked != 0 {
            return Some(at + first(marked));
        }
        at += 8;
        rest = after;
    }
    rest.iter().position(|byte| matches!(byte, 0..=b' ' | b':')).map(|length| at + length)
}

/// The eight bytes at `at`, the first one lowest, 0 for those after the end.
#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or(&[]);
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    match bytes.last_chunk() {
        // Shifted twice, since all of it may have to go.
        Some(last) => u64::from_le_bytes(*last) >> (8 * (7 - rest.len())) >> 8,
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Marks the bytes that are 0.
#[inline]
const fn zero(word: u64) -> u64 {
    less_than(ONES, word)
}

/// Marks the bytes that are less than those of `limits`, which are at most 128.
#[inline]
const fn less_than(limits: u64, word: u64) -> u64 {
    word.wrapping_sub(limits) & !word & HIGHS
}

/// The number of bytes before the first marked one.
#[inline]
fn first(marked: u64) -> usize {
    (marked.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_loop_over_the_bytes_finds() {
        let text: Vec<u8> =
            (0..=255).rev().chain(*b"\t\x0b:\x0c\x0e\x80\x8d\r\n:\0\xff\xba\x3a\x8a\n and \r at the end:").collect();
        for start in 0..=text.len() + 1 {
            let position = |wanted: &dyn Fn(u8) -> bool| {
                let found = text.get(start..)?.iter().position(|byte| wanted(*byte));
                found.map(|length| start + length)
            };
            assert_eq!(line_break(&text, start), position(&|byte| byte == b'\r' || byte == b'\n'));
            for wanted in [b':', b'>', 0x80, 0xff] {
                assert_eq!(byte(wanted, &text, start), position(&|byte| byte == wanted));
            }
            let found = position(&|byte| byte <= b' ' || byte == b':');
            assert_eq!(colon_or_space(&text, start), found);
            for end in start..=text.len() {
                let part = &text[start..end];
                assert_eq!(any_control(part), part.iter().any(u8::is_ascii_control));
            }
        }
    }
}

//! Finds bytes eight and more at a time (the lines of a header are too short for a vector search to pay off).
//!
//! The arithmetic is that of "Bit Twiddling Hacks": of the marked bytes of a word the lowest, which stands first in the
//! text, is always right; those above it need not be, so only the lowest is used.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The index of the first byte from `at` on that is CR or less: hardly anything of that is common but CR and LF.
#[inline(always)]
pub(super) fn up_to_cr(bytes: &[u8], at: usize) -> Option<usize> {
    find(bytes, at, |byte| byte <= b'\r', |word| less_than(ONES * (b'\r' as u64 + 1), word))
}

/// The index of the first `wanted` from `at` on.
#[inline]
pub(super) fn byte(wanted: u8, bytes: &[u8], at: usize) -> Option<usize> {
    find(bytes, at, |byte| byte == wanted, |word| zero(word ^ (ONES * wanted as u64)))
}

/// The index of the first byte from `at` on that `is` wanted; `mark` marks such bytes in a word.
#[inline(always)]
fn find(bytes: &[u8], at: usize, is: impl Fn(u8) -> bool, mark: impl Fn(u64) -> u64) -> Option<usize> {
    let (blocks, tail) = bytes.get(at..)?.as_chunks::<16>();
    for (index, block) in blocks.iter().enumerate() {
        // Without an early exit, so that the compiler compares all sixteen at once.
        if block.iter().fold(false, |any, byte| any | is(*byte)) {
            let mut at = at + index * 16;
            for half in block.as_chunks().0 {
                let marked = mark(u64::from_le_bytes(*half));
                if marked != 0 {
                    return Some(at + first(marked));
                }
                at += 8;
            }
        }
    }
    find_in_tail(tail, is).map(|index| at + blocks.len() * 16 + index)
}

/// Out of line, since the loops around [`find`] have better use for the registers.
#[inline(never)]
fn find_in_tail(tail: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    tail.iter().position(|byte| is(*byte))
}

/// Sixteen bytes as two words, the first byte lowest.
#[inline(always)]
fn words(block: &[u8; 16]) -> (u64, u64) {
    let word = u128::from_le_bytes(*block);
    (word as u64, (word >> 64) as u64)
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

/// The bytes from `at` up to the first colon, and how many they are: as two words, the first byte lowest, 0 for those that
/// are not there. `None` if there is no colon within sixteen bytes, or if there are no sixteen.
#[inline(always)]
pub(super) fn words_before_colon(bytes: &[u8], at: usize) -> Option<([u64; 2], usize)> {
    const COLONS: u64 = ONES * b':' as u64;
    let (low, high) = words(bytes.get(at..)?.first_chunk()?);
    let marked = zero(low ^ COLONS);
    if marked != 0 {
        return Some(([low & before(marked), 0], first(marked)));
    }
    let marked = zero(high ^ COLONS);
    (marked != 0).then(|| ([low, high & before(marked)], 8 + first(marked)))
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

/// All bits of the bytes before the first marked one.
#[inline]
const fn before(marked: u64) -> u64 {
    ((marked & marked.wrapping_neg()) >> 7) - 1
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
            assert_eq!(up_to_cr(&text, start), position(&|byte| byte <= b'\r'));
            for wanted in [b':', b'>', 0x80, 0xff] {
                assert_eq!(byte(wanted, &text, start), position(&|byte| byte == wanted));
            }
            let found = position(&|byte| byte <= b' ' || byte == b':');
            assert_eq!(colon_or_space(&text, start), found);
            let colon = position(&|byte| byte == b':');
            let words = colon.filter(|end| end - start < 16 && start + 16 <= text.len()).map(|end| {
                let mut name = [0; 16];
                name[..end - start].copy_from_slice(&text[start..end]);
                let word = |at: usize| u64::from_le_bytes(name[at..at + 8].try_into().unwrap());
                ([word(0), word(8)], end - start)
            });
            assert_eq!(words_before_colon(&text, start), words);
            for end in start..=text.len() {
                let part = &text[start..end];
                assert_eq!(any_control(part), part.iter().any(u8::is_ascii_control));
            }
        }
    }
}

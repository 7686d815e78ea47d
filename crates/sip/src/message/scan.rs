//! Finds bytes eight and more at a time (the lines of a header are too short for a vector search to pay off).
//!
//! The arithmetic is that of "Bit Twiddling Hacks": of the marked bytes of a word the lowest, which stands first in the
//! text, is always right; those above it need not be, so only the lowest is used.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The index of the first CR or LF from `at` on.
#[inline]
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
#[inline]
fn up_to_cr(bytes: &[u8], mut at: usize) -> Option<usize> {
    const LIMIT: u64 = ONES * (b'\r' as u64 + 1);
    let (blocks, tail) = bytes.get(at..)?.as_chunks::<16>();
    for block in blocks {
        // Without an early exit, so that the compiler compares all sixteen at once.
        if block.iter().fold(false, |any, byte| any | (*byte <= b'\r')) {
            for half in block.as_chunks().0 {
                let word = u64::from_le_bytes(*half);
                let marked = word.wrapping_sub(LIMIT) & !word & HIGHS;
                if marked != 0 {
                    return Some(at + first(marked));
                }
                at += 8;
            }
        }
        at += 16;
    }
    tail.iter().position(|byte| *byte <= b'\r').map(|length| at + length)
}

/// The index of the first `byte` from `at` on.
#[inline]
pub(super) fn byte(byte: u8, bytes: &[u8], at: usize) -> Option<usize> {
    let pattern = ONES * u64::from(byte);
    let rest = bytes.get(at..)?;
    let mark = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word) ^ pattern;
        word.wrapping_sub(ONES) & !word & HIGHS
    };
    let (words, tail) = rest.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let marked = mark(word);
        if marked != 0 {
            return Some(at + index * 8 + first(marked));
        }
    }
    // What is left after the last whole word, together with bytes that were looked at already.
    let Some(last) = rest.last_chunk() else {
        return tail.iter().position(|candidate| *candidate == byte).map(|length| at + length);
    };
    let marked = mark(last);
    (marked != 0).then(|| bytes.len() - 8 + first(marked))
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
            for wanted in [b':', 0, b'>', 0x80, 0xff] {
                assert_eq!(byte(wanted, &text, start), position(&|byte| byte == wanted));
            }
        }
    }
}

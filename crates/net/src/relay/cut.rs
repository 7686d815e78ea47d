//! Cutting what a connection has brought into messages.

use std::ops::Range;

use super::machine::Frame;

/// Shows each whole message at the beginning of what lies in `filled`, until `show` says that the rest is none. Gives where
/// that rest begins; `None` if it can be no message.
pub(super) fn cut(
    measure: impl Fn(&[u8]) -> Frame,
    buffer: &mut [u8],
    filled: Range<usize>,
    mut show: impl FnMut(&mut [u8], Range<usize>) -> bool,
) -> Option<usize> {
    let Range { start: mut at, end } = filled;
    while at < end {
        match measure(&buffer[at..end]) {
            Frame::Whole { length, total } if length <= total && (1..=end - at).contains(&total) => {
                let goes_on = show(buffer, at..at + length);
                at += total;
                if !goes_on {
                    break;
                }
            }
            Frame::NeedMore => break,
            Frame::Whole { .. } | Frame::Lost => return None,
        }
    }
    Some(at)
}

//! The bytes of a script, taken one after the other.

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte as a number, 0 at the end.
    pub fn small(&mut self) -> usize {
        usize::from(self.byte().unwrap_or_default())
    }

    /// As many bytes as the next one says, or what is left.
    pub fn raw(&mut self) -> &'a [u8] {
        let length = self.small();
        let (raw, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        raw
    }
}

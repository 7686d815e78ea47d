//! Hold, resume and other changes of direction, and exchanges that repeat what this side wants. RFC 3264 §8.4, RFC 6337 §5.3.

use crate::{Description, Direction};

use super::{LocalMedia, Negotiation, NegotiationError};

impl Negotiation {
    /// What this side wants of each section, in order; those not in use as rejected. To change something else than the
    /// direction, change it here and give it to [`offer`](Self::offer).
    pub fn local_media(&self) -> Vec<LocalMedia> {
        let sections = self.sections.iter().enumerate();
        sections
            .map(|(index, section)| match self.live(index) {
                Some(_) => section.draft.wish.clone(),
                None => LocalMedia::rejected(section.draft.kind.clone()),
            })
            .collect()
    }

    /// Wants to receive nothing on any stream, until [`resume`](Self::resume). It takes an exchange
    /// ([`reoffer`](Self::reoffer)) to tell the peer; while an offer is under way, wait until it is answered.
    pub fn hold(&mut self) {
        self.sections.iter_mut().for_each(|section| section.draft.wish.held = true);
    }

    /// Ends [`hold`](Self::hold): each stream is wanted as before, whatever the peer wants. RFC 6337 §5.3.
    pub fn resume(&mut self) {
        self.sections.iter_mut().for_each(|section| section.draft.wish.held = false);
    }

    /// Whether this side holds any stream.
    pub fn is_held(&self) -> bool {
        self.agreed.iter().any(|agreed| self.sections[agreed.index].draft.wish.held)
    }

    /// What this side wants of one stream, from the next exchange on.
    ///
    /// # Errors
    /// [`NegotiationError::NoSuchMedia`].
    pub fn set_direction(&mut self, index: usize, direction: Direction) -> Result<(), NegotiationError> {
        let section = self.sections.get_mut(index).ok_or(NegotiationError::NoSuchMedia(index))?;
        section.draft.wish.direction = direction;
        Ok(())
    }

    /// Offers again what this side wants: for hold and resume, for a session refresh, or for a re-INVITE without an offer.
    /// If nothing changed the description is the same to the letter (RFC 3264 §8).
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn reoffer(&mut self) -> Result<Description, NegotiationError> {
        self.offer(&self.local_media())
    }

    /// Answers an offer with what this side wants of the streams there are; new streams are refused.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn reanswer(&mut self) -> Result<Description, NegotiationError> {
        self.answer(&self.local_media())
    }
}

//! Union, intersection, difference and inversion of masks.

use crate::{Error, Mask};

impl Mask {
    /// The pixels that do not belong to the mask.
    #[must_use]
    pub fn inverted(&self) -> Self {
        let pixels = self.pixels().iter().map(|&inside| !inside).collect();
        Self::of_checked(self.width(), self.height(), pixels)
    }

    /// The pixels of either mask.
    ///
    /// # Errors
    /// [`Error::Sizes`] when the other mask has another size.
    pub fn union(&self, other: &Self) -> Result<Self, Error> {
        self.zipped(other, |one, other| one || other)
    }

    /// The pixels that both masks have.
    ///
    /// # Errors
    /// As [`union`](Self::union).
    pub fn intersection(&self, other: &Self) -> Result<Self, Error> {
        self.zipped(other, |one, other| one && other)
    }

    /// The mask's pixels that the other does not have.
    ///
    /// # Errors
    /// As [`union`](Self::union).
    pub fn difference(&self, other: &Self) -> Result<Self, Error> {
        self.zipped(other, |one, other| one && !other)
    }

    fn zipped(&self, other: &Self, both: impl Fn(bool, bool) -> bool) -> Result<Self, Error> {
        let (expected, found) = ((self.width(), self.height()), (other.width(), other.height()));
        if expected != found {
            return Err(Error::Sizes { expected, found });
        }
        let pixels = self.pixels().iter().zip(other.pixels()).map(|(&one, &other)| both(one, other));
        Ok(Self::of_checked(self.width(), self.height(), pixels.collect()))
    }
}

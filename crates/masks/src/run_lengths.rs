use crate::mask::checked_area;
use crate::{Error, Mask};

/// A mask in COCO's run-length encoding (RLE).
///
/// Pixels are read column by column, from top to bottom. The counts tell how many pixels in turn are outside
/// the mask, then inside, then outside, and so on; the first count is zero if the first pixel is inside.
/// COCO's annotations contain the counts as a list of numbers or as a compressed string, next to
/// `"size": [height, width]`.
///
/// Equal to `maskApi.c` of [pycocotools](https://github.com/cocodataset/cocoapi), character for character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLengths {
    width: usize,
    height: usize,
    counts: Vec<u32>,
}

impl RunLengths {
    /// Encodes a mask.
    #[must_use]
    pub fn of(mask: &Mask) -> Self {
        let (width, height) = (mask.width(), mask.height());
        let mut counts = Vec::new();
        let (mut count, mut is_inside) = (0, false);
        for column in 0..width {
            for &pixel in mask.pixels().iter().skip(column).step_by(width) {
                if pixel != is_inside {
                    counts.push(count);
                    (count, is_inside) = (0, pixel);
                }
                count += 1;
            }
        }
        counts.push(count);
        Self { width, height, counts }
    }

    /// Run lengths that are correct by construction.
    pub(crate) fn of_checked(width: usize, height: usize, counts: Vec<u32>) -> Self {
        debug_assert_eq!(counts.iter().sum::<u32>() as usize, width * height);
        Self { width, height, counts }
    }

    /// Run lengths from the counts of a mask of this size.
    ///
    /// # Errors
    /// [`Error::RunLengths`] when the counts do not add up to the number of pixels; [`Error::TooLarge`] when
    /// that is more than 2³¹ - 1.
    pub fn from_counts(width: usize, height: usize, counts: Vec<u32>) -> Result<Self, Error> {
        let area = checked_area(width, height)? as u64;
        let sum: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        if sum != area {
            return Err(Error::RunLengths(format!(
                "they add up to {sum}, but {width} × {height} are {area} pixels; COCO's size is [height, width]"
            )));
        }
        Ok(Self { width, height, counts })
    }

    /// Reads the compressed string that [`to_compressed`](Self::to_compressed) writes.
    ///
    /// # Errors
    /// [`Error::RunLengths`] when the string is invalid, with the position of the bad character, or is of
    /// another size; [`Error::TooLarge`] when there are more than 2³¹ - 1 pixels.
    pub fn from_compressed(width: usize, height: usize, text: &str) -> Result<Self, Error> {
        let mut counts: Vec<u32> = Vec::new();
        let mut rest = text.bytes().enumerate();
        while let Some(start) = rest.next() {
            let (place, difference) = read_number(start, &mut rest)?;
            let before = if counts.len() > 2 { i64::from(counts[counts.len() - 2]) } else { 0 };
            let count = u32::try_from(before + difference);
            counts.push(count.map_err(|_| {
                Error::RunLengths(format!("a run of {} pixels at character {place}", before + difference))
            })?);
        }
        Self::from_counts(width, height, counts)
    }

    /// Columns of pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of pixels that are outside, inside, outside, … in turn.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// COCO's compressed string.
    ///
    /// From the fourth on, each count is written as the difference from the one two before it. Numbers are
    /// written five bits per character, the lowest bits first. The sixth bit says that more characters
    /// follow, the highest bit of the last five is the sign, and 48 is added to make the character printable.
    #[must_use]
    pub fn to_compressed(&self) -> String {
        let mut text = String::new();
        for (place, &count) in self.counts.iter().enumerate() {
            let before = if place > 2 { i64::from(self.counts[place - 2]) } else { 0 };
            write_number(i64::from(count) - before, &mut text);
        }
        text
    }

    /// Decodes the mask.
    #[must_use]
    pub fn to_mask(&self) -> Mask {
        let mut pixels = vec![false; self.width * self.height];
        let (mut column, mut row) = (0, 0);
        for (place, &count) in self.counts.iter().enumerate() {
            for _ in 0..count {
                pixels[row * self.width + column] = place % 2 == 1;
                row += 1;
                if row == self.height {
                    (column, row) = (column + 1, 0);
                }
            }
        }
        Mask::of_checked(self.width, self.height, pixels)
    }
}

fn write_number(mut number: i64, text: &mut String) {
    loop {
        let bits = (number & 0x1f) as u8;
        number >>= 5;
        let is_last = number == if bits & 0x10 == 0 { 0 } else { -1 };
        text.push(char::from(48 + bits + if is_last { 0 } else { 0x20 }));
        if is_last {
            return;
        }
    }
}

/// Reads a number that starts with `start`, and returns it with the position of its last character.
fn read_number(
    start: (usize, u8),
    rest: &mut impl Iterator<Item = (usize, u8)>,
) -> Result<(usize, i64), Error> {
    let ((mut place, mut byte), mut number, mut shift) = (start, 0, 0);
    loop {
        // Seven characters are 35 bits, enough for the difference of two counts.
        let bits = byte.checked_sub(48).filter(|&bits| bits < 0x40 && shift < 35).ok_or_else(|| {
            Error::RunLengths(format!("character {place} of the compressed string is not a legal one"))
        })?;
        number |= i64::from(bits & 0x1f) << shift;
        shift += 5;
        if bits & 0x20 == 0 {
            let sign = if bits & 0x10 == 0 { 0 } else { -1 << shift };
            return Ok((place, number | sign));
        }
        (place, byte) = rest.next().ok_or_else(|| {
            Error::RunLengths("the compressed string ends within a number; it was cut".to_owned())
        })?;
    }
}

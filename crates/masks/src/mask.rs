use crate::{Connectivity, Error};

/// The set of pixels of a picture that belong to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    pixels: Vec<bool>,
}

/// The smallest upright rectangle that contains a set of pixels.
///
/// [`to_array`](Self::to_array) gives it in COCO's order, `[x, y, width, height]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundingBox {
    /// The leftmost column, from 0.
    pub x: u32,
    /// The top row, from 0.
    pub y: u32,
    /// Columns of pixels, at least 1.
    pub width: u32,
    /// Rows of pixels, at least 1.
    pub height: u32,
}

impl Mask {
    /// A mask from its pixels, row by row. A side may be zero.
    ///
    /// # Errors
    /// [`Error::Length`] when there are not `width * height` pixels; [`Error::TooLarge`] when that is more
    /// than 2³¹ - 1.
    pub fn new(width: usize, height: usize, pixels: Vec<bool>) -> Result<Self, Error> {
        if pixels.len() != checked_area(width, height)? {
            return Err(Error::Length { width, height, values: pixels.len() });
        }
        Ok(Self { width, height, pixels })
    }

    /// A mask from pixels whose number is correct by construction.
    pub(crate) fn of_checked(width: usize, height: usize, pixels: Vec<bool>) -> Self {
        debug_assert_eq!(pixels.len(), width * height);
        Self { width, height, pixels }
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

    /// `[height, width]`, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[bool] {
        &self.pixels
    }

    /// The pixels, row by row.
    #[must_use]
    pub fn into_pixels(self) -> Vec<bool> {
        self.pixels
    }

    /// Number of pixels that belong to the mask.
    #[must_use]
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&inside| inside).count()
    }

    /// The box around all pixels of the mask; `None` if there are none.
    #[must_use]
    pub fn bounding_box(&self) -> Option<BoundingBox> {
        let runs = (0..self.height).flat_map(|row| self.runs(row).map(move |run| (row as u32, run)));
        runs.map(|(row, (first, end))| BoundingBox::of_run(row, first, end)).reduce(BoundingBox::union)
    }

    /// The mask without the connected components that have fewer than `min_area` pixels.
    #[must_use]
    pub fn without_small(&self, min_area: usize, connectivity: Connectivity) -> Self {
        let components = self.components(connectivity);
        let mut pixels = vec![false; self.pixels.len()];
        for run in components.runs() {
            if components.list()[run.component as usize].area >= min_area {
                let row = run.row as usize * self.width;
                pixels[row + run.first as usize..row + run.end as usize].fill(true);
            }
        }
        Self::of_checked(self.width, self.height, pixels)
    }

    /// Whether the pixel belongs to the mask; pixels outside the picture do not.
    pub(crate) fn contains(&self, x: i64, y: i64) -> bool {
        let is_within = (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y);
        is_within && self.pixels[y as usize * self.width + x as usize]
    }

    /// For each run of adjacent pixels of the mask in a row: its first column, and the column after its last.
    pub(crate) fn runs(&self, row: usize) -> impl Iterator<Item = (u32, u32)> {
        let pixels = &self.pixels[row * self.width..(row + 1) * self.width];
        let mut column = 0;
        std::iter::from_fn(move || {
            let first = column + pixels[column..].iter().position(|&inside| inside)?;
            let rest = pixels[first..].iter().position(|&inside| !inside);
            column = rest.map_or(pixels.len(), |length| first + length);
            Some((first as u32, column as u32))
        })
    }
}

impl BoundingBox {
    /// COCO's `bbox`: `[x, y, width, height]`.
    #[must_use]
    pub fn to_array(self) -> [u32; 4] {
        [self.x, self.y, self.width, self.height]
    }

    pub(crate) fn of_run(row: u32, first: u32, end: u32) -> Self {
        Self { x: first, y: row, width: end - first, height: 1 }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }
}

/// The number of pixels, limited so that indices, and one past the last, fit into `u32`.
pub(crate) fn checked_area(width: usize, height: usize) -> Result<usize, Error> {
    // Each side is limited too: if one is zero, the other could be anything.
    let fits = |value: usize| i32::try_from(value).is_ok();
    let area = width.checked_mul(height).filter(|&area| fits(width) && fits(height) && fits(area));
    area.ok_or(Error::TooLarge { width, height })
}

//! Exact Euclidean distances between pixels, used to grow or shrink masks and to soften their edges.

use crate::{Error, Mask};

/// Stands for the squared distance if no such pixel exists.
const NOWHERE: u64 = u64::MAX;
/// Stands for the distance to the nearest pixel if the column has none.
const NONE_IN_COLUMN: u32 = u32::MAX;

impl Mask {
    /// The longest distance by which masks can grow, shrink or fade, in pixels: more than any picture's side
    /// needs.
    pub const MAX_DISTANCE: f64 = 100_000.0;

    /// For each pixel, row by row, the distance in pixels from its centre to the centre of the nearest pixel
    /// outside the mask: 0 outside, and infinity if the mask is the whole picture. For any other mask equal
    /// to `scipy.ndimage.distance_transform_edt`.
    #[must_use]
    pub fn distances(&self) -> Vec<f32> {
        let mut distances = Vec::with_capacity(self.pixels().len());
        self.squared_distances(false, |row| distances.extend(row.iter().map(|&square| root(square))));
        distances
    }

    /// For each pixel, row by row, the distance in pixels from its centre to the mask's edge, which runs half
    /// a pixel from the centres on either side: above 0 inside, below 0 outside.
    ///
    /// If the centre of the nearest pixel on the other side is at distance d, the value is d − 0.5 inside and
    /// −(d − 0.5) outside. [`inverted`](Self::inverted) masks have the same distances with the opposite sign.
    /// The picture's sides are not an edge: if there is no edge, all distances are infinite.
    #[must_use]
    pub fn signed_distances(&self) -> Vec<f32> {
        let mut distances = self.distances();
        for distance in distances.iter_mut().filter(|distance| **distance > 0.0) {
            *distance -= 0.5;
        }
        let mut place = 0;
        self.squared_distances(true, |row| {
            for (distance, &square) in distances[place..].iter_mut().zip(row) {
                if square > 0 {
                    *distance = 0.5 - root(square);
                }
            }
            place += row.len();
        });
        distances
    }

    /// The mask together with all pixels whose centres are at most `pixels` from the centre of one of its
    /// own.
    ///
    /// # Errors
    /// [`Error::Distance`] for a number that is not within 0..=[`MAX_DISTANCE`](Self::MAX_DISTANCE).
    pub fn grown(&self, pixels: f64) -> Result<Self, Error> {
        let reach = checked_distance(pixels)?.powi(2);
        let mut grown = Vec::with_capacity(self.pixels().len());
        self.squared_distances(true, |row| grown.extend(row.iter().map(|&square| square as f64 <= reach)));
        Ok(Self::of_checked(self.width(), self.height(), grown))
    }

    /// The mask without the pixels whose centres are at most `pixels` from the centre of a pixel outside it:
    /// what remains when everything else has [`grown`](Self::grown). The picture's sides are not an edge,
    /// because what is visible there continues beyond them: nothing is removed there.
    ///
    /// # Errors
    /// As [`grown`](Self::grown).
    pub fn shrunk(&self, pixels: f64) -> Result<Self, Error> {
        let reach = checked_distance(pixels)?.powi(2);
        let mut shrunk = Vec::with_capacity(self.pixels().len());
        self.squared_distances(false, |row| shrunk.extend(row.iter().map(|&square| square as f64 > reach)));
        Ok(Self::of_checked(self.width(), self.height(), shrunk))
    }

    /// The mask with a soft edge: for each pixel, row by row, how much it belongs to the mask, 0..=1.
    ///
    /// The value is `0.5 + d / (2 · pixels)`, clamped to 0..=1, where d is the [signed
    /// distance](Self::signed_distances): 0.5 on the edge, 1 at least `pixels` inside it, and 0 at least
    /// `pixels` outside it. So a mask that was first [grown](Self::grown) by `pixels` stays 1 wherever it was
    /// before. Up to half a pixel the edge stays hard, because no centre is nearer to it.
    ///
    /// # Errors
    /// As [`grown`](Self::grown).
    pub fn feathered(&self, pixels: f64) -> Result<Vec<f32>, Error> {
        let pixels = checked_distance(pixels)? as f32;
        if pixels <= 0.5 {
            return Ok(self.pixels().iter().map(|&inside| f32::from(u8::from(inside))).collect());
        }
        let mut soft = self.signed_distances();
        for value in &mut soft {
            *value = (0.5 + *value / (2.0 * pixels)).clamp(0.0, 1.0);
        }
        Ok(soft)
    }

    /// Calls `row` for each row, from the top, with the squared distances from its pixels' centres to the
    /// centre of the nearest pixel inside the mask (if `to_inside`) or outside it; [`NOWHERE`] if there is
    /// none.
    ///
    /// Computes the lower envelope of parabolas (Felzenszwalb and Huttenlocher, "Distance Transforms of
    /// Sampled Functions", Theory of Computing 8, 2012): one pass down and one up the columns, then one along
    /// each row; the time is proportional to the number of pixels. Integers, as in Meijster, Roerdink and
    /// Hesselink (2000), make it exact. It needs four bytes of memory per pixel.
    fn squared_distances(&self, to_inside: bool, mut row: impl FnMut(&[u64])) {
        let width = self.width();
        if width == 0 {
            return;
        }
        let columns = column_distances(self, to_inside);
        let mut envelope = Envelope::default();
        let mut squares = vec![NOWHERE; width];
        for distances in columns.chunks_exact(width) {
            envelope.fill(distances, &mut squares);
            row(&squares);
        }
    }
}

/// For each pixel, row by row, the distance to the nearest pixel in its column that is inside the mask (if
/// `to_inside`) or outside it.
fn column_distances(mask: &Mask, to_inside: bool) -> Vec<u32> {
    let (width, height) = (mask.width(), mask.height());
    let mut distances: Vec<u32> =
        mask.pixels().iter().map(|&inside| if inside == to_inside { 0 } else { NONE_IN_COLUMN }).collect();
    let mut nearer = |from: usize, to: usize| {
        let (first, second) = distances.split_at_mut(from.max(to) * width);
        let (from, to) = if from < to {
            (&first[from * width..][..width], &mut second[..width])
        } else {
            (&second[..width], &mut first[to * width..][..width])
        };
        for (to, from) in to.iter_mut().zip(from) {
            *to = (*to).min(from.saturating_add(1));
        }
    };
    (1..height).for_each(|y| nearer(y - 1, y));
    (1..height).rev().for_each(|y| nearer(y, y - 1));
    distances
}

/// The parabolas that form the lower envelope of a row, each with its column and the first position at which
/// it is the lowest.
#[derive(Default)]
struct Envelope(Vec<Parabola>);

struct Parabola {
    column: i64,
    /// The square of the distance in the column.
    height: i64,
    start: usize,
}

impl Parabola {
    fn at(&self, x: i64) -> i64 {
        (x - self.column) * (x - self.column) + self.height
    }
}

impl Envelope {
    /// Fills in the squared distances along a row, given the distances within the columns.
    fn fill(&mut self, distances: &[u32], squares: &mut [u64]) {
        let Self(lowest) = self;
        lowest.clear();
        for (column, &distance) in distances.iter().enumerate() {
            if distance == NONE_IN_COLUMN {
                continue;
            }
            let mut next = Parabola { column: column as i64, height: i64::from(distance).pow(2), start: 0 };
            while lowest.last().is_some_and(|last| last.at(last.start as i64) > next.at(last.start as i64)) {
                lowest.pop();
            }
            if let Some(last) = lowest.last() {
                // The position at which both are equal. It is not left of the last parabola's start, where
                // that is the lower one.
                let rise = next.column.pow(2) - last.column.pow(2) + next.height - last.height;
                next.start = (rise / (2 * (next.column - last.column))) as usize + 1;
            }
            if next.start < distances.len() {
                lowest.push(next);
            }
        }
        if lowest.is_empty() {
            squares.fill(NOWHERE);
        }
        let ends = lowest.iter().skip(1).map(|next| next.start).chain([distances.len()]);
        for (parabola, end) in lowest.iter().zip(ends) {
            for (x, square) in squares[parabola.start..end].iter_mut().enumerate() {
                *square = parabola.at((parabola.start + x) as i64) as u64;
            }
        }
    }
}

fn root(square: u64) -> f32 {
    if square == NOWHERE { f32::INFINITY } else { (square as f64).sqrt() as f32 }
}

fn checked_distance(pixels: f64) -> Result<f64, Error> {
    if (0.0..=Mask::MAX_DISTANCE).contains(&pixels) {
        Ok(pixels)
    } else {
        Err(Error::Distance(pixels.to_string()))
    }
}

//! Exact Euclidean distances between pixels, and what is made by them: masks that grow, shrink or get a soft
//! edge.

use crate::{Error, Mask};

/// The square of the distance to a pixel that does not exist.
const NOWHERE: u64 = u64::MAX;
/// The distance to the nearest pixel in a column that has none.
const NONE_IN_COLUMN: u32 = u32::MAX;

impl Mask {
    /// The longest distance that masks grow, shrink or fade by, in pixels: more than any picture's side
    /// needs.
    pub const MAX_DISTANCE: f64 = 100_000.0;

    /// For each pixel, row by row, the distance in pixels from its centre to the centre of the nearest pixel
    /// outside of the mask: 0 outside, and infinity where the mask is the whole picture. As
    /// `scipy.ndimage.distance_transform_edt` of a mask that has an outside.
    #[must_use]
    pub fn distances(&self) -> Vec<f32> {
        let mut distances = Vec::with_capacity(self.pixels().len());
        self.squared_distances(false, |row| distances.extend(row.iter().map(|&square| root(square))));
        distances
    }

    /// For each pixel, row by row, the distance in pixels from its centre to the mask's edge, which runs half
    /// a pixel from the centres on either side: above 0 inside, below 0 outside.
    ///
    /// A pixel whose nearest pixel on the other side has its centre at distance d is at d − 0.5, or at −(d −
    /// 0.5). [`inverted`](Self::inverted) masks have the same distances with the other sign. The picture's
    /// sides are not an edge: where there is no edge, all distances are infinite.
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

    /// The mask with all pixels whose centre is no further than `pixels` from the centre of one of its own.
    ///
    /// # Errors
    /// [`Error::Distance`] for a number that is not within 0..=[`MAX_DISTANCE`](Self::MAX_DISTANCE).
    pub fn grown(&self, pixels: f64) -> Result<Self, Error> {
        let reach = checked_distance(pixels)?.powi(2);
        let mut grown = Vec::with_capacity(self.pixels().len());
        self.squared_distances(true, |row| grown.extend(row.iter().map(|&square| square as f64 <= reach)));
        Ok(Self::of_checked(self.width(), self.height(), grown))
    }

    /// The mask without the pixels whose centre is no further than `pixels` from the centre of one outside:
    /// what is left when everything else has [`grown`](Self::grown). The picture's sides are not an edge, as
    /// what is seen at them goes on beyond: nothing is taken away there.
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
    /// That is `0.5 + d / (2 · pixels)`, no less than 0 and no more than 1, where d is the [signed
    /// distance](Self::signed_distances): 0.5 on the edge, 1 from `pixels` inside of it on, and 0 from
    /// `pixels` outside of it on. So a mask that has [grown](Self::grown) by `pixels` before is whole where
    /// it was. Up to half a pixel the edge stays hard, since no centre is nearer to it.
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

    /// Gives each row, from the top, the squares of the distances from its pixels' centres to the centre of
    /// the nearest pixel that is inside the mask (`to_inside`) or outside; [`NOWHERE`] where there is none.
    ///
    /// The lower envelope of parabolas (Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled
    /// Functions", Theory of Computing 8, 2012): a pass down and up the columns, then one along each row,
    /// each in time that grows with the number of pixels. In integers, as Meijster, Roerdink and Hesselink
    /// (2000) have it, so that it is exact. It holds four bytes per pixel.
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

/// For each pixel, row by row, the distance to the nearest such pixel of its own column.
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

/// The parabolas that are lowest somewhere along a row: one column and the first place from which it is the
/// lowest each.
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
    /// The squares of the distances along a row, of those in the columns.
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
                // Where both are equally high; no further left than the last one's start, as it is lower
                // there.
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

use crate::{Contour, Ring};

impl Contour {
    /// The contour with each of its rings [simplified](Ring::simplified) on its own.
    #[must_use]
    pub fn simplified(&self, tolerance: f64) -> Self {
        let holes = self.holes.iter().map(|hole| hole.simplified(tolerance)).collect();
        Self { outer: self.outer.simplified(tolerance), holes }
    }
}

impl Ring {
    /// The ring with fewer corners: every removed corner was at most `tolerance` pixels from the edge that
    /// replaces it. If the tolerance is not above zero, the ring stays as it is.
    ///
    /// [Douglas and Peucker's algorithm](https://doi.org/10.3138/FM57-6770-U75U-7727), applied to the two
    /// halves between the first corner and the one furthest from it; each half keeps its furthest corner too,
    /// so that no ring collapses into a line. The result no longer encloses exactly the mask's pixels, and
    /// rings that were separate may cross.
    #[must_use]
    pub fn simplified(&self, tolerance: f64) -> Self {
        let Some(&start) = self.points.first().filter(|_| tolerance > 0.0) else { return self.clone() };
        let closed: Vec<_> = self.points.iter().copied().chain([start]).collect();
        let last = closed.len() - 1;
        let mut is_kept = vec![false; closed.len()];
        is_kept[0] = true;

        let mut stretches = Vec::new();
        if let Some((middle, _)) = furthest(&closed, 0, last) {
            is_kept[middle] = true;
            for (from, to) in [(0, middle), (middle, last)] {
                if let Some((corner, _)) = furthest(&closed, from, to) {
                    is_kept[corner] = true;
                    stretches.extend([(from, corner), (corner, to)]);
                }
            }
        }
        // A stack, because recursion would go too deep for a long border.
        while let Some((from, to)) = stretches.pop() {
            if let Some((corner, distance)) = furthest(&closed, from, to)
                && distance > tolerance
            {
                is_kept[corner] = true;
                stretches.extend([(from, corner), (corner, to)]);
            }
        }
        let kept =
            closed[..last].iter().zip(is_kept).filter_map(|(&point, is_kept)| is_kept.then_some(point));
        Self { points: kept.collect() }
    }
}

/// Finds, among the points between two others, the one furthest from the line segment that joins these (the
/// first in case of a tie), and its distance.
fn furthest(points: &[[u32; 2]], from: usize, to: usize) -> Option<(usize, f64)> {
    let mut best = None;
    for place in from + 1..to {
        let distance = distance(points[place], points[from], points[to]);
        if best.is_none_or(|(_, most)| distance > most) {
            best = Some((place, distance));
        }
    }
    best
}

/// The distance from a point to the line segment between two others, which may coincide.
fn distance(point: [u32; 2], from: [u32; 2], to: [u32; 2]) -> f64 {
    let offset = |end: [u32; 2]| [0, 1].map(|axis| f64::from(end[axis]) - f64::from(from[axis]));
    let ([x, y], [along_x, along_y]) = (offset(point), offset(to));
    let length = along_x * along_x + along_y * along_y;
    let share = if length > 0.0 { ((x * along_x + y * along_y) / length).clamp(0.0, 1.0) } else { 0.0 };
    (x - share * along_x).hypot(y - share * along_y)
}

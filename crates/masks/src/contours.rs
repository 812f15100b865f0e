use crate::{Connectivity, Mask};

/// The border of one connected component of a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contour {
    /// The border against the outside.
    pub outer: Ring,
    /// The borders of the holes that the component surrounds; these may contain other components.
    pub holes: Vec<Ring>,
}

/// A closed polygon along the edges of pixels.
///
/// Points are corners of pixels, `[x, y]`: the pixel in column x and row y covers the square from `[x, y]` to
/// `[x + 1, y + 1]`, so that points lie in `0..=width` and `0..=height`. The last point is joined to the
/// first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The corners, at least 4.
    pub points: Vec<[u32; 2]>,
}

impl Ring {
    /// `[x, y, x, y, …]`, as a polygon of COCO's `segmentation`.
    #[must_use]
    pub fn flat(&self) -> &[u32] {
        self.points.as_flattened()
    }
}

impl Mask {
    /// The borders of the connected components, in the order of [`components`](Mask::components).
    ///
    /// They run along the edges between pixels inside and outside and are exact: a pixel whose centre lies in
    /// an odd number of a mask's rings is in the mask, and no other (the even-odd rule; the nonzero rule
    /// gives the same). Outer borders run clockwise as seen on screen, holes the other way, so that the mask
    /// is always on the right. Where two pixels of a component share no more than a corner, a ring may pass
    /// through that corner twice.
    #[must_use]
    pub fn contours(&self, connectivity: Connectivity) -> Vec<Contour> {
        let components = self.components(connectivity);
        let mut contours: Vec<Contour> = Vec::with_capacity(components.list().len());
        // Every ring runs along the top edge of some pixel; marks these edges of the rings already followed.
        let mut followed = vec![false; self.pixels().len()];
        for run in components.runs() {
            for x in run.first..run.end {
                let place = run.row as usize * self.width() + x as usize;
                if followed[place] || self.contains(i64::from(x), i64::from(run.row) - 1) {
                    continue;
                }
                let ring = self.follow([x, run.row], connectivity, &mut followed);
                match contours.get_mut(run.component as usize) {
                    Some(contour) => contour.holes.push(ring),
                    // The first run of a component has nothing of it above, so this edge belongs to the outer
                    // border.
                    None => contours.push(Contour { outer: ring, holes: Vec::new() }),
                }
            }
        }
        contours
    }

    /// Follows the border along the top edge of a pixel, from its top left corner, with the mask on the
    /// right.
    fn follow(&self, start: [u32; 2], connectivity: Connectivity, followed: &mut [bool]) -> Ring {
        let [x0, y0] = start.map(i64::from);
        let (mut x, mut y) = (x0, y0);
        let (mut step_x, mut step_y) = (1, 0);
        let mut points = Vec::new();
        loop {
            if (step_x, step_y) == (1, 0) {
                followed[y as usize * self.width() + x as usize] = true;
            }
            (x, y) = (x + step_x, y + step_y);
            // The centres of the two pixels ahead lie half a step ahead and half a step to the side; right of
            // (step_x, step_y) is (-step_y, step_x), as y points down.
            let right = self.contains(x + (step_x - step_y - 1) / 2, y + (step_y + step_x - 1) / 2);
            let left = self.contains(x + (step_x + step_y - 1) / 2, y + (step_y - step_x - 1) / 2);
            let is_left_turn = left && (right || connectivity == Connectivity::Eight);
            let turned = match (is_left_turn, right) {
                (true, _) => (step_y, -step_x),
                (false, false) => (-step_y, step_x),
                (false, true) => (step_x, step_y),
            };
            if turned != (step_x, step_y) {
                points.push([x as u32, y as u32]);
                (step_x, step_y) = turned;
            }
            if (x, y) == (x0, y0) && (step_x, step_y) == (1, 0) {
                // The start is a corner too and was added last; it belongs first.
                points.rotate_right(1);
                return Ring { points };
            }
        }
    }
}

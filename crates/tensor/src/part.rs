//! How a run is cut into parts that are submitted one by one: whole steps, or some workgroups of a long
//! dispatch.

use std::ops::Range;

/// What one submission holds of a plan's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Consecutive steps.
    Steps(Range<usize>),
    /// Some of a dispatch's workgroups.
    Workgroups { step: usize, block: Block },
}

/// A block of workgroups within a dispatch's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The id of its first workgroup.
    pub first: [u32; 3],
    /// Its workgroups along x, y and z.
    pub size: [u32; 3],
}

impl Block {
    /// Its part of all workgroups of `grid`.
    pub fn share_of(&self, grid: [u32; 3]) -> f64 {
        let sides = self.size.iter().zip(grid);
        sides.map(|(&own, all)| f64::from(own) / f64::from(all)).product()
    }
}

/// A step's expected time, and its workgroups where it can be cut.
pub(crate) struct Length {
    pub seconds: f64,
    pub grid: Option<[u32; 3]>,
}

/// Cuts a run's steps from the first to the last. What a part takes is asked for when the parts before it are
/// done, so that it is known as well as can be.
pub(crate) struct Cutter {
    steps: usize,
    /// The first step of the next part.
    step: usize,
    /// The blocks that are left of the step before it, the next one last.
    blocks: Vec<Block>,
    has_begun: bool,
}

impl Cutter {
    pub fn new(steps: usize) -> Self {
        Self { steps, step: 0, blocks: Vec::new(), has_begun: false }
    }

    /// The next part: as many steps as fit in `longest` seconds. A step that is longer is cut into blocks of
    /// workgroups where it can be, and else a part of its own. None when nothing is left; a run without steps
    /// has one part, too.
    pub fn next(&mut self, longest: f64, length: impl Fn(usize) -> Length) -> Option<Part> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if let Some(block) = self.blocks.pop() {
            return Some(Part::Workgroups { step: self.step - 1, block });
        }
        let first = self.step;
        let mut filled = 0.0;
        while self.step < self.steps {
            let Length { seconds, grid } = length(self.step);
            let is_alone = self.step == first;
            if !is_alone && filled + seconds > longest {
                break;
            }
            self.step += 1;
            if let Some(grid) = grid.filter(|_| is_alone && seconds > longest) {
                let workgroups: f64 = grid.iter().map(|&side| f64::from(side)).product();
                self.blocks = blocks(grid, (workgroups * longest / seconds) as u64);
                self.blocks.reverse();
                return self.blocks.pop().map(|block| Part::Workgroups { step: first, block });
            }
            filled += seconds;
        }
        (is_first || self.step > first).then_some(Part::Steps(first..self.step))
    }

    /// Whether nothing is left.
    pub fn is_through(&self) -> bool {
        self.has_begun && self.blocks.is_empty() && self.step == self.steps
    }
}

/// Divides a grid into blocks of at most `most` workgroups, and of at least one: of whole planes where these
/// fit, else of whole rows of a plane, else of parts of a row.
fn blocks(grid: [u32; 3], most: u64) -> Vec<Block> {
    let [x, y, z] = grid.map(u64::from);
    let sizes = if most >= x * y {
        [x, y, most / (x * y).max(1)]
    } else if most >= x {
        [x, most / x.max(1), 1]
    } else {
        [most, 1, 1]
    };
    let [columns, rows, planes] = sizes.map(|size| size.max(1));
    let ranges = |length: u64, size: u64| {
        (0..length).step_by(size as usize).map(move |first| (first as u32, size.min(length - first) as u32))
    };
    let mut blocks = Vec::new();
    for (first_z, size_z) in ranges(z, planes) {
        for (first_y, size_y) in ranges(y, rows) {
            for (first_x, size_x) in ranges(x, columns) {
                blocks.push(Block { first: [first_x, first_y, first_z], size: [size_x, size_y, size_z] });
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(seconds: f64) -> Length {
        Length { seconds, grid: None }
    }

    fn all_parts(steps: &[Length], longest: f64) -> Vec<Part> {
        let mut cutter = Cutter::new(steps.len());
        let mut parts = Vec::new();
        while !cutter.is_through() {
            let length = |step: usize| Length { seconds: steps[step].seconds, grid: steps[step].grid };
            parts.push(cutter.next(longest, length).unwrap());
        }
        assert_eq!(cutter.next(longest, |_| whole(0.0)), None);
        parts
    }

    #[test]
    fn parts_are_as_long_as_may_be() {
        let parts = |steps: &[f64]| all_parts(&steps.iter().copied().map(whole).collect::<Vec<_>>(), 10.0);
        assert_eq!(parts(&[]), [Part::Steps(0..0)]);
        assert_eq!(parts(&[4.0, 6.0, 1.0]), [Part::Steps(0..2), Part::Steps(2..3)]);
        assert_eq!(parts(&[50.0, 1.0, 50.0]), [0..1, 1..2, 2..3].map(Part::Steps));
    }

    #[test]
    fn a_long_step_is_cut_where_it_can_be() {
        let cuttable = |seconds| Length { seconds, grid: Some([2, 8, 1]) };
        let parts = all_parts(&[whole(1.0), cuttable(40.0), cuttable(9.0), whole(1.0)], 10.0);
        let block = |y| Part::Workgroups { step: 1, block: Block { first: [0, y, 0], size: [2, 2, 1] } };
        assert_eq!(parts, [Part::Steps(0..1), block(0), block(2), block(4), block(6), Part::Steps(2..4)]);
        // No time at all: every workgroup by itself.
        assert_eq!(all_parts(&[cuttable(1.0)], 0.0).len(), 16);
    }

    #[test]
    fn blocks_cover_the_grid_once_and_are_not_too_large() {
        for grid in [[1, 1, 1], [5, 3, 1], [5, 3, 4], [1, 7, 2], [65, 1, 3]] {
            for most in [0, 1, 2, 4, 5, 7, 14, 15, 16, 31, 60, 1000] {
                let blocks = blocks(grid, most);
                let mut seen = vec![0; grid.iter().product::<u32>() as usize];
                for Block { first, size } in blocks {
                    assert!(u64::from(size.iter().product::<u32>()) <= most.max(1), "{grid:?} by {most}");
                    for z in first[2]..first[2] + size[2] {
                        for y in first[1]..first[1] + size[1] {
                            for x in first[0]..first[0] + size[0] {
                                seen[((z * grid[1] + y) * grid[0] + x) as usize] += 1;
                            }
                        }
                    }
                }
                assert!(seen.iter().all(|&count| count == 1), "{grid:?} by {most}");
            }
        }
    }
}

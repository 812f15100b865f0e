use crate::{BoundingBox, Error, Mask, RunLengths};

/// Which pixels are neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connectivity {
    /// Those that share an edge.
    Four,
    /// Those that share an edge or a corner, the default of OpenCV and scikit-image.
    #[default]
    Eight,
}

/// The connected parts of a [`Mask`], in the order of their first pixels, row by row.
#[derive(Clone, Debug)]
pub struct Components {
    width: usize,
    height: usize,
    list: Vec<Component>,
    runs: Vec<Run>,
}

/// One connected part of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// How many pixels it has, at least 1.
    pub area: usize,
    /// The box around them.
    pub bounding_box: BoundingBox,
}

/// A run of adjacent pixels in one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub row: u32,
    pub first: u32,
    /// The column after the last.
    pub end: u32,
    /// Index in the list of components.
    pub component: u32,
}

impl Components {
    /// Area and bounding box of each component.
    #[must_use]
    pub fn list(&self) -> &[Component] {
        &self.list
    }

    /// For each pixel, row by row, 0 outside the mask and otherwise one more than the component's index in
    /// [`list`](Self::list).
    #[must_use]
    pub fn labels(&self) -> Vec<u32> {
        let mut labels = vec![0; self.width * self.height];
        for run in &self.runs {
            let row = run.row as usize * self.width;
            labels[row + run.first as usize..row + run.end as usize].fill(run.component + 1);
        }
        labels
    }

    /// The run lengths of each component, as a mask of the whole picture's size.
    #[must_use]
    pub fn run_lengths(&self) -> Vec<RunLengths> {
        let labels = self.labels();
        // For each component its counts so far, and the end of its last run, in column order.
        let mut all: Vec<(Vec<u32>, u32)> = vec![(Vec::new(), 0); self.list.len()];
        let mut close = |label: u32, start: u32, end: u32| {
            if let Some(place) = label.checked_sub(1) {
                let (counts, last) = &mut all[place as usize];
                counts.extend([start - *last, end - start]);
                *last = end;
            }
        };
        let (mut place, mut start, mut current) = (0, 0, 0);
        for column in 0..self.width {
            for &label in labels.iter().skip(column).step_by(self.width) {
                if label != current {
                    close(current, start, place);
                    (start, current) = (place, label);
                }
                place += 1;
            }
        }
        close(current, start, place);
        let finish = |(mut counts, last): (Vec<u32>, u32)| {
            if last < place {
                counts.push(place - last);
            }
            RunLengths::of_checked(self.width, self.height, counts)
        };
        all.into_iter().map(finish).collect()
    }

    /// The mean of `values`, one per pixel and given row by row, over the pixels of each component. For
    /// probabilities this tells how certain a component is.
    ///
    /// # Errors
    /// [`Error::Length`] when the values are not one per pixel.
    pub fn means(&self, values: &[f32]) -> Result<Vec<f32>, Error> {
        let (width, height) = (self.width, self.height);
        if values.len() != width * height {
            return Err(Error::Length { width, height, values: values.len() });
        }
        let mut sums = vec![0.0_f64; self.list.len()];
        for run in &self.runs {
            let row = &values[run.row as usize * width..][run.first as usize..run.end as usize];
            sums[run.component as usize] += row.iter().copied().map(f64::from).sum::<f64>();
        }
        Ok(sums.iter().zip(&self.list).map(|(sum, part)| (sum / part.area as f64) as f32).collect())
    }

    /// All runs, row by row, from left to right.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }
}

impl Mask {
    /// The connected components.
    #[must_use]
    pub fn components(&self, connectivity: Connectivity) -> Components {
        let mut runs: Vec<Run> = Vec::new();
        // Each run starts as a component of its own; `component` is then its node in the forest.
        let mut forest = Forest(Vec::new());
        let reach = u32::from(connectivity == Connectivity::Eight);
        let mut above = 0..0;
        for row in 0..self.height() {
            let start = runs.len();
            // The first run above that may touch this run or a later one.
            let mut candidate = above.start;
            for (first, end) in self.runs(row) {
                let node = forest.plant();
                while candidate < above.end && runs[candidate].end + reach <= first {
                    candidate += 1;
                }
                let touching = runs[candidate..above.end].iter().take_while(|run| run.first < end + reach);
                touching.for_each(|run| forest.join(run.component, node));
                runs.push(Run { row: row as u32, first, end, component: node });
            }
            above = start..runs.len();
        }

        let mut list: Vec<Component> = Vec::new();
        let mut places = vec![None; runs.len()];
        for run in &mut runs {
            let place = places[forest.root(run.component) as usize].get_or_insert(list.len() as u32);
            run.component = *place;
            let area = (run.end - run.first) as usize;
            let bounding_box = BoundingBox::of_run(run.row, run.first, run.end);
            match list.get_mut(*place as usize) {
                Some(component) => {
                    component.area += area;
                    component.bounding_box = component.bounding_box.union(bounding_box);
                }
                None => list.push(Component { area, bounding_box }),
            }
        }
        Components { width: self.width(), height: self.height(), list, runs }
    }
}

/// Disjoint sets of numbers (union-find): the parent of each number; a root is its own parent.
struct Forest(Vec<u32>);

impl Forest {
    /// A new number, alone in its set.
    fn plant(&mut self) -> u32 {
        let node = self.0.len() as u32;
        self.0.push(node);
        node
    }

    fn root(&mut self, mut node: u32) -> u32 {
        while self.0[node as usize] != node {
            // Path halving keeps later searches short.
            let parent = self.0[node as usize];
            self.0[node as usize] = self.0[parent as usize];
            node = parent;
        }
        node
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other) as usize] = one.min(other);
    }
}

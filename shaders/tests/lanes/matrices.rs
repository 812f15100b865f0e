//! Cooperative matrices: every lane of a subgroup is given the whole matrix, row by row.

use naga::{CooperativeData, GlobalVariable, Handle};

use super::arithmetic::Wide;
use super::machine::{Frame, Machine, Root, Value};

/// Where a square matrix lies, in words of a variable.
struct Placed {
    global: Handle<GlobalVariable>,
    first: usize,
    /// From one row to the next, or one column where the matrix lies by columns.
    stride: usize,
    by_rows: bool,
}

impl Placed {
    fn of(&self, row: usize, column: usize) -> usize {
        let [line, within] = if self.by_rows { [row, column] } else { [column, row] };
        self.first + line * self.stride + within
    }
}

impl<'a> Machine<'a> {
    /// Where each subgroup's matrix lies; none of a subgroup that takes no part.
    fn placed(&self, frame: &Frame<'a>, data: &CooperativeData, active: &[bool]) -> Vec<Option<Placed>> {
        self.assert_whole_subgroups(active);
        let pointer = self.value(frame, data.pointer);
        let stride = self.value(frame, data.stride);
        let Value::Pointer(Root::Global(global), places) = pointer else {
            panic!("a matrix lies in a buffer or in workgroup memory")
        };
        // What the pointer points to, in which the stride counts.
        let element = self.words_at(frame, data.pointer);
        let lanes_of = |first: usize| {
            let all_as = |values: &dyn Fn(usize) -> u32| {
                (first..first + self.lanes).all(|lane| values(lane) == values(first))
            };
            let is_one = all_as(&|lane| places[lane]) && all_as(&|lane| stride.data().at(lane)[0]);
            assert!(is_one, "the lanes of a subgroup name different matrices");
            Placed {
                global,
                first: places[first] as usize,
                stride: stride.data().at(first)[0] as usize * element,
                by_rows: data.row_major,
            }
        };
        (0..self.threads).step_by(self.lanes).map(|first| active[first].then(|| lanes_of(first))).collect()
    }

    /// The same matrix for the lanes of a subgroup: `matrices` are row by row, of each subgroup.
    fn shared(&self, words: usize, matrices: &[Vec<u32>]) -> Wide {
        Wide::of(self.threads, words, |thread, word| matrices[thread / self.lanes][word])
    }

    /// Square matrices from memory.
    pub fn load_matrix(
        &self,
        frame: &Frame<'a>,
        side: usize,
        data: &CooperativeData,
        active: &[bool],
    ) -> Wide {
        let load = |placed: Option<Placed>| match placed {
            Some(placed) => {
                let memory = &self.memory[&placed.global];
                let load = |place: usize| *memory.get(place).expect("a matrix is read beyond the end");
                (0..side * side).map(|word| load(placed.of(word / side, word % side))).collect()
            }
            None => vec![0; side * side],
        };
        let matrices: Vec<_> = self.placed(frame, data, active).into_iter().map(load).collect();
        self.shared(side * side, &matrices)
    }

    /// Square matrices to memory.
    pub fn store_matrix(&mut self, frame: &Frame<'a>, value: &Wide, data: &CooperativeData, active: &[bool]) {
        let side = value.size.isqrt();
        for (subgroup, placed) in self.placed(frame, data, active).into_iter().enumerate() {
            let Some(placed) = placed else { continue };
            let memory = self.memory.get_mut(&placed.global).expect("it was bound");
            for (word, &stored) in value.at(subgroup * self.lanes).iter().enumerate() {
                let place = memory.get_mut(placed.of(word / side, word % side));
                *place.expect("a matrix is written beyond the end") = stored;
            }
        }
    }

    /// `a · b + c` of square matrices.
    pub fn multiply_add(&self, [a, b, c]: [&Wide; 3], active: &[bool]) -> Wide {
        self.assert_whole_subgroups(active);
        let side = c.size.isqrt();
        let product = |lane: usize| {
            let [a, b, c] = [a, b, c].map(|matrix| bytemuck::cast_slice::<u32, f32>(matrix.at(lane)));
            let sum = |word: usize| {
                let (row, column) = (word / side, word % side);
                (0..side).fold(c[word], |sum, k| sum + a[row * side + k] * b[k * side + column]).to_bits()
            };
            (0..side * side).map(sum).collect()
        };
        let products: Vec<_> = (0..self.threads).step_by(self.lanes).map(product).collect();
        self.shared(c.size, &products)
    }
}

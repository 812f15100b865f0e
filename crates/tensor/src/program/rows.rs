//! Loops over rows, shared between threads.

use rayon::prelude::*;

/// The fewest values that are worth handing to another thread: with fewer, handing them over costs more than
/// the work.
const LEAST_VALUES: usize = 16 * 1024;

/// Calls `work` with every row of `values` and its number, on all threads.
pub fn for_each(values: &mut [f32], columns: usize, work: impl Fn(usize, &mut [f32]) + Sync + Send) {
    if columns == 0 {
        return;
    }
    let least_rows = LEAST_VALUES.div_ceil(columns);
    values
        .par_chunks_mut(columns)
        .enumerate()
        .with_min_len(least_rows)
        .for_each(|(row, values)| work(row, values));
}

/// Divides `values` into pieces and calls `work` with each, on all threads.
pub fn in_pieces(values: &mut [f32], work: impl Fn(&mut [f32]) + Sync + Send) {
    values.par_chunks_mut(LEAST_VALUES).for_each(work);
}

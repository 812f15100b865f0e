//! Loops over rows, shared between threads.

use rayon::prelude::*;

/// Values that are worth a thread's attention: fewer cost less than to hand them over.
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

/// Calls `work` with pieces of `values` that together are all of them, on all threads.
pub fn in_pieces(values: &mut [f32], work: impl Fn(&mut [f32]) + Sync + Send) {
    values.par_chunks_mut(LEAST_VALUES).for_each(work);
}

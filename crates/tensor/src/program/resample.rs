//! Resizing and box filters, piece by piece on all threads.

use clipseg_shaders::kernels::{bilinear_resize, box_mean, depth_to_space, im2col_3x3};
use clipseg_shaders::twins;
use rayon::prelude::*;

use super::rows;
use crate::Result;
use crate::twin::Call;

/// Rows of an output that a thread takes at once.
const ROWS: usize = 16;

/// The twin of `bilinear_resize`.
pub(super) fn bilinear_resize(call: Call<'_>) -> Result<()> {
    let params: bilinear_resize::Params = call.params()?;
    let input_size = params.input_rows as usize * params.input_columns as usize;
    let [rows, columns] = [params.rows as usize, params.columns as usize];
    let input = call.floats_of(0, params.images as usize * input_size)?;
    let images = call
        .output
        .par_chunks_exact_mut((rows * columns).max(1))
        .zip(input.par_chunks_exact(input_size.max(1)));
    images.for_each(|(output, input)| {
        output.par_chunks_mut(ROWS * columns).enumerate().for_each(|(piece, output)| {
            let params = bilinear_resize::Params {
                images: 1,
                first_row: params.first_row + (piece * ROWS) as u32,
                rows: (output.len() / columns) as u32,
                ..params
            };
            twins::bilinear_resize(&params, input, output);
        });
    });
    Ok(())
}

/// The twin of `box_mean`, by running sums: values that enter the window are added, values that leave it are
/// subtracted.
pub(super) fn box_mean(call: Call<'_>) -> Result<()> {
    let params: box_mean::Params = call.params()?;
    let [length, inner, radius] = [params.length, params.inner, params.radius].map(|size| size as usize);
    let size = (length * inner).max(1);
    let input = call.floats_of(0, call.output.len())?;
    call.output.par_chunks_exact_mut(size).zip(input.par_chunks_exact(size)).for_each(|(output, input)| {
        let row = |index: usize| &input[index * inner..][..inner];
        // The sums are in f64, as rounding errors would add up along the way.
        let mut sums = vec![0.0_f64; inner];
        for index in 0..radius.min(length) {
            sums.iter_mut().zip(row(index)).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        for (index, output) in output.chunks_exact_mut(inner).enumerate() {
            if index + radius < length {
                sums.iter_mut().zip(row(index + radius)).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            if index > radius {
                let left = row(index - radius - 1);
                sums.iter_mut().zip(left).for_each(|(sum, &value)| *sum -= f64::from(value));
            }
            let count = (index + radius + 1).min(length) - index.saturating_sub(radius);
            output.iter_mut().zip(&sums).for_each(|(mean, sum)| *mean = (sum / count as f64) as f32);
        }
    });
    Ok(())
}

/// The twin of `im2col_3x3`, image by image.
pub(super) fn im2col_3x3(call: Call<'_>) -> Result<()> {
    let params: im2col_3x3::Params = call.params()?;
    let [height, width, channels, skip] =
        [params.height, params.width, params.channels, params.skip].map(|size| size as usize);
    let input_size = (skip + height * width) * channels;
    let input = call.floats_of(0, params.images as usize * input_size)?;
    let params = im2col_3x3::Params { images: 1, ..params };
    let images = call.output.par_chunks_exact_mut((9 * height * width * channels).max(1));
    images
        .zip(input.par_chunks_exact(input_size.max(1)))
        .for_each(|(columns, input)| twins::im2col_3x3(&params, input, columns));
    Ok(())
}

/// The twin of `depth_to_space`, output row by output row.
pub(super) fn depth_to_space(call: Call<'_>) -> Result<()> {
    let params: depth_to_space::Params = call.params()?;
    let [width, outer, inner] = [params.width, params.outer, params.inner].map(|size| size as usize);
    let input = call.floats_of(0, call.output.len())?;
    // Values that lie side by side in the input and in the output.
    let run = inner * params.channels as usize;
    let (block, factor) = (outer * inner * run, outer * inner);
    rows::for_each(call.output, width * outer * run, |row, output| {
        let (line, a, c) = (row / factor, row % factor / inner, row % inner);
        let blocks =
            input[line * width * outer * block..][..width * outer * block].chunks_exact(outer * block);
        for (block_of_row, output) in blocks.zip(output.chunks_exact_mut(outer * run)) {
            let sources = block_of_row[a * block..][..block].chunks_exact(inner * run);
            for (source, output) in sources.zip(output.chunks_exact_mut(run)) {
                // Not `copy_from_slice`: runs have four values in CLIPSeg, fewer than a call is worth.
                output.iter_mut().zip(&source[c * run..][..run]).for_each(|(output, value)| *output = *value);
            }
        }
    });
    Ok(())
}

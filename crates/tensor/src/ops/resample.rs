use clipseg_shaders::kernels;

use super::shape_error;
use crate::array::elements;
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor, Tile};

impl Recorder {
    /// Position embeddings `[1 + side², width]` of a square grid, resized to `rows` by `columns`:
    /// `[1 + rows · columns, width]`. Bicubic as PyTorch's
    /// `interpolate(mode="bicubic", align_corners=False)`; row 0, the class token's, is kept.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the table is not one of a square grid.
    pub fn bicubic_positions(&mut self, table: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
        let side = table.rows().saturating_sub(1).isqrt();
        if side == 0 || side * side + 1 != table.rows() {
            return shape_error("bicubic_positions", format!("{table:?}, expected [1 + side², width]"));
        }
        let Some(positions) = elements(&[rows, columns]) else {
            return shape_error("bicubic_positions", format!("{table:?} to {rows} by {columns}"));
        };
        let output = self.allocate(&[1 + positions, table.columns()], DType::F32)?;
        let params = kernels::bicubic_positions::Params {
            side: side as u32,
            rows: rows as u32,
            columns: columns as u32,
            width: table.columns() as u32,
        };
        let resources = vec![self.buffer(table)?, self.buffer(&output)?];
        // Four rows of four products and sums, and the four of the rows.
        let flops = 40 * output.len() as u64;
        self.dispatch_1d(&kernels::bicubic_positions::KERNEL, &[], params, resources, output.len(), flops)?;
        Ok(output)
    }

    /// The tile `to` of maps that are resized as PyTorch's
    /// `interpolate(mode="bilinear", align_corners=False)`: `[images, rows, columns]` from
    /// `[images, rows, columns]` of the tile `from` of the maps before. That need hold no more than
    /// [`to.source(…)`](Tile::source); values are the same whatever the tiles.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a tile is empty or reaches beyond its map, `input` has not
    /// the shape of `from`, or `from` does not hold all that `to` is made of.
    pub fn bilinear_resize(&mut self, input: &Tensor, from: &Tile, to: &Tile) -> Result<Tensor> {
        let mismatch = || shape_error("bilinear_resize", format!("{input:?} as {from:?} to {to:?}"));
        let &[images, rows, columns] = input.shape() else { return mismatch() };
        let is_whole = from.is_valid() && to.is_valid() && from.contains(&to.source(from.height, from.width));
        if !is_whole || (rows, columns) != (from.rows.len(), from.columns.len()) {
            return mismatch();
        }
        let output = self.allocate(&[images, to.rows.len(), to.columns.len()], DType::F32)?;
        let params = kernels::bilinear_resize::Params {
            images: images as u32,
            input_height: from.height as u32,
            input_width: from.width as u32,
            output_height: to.height as u32,
            output_width: to.width as u32,
            input_first_row: from.rows.start as u32,
            input_first_column: from.columns.start as u32,
            input_rows: rows as u32,
            input_columns: columns as u32,
            first_row: to.rows.start as u32,
            first_column: to.columns.start as u32,
            rows: to.rows.len() as u32,
            columns: to.columns.len() as u32,
        };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        // Three mixtures of two values.
        let flops = 9 * output.len() as u64;
        self.dispatch_1d(&kernels::bilinear_resize::KERNEL, &[], params, resources, output.len(), flops)?;
        Ok(output)
    }
}

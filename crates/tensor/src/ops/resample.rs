use std::ops::Range;

use clipseg_shaders::kernels;

use super::shape_error;
use crate::tensor::Element;
use crate::{Recorder, Result, Tensor};

impl Recorder {
    /// Position embeddings `[1 + side², width]` of a square grid, resized to `rows` by `columns`:
    /// `[1 + rows · columns, width]`. Bicubic as PyTorch's `interpolate(mode="bicubic", align_corners=False)`; row 0, the
    /// class token's, is kept.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the table is not one of a square grid.
    pub fn bicubic_positions(&mut self, table: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
        let side = table.rows().saturating_sub(1).isqrt();
        if side == 0 || side * side + 1 != table.rows() {
            return shape_error("bicubic_positions", format!("{table:?}, expected [1 + side², width]"));
        }
        let output = self.allocate(&[1 + rows * columns, table.columns()], Element::F32)?;
        let params = kernels::bicubic_positions::Params {
            side: side as u32,
            rows: rows as u32,
            columns: columns as u32,
            width: table.columns() as u32,
        };
        let resources = vec![self.buffer(table)?, self.buffer(&output)?];
        let grid = self.elementwise_grid(output.len());
        // Four rows of four products and sums, and the four of the rows.
        let flops = 40 * output.len() as u64;
        self.dispatch(&kernels::bicubic_positions::KERNEL, &[], params, resources, grid, flops)?;
        Ok(output)
    }

    /// Maps `[images, height, width]` resized to `height` by `width`, as PyTorch's
    /// `interpolate(mode="bilinear", align_corners=False)`; of them the rows `rows`, `[images, rows, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when a side is zero or `rows` lie outside.
    pub fn bilinear_resize(
        &mut self,
        input: &Tensor,
        (height, width): (usize, usize),
        rows: Range<usize>,
    ) -> Result<Tensor> {
        let &[images, input_height, input_width] = input.shape() else {
            return shape_error("bilinear_resize", format!("{input:?}, expected [images, height, width]"));
        };
        if [input_height, input_width, width].contains(&0) || rows.is_empty() || rows.end > height {
            return shape_error(
                "bilinear_resize",
                format!("{input:?} to rows {rows:?} of {height} by {width}"),
            );
        }
        let output = self.allocate(&[images, rows.len(), width], Element::F32)?;
        let params = kernels::bilinear_resize::Params {
            images: images as u32,
            input_height: input_height as u32,
            input_width: input_width as u32,
            output_height: height as u32,
            output_width: width as u32,
            first_row: rows.start as u32,
            rows: rows.len() as u32,
        };
        let resources = vec![self.buffer(input)?, self.buffer(&output)?];
        let grid = self.elementwise_grid(output.len());
        // Three mixtures of two values.
        let flops = 9 * output.len() as u64;
        self.dispatch(&kernels::bilinear_resize::KERNEL, &[], params, resources, grid, flops)?;
        Ok(output)
    }
}

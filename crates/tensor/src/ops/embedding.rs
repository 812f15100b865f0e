use clipseg_shaders::kernels;

use super::{expect_shape, shape_error};
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

impl Recorder {
    /// `tokens[ids] + positions[position_ids]`, `[batch, length, width]`.
    ///
    /// `ids` and `position_ids` are `[batch, length]` of `u32`. The device cannot refuse one that is beyond
    /// its table and takes the table's last row: callers check ids before they write them.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit, or a table is empty.
    pub fn token_embedding(
        &mut self,
        ids: &Tensor,
        position_ids: &Tensor,
        tokens: &Tensor,
        positions: &Tensor,
    ) -> Result<Tensor> {
        let &[batch, length] = ids.shape() else {
            return shape_error("token_embedding", format!("{ids:?}, expected [batch, length]"));
        };
        expect_shape("token_embedding", "the position ids", position_ids, ids.shape())?;
        let columns = tokens.columns();
        expect_shape("token_embedding", "the positions", positions, &[positions.rows(), columns])?;
        for table in [tokens, positions] {
            expect_rows("token_embedding", table)?;
        }
        let output = self.allocate(&[batch, length, columns], DType::F32)?;
        let params = kernels::token_embedding::Params {
            tokens: ids.len() as u32,
            columns: columns as u32,
            token_rows: tokens.rows() as u32,
            position_rows: positions.rows() as u32,
        };
        let resources = vec![
            self.buffer(ids)?,
            self.buffer(position_ids)?,
            // Of the tables, at most a row per token.
            self.buffer(tokens)?.with_bytes(output.bytes()),
            self.buffer(positions)?.with_bytes(output.bytes()),
            self.buffer(&output)?,
        ];
        self.dispatch_1d(
            &kernels::token_embedding::KERNEL,
            &[],
            params,
            resources,
            output.len(),
            output.len() as u64,
        )?;
        Ok(output)
    }

    /// The rows of `input` that `rows` (`[count]` of `u32`) names, `[count, width]`. An index beyond the
    /// input gives its last row.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when `rows` is not a list, or the input has no rows.
    pub fn gather_rows(&mut self, input: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let &[count] = rows.shape() else {
            return shape_error("gather_rows", format!("{rows:?}, expected [count]"));
        };
        if count > 0 {
            expect_rows("gather_rows", input)?;
        }
        if let Some(lanes) = self.device().lanes()
            && input.storage().texture.get().is_some()
        {
            return self.gather_rows_subgroup(input, rows, lanes);
        }
        let output = self.allocate(&[count, input.columns()], DType::F32)?;
        let params = kernels::gather_rows::Params {
            count: count as u32,
            columns: input.columns() as u32,
            input_rows: input.rows() as u32,
        };
        let resources =
            vec![self.buffer(input)?.with_bytes(output.bytes()), self.buffer(rows)?, self.buffer(&output)?];
        self.dispatch_rows(&kernels::gather_rows::KERNEL, params, resources, count, 0)?;
        Ok(output)
    }

    fn gather_rows_subgroup(&mut self, input: &Tensor, rows: &Tensor, lanes: u32) -> Result<Tensor> {
        let (count, columns) = (rows.len(), input.columns());
        let output = self.allocate_texture(&[count, columns])?;
        let params = kernels::gather_rows_subgroup::Params {
            count: count as u32,
            column_texels: columns.div_ceil(4) as u32,
            input_rows: input.rows() as u32,
        };
        let resources =
            vec![self.texture(input)?.with_bytes(output.bytes()), self.buffer(rows)?, self.texture(&output)?];
        let overrides = kernels::gather_rows_subgroup::Overrides { lanes }.values();
        // As many rows as a texture has fit into one side of a grid.
        let grid = [params.count.div_ceil(kernels::gather_rows_subgroup::ROWS), 1, 1];
        self.dispatch(&kernels::gather_rows_subgroup::KERNEL, &overrides, params, resources, grid, 0)?;
        Ok(output)
    }

    /// Pixels `[images, channels, height, width]` as patches `[images, patches, channels · patch_size²]`, row
    /// by row: the input of a patch embedding as a linear layer.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the image is smaller than a patch.
    pub fn patchify(&mut self, pixels: &Tensor, patch_size: usize) -> Result<Tensor> {
        let &[images, channels, height, width] = pixels.shape() else {
            return shape_error(
                "patchify",
                format!("{pixels:?}, expected [images, channels, height, width]"),
            );
        };
        if patch_size == 0 || height < patch_size || width < patch_size {
            return shape_error("patchify", format!("{pixels:?} into patches of {patch_size}"));
        }
        let patches = (height / patch_size) * (width / patch_size);
        let output = self.allocate(&[images, patches, channels * patch_size * patch_size], DType::F32)?;
        let params = kernels::patchify::Params {
            images: images as u32,
            channels: channels as u32,
            height: height as u32,
            width: width as u32,
            patch_size: patch_size as u32,
        };
        let resources = vec![self.buffer(pixels)?, self.buffer(&output)?];
        self.dispatch_1d(&kernels::patchify::KERNEL, &[], params, resources, output.len(), 0)?;
        Ok(output)
    }

    /// The class embedding `[width]` before embedded patches `[images, patches, width]`, plus `positions`
    /// `[1 + patches, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn vision_embedding(
        &mut self,
        patches: &Tensor,
        class_embedding: &Tensor,
        positions: &Tensor,
    ) -> Result<Tensor> {
        let &[images, count, columns] = patches.shape() else {
            return shape_error(
                "vision_embedding",
                format!("{patches:?}, expected [images, patches, width]"),
            );
        };
        expect_shape("vision_embedding", "the class embedding", class_embedding, &[columns])?;
        expect_shape("vision_embedding", "the positions", positions, &[count + 1, columns])?;
        let output = self.allocate(&[images, count + 1, columns], DType::F32)?;
        let params = kernels::vision_embedding::Params {
            images: images as u32,
            patches: count as u32,
            columns: columns as u32,
        };
        let resources = vec![
            self.buffer(patches)?,
            self.buffer(class_embedding)?,
            self.buffer(positions)?,
            self.buffer(&output)?,
        ];
        let flops = output.len() as u64;
        self.dispatch_rows(&kernels::vision_embedding::KERNEL, params, resources, output.rows(), flops)?;
        Ok(output)
    }

    /// Tokens `[batch, 1 + count, width]` without the first, the class token: `[batch, count, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there is no token.
    pub fn drop_class_token(&mut self, tokens: &Tensor) -> Result<Tensor> {
        let &[batch, length, width] = tokens.shape() else {
            return shape_error(
                "drop_class_token",
                format!("{tokens:?}, expected [batch, 1 + count, width]"),
            );
        };
        let places =
            (0..batch).flat_map(|item| (1..length.max(1)).map(move |token| (item * length + token) as u32));
        let places: Vec<_> = places.collect();
        let rows = self.constant_u32(&[places.len()], &places)?;
        self.gather_rows(tokens, &rows)?.reshape(&[batch, length.saturating_sub(1), width])
    }
}

/// Refuses a table without rows, of which there is not even a last one.
fn expect_rows(op: &'static str, table: &Tensor) -> Result<()> {
    if table.rows() > 0 { Ok(()) } else { shape_error(op, format!("no row to take from {table:?}")) }
}

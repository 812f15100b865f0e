use clipseg_shaders::kernels::matmul_subgroup;

use crate::pool::Pooled;
use crate::step::Resource;
use crate::texture::{F32_TEXELS, PACKED_F16_TEXELS};
use crate::{Device, Result, pool};

/// Columns of a panel of the subgroup kernels' weight: a texel per lane.
pub(crate) fn panel_columns(lanes: u32) -> usize {
    4 * lanes as usize
}

/// Rows of the weight that a panel has in one row of its texture: what the kernels walk in a step, a texel of
/// the input per lane.
fn panel_depth(lanes: u32) -> usize {
    4 * lanes as usize
}

/// Rows of the output that a workgroup of the subgroup kernels for products makes.
pub(crate) const PRODUCT_ROWS: usize = matmul_subgroup::ROWS as usize;

/// A weight `[out_features, in_features]` in the order in which the subgroup kernels read it, from end to
/// end.
///
/// It is cut into panels of [`panel_columns`] columns (out_features). A row of the texture holds
/// [`panel_depth`] values of K (in_features) of one panel, and for each of them the panel's columns. Panels
/// and rows are padded with zeros. A texel has four columns of one K in f32, or four columns of two values of
/// K in f16.
///
/// With 16 lanes the kernel rotates the input strip by one lane per step, so that lane l sees the values of K
/// starting at its own. The packing rotates each lane's columns to match. With 4 lanes, the K that a lane's
/// columns have at each step:
///
/// ```text
///          lane 0  lane 1  lane 2  lane 3
/// step 0      0       1       2       3
/// step 1      1       2       3       0
/// step 2      2       3       0       1
/// step 3      3       0       1       2
/// ```
pub(crate) struct Panels {
    texture: Pooled<wgpu::Texture>,
    /// What the kernel has to read of it, the padding left out.
    bytes: u64,
    pub is_f16: bool,
    /// The lanes that it was laid out for.
    pub lanes: u32,
}

impl Panels {
    /// Uploads `weight`, in f16 where the device's precision wants that.
    pub fn upload(
        device: &Device,
        lanes: u32,
        [out_features, in_features]: [usize; 2],
        weight: &[f32],
    ) -> Result<Self> {
        let (panel_depth, panel_columns) = (panel_depth(lanes), panel_columns(lanes));
        let is_f16 = device.precision().stores_as_f16(weight);
        let (panels, steps) = (out_features.div_ceil(panel_columns), in_features.div_ceil(panel_depth));
        let width = panel_depth * panel_columns;
        let mut values = vec![0.0; panels * steps * width];
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            let (panel, step) = (row / steps, row % steps);
            let depth = panel_depth.min(in_features - step * panel_depth);
            for column in 0..panel_columns.min(out_features - panel * panel_columns) {
                let start = (panel * panel_columns + column) * in_features + step * panel_depth;
                for (depth, &value) in weight[start..start + depth].iter().enumerate() {
                    values[index_in_panel(lanes, is_f16, depth, column)] = value;
                }
            }
        }
        let (format, values_a_texel) = if is_f16 { (PACKED_F16_TEXELS, 8) } else { (F32_TEXELS, 4) };
        let texels = width / values_a_texel;
        let texture = pool::weight_texture(device, format, texels, panels * steps)?;
        if is_f16 {
            let halves: Vec<_> = values.iter().map(|&value| half::f16::from_f32(value)).collect();
            device.write_texture(texture.get(), texels as u32, bytemuck::cast_slice(&halves))?;
        } else {
            device.write_texture(texture.get(), texels as u32, bytemuck::cast_slice(&values))?;
        }
        let bytes = (16 / values_a_texel * out_features * in_features) as u64;
        Ok(Self { texture, bytes, is_f16, lanes })
    }

    /// The panels as a resource of a recording on `device`.
    pub fn resource(&self, device: &Device) -> Result<Resource> {
        device.expect_own(self.texture.device(), || "a layer's weight".to_owned())?;
        Ok(Resource::texture(self.texture.get().clone(), self.bytes))
    }
}

/// The weight `[out_features, in_features]` that panels hold, a row of whose texture has `row` floats or f16
/// values.
pub(crate) fn unpack(
    values: &[f32],
    row: usize,
    (lanes, is_f16): (u32, bool),
    [out_features, in_features]: [usize; 2],
) -> Vec<f32> {
    let (depth, width) = (panel_depth(lanes), panel_columns(lanes));
    let steps = in_features.div_ceil(depth);
    let mut weight = Vec::with_capacity(out_features * in_features);
    for column in 0..out_features {
        for k in 0..in_features {
            let start = (column / width * steps + k / depth) * row;
            weight.push(values[start + index_in_panel(lanes, is_f16, k % depth, column % width)]);
        }
    }
    weight
}

/// Where a panel's row has the value of `depth`, of those that it is of, and `column`.
fn index_in_panel(lanes: u32, is_f16: bool, depth: usize, column: usize) -> usize {
    // Sixteen lanes own a texel of columns each, and start with their own texel of the input.
    let first = if lanes == 16 { column / 4 * 4 } else { 0 };
    // Without a division, as every weight of a model comes by here.
    let depth = if depth < first { depth + panel_depth(lanes) - first } else { depth - first };
    match is_f16 {
        true => (depth / 2 * panel_columns(lanes) + column / 4 * 4) * 2 + depth % 2 * 4 + column % 4,
        false => depth * panel_columns(lanes) + column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_once() {
        for (lanes, is_f16) in [(8, false), (8, true), (16, false), (16, true)] {
            let depths = 0..panel_depth(lanes);
            let columns = |depth| {
                (0..panel_columns(lanes)).map(move |column| index_in_panel(lanes, is_f16, depth, column))
            };
            let mut places: Vec<_> = depths.flat_map(columns).collect();
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..places.len()), "{lanes} lanes, halves: {is_f16}");
        }
    }

    #[test]
    fn eight_lanes_meet_one_value_at_a_time() {
        assert_eq!(index_in_panel(8, false, 0, 31), 31);
        assert_eq!(index_in_panel(8, false, 31, 5), 31 * 32 + 5);
        // Four columns of two values per texel.
        assert_eq!(index_in_panel(8, true, 3, 5), (32 + 4) * 2 + 4 + 1);
    }

    // After `turn` turns by one a lane holds the texel that was so many lanes further on.
    #[test]
    fn sixteen_lanes_meet_what_they_hold_after_each_turn() {
        for (turn, lane, part, column) in [(0, 0, 0, 0), (0, 7, 2, 1), (1, 15, 3, 3), (9, 12, 1, 2)] {
            let depth = (lane + turn) % 16 * 4 + part;
            let texel = (turn * 4 + part) * 16 + lane;
            assert_eq!(index_in_panel(16, false, depth, lane * 4 + column), texel * 4 + column);
        }
    }
}

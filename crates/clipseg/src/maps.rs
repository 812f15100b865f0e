use std::borrow::Cow;

use clipseg_tensor::{Array, Tile};

use crate::{Error, Result};

/// Maps of one size, one per prompt, that are assembled from tiles.
pub(crate) struct Maps(Array);

impl Maps {
    /// Maps of zeros.
    pub fn new(count: usize, height: usize, width: usize) -> Result<Self> {
        let pixels = check_size(height, width)?;
        Ok(Self(Array { shape: vec![count, height, width], values: vec![0.0; count * pixels] }))
    }

    /// Puts the values `[rows, columns]` of a tile into their place in map number `index`.
    pub fn paste(&mut self, index: usize, tile: &Tile, values: &[f32]) {
        let first = index * tile.height;
        for (row, values) in tile.rows.clone().zip(values.chunks_exact(tile.columns.len())) {
            let start = (first + row) * tile.width + tile.columns.start;
            self.0.values[start..start + values.len()].copy_from_slice(values);
        }
    }

    /// `[count, height, width]`
    pub fn into_array(self) -> Array {
        self.0
    }
}

/// The number of pixels of a map, which is limited as that of masks is: they are made of maps.
pub(crate) fn check_size(height: usize, width: usize) -> Result<usize> {
    let pixels = height.checked_mul(width).filter(|&pixels| i32::try_from(pixels).is_ok());
    pixels.ok_or_else(|| {
        Error::Input(format!("a map of {width} × {height} pixels has more than 2147483647; make it smaller"))
    })
}

/// The values `[rows, columns]` of a tile of a map.
pub(crate) fn cut<'a>(map: &'a [f32], tile: &Tile) -> Cow<'a, [f32]> {
    let row = |row: usize| &map[row * tile.width + tile.columns.start..row * tile.width + tile.columns.end];
    if tile.columns.len() == tile.width {
        return Cow::Borrowed(&map[tile.rows.start * tile.width..tile.rows.end * tile.width]);
    }
    Cow::Owned(tile.rows.clone().flat_map(row).copied().collect())
}

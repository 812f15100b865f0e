//! Decodes TIFF files whose strips or tiles are JPEG pictures.

use libjpeg_turbo_rs::{Decoder, PixelFormat};

use super::super::directory::Directory;
use super::{BITS, Format, PHOTOMETRIC, PLANAR, SAMPLES, Samples, unsupported};
use crate::error::Result;
use crate::processor::decode::{check_size, damaged};

// Tags.
const STRIP_OFFSETS: u16 = 273;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_BYTES: u16 = 279;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTES: u16 = 325;
const JPEG_TABLES: u16 = 347;

/// The first and the last bytes of a JPEG picture.
const START: &[u8] = b"\xff\xd8";
const END: &[u8] = b"\xff\xd9";

/// Decodes the strips or tiles, each a JPEG picture, as libjpeg-turbo does for Pillow: grey, or RGB.
pub fn read(bytes: &[u8], directory: &Directory, width: usize, height: usize) -> Result<Samples> {
    let first = |tag| directory.first(tag).and_then(|value| usize::try_from(value).ok());
    let is_planar = directory.first(PLANAR) == Some(2);
    // The colour transform for Adobe's marker: 0 for RGB or grey, 1 for YCbCr.
    let (count, transform) = match (directory.first(PHOTOMETRIC), first(SAMPLES).unwrap_or(1), first(BITS)) {
        (Some(0 | 1), 1, Some(8)) => (1, 0),
        (Some(2), 3, Some(8)) if !is_planar => (3, 0),
        (Some(6), 3, Some(8)) if !is_planar => (3, 1),
        _ => return Err(unsupported("JPEG compression of other than grey, RGB or YCbCr values of 8 bits")),
    };
    let format = if count == 1 { PixelFormat::Grayscale } else { PixelFormat::Rgb };
    let is_tiled = directory.first_range(TILE_OFFSETS).is_some();
    let (offsets, sizes, columns, rows) = match is_tiled {
        true => (TILE_OFFSETS, TILE_BYTES, first(TILE_WIDTH), first(TILE_HEIGHT)),
        false => (
            STRIP_OFFSETS,
            STRIP_BYTES,
            Some(width),
            Some(first(ROWS_PER_STRIP).unwrap_or(height).min(height)),
        ),
    };
    let lacking = || damaged("it does not say where its parts are");
    let (Some(offsets), Some(sizes)) = (directory.integers(offsets), directory.integers(sizes)) else {
        return Err(lacking());
    };
    let (Some(columns @ 1..), Some(rows @ 1..)) = (columns, rows) else { return Err(lacking()) };
    let across = width.div_ceil(columns);
    if offsets.len() < across * height.div_ceil(rows) || sizes.len() < offsets.len() {
        return Err(lacking());
    }
    let tables = directory.bytes(JPEG_TABLES).unwrap_or_default();
    let tables = tables.strip_prefix(START).unwrap_or(tables);
    let tables = tables.strip_suffix(END).unwrap_or(tables);
    let adobe = [b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0", &[transform][..]].concat();

    let row_bytes = width * count;
    let mut data = vec![0; row_bytes * height];
    for (index, (&offset, &size)) in offsets.iter().zip(&sizes).enumerate() {
        let (top, left) = (index / across * rows, index % across * columns);
        if top >= height {
            break;
        }
        let part = part(bytes, offset, size).ok_or_else(lacking)?;
        let part = part.strip_prefix(START).unwrap_or(part);
        let jpeg = [START, &adobe, tables, part].concat();
        let decoder = Decoder::new(&jpeg).map_err(damaged)?;
        let header = decoder.header();
        check_size(header.width.into(), header.height.into())?;
        if header.components.len() != count {
            return Err(damaged("a part of it has other colours"));
        }
        let decoded = libjpeg_turbo_rs::decompress_to(&jpeg, format).map_err(damaged)?;
        let (visible_rows, visible_columns) = (rows.min(height - top), columns.min(width - left));
        if decoded.width < visible_columns || decoded.height < visible_rows {
            return Err(damaged("a part of it is too small"));
        }
        for (row, values) in decoded.data.chunks_exact(decoded.width * count).take(visible_rows).enumerate() {
            let start = (top + row) * row_bytes + left * count;
            data[start..start + visible_columns * count].copy_from_slice(&values[..visible_columns * count]);
        }
    }
    Ok(Samples { data, format: Format::Unsigned, bits: 8, count, row_bytes, plane_bytes: 0 })
}

fn part(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

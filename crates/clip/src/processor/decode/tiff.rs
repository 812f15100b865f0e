//! Decodes TIFF files as Pillow does.

mod jpeg;
mod rewritten;

use std::io::Cursor;

use image::metadata::Orientation as Turn;
use tiff::decoder::{Decoder, Limits};
use tiff::{TiffError, TiffUnsupportedError};

use self::rewritten::rewritten;
use super::directory::Directory;
use super::{MAX_DECODER_BYTES, Picture, check_size, damaged};
use crate::error::{Error, Result};

// Tags.
const NEW_SUBFILE_TYPE: u16 = 254;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const SAMPLES: u16 = 277;
const COLOUR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const SUB_DIRECTORIES: u16 = 330;
const PLANAR: u16 = 284;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const SUBSAMPLING: u16 = 530;
const DNG_VERSION: u16 = 50706;
/// The tags that the decoder reads: most of the above, and those of strips and tiles, of the predictor, and
/// of JPEG's tables.
const DECODER_READS: [u16; 19] = [
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    273,
    SAMPLES,
    278,
    279,
    PLANAR,
    317,
    TILE_WIDTH,
    TILE_HEIGHT,
    324,
    325,
    EXTRA_SAMPLES,
    SAMPLE_FORMAT,
    347,
    SUBSAMPLING,
];

// Values of tags.
const UNCOMPRESSED: u64 = 1;
const JPEG: u64 = 7;
const MULTIPLIED_ALPHA: u64 = 1;
const ALPHA: u64 = 2;

/// How samples are stored.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Unsigned,
    Signed,
    Float,
}

/// Whether this is a TIFF or BigTIFF file.
pub fn is_tiff(bytes: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|mark| bytes.starts_with(*mark))
}

/// The numbers of columns and rows that a file declares.
pub fn dimensions(bytes: &[u8]) -> Result<(u64, u64)> {
    declared(&directory(bytes)?)
}

fn directory(bytes: &[u8]) -> Result<Directory<'_>> {
    Directory::read(bytes).ok_or_else(|| damaged("it has no directory of pictures"))
}

fn declared(directory: &Directory) -> Result<(u64, u64)> {
    let size = |tag| directory.first(tag).ok_or_else(|| damaged("it does not say its size"));
    Ok((size(WIDTH)?, size(HEIGHT)?))
}

/// The first picture of a file, and how it has to be turned.
pub fn decode(bytes: &[u8]) -> Result<(Picture, Turn)> {
    let directory = directory(bytes)?;
    if is_raw(bytes, &directory) {
        return Err(Error::image(
            "is a camera's raw file, of which a preview alone could be read; develop it to JPEG or PNG first",
        ));
    }
    let (width, height) = declared(&directory)?;
    let (width, height) = check_size(width, height)?;
    let turn = directory.orientation().unwrap_or(Turn::NoTransforms);
    let samples = match directory.first(COMPRESSION) {
        Some(JPEG) => jpeg::read(bytes, &directory, width, height)?,
        _ => Samples::read(bytes, &directory)?,
    };
    // If the directory has a tag twice, the decoder may have used the other value.
    if !samples.fill(width, height) {
        return Err(damaged("it does not fill its own size"));
    }
    let mut picture = samples.to_rgb(&directory, width, height)?;
    picture.alpha = samples.alpha(&directory, width, height);
    Ok((picture, turn))
}

/// Whether this is a camera's raw file, whose first picture is only a small preview.
fn is_raw(bytes: &[u8], directory: &Directory) -> bool {
    let is_preview = directory.first(NEW_SUBFILE_TYPE).is_some_and(|kind| kind & 1 == 1);
    bytes.get(8..10) == Some(b"CR")
        || directory.first(DNG_VERSION).is_some()
        || (is_preview && directory.integers(SUB_DIRECTORIES).is_some())
}

/// The values of a picture as they are stored.
struct Samples {
    data: Vec<u8>,
    format: Format,
    bits: usize,
    /// Values per pixel.
    count: usize,
    row_bytes: usize,
    /// Bytes from one sample's plane to the next; 0 if the samples of a pixel are interleaved.
    plane_bytes: usize,
}

impl Samples {
    fn read(bytes: &[u8], directory: &Directory) -> Result<Self> {
        let bits = directory.first(BITS).unwrap_or(1);
        let format = match directory.first(SAMPLE_FORMAT).unwrap_or(1) {
            1 | 4 => Format::Unsigned,
            2 => Format::Signed,
            3 => Format::Float,
            _ => return Err(unsupported("complex numbers")),
        };
        let compression = directory.first(COMPRESSION).unwrap_or(UNCOMPRESSED);
        let is_reversed = directory.first(FILL_ORDER) == Some(2);
        if is_reversed && compression != UNCOMPRESSED {
            return Err(unsupported("bits in reverse order (FillOrder 2) and compression"));
        }
        let rewritten = rewritten(bytes, directory)?;
        // The decoder allocates 32 bytes for each value that a tag claims to have, before it reads any.
        if let Some(tag) = directory.beyond(&DECODER_READS) {
            return Err(damaged(format!("its tag {tag} has values beyond its end")));
        }
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_DECODER_BYTES as usize;
        limits.intermediate_buffer_size = MAX_DECODER_BYTES as usize;
        limits.ifd_value_size = bytes.len();
        let explain = |error| explain(error, compression);
        let mut decoder = Decoder::new(Cursor::new(&rewritten)).map_err(explain)?.with_limits(limits);
        let layout = decoder.image_buffer_layout().map_err(explain)?;
        if layout.complete_len as u64 > MAX_DECODER_BYTES {
            return Err(super::too_large());
        }
        let mut data = vec![0; layout.complete_len];
        decoder.read_image_bytes(&mut data).map_err(explain)?;
        if is_reversed {
            data.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
        }
        let plane_bytes =
            if layout.planes > 1 { layout.plane_stride.map_or(0, |bytes| bytes.get()) } else { 0 };
        let count = usize::try_from(directory.first(SAMPLES).unwrap_or(1)).unwrap_or(usize::MAX).max(1);
        let row_bytes = layout.row_stride.map_or(0, |bytes| bytes.get());
        Ok(Self { data, format, bits: bits as usize, count, row_bytes, plane_bytes })
    }

    /// Whether there are values for so many pixels; `get` relies on it.
    fn fill(&self, width: usize, height: usize) -> bool {
        let (in_row, planes) = if self.plane_bytes == 0 { (self.count, 1) } else { (1, self.count) };
        let row = width.checked_mul(in_row).and_then(|values| values.checked_mul(self.bits));
        let rows = self.row_bytes.checked_mul(height);
        let end = rows.and_then(|rows| rows.checked_add(self.plane_bytes.checked_mul(planes - 1)?));
        row.is_some_and(|bits| bits.div_ceil(8) <= self.row_bytes)
            && end.is_some_and(|end| end <= self.data.len())
    }

    /// The bits of a value; panics beyond those that [`fill`](Self::fill) has checked.
    fn get(&self, row: usize, column: usize, sample: usize) -> u32 {
        let (plane, index) = match self.plane_bytes {
            0 => (0, column * self.count + sample),
            bytes => (bytes * sample, column),
        };
        let start = plane + row * self.row_bytes;
        match self.bits {
            8 => self.data[start + index].into(),
            16 => {
                let at = start + 2 * index;
                u16::from_ne_bytes([self.data[at], self.data[at + 1]]).into()
            }
            32 => {
                let at = start + 4 * index;
                u32::from_ne_bytes([self.data[at], self.data[at + 1], self.data[at + 2], self.data[at + 3]])
            }
            bits => {
                let bit = bits * index;
                u32::from(self.data[start + bit / 8]) >> (8 - bits - bit % 8) & ((1 << bits) - 1)
            }
        }
    }

    /// The upper eight bits of [`get`](Self::get).
    fn byte(&self, row: usize, column: usize, sample: usize) -> u8 {
        (self.get(row, column, sample) >> (self.bits.max(8) - 8)) as u8
    }

    /// The meanings of the samples after the colour.
    fn extra(&self, directory: &Directory) -> Vec<u64> {
        directory.integers(EXTRA_SAMPLES).unwrap_or_default()
    }

    fn to_rgb(&self, directory: &Directory, width: usize, height: usize) -> Result<Picture> {
        let Self { format, bits, count, .. } = *self;
        let extra = self.extra(directory);
        let photometric = directory.first(PHOTOMETRIC).unwrap_or_default();
        let every = |colour: &mut dyn FnMut(usize, usize) -> [u8; 3]| {
            let mut rgb = Vec::with_capacity(3 * width * height);
            for row in 0..height {
                for column in 0..width {
                    rgb.extend(colour(row, column));
                }
            }
            rgb
        };
        let is_unsigned = format == Format::Unsigned;
        let is_jpeg = directory.first(COMPRESSION) == Some(JPEG);
        // Samples that are not colours.
        let others = count.checked_sub(colours(photometric));
        let Some(others) = others else { return Err(damaged("it has too few values per pixel")) };
        let mut is_clipped = false;
        let rgb = match (photometric, bits) {
            (0 | 1, 1 | 2 | 4 | 8) if format != Format::Float => {
                let most = (1 << bits) - 1;
                let flip = if photometric == 0 { most } else { 0 };
                every(&mut |row, column| [((self.get(row, column, 0) ^ flip) * 255 / most) as u8; 3])
            }
            // Beyond 8 bits Pillow clips instead of scaling, and does not invert.
            (0 | 1, 16 | 32) if others == 0 && (bits, format) != (16, Format::Float) => {
                every(&mut |row, column| {
                    let (grey, is_exact) = self.deep_grey(row, column);
                    is_clipped |= !is_exact;
                    [grey; 3]
                })
            }
            // The JPEG decoder has converted YCbCr to RGB already.
            (2, 8 | 16) | (6, 8) if is_unsigned && (photometric == 2 || is_jpeg) => {
                let is_multiplied = others > 0 && extra.first() == Some(&MULTIPLIED_ALPHA);
                let mut most = 0;
                let rgb = every(&mut |row, column| {
                    let colours = [0, 1, 2].map(|sample| self.byte(row, column, sample));
                    most = [0, 1, 2]
                        .map(|sample| self.get(row, column, sample))
                        .into_iter()
                        .fold(most, u32::max);
                    match is_multiplied.then(|| self.byte(row, column, 3)) {
                        None | Some(255) => colours,
                        Some(0) => [0; 3],
                        Some(alpha) => colours.map(|colour| divided(colour, alpha)),
                    }
                });
                is_clipped = bits == 16 && (1..=255).contains(&most);
                rgb
            }
            (3, 1 | 2 | 4 | 8) if is_unsigned => {
                let map = directory.integers(COLOUR_MAP).unwrap_or_default();
                let colours = map.len() / 3;
                if colours < 1 << bits {
                    return Err(damaged("its palette is too small"));
                }
                every(&mut |row, column| {
                    let index = self.get(row, column, 0) as usize;
                    // A palette has 16 bits per colour; the upper 8 are kept.
                    [0, 1, 2].map(|part| (map[part * colours + index] >> 8) as u8)
                })
            }
            (5, 8 | 16) if is_unsigned => every(&mut |row, column| {
                let [inks @ .., black] = [0, 1, 2, 3].map(|sample| self.byte(row, column, sample));
                inks.map(|ink| (255 - black).saturating_sub(multiplied(ink, 255 - black)))
            }),
            (6, 8)
                if is_unsigned
                    && directory.integers(SUBSAMPLING).is_some_and(|factors| factors == [1, 1]) =>
            {
                every(&mut |row, column| ycbcr([0, 1, 2].map(|sample| self.byte(row, column, sample))))
            }
            (6, _) => return Err(unsupported("YCbCr colours of lower resolution or other than 8 bits")),
            (8..=10, _) => return Err(unsupported("L*a*b* colours")),
            _ => {
                let format = match format {
                    Format::Unsigned => "",
                    Format::Signed => "signed ",
                    Format::Float => "floating-point ",
                };
                let kind = match photometric {
                    0 | 1 => "grey",
                    2 => "RGB",
                    3 => "palette",
                    5 => "CMYK",
                    _ => "unknown colour",
                };
                return Err(unsupported(&format!(
                    "{kind} in {format}values of {bits} bits, {count} per pixel"
                )));
            }
        };
        Ok(Picture { width, height, rgb, alpha: None, is_clipped })
    }

    /// A grey of more than 8 bits, clipped to 0..=255, and whether it is exact.
    fn deep_grey(&self, row: usize, column: usize) -> (u8, bool) {
        let bits = self.get(row, column, 0);
        let value = match (self.format, self.bits) {
            (Format::Float, _) => f64::from(f32::from_bits(bits)),
            (Format::Signed, 16) => f64::from(bits as i16),
            (_, 16) => f64::from(bits),
            // Pillow has no unsigned values of 32 bits.
            _ => f64::from(bits as i32),
        };
        let grey = value as u8;
        (grey, f64::from(grey) == value)
    }

    /// Opacity of each pixel, if the file declares the sample after the colour to be alpha.
    fn alpha(&self, directory: &Directory, width: usize, height: usize) -> Option<Vec<u8>> {
        let extra = self.extra(directory);
        // A damaged file may list more extra samples than there are beside the colours.
        let colours = colours(directory.first(PHOTOMETRIC).unwrap_or_default());
        let sample = self.count.checked_sub(extra.len()).filter(|&sample| sample >= colours)?;
        let is_alpha = matches!(extra.first(), Some(&(MULTIPLIED_ALPHA | ALPHA)));
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        (is_alpha && self.bits >= 8)
            .then(|| pixels.map(|(row, column)| self.byte(row, column, sample)).collect())
    }
}

/// Samples of a pixel that are colours.
fn colours(photometric: u64) -> usize {
    match photometric {
        0 | 1 | 3 => 1,
        5 => 4,
        _ => 3,
    }
}

/// `a · b / 255`, rounded.
fn multiplied(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

/// YCbCr as RGB, in Pillow's fixed point.
fn ycbcr([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let part = |factor: f64, value: u8| (factor * 64.0 * (f64::from(value) - 128.0) + 0.5) as i32;
    let colour = |difference: i32| (i32::from(luma) + (difference >> 6)).clamp(0, 255) as u8;
    [colour(part(1.402, red)), colour(part(-0.34414, blue) + part(-0.71414, red)), colour(part(1.772, blue))]
}

/// The colour before it was multiplied by `alpha`.
fn divided(colour: u8, alpha: u8) -> u8 {
    (255 * u32::from(colour) / u32::from(alpha)).min(255) as u8
}

fn unsupported(kind: &str) -> Error {
    Error::image(format!("is a TIFF with {kind}, which is not read; save it as PNG first"))
}

fn explain(error: TiffError, compression: u64) -> Error {
    match error {
        TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(_)) => {
            let name = match compression {
                2 | 3 => "fax compression of group 3",
                6 => "JPEG compression of the old kind",
                34_661 => "JBIG compression",
                34_712 | 33_003 | 33_005 => "JPEG 2000 compression",
                34_887 => "LERC compression",
                34_925 => "LZMA compression",
                50_000 => "Zstandard compression",
                50_001 => "WebP compression",
                50_002 | 52_546 => "JPEG XL compression",
                other => return unsupported(&format!("compression of the unknown kind {other}")),
            };
            unsupported(name)
        }
        TiffError::UnsupportedError(error) => unsupported(&error.to_string()),
        TiffError::LimitsExceeded => super::too_large(),
        error => damaged(error),
    }
}

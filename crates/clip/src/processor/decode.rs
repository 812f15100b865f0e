//! Picture files to 8-bit RGB as Pillow's `convert("RGB")` does it.

use std::io::Cursor;

use image::metadata::Orientation as Turn;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::PixelFormat;

use super::{MAX_PIXELS, Orientation, Photo};
use crate::error::{Error, Result};

/// Most bytes that a decoder may allocate: [`MAX_PIXELS`] of four channels of 16 bits.
const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;

/// What pictures can be read, for messages.
const FORMATS: &str = "JPEG, PNG, WebP, GIF, BMP and TIFF";

/// Decodes the picture in `bytes`.
pub(super) fn decode(bytes: &[u8], orientation: Orientation) -> Result<Photo> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| Error::image(format!("cannot be read: {error}")))?;
    let Some(format) = reader.format() else {
        return Err(Error::image(format!("is no picture of a known format; known are {FORMATS}")));
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);

    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(Error::image(format!(
            "has {width} × {height} = {pixels} pixels, more than the {MAX_PIXELS} allowed; scale it down first"
        )));
    }
    let turn = match orientation {
        // A picture is not refused for a damaged description of it.
        Orientation::Apply => decoder.orientation().unwrap_or(Turn::NoTransforms),
        Orientation::Ignore => Turn::NoTransforms,
    };
    let mut picture = match format {
        ImageFormat::Jpeg if !is_subsampled_cmyk(bytes)? => decode_jpeg(bytes)?,
        _ => decode_other(decoder)?,
    };
    picture.apply_orientation(turn);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    Photo::from_rgb(width, height, picture.into_rgb8().into_vec())
}

/// Decodes a JPEG to the very bytes of Pillow's libjpeg-turbo. The decoder within `image` differs from it by up to 4
/// in a fifth of the values of an ordinary photo, and reads a truncated file as if it were grey to the end.
fn decode_jpeg(bytes: &[u8]) -> Result<DynamicImage> {
    let picture = libjpeg_turbo_rs::decompress_to(bytes, PixelFormat::Rgb).map_err(damaged)?;
    from_rgb(picture.width as u32, picture.height as u32, picture.data)
}

/// Whether a JPEG has four channels and stores some of them at lower resolution, which is rare. On such files, where
/// damaged, libjpeg-turbo-rs 0.9 can reach beyond its rows and panic.
fn is_subsampled_cmyk(bytes: &[u8]) -> Result<bool> {
    let decoder = libjpeg_turbo_rs::Decoder::new(bytes).map_err(damaged)?;
    let channels = &decoder.header().components;
    let mut sampling =
        channels.iter().map(|channel| (channel.horizontal_sampling, channel.vertical_sampling));
    Ok(channels.len() == 4 && sampling.any(|factors| factors != (1, 1)))
}

/// Decodes the other formats and brings their pixels to 8-bit RGB by Pillow's rules: alpha is dropped, grey repeated,
/// and of 16 bits the upper 8 are kept; but 16-bit grey, which Pillow reads at full depth, is cut off at 255.
fn decode_other(decoder: impl ImageDecoder) -> Result<DynamicImage> {
    let picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    let (width, height) = (picture.width(), picture.height());
    let upper = |value: u16| (value >> 8) as u8;
    let rgb: Vec<u8> = match picture {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => {
            return Err(Error::image("stores floating-point pixels; save it with 8 bits a channel first"));
        }
        DynamicImage::ImageLuma16(grey) => {
            grey.pixels().flat_map(|pixel| [pixel.0[0].min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(grey) => grey.pixels().flat_map(|pixel| [upper(pixel.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(rgb) => rgb.into_raw().into_iter().map(upper).collect(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.pixels().flat_map(|pixel| [0, 1, 2].map(|c| upper(pixel.0[c]))).collect()
        }
        eight_bit => return Ok(eight_bit.into_rgb8().into()),
    };
    from_rgb(width, height, rgb)
}

fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<DynamicImage> {
    RgbImage::from_raw(width, height, rgb)
        .map(DynamicImage::from)
        .ok_or_else(|| Error::image("does not fill its own size; it is damaged"))
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::image(format!("is damaged or no picture: {}; known are {FORMATS}", error.to_string().trim()))
}

fn undecodable(error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => Error::image(format!(
            "is too large: decoding it would take more than {} MB; scale it down first",
            MAX_DECODER_BYTES / 1_000_000
        )),
        ImageError::Unsupported(_) => Error::image(format!("{error}; known are {FORMATS}")),
        error => damaged(error),
    }
}

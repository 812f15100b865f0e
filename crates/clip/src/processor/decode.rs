//! Decodes picture files to 8-bit RGB, as Pillow's `convert("RGB")` does.

mod directory;
mod formats;
mod jpeg;
mod png;
mod tiff;

use std::io::{BufRead, Cursor, Read, Seek};

use image::metadata::Orientation as Turn;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use self::directory::Directory;
use super::photo::check_size;
use super::photo_file::MAX_BYTES;
use super::{MAX_PIXELS, Orientation, Photo, PhotoFile};
use crate::error::{Error, Result};

/// Most bytes that a decoder may allocate: [`MAX_PIXELS`] with four channels of 16 bits.
const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;
/// Most bytes that a decoder may allocate besides the pixels: for colour profiles, and for frames that reach
/// beyond their picture.
const MAX_OTHER_BYTES: u64 = 64 << 20;

/// A picture as it is stored.
struct Picture {
    width: usize,
    height: usize,
    /// `[height, width, 3]`
    rgb: Vec<u8>,
    /// Opacity of each pixel, `[height, width]`, if the file has it.
    alpha: Option<Vec<u8>>,
    /// Whether grey was clipped to fit into 8 bits, or all colours lost.
    is_clipped: bool,
}

/// Decodes the picture in `bytes`.
pub(super) fn decode(bytes: &[u8], orientation: Orientation) -> Result<PhotoFile> {
    // A file on which a decoder panics spoils no other photo.
    let decoded = std::panic::catch_unwind(|| decode_any(bytes, orientation));
    decoded.unwrap_or_else(|_| Err(damaged("its decoder failed")))
}

fn decode_any(bytes: &[u8], orientation: Orientation) -> Result<PhotoFile> {
    let bytes = &*png::ended(bytes);
    if png::is_for_iphones(bytes) {
        return Err(Error::image(formats::unread("a PNG picture as Xcode rewrites them for iPhones")));
    }
    if !png::has_whole_palette(bytes) {
        return Err(damaged("the length of its palette is not a multiple of three"));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(unreadable)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits.clone());
    let (picture, turn, is_upright) = match reader.format() {
        // Pillow turns TIFF files upright by itself, whatever the caller asks for.
        _ if tiff::is_tiff(bytes) => {
            let (picture, turn) = tiff::decode(bytes)?;
            (picture, turn, turn == Turn::NoTransforms)
        }
        Some(ImageFormat::Jpeg) => {
            let turn = turn_of(jpeg::exif(bytes));
            (jpeg::decode(bytes)?, orientation.applied(turn), turn == Turn::NoTransforms)
        }
        Some(format @ (ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif | ImageFormat::Bmp)) => {
            let mut decoder = reader.into_decoder().map_err(undecodable)?;
            let (width, height) = decoder.dimensions();
            check_size(width.into(), height.into())?;
            limits.max_alloc = Some(MAX_DECODER_BYTES.min(decoder.total_bytes() + MAX_OTHER_BYTES));
            decoder.set_limits(limits).map_err(undecodable)?;
            let turn = turn_of(match format {
                ImageFormat::Png => png::exif(bytes),
                ImageFormat::WebP => webp_exif(bytes).map(<[u8]>::to_vec),
                _ => decoder.exif_metadata().ok().flatten(),
            });
            // Where a value stands for transparent, `image` makes it grey with alpha, but Pillow does not.
            let picture = decode_other(decoder, png::is_deep_grey(bytes))?;
            (picture, orientation.applied(turn), turn == Turn::NoTransforms)
        }
        _ => return Err(Error::image(formats::refusal(bytes))),
    };
    picture.turned(turn, is_upright)
}

/// The numbers of columns and rows that a picture file declares. Of a TIFF, all is read; of others the head.
pub(crate) fn dimensions(mut file: impl BufRead + Seek) -> Result<(u64, u64)> {
    let mut bytes = Vec::new();
    file.by_ref().take(4).read_to_end(&mut bytes).map_err(unreadable)?;
    if tiff::is_tiff(&bytes) {
        file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
        return tiff::dimensions(&bytes);
    }
    file.rewind().map_err(unreadable)?;
    let reader = ImageReader::new(file).with_guessed_format().map_err(unreadable)?;
    if reader.format() == Some(ImageFormat::Jpeg) {
        let mut file = reader.into_inner();
        bytes.clear();
        // The frame follows the metadata, which may be longer than that.
        for most in [1 << 16, MAX_BYTES] {
            file.by_ref().take(most).read_to_end(&mut bytes).map_err(unreadable)?;
            if let Some(size) = jpeg::dimensions(&bytes) {
                return Ok(size);
            }
        }
        return Err(jpeg::without_frame());
    }
    let (width, height) = reader.into_dimensions().map_err(undecodable)?;
    Ok((width.into(), height.into()))
}

impl Picture {
    fn turned(self, turn: Turn, is_upright: bool) -> Result<PhotoFile> {
        let Self { width, height, rgb, alpha, is_clipped } = self;
        let (columns, rows) = (width as u32, height as u32);
        let turned = |picture: Option<DynamicImage>| {
            let mut picture =
                picture.ok_or_else(|| Error::image("does not fill its own size; it is damaged"))?;
            picture.apply_orientation(turn);
            Ok::<_, Error>(picture)
        };
        let alpha =
            alpha.map(|alpha| turned(GrayImage::from_raw(columns, rows, alpha).map(DynamicImage::from)));
        let alpha = alpha.transpose()?.map(|alpha| alpha.into_luma8().into_vec());
        let picture = turned(RgbImage::from_raw(columns, rows, rgb).map(DynamicImage::from))?;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let photo = Photo::from_rgb(width, height, picture.into_rgb8().into_vec())?;
        Ok(PhotoFile { photo, alpha, is_clipped, is_upright })
    }
}

impl Orientation {
    fn applied(self, turn: Turn) -> Turn {
        match self {
            Self::Apply => turn,
            Self::Ignore => Turn::NoTransforms,
        }
    }
}

/// The orientation that a camera wrote into a file's EXIF block; what XMP says of it is not read. A picture
/// with damaged metadata is not refused.
fn turn_of(exif: Option<Vec<u8>>) -> Turn {
    let orientation =
        |exif: Vec<u8>| Directory::read(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif))?.orientation();
    exif.and_then(orientation).unwrap_or(Turn::NoTransforms)
}

/// The EXIF block of a WebP file. It is found here because `image`'s decoder allocates as many bytes as the
/// block claims to have, up to 4 GB.
fn webp_exif(bytes: &[u8]) -> Option<&[u8]> {
    // After the header come chunks: kind, length, data, and a padding byte if the length is odd.
    let mut rest = bytes.get(12..)?;
    while let Some((kind, after)) = rest.split_first_chunk::<4>() {
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = after.get(..length)?;
        if kind == b"EXIF" {
            return Some(data);
        }
        rest = after.get(length.next_multiple_of(2)..)?;
    }
    None
}

/// Decodes the other formats and converts their pixels to 8-bit RGB by Pillow's rules: alpha is dropped, grey
/// is repeated, and of 16 bits the upper 8 are kept. The exception is 16-bit grey, which Pillow reads at full
/// depth and then clips at 255.
fn decode_other(decoder: impl ImageDecoder, is_deep_grey: bool) -> Result<Picture> {
    let picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let upper = |value: u16| (value >> 8) as u8;
    let alpha = picture.color().has_alpha().then(|| match &picture {
        DynamicImage::ImageLumaA16(grey) => grey.pixels().map(|pixel| upper(pixel.0[1])).collect(),
        DynamicImage::ImageRgba16(rgba) => rgba.pixels().map(|pixel| upper(pixel.0[3])).collect(),
        DynamicImage::ImageLumaA8(grey) => grey.pixels().map(|pixel| pixel.0[1]).collect(),
        other => other.to_rgba8().pixels().map(|pixel| pixel.0[3]).collect(),
    });
    let is_clipped = match &picture {
        DynamicImage::ImageLuma16(grey) => grey.pixels().any(|pixel| pixel.0[0] > 255),
        DynamicImage::ImageLumaA16(grey) if is_deep_grey => grey.pixels().any(|pixel| pixel.0[0] > 255),
        DynamicImage::ImageLumaA16(grey) => is_blackened(grey.pixels().map(|pixel| pixel.0[0])),
        DynamicImage::ImageRgb16(rgb) => is_blackened(rgb.as_raw().iter().copied()),
        DynamicImage::ImageRgba16(rgba) => is_blackened(rgba.pixels().flat_map(|pixel| rgb_of(pixel.0))),
        _ => false,
    };
    let rgb = match picture {
        DynamicImage::ImageLuma16(grey) => {
            grey.pixels().flat_map(|pixel| [pixel.0[0].min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(grey) if is_deep_grey => {
            grey.pixels().flat_map(|pixel| [pixel.0[0].min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(grey) => grey.pixels().flat_map(|pixel| [upper(pixel.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(rgb) => rgb.into_raw().into_iter().map(upper).collect(),
        DynamicImage::ImageRgba16(rgba) => {
            rgba.pixels().flat_map(|pixel| rgb_of(pixel.0).map(upper)).collect()
        }
        eight_bit => eight_bit.into_rgb8().into_vec(),
    };
    Ok(Picture { width, height, rgb, alpha, is_clipped })
}

fn rgb_of([red, green, blue, _]: [u16; 4]) -> [u16; 3] {
    [red, green, blue]
}

/// Whether there is something in these values, but nothing in the upper 8 bits of any.
fn is_blackened(values: impl Iterator<Item = u16>) -> bool {
    let most = values.max().unwrap_or_default();
    (1..=255).contains(&most)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::image(format!("cannot be read: {error}"))
}

fn damaged(error: impl std::fmt::Display) -> Error {
    let known = formats::KNOWN;
    Error::image(format!("is damaged or not a picture: {}; known are {known}", error.to_string().trim()))
}

fn too_large() -> Error {
    Error::image(
        "is too large: decoding it would take more memory than any such picture needs; scale it down first",
    )
}

fn undecodable(error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => too_large(),
        ImageError::Unsupported(_) => Error::image(format!("{error}; known are {}", formats::KNOWN)),
        error => damaged(error),
    }
}

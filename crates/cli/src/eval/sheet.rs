//! Pictures of single prompts: the photo, what was asked for, what was found.

use anyhow::{Context, Result};
use clipseg::Photo;
use clipseg::masks::Mask;
use image::RgbImage;
use image::imageops::{FilterType, overlay, resize};

use super::example::{Example, Prompt, Query};
use crate::pictures;

/// Side of each picture, and the space around it.
const SIDE: u32 = 192;
const GAP: u32 = 6;
/// Columns: the photo, the prompt's own picture where it has one, the expected mask, the mask found.
const COLUMNS: u32 = 4;

/// Rows of pictures, a prompt each.
pub struct Sheet(Vec<[Option<RgbImage>; COLUMNS as usize]>);

impl Sheet {
    /// A sheet without rows.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a row.
    pub fn add(&mut self, example: &Example, query: &Query, found: &[bool]) -> Result<()> {
        let prompt = match &query.prompt {
            Prompt::Text(_) => None,
            Prompt::Image(photo, mask, _) => Some(tinted(mask, photo, 1)?),
        };
        let photo = &example.photo;
        let row = [
            Some(photo.rgb().to_vec()),
            prompt,
            Some(tinted(&query.mask, photo, 2)?),
            Some(tinted(found, photo, 0)?),
        ];
        let [photo_picture, prompt, expected, found] = row;
        let size = |photo: &Photo| (photo.width() as u32, photo.height() as u32);
        let prompt_size = match &query.prompt {
            Prompt::Image(photo, ..) => size(photo),
            Prompt::Text(_) => (1, 1),
        };
        let scaled = |rgb: Option<Vec<u8>>, size: (u32, u32)| -> Result<Option<RgbImage>> {
            let Some(rgb) = rgb else { return Ok(None) };
            let whole =
                RgbImage::from_raw(size.0, size.1, rgb).context("a picture is as large as its photo")?;
            let scale = f64::from(SIDE) / f64::from(size.0.max(size.1));
            let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
            Ok(Some(resize(&whole, side(size.0), side(size.1), FilterType::Triangle)))
        };
        self.0.push([
            scaled(photo_picture, size(photo))?,
            scaled(prompt, prompt_size)?,
            scaled(expected, size(photo))?,
            scaled(found, size(photo))?,
        ]);
        Ok(())
    }

    /// The sheet as a PNG file.
    pub fn png(&self) -> Result<Vec<u8>> {
        let step = SIDE + GAP;
        let white = image::Rgb([255; 3]);
        let mut sheet = RgbImage::from_pixel(COLUMNS * step + GAP, self.0.len() as u32 * step + GAP, white);
        for (row, pictures) in (0..).zip(&self.0) {
            for (column, picture) in (0..).zip(pictures) {
                if let Some(picture) = picture {
                    let place = |index: u32| i64::from(GAP + index * step);
                    overlay(&mut sheet, picture, place(column), place(row));
                }
            }
        }
        pictures::rgb_png(&sheet, sheet.width() as usize, sheet.height() as usize)
    }
}

/// A photo with a mask in the colour of a prompt.
fn tinted(mask: &[bool], photo: &Photo, prompt: usize) -> Result<Vec<u8>> {
    pictures::overlay(&Mask::new(photo.width(), photo.height(), mask.to_vec())?, photo, prompt)
}

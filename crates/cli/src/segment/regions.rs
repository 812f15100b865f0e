//! A prompt's mask in numbers: area, bounding box, run lengths, polygons.

use clipseg::masks::{Component, Connectivity, Contour, Mask, RunLengths};
use serde::Serialize;

use super::settings::Settings;

/// The mask and its connected parts, in the words of COCO's annotations.
#[derive(Serialize)]
pub struct Regions<'a> {
    #[serde(flatten)]
    settings: Settings<'a>,
    simplify: f64,
    prompt: &'a str,
    /// Pixels of the mask.
    area: usize,
    /// `[x, y, width, height]` of the box around the mask; null where it is empty.
    bbox: Option<[u32; 4]>,
    /// The mask's pixels.
    rle: Rle,
    components: Vec<Region>,
}

/// COCO's compressed run lengths.
#[derive(Serialize)]
struct Rle {
    /// `[height, width]`
    size: [usize; 2],
    counts: String,
}

/// One connected part: pixels that touch by an edge or a corner.
#[derive(Serialize)]
struct Region {
    area: usize,
    bbox: [u32; 4],
    /// The outer border, `[x, y, x, y, …]` in corners of pixels.
    polygon: Vec<u32>,
    /// The borders of the part's holes, each in the same form.
    holes: Vec<Vec<u32>>,
}

impl<'a> Regions<'a> {
    pub fn of(mask: &Mask, prompt: &'a str, settings: Settings<'a>, simplify: f64) -> Self {
        let lengths = RunLengths::of(mask);
        let components = mask.components(Connectivity::Eight);
        let contours = mask.contours(Connectivity::Eight);
        let regions = components.list().iter().zip(&contours);
        Self {
            settings,
            simplify,
            prompt,
            area: mask.area(),
            bbox: mask.bounding_box().map(|found| found.to_array()),
            rle: Rle { size: [lengths.height(), lengths.width()], counts: lengths.to_compressed() },
            components: regions
                .map(|(component, contour)| Region::of(component, contour, simplify))
                .collect(),
        }
    }
}

impl Region {
    fn of(component: &Component, contour: &Contour, simplify: f64) -> Self {
        let contour = contour.simplified(simplify);
        Self {
            area: component.area,
            bbox: component.bounding_box.to_array(),
            polygon: contour.outer.flat().to_vec(),
            holes: contour.holes.iter().map(|hole| hole.flat().to_vec()).collect(),
        }
    }
}

//! What the labels of a label map stand for.

use clipseg::masks::LabelMap;
use serde::Serialize;

use super::settings::Settings;
use crate::pictures;

/// Every label of a map, the background's first.
#[derive(Serialize)]
pub struct Legend<'a> {
    #[serde(flatten)]
    settings: Settings<'a>,
    labels: Vec<Label<'a>>,
}

#[derive(Serialize)]
struct Label<'a> {
    label: u16,
    /// Null for the background.
    prompt: Option<&'a str>,
    /// Pixels that have this label.
    area: usize,
    /// As in the picture's palette; absent for 16-bit pictures, which have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<String>,
}

impl<'a> Legend<'a> {
    pub fn of(map: &LabelMap, prompts: &'a [String], settings: Settings<'a>) -> Self {
        let prompts = std::iter::once(None).chain(prompts.iter().map(|prompt| Some(prompt.as_str())));
        let has_palette = map.count() <= u16::from(u8::MAX);
        let labels = (0..=map.count()).zip(map.areas()).zip(prompts).map(|((label, area), prompt)| {
            let colour = has_palette.then(|| {
                let [red, green, blue] = pictures::label_colour(label);
                format!("#{red:02x}{green:02x}{blue:02x}")
            });
            Label { label, prompt, area, colour }
        });
        Self { settings, labels: labels.collect() }
    }
}

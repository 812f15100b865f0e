//! What the model finds in an example.

use anyhow::{Context, Result};
use clipseg::{ClipSeg, Condition, Photo, PromptStyle, Segmentation};

use super::example::{Example, Prompt, Query};
use crate::resolution::ResolutionArguments;

/// A model, and how finely it looks.
pub struct Predictor<'a> {
    pub model: ClipSeg,
    pub resolution: &'a ResolutionArguments,
}

impl Predictor<'_> {
    /// Predicts all prompts of one photo, which is encoded once.
    pub fn predict(&self, example: &Example) -> Result<Segmentation> {
        let Self { model, resolution } = self;
        let of_photo = || format!("{}: {}", example.place(), example.name);
        let pixels = resolution.cut(&example.photo, model.processor()).with_context(of_photo)?;
        let scenes = model.encode_windows(&pixels, |_| ()).with_context(of_photo)?;
        let condition = |query: &Query| -> Result<Condition> {
            Ok(match &query.prompt {
                Prompt::Text(text) => model.encode_text(&[text])?,
                Prompt::Image(photo, mask, name) => {
                    let pixels = PromptStyle::default().prompt(model.processor(), photo, mask);
                    model.encode_image_prompt(&pixels.with_context(|| name.clone())?)?
                }
            })
        };
        let placed = |query: &Query| condition(query).with_context(|| query.place.clone());
        let conditions: Vec<_> = example.queries.iter().map(placed).collect::<Result<_>>()?;
        let joined = Condition::concat(&conditions).with_context(of_photo)?;
        model.decode_windows(&scenes, &joined).with_context(of_photo)
    }

    /// The prediction for one prompt, at the photo's size.
    pub fn draw(&self, segmentation: &Segmentation, prompt: usize, photo: &Photo) -> Result<Segmentation> {
        self.resolution.draw(&segmentation.prompt(prompt), photo)
    }
}

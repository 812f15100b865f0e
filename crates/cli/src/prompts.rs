//! What to look for: words, pictures, or words mixed with pictures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use clipseg::{
    ClipSeg, Condition, PixelValues, Processor, PromptStyle, SavedConditions, Template, TemplateSet,
    TextBatch, phrases,
};

use crate::inputs::{self, PhotoArguments, Preparation};
use crate::{mask_file, report};

/// The value of --prompt-mask for the prompt image's own transparency.
const ALPHA: &str = "alpha";

/// The prompts.
#[derive(Args)]
#[command(next_help_heading = "Prompts")]
pub struct PromptArguments {
    /// What to look for; may be repeated. Text after the last = names a class: "tabby=cat" and "persian=cat"
    /// give one result, cat, with the larger of the two probabilities at each pixel. To look for a text that
    /// contains a =, name a class too: "a=b=sum".
    #[arg(short, long = "prompt", value_name = "TEXT[=CLASS]", allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// A picture of what to look for; the mean of several is looked for.
    #[arg(long, value_name = "FILE")]
    prompt_image: Vec<PathBuf>,
    /// A mask of the object in the prompt image, grey of 8 bits and of the same size, 255 where it is and 0
    /// elsewhere; or the word alpha, to take the prompt image's own opacity. One per prompt image, in their
    /// order [default: the whole picture is the prompt].
    #[arg(long, value_name = "FILE|alpha", requires = "prompt_image")]
    prompt_mask: Vec<PathBuf>,
    /// How a prompt image is prepared around its mask; the styles are the paper's [default:
    /// crop-blur-darken].
    #[arg(long, value_enum, value_name = "STYLE", requires = "prompt_mask")]
    prompt_style: Option<Style>,
    /// Mix every text with the prompt image instead of looking for both separately: the share of the text, 0
    /// to 1; the rest is the image's.
    #[arg(long, value_name = "SHARE", requires_all = ["prompt", "prompt_image"], allow_negative_numbers = true)]
    mix: Option<f32>,
    /// Phrase to put each text into, at its {}: "a photo of a {}."; the mean of several is looked for.
    #[arg(long, value_name = "PHRASE", requires = "prompt")]
    template: Vec<Template>,
    /// Phrases of CLIPSeg's authors to put each text into: plain, fixed, shuffle or shuffle+.
    #[arg(long, value_name = "NAME", requires = "prompt", conflicts_with = "template")]
    template_set: Option<TemplateSet>,
}

/// The styles of table 5 of the paper.
#[derive(Clone, Copy, ValueEnum)]
enum Style {
    /// Crop to the object, blur and darken what is around it: the paper's best
    CropBlurDarken,
    /// Blur and darken what is around the object
    BlurDarken,
    /// Blur what is around the object and darken it by half
    Blur,
    /// Blur it a little and darken it by half
    SlightBlur,
    /// Crop to the object and blur a little
    Crop,
}

/// Prompts that are read and checked, before the model is loaded.
pub struct Prompts {
    /// What to call each prompt.
    pub labels: Vec<String>,
    /// The class that each prompt stands for, where one was named.
    pub classes: Vec<Option<String>>,
    text: Option<TextBatch>,
    negatives: Option<TextBatch>,
    saved: Option<SavedConditions>,
    templates: usize,
    pictures: Vec<PixelValues>,
    mix: Option<f32>,
}

impl PromptArguments {
    /// Reads the pictures and tokenizes the words, and also `negatives`, the words for what to exclude.
    pub fn read(
        &self,
        preparation: &Preparation<'_>,
        reading: &PhotoArguments,
        negatives: &[String],
    ) -> Result<Prompts> {
        if let Some(share) = self.mix {
            ensure!((0.0..=1.0).contains(&share), "--mix {share}: must lie between 0 and 1");
        }
        let (images, masks) = (self.prompt_image.len(), self.prompt_mask.len());
        ensure!(
            masks == 0 || masks == images,
            "--prompt-mask: given {masks} times for {images} prompt images; give one for each, or none"
        );
        let picture = |(index, path): (usize, &PathBuf)| {
            let mask = self.prompt_mask.get(index).map(PathBuf::as_path);
            self.picture(&preparation.processor, reading, path, mask)
        };
        let pictures = self.prompt_image.iter().enumerate().map(picture).collect::<Result<_>>()?;
        let templates = match self.template_set {
            Some(set) => set.templates(),
            None if self.template.is_empty() => TemplateSet::Plain.templates(),
            None => self.template.clone(),
        };
        let encode = |texts: &[String]| match texts {
            [] => Ok(None),
            _ => {
                // The phrase around an empty prompt would hide that it is empty.
                preparation.tokenizer.encode_batch(texts)?;
                let phrases = phrases(&templates, texts);
                inputs::encode(&preparation.tokenizer, &phrases, templates.len()).map(Some)
            }
        };
        let named = self.prompt.iter().map(|prompt| Named::of(prompt)).collect::<Result<Vec<_>>>()?;
        let (mut labels, mut classes): (Vec<_>, Vec<_>) =
            named.into_iter().map(|Named { text, class }| (text, class)).unzip();
        let text = encode(&labels)?;
        let negatives = encode(negatives).context("--negative")?;
        if self.mix.is_none()
            && let Some(label) = self.picture_label()
        {
            labels.push(label);
            classes.push(None);
        }
        let (templates, mix) = (templates.len(), self.mix);
        Ok(Prompts { labels, classes, text, negatives, saved: None, templates, pictures, mix })
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let masks = self.prompt_mask.iter().filter(|mask| mask.as_os_str() != ALPHA);
        self.prompt_image.iter().chain(masks).map(PathBuf::as_path)
    }

    fn picture(
        &self,
        processor: &Processor,
        reading: &PhotoArguments,
        path: &Path,
        mask: Option<&Path>,
    ) -> Result<PixelValues> {
        let file = reading.open(path)?;
        inputs::warn_of_cut_off(path, &file);
        let opaque = file.alpha.map(|alpha| alpha.iter().map(|&alpha| alpha >= 128).collect::<Vec<_>>());
        let opaque = opaque.filter(|opaque| opaque.contains(&false));
        let (photo, shown) = (file.photo, path.display());
        let marked = match (mask, opaque) {
            (None, opaque) => {
                if opaque.is_some() {
                    report::warning(format_args!(
                        "{shown}: has transparent parts, which are looked at too; --prompt-mask alpha looks for what is \
                         opaque alone"
                    ));
                }
                return Ok(processor.preprocess(&photo));
            }
            (Some(mask), opaque) if mask.as_os_str() == ALPHA => opaque.with_context(|| {
                format!("--prompt-mask alpha: {shown} has no transparent part; give a mask, or none")
            })?,
            (Some(mask), _) => mask_file::read(mask, &photo, reading.orientation())?,
        };
        let style = PromptStyle::from(self.prompt_style.unwrap_or(Style::CropBlurDarken));
        let of = mask.filter(|mask| mask.as_os_str() != ALPHA).unwrap_or(path);
        style.prompt(processor, &photo, &marked).with_context(|| of.display().to_string())
    }

    fn picture_label(&self) -> Option<String> {
        let first = self.prompt_image.first()?.file_name()?.to_string_lossy();
        Some(match self.prompt_image.len() {
            1 => format!("[{first}]"),
            more => format!("[{first} and {} more]", more - 1),
        })
    }
}

/// A prompt in words and the class that it stands for.
#[derive(Debug, PartialEq)]
struct Named {
    text: String,
    class: Option<String>,
}

impl Named {
    /// Parses a value of -p.
    fn of(given: &str) -> Result<Self> {
        let Some((text, class)) = given.rsplit_once('=') else {
            return Ok(Self { text: given.to_owned(), class: None });
        };
        let [text, class] = [text, class].map(|part| part.trim().to_owned());
        ensure!(
            !text.is_empty() && !class.is_empty(),
            "-p {given:?}: what to look for stands before the last =, the class that it stands for after it; \
             give both, as in \"tabby=cat\""
        );
        Ok(Self { text, class: Some(class) })
    }
}

impl Prompts {
    /// Reads a file of conditions, and tokenizes `negatives`, the words for what to exclude.
    pub fn of_file(path: &Path, preparation: &Preparation<'_>, negatives: &[String]) -> Result<Self> {
        let saved = SavedConditions::from_file(path).context("--conditions")?;
        let negatives = match negatives {
            [] => None,
            _ => Some(inputs::encode(&preparation.tokenizer, negatives, 1).context("--negative")?),
        };
        Ok(Self {
            labels: saved.prompts().to_vec(),
            classes: saved.classes().to_vec(),
            text: None,
            negatives,
            saved: Some(saved),
            templates: 1,
            pictures: Vec::new(),
            mix: None,
        })
    }

    /// Whether a prompt, or one of its phrases, was longer than the model reads. A file of conditions may not
    /// say so.
    pub fn is_cut(&self, prompt: usize) -> Option<bool> {
        if let Some(saved) = &self.saved {
            return saved.cut()?.get(prompt).copied();
        }
        let phrases = prompt * self.templates..(prompt + 1) * self.templates;
        let text = self.text.as_ref();
        Some(text.is_some_and(|text| text.truncated.iter().any(|index| phrases.contains(index))))
    }

    /// Whether one of several prompts was.
    pub fn is_any_cut(&self, prompts: &[usize]) -> Option<bool> {
        prompts.iter().try_fold(false, |any, &prompt| Some(any | self.is_cut(prompt)?))
    }

    /// A condition for each label, then one for each negative prompt.
    pub fn encode(&self, model: &ClipSeg) -> Result<Condition> {
        let text = self.encode_words(model, self.text.as_ref())?;
        let pictures = self.pictures.iter().map(|pixels| model.encode_image_prompt(pixels));
        let pictures = pictures.collect::<clipseg::Result<Vec<_>>>()?;
        let picture = match pictures[..] {
            [] => None,
            _ => Some(Condition::concat(&pictures)?.means(pictures.len())?),
        };
        let saved = self.saved.as_ref().map(|saved| saved.for_model(model.model())).transpose()?;
        let negatives = self.encode_words(model, self.negatives.as_ref())?;
        let wanted = match (text, picture, self.mix) {
            (Some(text), Some(picture), Some(share)) => vec![text.mix(&picture, share)?],
            (text, picture, _) => text.into_iter().chain(picture).collect(),
        };
        let all: Vec<_> = saved.cloned().into_iter().chain(wanted).chain(negatives).collect();
        Ok(Condition::concat(&all)?)
    }

    fn encode_words(&self, model: &ClipSeg, batch: Option<&TextBatch>) -> Result<Option<Condition>> {
        let Some(batch) = batch else { return Ok(None) };
        let phrases = pollster::block_on(model.model().encode_text(batch.into()))?;
        Ok(Some(phrases.means(self.templates)?))
    }
}

impl From<Style> for PromptStyle {
    fn from(style: Style) -> Self {
        match style {
            Style::CropBlurDarken => Self::CROP_BLUR_DARKEN,
            Style::BlurDarken => Self::BLUR_DARKEN,
            Style::Blur => Self::BLUR,
            Style::SlightBlur => Self::SLIGHT_BLUR,
            Style::Crop => Self::CROP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_follows_the_last_equals_sign() {
        let named = |given| Named::of(given).map(|Named { text, class }| (text, class.unwrap_or_default()));
        for (given, text, class) in [
            ("a cat", "a cat", ""),
            ("tabby=cat", "tabby", "cat"),
            (" a tabby = cat ", "a tabby", "cat"),
            ("a=b=sum", "a=b", "sum"),
        ] {
            assert_eq!(named(given).unwrap(), (text.to_owned(), class.to_owned()));
        }
        for wrong in ["=cat", "tabby=", "=", " = cat"] {
            let error = named(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("tabby=cat"), "{error}");
        }
    }
}

//! Phrases around a prompt. CLIP was trained on captions, not words: "a photo of a cat." tells it more than
//! "cat".

use std::str::FromStr;

use crate::{Error, Result};

/// A phrase with one `{}`, where the prompt goes: `a photo of a {}.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: String,
    after: String,
}

impl Template {
    /// The phrase with `prompt` in its place.
    #[must_use]
    pub fn fill(&self, prompt: &str) -> String {
        format!("{}{prompt}{}", self.before, self.after)
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split("{}").collect::<Vec<_>>()[..] {
            [before, after] => Ok(Self { before: before.to_owned(), after: after.to_owned() }),
            _ => Err(Error::Input(format!("the template {text:?} needs one {{}}, where the prompt goes"))),
        }
    }
}

/// Every prompt in every template: all phrases of the first prompt, then all of the second.
/// [`Condition::means`] makes one prompt of each prompt's phrases.
///
/// [`Condition::means`]: crate::Condition::means
#[must_use]
pub fn phrases<S: AsRef<str>>(templates: &[Template], prompts: &[S]) -> Vec<String> {
    let fill =
        |prompt: &S| templates.iter().map(|template| template.fill(prompt.as_ref())).collect::<Vec<_>>();
    prompts.iter().flat_map(fill).collect()
}

/// The sets of templates that CLIPSeg was trained and evaluated with: `get_prompt_list` in its authors' code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateSet {
    /// The prompt as it is.
    Plain,
    /// "a photo of a {}."
    Fixed,
    /// Four phrases.
    Shuffle,
    /// Nine phrases, which the published checkpoints were trained with.
    ShufflePlus,
}

impl TemplateSet {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Fixed, Self::Shuffle, Self::ShufflePlus];

    /// The name in the authors' code.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Fixed => "fixed",
            Self::Shuffle => "shuffle",
            Self::ShufflePlus => "shuffle+",
        }
    }

    /// The set's templates.
    #[must_use]
    pub fn templates(self) -> Vec<Template> {
        let phrases: &[[&str; 2]] = match self {
            Self::Plain => &[["", ""]],
            Self::Fixed => &PHRASES[1..2],
            Self::Shuffle => &PHRASES[..4],
            Self::ShufflePlus => &PHRASES,
        };
        phrases
            .iter()
            .map(|[before, after]| Template { before: (*before).into(), after: (*after).into() })
            .collect()
    }
}

/// What stands before and after the prompt.
const PHRASES: [[&str; 2]; 9] = [
    ["", "."],
    ["a photo of a ", "."],
    ["a photograph of a ", "."],
    ["an image of a ", "."],
    ["a cropped photo of a ", "."],
    ["a good photo of a ", "."],
    ["a photo of one ", "."],
    ["a bad photo of a ", "."],
    ["a photo of the ", "."],
];

impl FromStr for TemplateSet {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Input(format!("there is no set of templates {name:?}; there are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_go_where_the_braces_are() {
        let template: Template = "the {} on the left".parse().unwrap();
        assert_eq!(template.fill("dog"), "the dog on the left");
        for wrong in ["a photo", "a {} and a {}"] {
            assert!(wrong.parse::<Template>().unwrap_err().to_string().contains("one {}"));
        }
    }

    #[test]
    fn phrases_come_prompt_by_prompt() {
        let templates = ["a {}", "the {}"].map(|phrase| phrase.parse().unwrap());
        assert_eq!(phrases(&templates, &["cat", "dog"]), ["a cat", "the cat", "a dog", "the dog"]);
    }

    #[test]
    fn sets_are_those_of_the_authors() {
        let filled = |set: TemplateSet| -> Vec<_> {
            set.templates().iter().map(|template| template.fill("cat")).collect()
        };
        assert_eq!(filled(TemplateSet::Plain), ["cat"]);
        assert_eq!(filled(TemplateSet::Fixed), ["a photo of a cat."]);
        assert_eq!(filled(TemplateSet::Shuffle)[0], "cat.");
        assert_eq!(filled(TemplateSet::ShufflePlus).len(), 9);
        assert_eq!("shuffle+".parse::<TemplateSet>().unwrap(), TemplateSet::ShufflePlus);
        assert!("none".parse::<TemplateSet>().unwrap_err().to_string().contains("plain, fixed"));
    }
}

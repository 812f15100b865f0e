//! A photo, what is asked about it, and the answers.

use clipseg::Photo;

/// A photo and what is asked about it.
pub struct Example {
    /// The photo's name in the data set.
    pub name: String,
    /// The photo.
    pub photo: Photo,
    /// The prompts with their answers, at least one.
    pub queries: Vec<Query>,
}

/// A prompt and its answer.
pub struct Query {
    /// Where the prompt comes from, for messages.
    pub place: String,
    /// What is looked for.
    pub prompt: Prompt,
    /// The pixels of the photo that show the object; none where it is not there.
    pub mask: Vec<bool>,
    /// Prompts that are scored together.
    pub group: String,
    /// For the mean IoU: prompts that mean the same.
    pub class: String,
}

/// A phrase, or an object in another photo.
pub enum Prompt {
    /// A phrase.
    Text(String),
    /// A photo, the pixels of it that show the object, and a name.
    Image(Photo, Vec<bool>, String),
}

impl Example {
    /// Where its first prompt comes from, for messages.
    pub fn place(&self) -> String {
        self.queries.first().map_or_else(|| self.name.clone(), |query| query.place.clone())
    }
}

impl Query {
    /// Whether the object is there.
    pub fn is_present(&self) -> bool {
        self.mask.contains(&true)
    }
}

impl Prompt {
    /// Whether it is a phrase.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// The prompt's name, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Image(_, _, name) => name,
        }
    }
}

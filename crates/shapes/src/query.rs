//! Prompts for a scene, and the objects that they mean.

use crate::draws::Draws;
use crate::object::{COLOURS, FILLS, HELD_OUT, Object, SHAPES, SIZES};
use crate::scene::Scene;

/// Phrases per scene; one image prompt comes after them.
const TEXT_PROMPTS: usize = 3;
const ABSENT_PERCENT: usize = 20;

/// What a prompt says: indices in [`COLOURS`], [`SHAPES`], [`FILLS`] and [`SIZES`]; `None` for what it leaves
/// open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Index in [`COLOURS`].
    pub colour: Option<usize>,
    /// Index in [`SHAPES`].
    pub shape: Option<usize>,
    /// Index in [`FILLS`].
    pub fill: Option<usize>,
    /// Index in [`SIZES`].
    pub size: Option<usize>,
}

/// A prompt in words or as a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A phrase.
    Text(String),
    /// Another scene, whose first object is meant.
    Image(Box<Scene>),
}

/// A prompt and the objects that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The kind of prompt: the attributes that the phrase names, or "image".
    pub kind: &'static str,
    /// The phrase or picture.
    pub prompt: Prompt,
    /// The attributes that the prompt specifies.
    pub attributes: Attributes,
    /// Indices in the scene's `objects`; empty if the prompt asks for something that is not in the scene.
    pub members: Vec<usize>,
}

impl Query {
    /// Whether it asks for a pair of colour and shape that never occurs in training.
    #[must_use]
    pub fn is_held_out(&self) -> bool {
        let Attributes { colour, shape, .. } = self.attributes;
        colour.zip(shape).is_some_and(|pair| HELD_OUT.contains(&pair))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Colour,
    Shape,
    Fill,
    Size,
}
use Name::{Colour, Fill, Shape, Size};

/// Kinds of phrases, how often they are drawn, and the attributes that they specify.
const KINDS: [(&str, usize, &[Name]); 8] = [
    ("colour shape", 30, &[Colour, Shape]),
    ("shape", 12, &[Shape]),
    ("colour", 12, &[Colour]),
    ("fill shape", 10, &[Fill, Shape]),
    ("size shape", 12, &[Size, Shape]),
    ("fill colour shape", 10, &[Fill, Colour, Shape]),
    ("size colour shape", 8, &[Size, Colour, Shape]),
    ("fill", 6, &[Fill]),
];

impl Name {
    fn words(self) -> &'static [&'static str] {
        match self {
            Colour => &COLOURS,
            Shape => &SHAPES,
            Fill => &FILLS,
            Size => &SIZES,
        }
    }

    fn of(self, object: &Object) -> usize {
        match self {
            Colour => object.colour,
            Shape => object.shape,
            Fill => object.fill,
            Size => object.size,
        }
    }
}

impl Attributes {
    fn get(&self, name: Name) -> Option<usize> {
        match name {
            Colour => self.colour,
            Shape => self.shape,
            Fill => self.fill,
            Size => self.size,
        }
    }

    fn with(mut self, name: Name, value: usize) -> Self {
        let slot = match name {
            Colour => &mut self.colour,
            Shape => &mut self.shape,
            Fill => &mut self.fill,
            Size => &mut self.size,
        };
        *slot = Some(value);
        self
    }

    /// The words for the specified attributes, as in "small striped red circle".
    #[must_use]
    pub fn words(&self) -> String {
        self.list().join(" ")
    }

    fn list(&self) -> Vec<&'static str> {
        let word = |name: Name| self.get(name).map(|value| name.words()[value]);
        [Size, Fill, Colour, Shape].into_iter().filter_map(word).collect()
    }

    fn matching(&self, objects: &[Object]) -> Vec<usize> {
        let fits = |object: &Object| {
            [Colour, Shape, Fill, Size]
                .iter()
                .all(|&name| self.get(name).is_none_or(|value| value == name.of(object)))
        };
        (0..objects.len()).filter(|&index| fits(&objects[index])).collect()
    }
}

/// Words that nobody would use: "medium", and "plain" on its own.
fn is_vague(name: Name, value: usize, names: &[Name]) -> bool {
    (name == Size && SIZES[value] == "medium") || (names == [Fill] && FILLS[value] == "plain")
}

impl Scene {
    /// The prompts for this scene, which has the index `index` in the data set `seed`: three phrases and one
    /// image prompt.
    #[must_use]
    pub fn queries(&self, seed: u64, index: u64) -> Vec<Query> {
        let mut draws = Draws::new(&[seed, index, 2]);
        let mut queries: Vec<_> =
            (0..TEXT_PROMPTS).map(|_| draw_text_query(&mut draws, &self.objects)).collect();
        let pair = draw_image_pair(&mut draws, &self.objects);
        let support = Self::draw(&mut Draws::new(&[seed, index, 1]), Some(pair));
        let attributes = Attributes::default().with(Colour, pair.0).with(Shape, pair.1);
        let members = attributes.matching(&self.objects);
        queries.push(Query { kind: "image", prompt: Prompt::Image(Box::new(support)), attributes, members });
        queries
    }
}

/// A phrase for one of the objects and all that match it. In one of five cases the phrase is for something
/// that is not in the scene.
fn draw_text_query(draws: &mut Draws, objects: &[Object]) -> Query {
    let object = &objects[draws.below(objects.len())];
    let (mut kind, _, mut names) = KINDS[draws.weighted(&KINDS.map(|(_, weight, _)| weight))];
    if names.iter().any(|&name| is_vague(name, name.of(object), names)) {
        (kind, _, names) = KINDS[0];
    }
    let mut attributes =
        names.iter().fold(Attributes::default(), |fixed, &name| fixed.with(name, name.of(object)));
    if draws.chance(ABSENT_PERCENT) {
        for _ in 0..10 {
            let name = names[draws.below(names.len())];
            let value = draws.below(name.words().len());
            let other = attributes.with(name, value);
            if !is_vague(name, value, names) && other.matching(objects).is_empty() {
                attributes = other;
                break;
            }
        }
    }
    let prompt = Prompt::Text(phrase(draws, &attributes));
    Query { kind, prompt, attributes, members: attributes.matching(objects) }
}

fn phrase(draws: &mut Draws, attributes: &Attributes) -> String {
    let mut words = attributes.list();
    let mut template = draws.below(4);
    let first = words[0];
    if attributes.shape.is_none() {
        words.push("thing");
        template = if template < 2 { template } else { 4 };
    }
    let words = words.join(" ");
    let article = if first.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    match template {
        0 => format!("{article} {words}"),
        1 => format!("the {words}"),
        2 => words,
        3 => format!("a photo of {article} {words}"),
        _ => format!("something {first}"),
    }
}

/// Colour and shape that an image prompt shows: those of one of the objects, or, in one of five cases, a pair
/// that is not in the scene.
fn draw_image_pair(draws: &mut Draws, objects: &[Object]) -> (usize, usize) {
    let pair = objects[draws.below(objects.len())].pair();
    if draws.chance(ABSENT_PERCENT) {
        for _ in 0..10 {
            let other = (draws.below(COLOURS.len()), draws.below(SHAPES.len()));
            if objects.iter().all(|object| object.pair() != other) {
                return other;
            }
        }
    }
    pair
}

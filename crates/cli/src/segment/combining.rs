//! How the answers to several prompts make one result.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use clipseg::masks::{Combination, ProbabilityMap};

use super::saves::Kind;
use crate::prompts::Prompts;

/// The default weight of negative prompts.
const WEIGHT: f32 = 1.0;

/// Prompts that work together.
#[derive(Args)]
#[command(next_help_heading = "Prompts")]
pub struct CombiningArguments {
    /// What to exclude, such as "a toy cat" beside -p "a cat"; may be repeated. At each pixel the largest
    /// probability of these is subtracted from that of each result, down to 0 at most.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub negative: Vec<String>,
    /// How much of the negative prompts' probability is subtracted, 0 to 1000 [default: 1].
    #[arg(long, value_name = "WEIGHT", requires = "negative", allow_negative_numbers = true)]
    negative_weight: Option<f32>,
    /// Make one result of all prompts: at each pixel the largest (any) or the smallest (all) of their
    /// probabilities.
    #[arg(long, value_enum, value_name = "HOW")]
    combine: Option<How>,
}

/// How prompts are combined.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// What any prompt finds
    Any,
    /// What all prompts find
    All,
}

/// Which prompts make which result.
pub struct Results {
    /// What to call each result: its prompt, its class, or all of its prompts.
    pub names: Vec<String>,
    /// The positions of each result's prompts.
    members: Vec<Vec<usize>>,
    combination: Combination,
    /// The number of prompts; the negative ones come after them.
    prompts: usize,
    negatives: usize,
    weight: f32,
}

impl CombiningArguments {
    /// Checks what can be checked without the prompts.
    pub fn check(&self, saves: &[Kind]) -> Result<()> {
        if let Some(weight) = self.negative_weight {
            let weights = 0.0..=ProbabilityMap::MAX_WEIGHT;
            ensure!(weights.contains(&weight), "--negative-weight {weight}: must lie between 0 and 1000");
        }
        ensure!(
            self.combine.is_none() || !saves.contains(&Kind::Labels),
            "--combine: makes one result, of which a label map says nothing; leave out --combine or --save labels"
        );
        Ok(())
    }

    /// Which prompts make which result.
    pub fn results(&self, prompts: &Prompts) -> Result<Results> {
        let Prompts { labels, classes, .. } = prompts;
        let has_classes = classes.iter().any(Option::is_some);
        let mut results = Results {
            names: Vec::new(),
            members: Vec::new(),
            combination: Combination::Any,
            prompts: labels.len(),
            negatives: self.negative.len(),
            weight: self.negative_weight.unwrap_or(WEIGHT),
        };
        if let Some(how) = self.combine {
            ensure!(labels.len() > 1, "--combine: there is one prompt; give several with -p");
            ensure!(
                !has_classes,
                "--combine: makes one result of all prompts, but some name a class (-p \"text=class\"), which makes \
                 one for each class; leave out one of both"
            );
            let (word, combination) = match how {
                How::Any => (" or ", Combination::Any),
                How::All => (" and ", Combination::All),
            };
            results.names.push(labels.join(word));
            results.members.push((0..labels.len()).collect());
            results.combination = combination;
            return Ok(results);
        }
        for (index, (label, class)) in labels.iter().zip(classes).enumerate() {
            let name = class.as_ref().unwrap_or(label);
            // Without classes, a prompt that is given twice makes two results.
            let known = results.names.iter().position(|known| has_classes && known == name);
            match known {
                Some(known) => results.members[known].push(index),
                None => {
                    results.names.push(name.clone());
                    results.members.push(vec![index]);
                }
            }
        }
        Ok(results)
    }
}

impl Results {
    /// The positions of a result's prompts.
    pub fn members(&self, result: usize) -> &[usize] {
        &self.members[result]
    }

    /// The map that is subtracted from every result: at each pixel the largest probability of the negative
    /// prompts, if there are any. `map` gives the map of the prompt at a position.
    pub fn negative(
        &self,
        map: impl FnMut(usize) -> Result<ProbabilityMap>,
    ) -> Result<Option<ProbabilityMap>> {
        combined(self.prompts..self.prompts + self.negatives, Combination::Any, map)
    }

    /// A result's probabilities, less the [negative](Self::negative) ones.
    pub fn map(
        &self,
        result: usize,
        negative: Option<&ProbabilityMap>,
        map: impl FnMut(usize) -> Result<ProbabilityMap>,
    ) -> Result<ProbabilityMap> {
        let members = self.members[result].iter().copied();
        let found = combined(members, self.combination, map)?;
        let mut found = found.ok_or_else(|| anyhow::anyhow!("a result has at least one prompt"))?;
        if let Some(negative) = negative {
            found.subtract(negative, self.weight)?;
        }
        Ok(found)
    }
}

/// Combines the maps, with only one of them in memory beside the result: at the photo's size each may be
/// large.
fn combined(
    places: impl Iterator<Item = usize>,
    combination: Combination,
    mut map: impl FnMut(usize) -> Result<ProbabilityMap>,
) -> Result<Option<ProbabilityMap>> {
    let mut combined: Option<ProbabilityMap> = None;
    for place in places {
        let next = map(place)?;
        match &mut combined {
            None => combined = Some(next),
            Some(combined) => combined.combine(&next, combination)?,
        }
    }
    Ok(combined)
}

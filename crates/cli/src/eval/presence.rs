//! How well the presence score tells objects that are there from those that are not.

use serde::Serialize;

use crate::table::{self, Align};

/// How well the presence score separates, for words and for pictures.
#[derive(Serialize)]
pub struct Presence {
    /// The data on which the thresholds were chosen. Without --tune that is the scored data itself, which
    /// flatters the scores.
    pub tuned_on: String,
    pub text: Separation,
    pub image: Separation,
}

/// The score of one prompt, and whether its object is there.
#[derive(Clone, Copy)]
pub struct Judged {
    pub presence: f32,
    pub is_present: bool,
}

/// How well a score separates. The fields that need prompts of both kinds are absent if there is only one
/// kind.
#[derive(Serialize)]
pub struct Separation {
    /// Prompts whose object is there.
    pub present: usize,
    /// Prompts whose object is not there.
    pub absent: usize,
    /// Among pairs of a present and an absent object, the share in which the present one has the higher
    /// score; ties count half.
    pub roc_auc: Option<f64>,
    /// The score from which an object is taken to be there.
    pub threshold: Option<f32>,
    /// The mean of two shares: of present objects that are taken to be there, and of absent ones that are
    /// not.
    pub balanced_accuracy: Option<f64>,
    /// The same at a threshold of 0.5.
    pub balanced_accuracy_from_half: Option<f64>,
}

impl Presence {
    /// A row for words and one for pictures.
    pub fn table(&self) -> String {
        let header = ["prompts", "present", "absent", "ROC AUC", "balanced accuracy", "(from)", "from 0.5"];
        let rows = [("words", &self.text), ("pictures", &self.image)].map(|(name, separation)| {
            let score = |score: Option<f64>| score.map_or("–".to_owned(), |score| format!("{score:.3}"));
            [
                name.to_owned(),
                separation.present.to_string(),
                separation.absent.to_string(),
                score(separation.roc_auc),
                score(separation.balanced_accuracy),
                // All its digits: presences may lie so close to 0 and 1 that fewer are another threshold.
                separation.threshold.map_or("–".to_owned(), |threshold| threshold.to_string()),
                score(separation.balanced_accuracy_from_half),
            ]
        });
        let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
        let mut columns = [Align::Right; 7];
        columns[0] = Align::Left;
        table::render(columns, &rows)
    }
}

impl Separation {
    /// The separation of these prompts, with the threshold that is best for `tune`.
    pub fn of(judged: &[Judged], tune: &[Judged]) -> Self {
        let present = judged.iter().filter(|judged| judged.is_present).count();
        let threshold = best_threshold(tune);
        Self {
            present,
            absent: judged.len() - present,
            roc_auc: roc_auc(judged),
            threshold,
            balanced_accuracy: threshold.and_then(|threshold| balanced_accuracy(judged, threshold)),
            balanced_accuracy_from_half: balanced_accuracy(judged, 0.5),
        }
    }
}

/// Each score in ascending order, with the number of prompts of that score whose object is there, and of
/// those whose object is not.
fn steps(judged: &[Judged]) -> Vec<(f32, [usize; 2])> {
    let mut sorted = judged.to_vec();
    sorted.sort_by(|one, other| one.presence.total_cmp(&other.presence));
    let mut steps: Vec<(f32, [usize; 2])> = Vec::new();
    for Judged { presence, is_present } in sorted {
        if steps.last().is_none_or(|(score, _)| *score != presence) {
            steps.push((presence, [0; 2]));
        }
        if let Some((_, counts)) = steps.last_mut() {
            counts[usize::from(!is_present)] += 1;
        }
    }
    steps
}

fn totals(steps: &[(f32, [usize; 2])]) -> Option<[f64; 2]> {
    let total = |kind: usize| steps.iter().map(|(_, counts)| counts[kind]).sum::<usize>() as f64;
    Some([total(0), total(1)]).filter(|[present, absent]| *present > 0.0 && *absent > 0.0)
}

fn roc_auc(judged: &[Judged]) -> Option<f64> {
    let steps = steps(judged);
    let [present, absent] = totals(&steps)?;
    let (mut below, mut pairs) = (0.0, 0.0);
    for (_, [present, absent]) in
        steps.iter().map(|(score, counts)| (score, counts.map(|count| count as f64)))
    {
        pairs += present * (below + absent / 2.0);
        below += absent;
    }
    Some(pairs / (present * absent))
}

/// The threshold with the best balanced accuracy, half-way between two scores; the lowest of several.
fn best_threshold(judged: &[Judged]) -> Option<f32> {
    let steps = steps(judged);
    let [present, absent] = totals(&steps)?;
    let (mut best, mut threshold) = (0.5, 0.0);
    let (mut missed, mut rejected) = (0, 0);
    for pair in steps.windows(2) {
        let [(score, counts), (next, _)] = [pair[0], pair[1]];
        missed += counts[0];
        rejected += counts[1];
        let accuracy = f64::midpoint(1.0 - missed as f64 / present, rejected as f64 / absent);
        if accuracy > best {
            (best, threshold) = (accuracy, f32::midpoint(score, next));
        }
    }
    Some(threshold)
}

fn balanced_accuracy(judged: &[Judged], threshold: f32) -> Option<f64> {
    let [present, absent] = totals(&steps(judged))?;
    let right = |is_present: bool| {
        let right = |judged: &&Judged| {
            judged.is_present == is_present && (judged.presence >= threshold) == is_present
        };
        judged.iter().filter(right).count() as f64
    };
    Some(f64::midpoint(right(true) / present, right(false) / absent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(present: &[f32], absent: &[f32]) -> Vec<Judged> {
        let of = |scores: &[f32], is_present| {
            scores.iter().map(move |&presence| Judged { presence, is_present }).collect::<Vec<_>>()
        };
        [of(present, true), of(absent, false)].concat()
    }

    #[test]
    fn pairs_in_order_make_the_area() {
        assert_eq!(roc_auc(&judged(&[0.75, 0.5], &[0.25, 0.0])), Some(1.0));
        assert_eq!(roc_auc(&judged(&[0.25], &[0.75, 0.5])), Some(0.0));
        assert_eq!(roc_auc(&judged(&[0.5, 0.5], &[0.5])), Some(0.5));
        // Of six pairs three are in order, and one is a tie.
        assert_eq!(roc_auc(&judged(&[0.5, 0.25], &[0.75, 0.25, 0.0])), Some(3.5 / 6.0));
        assert_eq!(roc_auc(&judged(&[0.5], &[])), None);
    }

    #[test]
    fn the_table_has_the_threshold_itself() {
        let threshold = 0.99998105;
        let text = Separation { threshold: Some(threshold), ..Separation::of(&[], &[]) };
        let presence = Presence { tuned_on: String::new(), text, image: Separation::of(&[], &[]) };
        let table = presence.table();
        assert!(table.split_whitespace().any(|word| word.parse() == Ok(threshold)), "{table}");
    }

    #[test]
    fn the_threshold_is_chosen_on_other_prompts() {
        let tune = judged(&[1.0, 0.75, 0.5], &[0.25, 0.0]);
        let separation = Separation::of(&judged(&[0.5, 0.25], &[0.375, 0.0, 0.125, 0.5]), &tune);
        assert_eq!((separation.present, separation.absent, separation.threshold), (2, 4, Some(0.375)));
        assert_eq!(separation.balanced_accuracy, Some((0.5 + 0.5) / 2.0));
        assert_eq!(separation.balanced_accuracy_from_half, Some((0.5 + 0.75) / 2.0));
        let all_one_way = Separation::of(&tune, &judged(&[0.5], &[]));
        assert!(all_one_way.threshold.is_none() && all_one_way.balanced_accuracy.is_none());
        assert_eq!(all_one_way.roc_auc, Some(1.0));
        // No threshold is better than taking every object to be there.
        assert_eq!(best_threshold(&judged(&[0.25], &[0.5])), Some(0.0));
    }
}

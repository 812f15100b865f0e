//! The paper's scores: true and false pixels are summed over a data set, then divided.

use serde::Serialize;

/// The number of thresholds, which are hundredths.
const THRESHOLDS: usize = 100;
/// The thresholds that the paper reports, in hundredths.
const REPORTED: [usize; 5] = [10, 20, 30, 40, 50];

/// The numbers of wanted and of unwanted pixels, by how many of the thresholds 0.01, 0.02, … 1.00 their
/// probability reaches.
#[derive(Clone)]
pub struct Counts {
    wanted: [u64; THRESHOLDS + 1],
    unwanted: [u64; THRESHOLDS + 1],
}

/// The numbers of pixels by what they are and what they were predicted to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Confusion {
    true_positive: u64,
    false_positive: u64,
    false_negative: u64,
    true_negative: u64,
}

/// Scores at one threshold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scores {
    /// The probability from which a pixel is marked.
    pub threshold: f64,
    /// Intersection over union of the wanted and the marked pixels.
    pub foreground_iou: f64,
    /// The mean of the foreground IoU and of the same for the background.
    pub binary_iou: f64,
    /// The mean over classes of the foreground IoU.
    pub mean_iou: f64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { wanted: [0; THRESHOLDS + 1], unwanted: [0; THRESHOLDS + 1] }
    }
}

impl Counts {
    /// Counts one prediction's pixels.
    pub fn of(probabilities: &[f32], mask: &[bool]) -> Self {
        let levels: [f32; THRESHOLDS] = std::array::from_fn(|place| level(place + 1) as f32);
        let mut counts = Self::default();
        for (probability, wanted) in probabilities.iter().zip(mask) {
            let reached = levels.partition_point(|level| level <= probability);
            let row = if *wanted { &mut counts.wanted } else { &mut counts.unwanted };
            row[reached] += 1;
        }
        counts
    }

    /// The sum over a data set.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for counts in all {
            for (sum, count) in sum.wanted.iter_mut().zip(counts.wanted) {
                *sum += count;
            }
            for (sum, count) in sum.unwanted.iter_mut().zip(counts.unwanted) {
                *sum += count;
            }
        }
        sum
    }

    fn confusion(&self, threshold: usize) -> Confusion {
        let (missed, marked) = self.wanted.split_at(threshold);
        let (rejected, mistaken) = self.unwanted.split_at(threshold);
        Confusion {
            true_positive: marked.iter().sum(),
            false_positive: mistaken.iter().sum(),
            false_negative: missed.iter().sum(),
            true_negative: rejected.iter().sum(),
        }
    }

    /// Intersection over union of the wanted and the marked pixels, 0 where there are neither. `threshold` is
    /// in hundredths.
    pub fn foreground_iou(&self, threshold: usize) -> f64 {
        let Confusion { true_positive, false_positive, false_negative, .. } = self.confusion(threshold);
        ratio(true_positive, true_positive + false_positive + false_negative)
    }

    fn binary_iou(&self, threshold: usize) -> f64 {
        let Confusion { true_negative, false_positive, false_negative, .. } = self.confusion(threshold);
        let background = ratio(true_negative, true_negative + false_positive + false_negative);
        f64::midpoint(self.foreground_iou(threshold), background)
    }

    /// The share of unwanted pixels that are marked.
    pub fn falsely_marked(&self, threshold: usize) -> f64 {
        let Confusion { true_negative, false_positive, .. } = self.confusion(threshold);
        ratio(false_positive, true_negative + false_positive)
    }

    /// The share of all pixels that are marked.
    pub fn marked(&self, threshold: usize) -> f64 {
        let Confusion { true_positive, false_positive, false_negative, true_negative } =
            self.confusion(threshold);
        ratio(true_positive + false_positive, true_positive + false_positive + false_negative + true_negative)
    }

    /// The threshold, in hundredths, with the best foreground IoU; the lowest of several.
    pub fn best_threshold(&self) -> usize {
        let better = |best: usize, threshold: usize| {
            if self.foreground_iou(threshold) > self.foreground_iou(best) { threshold } else { best }
        };
        (0..=THRESHOLDS).reduce(better).unwrap_or_default()
    }

    /// The area under the precision-recall curve, with a step for each threshold.
    pub fn average_precision(&self) -> f64 {
        let mut area = 0.0;
        let mut before = 0.0;
        for threshold in (0..=THRESHOLDS).rev() {
            let Confusion { true_positive, false_positive, false_negative, .. } = self.confusion(threshold);
            let recall = ratio(true_positive, true_positive + false_negative);
            area += (recall - before) * ratio(true_positive, true_positive + false_positive);
            before = recall;
        }
        area
    }
}

/// All scores of one group of prompts.
#[derive(Serialize)]
pub struct GroupScores {
    /// At the threshold in use.
    pub chosen: Scores,
    /// At the threshold that is best for this group.
    pub best: Scores,
    /// At the paper's thresholds.
    pub at: Vec<Scores>,
    /// The area under the precision-recall curve.
    pub average_precision: f64,
}

impl GroupScores {
    /// Scores of a group whose prompts fall into `classes`. `threshold` is in hundredths.
    pub fn new(classes: &[Counts], threshold: usize) -> Self {
        let sum = Counts::sum(classes);
        let scores = |threshold: usize| Scores {
            threshold: level(threshold),
            foreground_iou: sum.foreground_iou(threshold),
            binary_iou: sum.binary_iou(threshold),
            mean_iou: classes.iter().map(|class| class.foreground_iou(threshold)).sum::<f64>()
                / classes.len().max(1) as f64,
        };
        Self {
            chosen: scores(threshold),
            best: scores(sum.best_threshold()),
            at: REPORTED.map(scores).to_vec(),
            average_precision: sum.average_precision(),
        }
    }
}

/// A threshold in hundredths as a probability.
pub fn level(threshold: usize) -> f64 {
    threshold as f64 / THRESHOLDS as f64
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_counted_from_their_threshold_on() {
        let counts = Counts::of(&[0.0, 0.29, 0.3, 0.31, 1.0], &[false, true, true, false, true]);
        let at_three_tenths =
            Confusion { true_positive: 2, false_positive: 1, false_negative: 1, true_negative: 1 };
        assert_eq!(counts.confusion(30), at_three_tenths);
        assert_eq!(counts.foreground_iou(30), 0.5);
        assert_eq!(counts.binary_iou(30), (0.5 + 1.0 / 3.0) / 2.0);
        assert_eq!(counts.falsely_marked(30), 0.5);
        assert_eq!(counts.marked(30), 0.6);
        assert_eq!(counts.foreground_iou(0), 0.6);
        assert_eq!(counts.best_threshold(), 1);
        assert_eq!(counts.foreground_iou(1), 0.75);
    }

    #[test]
    fn a_perfect_answer_scores_one_and_its_opposite_nothing() {
        let mask = [true, false, true, false];
        let right = Counts::of(&[0.9, 0.1, 0.8, 0.2], &mask);
        assert_eq!(
            (right.average_precision(), right.foreground_iou(50), right.binary_iou(50)),
            (1.0, 1.0, 1.0)
        );
        let wrong = Counts::of(&[0.1, 0.9, 0.2, 0.8], &mask);
        assert_eq!((wrong.foreground_iou(50), wrong.binary_iou(50)), (0.0, 0.0));
        assert!(wrong.average_precision() < 0.5);
    }

    #[test]
    fn sums_come_before_ratios_but_classes_count_alike() {
        let large = Counts::of(&[0.9; 30], &[true; 30]);
        let small = Counts::of(&[0.1; 10], &[true; 10]);
        let scores = GroupScores::new(&[large, small], 50);
        assert_eq!((scores.chosen.foreground_iou, scores.chosen.mean_iou), (0.75, 0.5));
        assert_eq!(scores.best.foreground_iou, 1.0);
    }
}

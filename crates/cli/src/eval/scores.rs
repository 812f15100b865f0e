//! The paper's scores: true and false pixels are summed over a data set, then divided.

use std::iter::Sum;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    true_positive: u64,
    false_positive: u64,
    false_negative: u64,
    true_negative: u64,
}

/// Scores at one threshold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scores {
    /// The probability from which a pixel is marked; null where words and pictures have one each.
    pub threshold: Option<f64>,
    /// Intersection over union of the wanted and the marked pixels.
    pub foreground_iou: f64,
    /// The mean of the foreground IoU and of the same for the background.
    pub binary_iou: f64,
    /// The mean of the foreground IoU over classes, but for those that are nowhere and are marked nowhere.
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

    /// What these pixels are predicted to be at a threshold in hundredths.
    pub fn at(&self, threshold: usize) -> Confusion {
        let (missed, marked) = self.wanted.split_at(threshold);
        let (rejected, mistaken) = self.unwanted.split_at(threshold);
        Confusion {
            true_positive: marked.iter().sum(),
            false_positive: mistaken.iter().sum(),
            false_negative: missed.iter().sum(),
            true_negative: rejected.iter().sum(),
        }
    }

    /// The threshold, in hundredths, with the best foreground IoU; the lowest of several.
    pub fn best_threshold(&self) -> usize {
        let better = |best: usize, threshold: usize| {
            if self.at(threshold).foreground_iou() > self.at(best).foreground_iou() {
                threshold
            } else {
                best
            }
        };
        (0..=THRESHOLDS).reduce(better).unwrap_or_default()
    }

    /// The area under the precision-recall curve, with a step for each threshold.
    pub fn average_precision(&self) -> f64 {
        let mut area = 0.0;
        let mut before = 0.0;
        for threshold in (0..=THRESHOLDS).rev() {
            let Confusion { true_positive, false_positive, false_negative, .. } = self.at(threshold);
            let recall = ratio(true_positive, true_positive + false_negative);
            area += (recall - before) * ratio(true_positive, true_positive + false_positive);
            before = recall;
        }
        area
    }
}

impl Confusion {
    /// Intersection over union of the wanted and the marked pixels, 0 where there are neither.
    pub fn foreground_iou(&self) -> f64 {
        ratio(self.true_positive, self.foreground())
    }

    fn binary_iou(&self) -> f64 {
        let Self { true_negative, false_positive, false_negative, .. } = self;
        let background = ratio(*true_negative, true_negative + false_positive + false_negative);
        f64::midpoint(self.foreground_iou(), background)
    }

    /// The share of unwanted pixels that are marked.
    pub fn falsely_marked(&self) -> f64 {
        ratio(self.false_positive, self.true_negative + self.false_positive)
    }

    /// The share of all pixels that are marked.
    pub fn marked(&self) -> f64 {
        ratio(self.true_positive + self.false_positive, self.foreground() + self.true_negative)
    }

    /// The number of pixels that are wanted or marked.
    fn foreground(&self) -> u64 {
        self.true_positive + self.false_positive + self.false_negative
    }
}

impl<'a> Sum<&'a Self> for Confusion {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            true_positive: sum.true_positive + one.true_positive,
            false_positive: sum.false_positive + one.false_positive,
            false_negative: sum.false_negative + one.false_negative,
            true_negative: sum.true_negative + one.true_negative,
        })
    }
}

/// The prompts of a group that mean the same.
#[derive(Default)]
pub struct Class {
    counts: Counts,
    chosen: Confusion,
}

impl Class {
    /// Adds a prompt's pixels. `threshold`, in hundredths, is the one in use for it.
    pub fn add(&mut self, counts: &Counts, threshold: usize) {
        self.counts = Counts::sum([&self.counts, counts]);
        self.chosen = [self.chosen, counts.at(threshold)].iter().sum();
    }

    /// What the pixels of these classes are predicted to be, each prompt's at its own threshold.
    pub fn chosen(classes: &[Self]) -> Confusion {
        classes.iter().map(|class| &class.chosen).sum()
    }
}

/// All scores of one group of prompts.
#[derive(Serialize)]
pub struct GroupScores {
    /// At the threshold in use, for each prompt that of its kind.
    pub chosen: Scores,
    /// At the threshold that is best for this group.
    pub best: Scores,
    /// At the paper's thresholds.
    pub at: Vec<Scores>,
    /// The area under the precision-recall curve.
    pub average_precision: f64,
}

impl GroupScores {
    /// Scores of a group whose prompts fall into `classes`. `threshold` is the one in use in hundredths, if
    /// all of its prompts have the same.
    pub fn new(classes: &[Class], threshold: Option<usize>) -> Self {
        let sum = Counts::sum(classes.iter().map(|class| &class.counts));
        let at = |threshold: usize| {
            let classes: Vec<_> = classes.iter().map(|class| class.counts.at(threshold)).collect();
            Scores::new(Some(threshold), &classes)
        };
        let chosen: Vec<_> = classes.iter().map(|class| class.chosen).collect();
        Self {
            chosen: Scores::new(threshold, &chosen),
            best: at(sum.best_threshold()),
            at: REPORTED.map(at).to_vec(),
            average_precision: sum.average_precision(),
        }
    }
}

impl Scores {
    /// Scores of classes with these pixels.
    fn new(threshold: Option<usize>, classes: &[Confusion]) -> Self {
        let sum: Confusion = classes.iter().sum();
        let ious: Vec<_> =
            classes.iter().filter(|class| class.foreground() > 0).map(Confusion::foreground_iou).collect();
        Self {
            threshold: threshold.map(level),
            foreground_iou: sum.foreground_iou(),
            binary_iou: sum.binary_iou(),
            mean_iou: ious.iter().sum::<f64>() / ious.len().max(1) as f64,
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
        assert_eq!(counts.at(30), at_three_tenths);
        assert_eq!(counts.at(30).foreground_iou(), 0.5);
        assert_eq!(counts.at(30).binary_iou(), (0.5 + 1.0 / 3.0) / 2.0);
        assert_eq!(counts.at(30).falsely_marked(), 0.5);
        assert_eq!(counts.at(30).marked(), 0.6);
        assert_eq!(counts.at(0).foreground_iou(), 0.6);
        assert_eq!(counts.best_threshold(), 1);
        assert_eq!(counts.at(1).foreground_iou(), 0.75);
    }

    #[test]
    fn a_perfect_answer_scores_one_and_its_opposite_nothing() {
        let mask = [true, false, true, false];
        let right = Counts::of(&[0.9, 0.1, 0.8, 0.2], &mask);
        assert_eq!(
            (right.average_precision(), right.at(50).foreground_iou(), right.at(50).binary_iou()),
            (1.0, 1.0, 1.0)
        );
        let wrong = Counts::of(&[0.1, 0.9, 0.2, 0.8], &mask);
        assert_eq!((wrong.at(50).foreground_iou(), wrong.at(50).binary_iou()), (0.0, 0.0));
        assert!(wrong.average_precision() < 0.5);
    }

    #[test]
    fn sums_come_before_ratios_but_classes_count_alike() {
        let large = Counts::of(&[0.9; 30], &[true; 30]);
        let small = Counts::of(&[0.1; 10], &[true; 10]);
        let scores = GroupScores::new(&[class(&[(&large, 50)]), class(&[(&small, 50)])], Some(50));
        assert_eq!((scores.chosen.foreground_iou, scores.chosen.mean_iou), (0.75, 0.5));
        assert_eq!((scores.chosen.threshold, scores.best.foreground_iou), (Some(0.5), 1.0));
    }

    #[test]
    fn a_class_that_is_nowhere_counts_where_it_is_marked() {
        let there = Counts::of(&[0.9; 30], &[true; 30]);
        let unmarked = Counts::of(&[0.1; 10], &[false; 10]);
        let mean = |threshold| {
            let classes = [class(&[(&there, threshold)]), class(&[(&unmarked, threshold)])];
            GroupScores::new(&classes, Some(threshold)).chosen.mean_iou
        };
        assert_eq!((mean(50), mean(5)), (1.0, 0.5));
    }

    #[test]
    fn each_prompt_is_scored_at_its_own_threshold_in_any_order() {
        let words = Counts::of(&[0.4; 10], &[true; 10]);
        let picture = Counts::of(&[0.4; 30], &[false; 30]);
        let prompts = [(&words, 30), (&picture, 50)];
        for prompts in [prompts, [prompts[1], prompts[0]]] {
            let classes = [class(&prompts)];
            assert_eq!(Class::chosen(&classes).foreground_iou(), 1.0);
            let chosen = GroupScores::new(&classes, None).chosen;
            assert_eq!((chosen.threshold, chosen.foreground_iou, chosen.mean_iou), (None, 1.0, 1.0));
        }
    }

    fn class(prompts: &[(&Counts, usize)]) -> Class {
        let mut class = Class::default();
        for (counts, threshold) in prompts {
            class.add(counts, *threshold);
        }
        class
    }
}

//! How long frames take: from the begin of one to the begin of the next, while the window draws all the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the engine does meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Reading the checkpoint and uploading its weights.
    #[default]
    Loading,
    /// Encoding a photo.
    Encoding,
    /// Encoding words, decoding them against the photo, drawing the mask.
    Finding,
    /// Waiting for someone to type.
    Idle,
}

impl Phase {
    pub const ALL: [Self; 4] = [Self::Loading, Self::Encoding, Self::Finding, Self::Idle];

    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Encoding => "encoding",
            Self::Finding => "finding",
            Self::Idle => "idle",
        }
    }
}

/// The middle one and the longest of some frames, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub count: usize,
    pub median: f64,
    pub longest: f64,
}

/// The frames so far.
#[derive(Default)]
pub struct Frames {
    last: Option<(Instant, Phase)>,
    all: Vec<(Phase, Duration)>,
    recent: VecDeque<(Instant, Duration)>,
}

/// How long frames are shown as recent ones.
pub const RECENT: Duration = Duration::from_secs(3);

impl Frames {
    /// A frame begins. `follows` where it was asked for by the one before it, so that the time between them
    /// is how long that took.
    pub fn begin(&mut self, phase: Phase, follows: bool) {
        let now = Instant::now();
        if let Some((last, earlier)) = self.last.filter(|_| follows) {
            let took = now - last;
            let phase = if earlier == Phase::Idle { phase } else { earlier };
            self.all.push((phase, took));
            self.recent.push_back((now, took));
        }
        self.recent.retain(|(begin, _)| now - *begin < RECENT);
        self.last = Some((now, phase));
    }

    /// Those of late; none where the window has not been drawing.
    pub fn recent(&self) -> Option<Summary> {
        summary(self.recent.iter().map(|(_, took)| *took))
    }

    /// How long each of late took, the latest first.
    pub fn times(&self) -> impl Iterator<Item = Duration> {
        self.recent.iter().rev().map(|(_, took)| *took)
    }

    /// Those of a phase since the program began.
    pub fn of(&self, phase: Phase) -> Option<Summary> {
        summary(self.all.iter().filter(|(of, _)| *of == phase).map(|(_, took)| *took))
    }
}

fn summary(times: impl Iterator<Item = Duration>) -> Option<Summary> {
    let mut times: Vec<_> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let longest = *times.last()?;
    Some(Summary { count: times.len(), median: times[times.len() / 2], longest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_longest_are_told() {
        assert_eq!(summary([].into_iter()), None);
        let times = [30, 10, 20].map(Duration::from_millis);
        let Summary { count, median, longest } = summary(times.into_iter()).unwrap();
        assert_eq!((count, median.round(), longest.round()), (3, 20.0, 30.0));
    }
}

//! What `clipseg bench` prints.

use serde::Serialize;

use super::kernel::Kernel;
use super::roofline;
use crate::kernels::Ceilings;
use crate::table::{self, Align};

#[derive(Serialize)]
pub struct Report {
    pub adapter: String,
    /// The kernel family in use, or `twins` on the processor.
    pub kernels: String,
    /// The same for people.
    #[serde(skip)]
    pub run_by: &'static str,
    /// The photo's size.
    pub width: usize,
    pub height: usize,
    pub prompts: u16,
    /// How often the photo is encoded in one batch.
    pub batch: u16,
    /// How many threads do the same at the same time.
    pub threads: u16,
    /// The prompts themselves.
    pub texts: Vec<String>,
    pub runs: u16,
    /// From opening the adapter until the weights are on the device, without downloading them.
    pub load_seconds: f64,
    /// From the start of the process until the first mask of the photo's size, without downloading weights.
    pub first_mask_seconds: f64,
    /// The runs of all threads.
    pub warm: Vec<Step>,
    /// Of all threads and batches together.
    pub photos_per_second: f64,
    /// Bytes of weights on the device.
    pub weight_bytes: u64,
    /// Bytes that all the plans in use work in.
    pub arena_bytes: u64,
    /// The kernels of one more run, the longest first; none without --profile or --roofline.
    pub kernel_times: Option<Vec<Kernel>>,
    /// What that run took, and the share of it in which no kernel ran.
    pub profiled_seconds: Option<f64>,
    pub outside_share: Option<f64>,
    /// What the adapter reaches at best; none without --roofline.
    pub ceilings: Option<Ceilings>,
}

/// One run, kernel by kernel.
pub struct Profile {
    pub kernels: Vec<Kernel>,
    /// Of the whole run.
    pub seconds: f64,
}

impl Profile {
    /// The share of the run in which no kernel ran: preprocessing, tokenizing, recording, copies, waits.
    pub fn outside_share(&self) -> f64 {
        1.0 - self.kernels.iter().map(|kernel| kernel.seconds).sum::<f64>() / self.seconds
    }
}

/// One step of the warm runs.
#[derive(Serialize)]
pub struct Step {
    pub name: &'static str,
    #[serde(flatten)]
    pub spread: Spread,
}

/// Seconds over all runs.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median_seconds: f64,
    pub min_seconds: f64,
    pub max_seconds: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let (middle, last) = (seconds.len() / 2, seconds.len() - 1);
        let median_seconds = (seconds[middle] + seconds[last - middle]) / 2.0;
        Self { median_seconds, min_seconds: seconds[0], max_seconds: seconds[last] }
    }
}

impl Report {
    pub fn to_text(&self) -> String {
        let Self { width, height, prompts, batch, threads, runs, .. } = self;
        let mut rows = vec![["warm runs", "median", "min", "max"].map(str::to_owned)];
        for Step { name, spread } in &self.warm {
            let seconds = [spread.median_seconds, spread.min_seconds, spread.max_seconds];
            let [median, min, max] = seconds.map(|seconds| format!("{:.1} ms", 1e3 * seconds));
            rows.push([(*name).to_owned(), median, min, max]);
        }
        let mut text = format!(
            "{}, {}\n{width} × {height} pixels, prompts: {prompts}, batch: {batch}, threads: {threads}, warm runs: {runs}\n\n\
             load        {:.2} s  (adapter opened, weights on the device)\n\
             first mask  {:.2} s  (since the process started, loading included)\n\
             memory      {:.1} MB of weights, {:.1} MB in which the plans work, on the device\n\n{}\n{:.2} photos a second\n",
            self.adapter,
            self.run_by,
            self.load_seconds,
            self.first_mask_seconds,
            1e-6 * self.weight_bytes as f64,
            1e-6 * self.arena_bytes as f64,
            table::render([Align::Left, Align::Right, Align::Right, Align::Right], &rows),
            self.photos_per_second,
        );
        if let (Some(ceilings), Some(kernels)) = (&self.ceilings, &self.kernel_times) {
            text += &roofline::text(ceilings, kernels);
        } else if let Some(kernels) = &self.kernel_times {
            let heading = ["kernels of one run", "runs", "time", "share", "GFLOP/s", "GB/s"];
            let rows: Vec<_> =
                [heading.map(str::to_owned)].into_iter().chain(kernels.iter().map(Kernel::row)).collect();
            let columns: [_; 6] =
                std::array::from_fn(|column| if column == 0 { Align::Left } else { Align::Right });
            text += "\n";
            text += &table::render(columns, &rows);
        }
        if let (Some(seconds), Some(outside)) = (self.profiled_seconds, self.outside_share) {
            text += &format!(
                "\nthat run took {:.1} ms, {:.1} % of it outside the kernels\n",
                1e3 * seconds,
                1e2 * outside
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        let spread = |seconds: &[f64]| Spread::of(seconds.to_vec());
        let expected =
            |median_seconds, min_seconds, max_seconds| Spread { median_seconds, min_seconds, max_seconds };
        assert_eq!(spread(&[3.0, 1.0, 2.0]), expected(2.0, 1.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), expected(2.5, 1.0, 4.0));
        assert_eq!(spread(&[1.0]), expected(1.0, 1.0, 1.0));
    }
}

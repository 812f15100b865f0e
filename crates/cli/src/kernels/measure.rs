//! Timing a form of an op on a device, and reading its result.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clipseg::tensor::{self, DType, Device, Plan, Recorder, Tensor};
use clipseg::{Cost, KernelTime, Peaks, block_on};

use super::report::{Bound, Limit, Spread};
use super::work::{Form, Values, Work};

/// What a submission should take at least, so that a clock's steps and the submission itself count little.
const LEAST_SECONDS: f64 = 2e-3;
/// The most times that a submission repeats an op.
const MOST_REPEATS: f64 = 32.0;
/// A form is submitted this often at most.
const MOST_RUNS: usize = 200;
/// Kernels that bring operands to where an op wants them. In a model that happens once for many ops, so they
/// are not counted as the op's.
const COPIES: [&str; 2] = ["texture_from_buffer", "buffer_from_texture"];

/// Kernels in order, each with its cost.
pub type Costs = Vec<(&'static str, Cost)>;

/// What a form gave and took.
pub struct Measured {
    /// Of one run.
    pub kernels: Costs,
    pub values: Vec<f32>,
    pub times: Times,
}

/// What one run takes.
pub struct Times {
    /// By the adapter's clock, where it has one.
    pub gpu: Option<Spread>,
    /// By the host's clock: a share of a submission and the wait for it.
    pub wall: Spread,
}

impl Measured {
    /// What one run costs.
    pub fn cost(&self) -> Cost {
        self.kernels.iter().fold(Cost::default(), |sum, (_, cost)| sum + *cost)
    }
}

/// The least that kernels take on the adapter, one by one, and what bounds most of that.
pub fn bound(kernels: &[(&'static str, Cost)], peaks: &Peaks) -> Bound {
    let [mut compute, mut memory] = [0.0, 0.0];
    for &(kernel, cost) in kernels {
        let seconds = peaks.least_seconds(cost, is_on_matrix_units(kernel));
        let is_memory = seconds <= cost.bytes as f64 / peaks.memory_rate(cost.bytes);
        *(if is_memory { &mut memory } else { &mut compute }) += seconds;
    }
    let by = if memory > compute { Limit::Memory } else { Limit::Compute };
    Bound { least_seconds: compute + memory, by }
}

/// Whether a kernel multiplies on matrix units.
pub fn is_on_matrix_units(kernel: &str) -> bool {
    clipseg_shaders::kernels::ALL.iter().any(|known| known.name == kernel && known.uses_matrix_units)
}

/// How often a form is submitted at least for each clock, whatever that takes: less often where one run takes
/// seconds, as on software drivers some do.
fn fewest_runs(seconds: f64) -> usize {
    match seconds {
        long if long > 1.0 => 1,
        long if long > 0.25 => 2,
        _ => 3,
    }
}

/// The one right answer: every operand is the same on every device, and exact in f16.
pub fn answer(work: Work, processor: &Device) -> Result<Vec<f32>> {
    let forms = work.forms(processor, DType::F32)?;
    let form = forms.first().context("the processor runs every op")?;
    Ok(Recorded::new(processor, form, 1)?.fill(&form.operands)?)
}

/// The kernels of a form.
pub fn kernels(recorded: &Recorded) -> Costs {
    recorded.plan.kernels().filter(|(kernel, _)| !COPIES.contains(kernel)).collect()
}

/// Reads the result of a form that was recorded once, and times it for about `budget` by each clock.
pub fn measure(device: &Device, form: &Form, single: Recorded, budget: Duration) -> Result<Measured> {
    let kernels = kernels(&single);
    let values = single.fill(&form.operands)?;
    let has_clock = device.start_profile().map(|()| device.take_profile()).is_ok();
    let single = Own { device, recorded: single, repeats: 1, has_clock };
    let repeat = |single: Own<'_>, repeats| {
        drop(single);
        let recorded = Recorded::new(device, form, repeats)?;
        recorded.fill(&form.operands)?;
        Ok(Own { device, recorded, repeats, has_clock })
    };
    Ok(Measured { kernels, values, times: time(single, repeat, budget)? })
}

/// Runs of an op in one submission, ours or another's.
pub trait Timed {
    /// How many.
    fn repeats(&self) -> usize;

    /// Seconds of a submission by the host's clock, until it is done.
    fn wall(&self) -> Result<f64>;

    /// Seconds of each run by the adapter's clock; none where it has none.
    fn gpu(&self) -> Result<Vec<f64>>;
}

/// Times one run of an op for about `budget` by each clock. `repeat` makes of a single one as many in one
/// submission as it is told, or fewer.
pub fn time<T: Timed>(
    single: T,
    repeat: impl FnOnce(T, usize) -> Result<T>,
    budget: Duration,
) -> Result<Times> {
    // The first run may have compiled the kernels.
    let once = single.wall()?;
    let repeats = (LEAST_SECONDS / once).clamp(1.0, MOST_REPEATS) as usize;
    let (timed, mut wall) = match repeats {
        1 => (single, vec![once]),
        _ => (repeat(single, repeats)?, Vec::new()),
    };
    let mut gpu = Vec::new();
    // In turn, so that both see the same clock rates.
    let start = Instant::now();
    for round in 0..MOST_RUNS {
        if round >= fewest_runs(once) && start.elapsed() > 2 * budget {
            break;
        }
        if wall.len() <= round {
            wall.push(timed.wall()? / timed.repeats() as f64);
        }
        gpu.extend(timed.gpu()?);
    }
    // A clock of coarse steps may see nothing of a short kernel.
    let gpu = Spread::of(&gpu).filter(|spread| spread.median_seconds > 0.0);
    Ok(Times { gpu, wall: Spread::of(&wall).unwrap_or_default() })
}

/// Our own, as a plan.
struct Own<'a> {
    device: &'a Device,
    recorded: Recorded,
    repeats: usize,
    has_clock: bool,
}

impl Timed for Own<'_> {
    fn repeats(&self) -> usize {
        self.repeats
    }

    fn wall(&self) -> Result<f64> {
        let start = Instant::now();
        self.recorded.run()?;
        self.device.wait()?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn gpu(&self) -> Result<Vec<f64>> {
        if !self.has_clock {
            return Ok(Vec::new());
        }
        self.device.start_profile()?;
        let run = self.recorded.run();
        let times = self.device.take_profile();
        run?;
        Ok(seconds_of_runs(&times, self.repeats))
    }
}

/// Seconds of each of the `repeats` runs of an op in a submission: of all its kernels together.
fn seconds_of_runs(times: &[KernelTime], repeats: usize) -> Vec<f64> {
    let mut seconds = vec![0.0; repeats];
    for time in times.iter().filter(|time| !COPIES.contains(&time.kernel)) {
        // An op may run a kernel several times at the same cost.
        let per_run = time.each.len() / repeats;
        for (own, each) in seconds.iter_mut().zip(time.each.chunks(per_run.max(1))) {
            *own += each.iter().sum::<f64>();
        }
    }
    seconds
}

/// A plan of an op, and what has to live as long.
pub struct Recorded {
    plan: Plan,
    inputs: Vec<Tensor>,
    output: Tensor,
    /// Whether the result of the one op can be read.
    is_single: bool,
}

impl Recorded {
    /// The op `repeats` times over. Each writes where the one before wrote, so that none begins before that
    /// is done. Of a single one the result can be read.
    pub fn new(device: &Device, form: &Form, repeats: usize) -> tensor::Result<Self> {
        let mut recorder = Recorder::new(device);
        let inputs = form
            .operands
            .iter()
            .map(|values| operand(&mut recorder, values))
            .collect::<tensor::Result<Vec<_>>>()?;
        let mut output = (form.record)(&mut recorder, &inputs)?;
        for _ in 1..repeats {
            drop(output);
            output = (form.record)(&mut recorder, &inputs)?;
        }
        if repeats == 1 {
            output = recorder.output(&output)?;
        }
        Ok(Self { plan: recorder.finish()?, inputs, output, is_single: repeats == 1 })
    }

    /// Runs it once with numbers in its inputs, where they stay, and waits; the result of a single one.
    fn fill(&self, operands: &[Values]) -> tensor::Result<Vec<f32>> {
        let mut run = self.plan.run();
        for (input, operand) in self.inputs.iter().zip(operands) {
            if operand.dtype == DType::F32 {
                run.write(input, &operand.values)?;
            }
        }
        let outputs: &[&Tensor] = if self.is_single { &[&self.output] } else { &[] };
        let arrays = block_on(run.finish(outputs))?;
        Ok(arrays.into_iter().flat_map(|array| array.values).collect())
    }

    fn run(&self) -> tensor::Result<()> {
        self.plan.run().submit()
    }
}

/// An operand on the device: of f32 an input of the recording, which is brought once to where ops want it; of
/// f16 with its numbers.
pub fn operand(recorder: &mut Recorder, values: &Values) -> tensor::Result<Tensor> {
    match values.dtype {
        DType::F16 => recorder.device().upload_f16(&values.shape, &values.values),
        _ => recorder.input(&values.shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_a_run_are_added_up_and_copies_left_out() {
        let time = |kernel, each: &[f64]| KernelTime {
            kernel,
            cost: Cost::default(),
            runs: each.len(),
            seconds: each.iter().sum(),
            each: each.to_vec(),
        };
        // Two runs of an op that has one kernel once and the other twice, and the copy of its input.
        let times = [
            time("box_mean", &[1.0, 2.0, 3.0, 4.0]),
            time("guided_moments", &[0.5, 0.25]),
            time("texture_from_buffer", &[100.0]),
        ];
        assert_eq!(seconds_of_runs(&times, 2), [3.5, 7.25]);
    }
}

//! The two products of an MLP as one piece of work.
//!
//! Between them lies the widest tensor of a model. With 32 prompts it has 127 MB in CLIPSeg's decoder, and
//! writing it, activating it and reading it again took longer than the products. Here each thread takes some
//! rows through both products, and what lies between them stays in its core's caches: on two cores of an AMD
//! EPYC the decoder's two ran at 209 GFLOP/s instead of 138, and on two of an Intel Xeon encoding an image
//! took 6 % less time.

use clipseg_shaders::kernels::matmul_tile;
use rayon::prelude::*;

use super::matmul::Layer;
use super::steps::{Operands, call, with_inputs};
use crate::buffer::Buffer;
use crate::step::{Dispatch, Memory, Resource, Step};
use crate::twin::Input;
use crate::{Result, ops};

/// A tensor of fewer bytes stays in a processor's caches without help.
const LEAST_BYTES: u64 = 4 << 20;
/// Bytes of that tensor that a thread makes at once where the weights are at most as large: what its
/// core's own cache holds, beside these.
const BLOCK_BYTES: usize = 1 << 20;
/// Rows that a thread takes at once where the weights are larger, as it reads them anew for each block.
const MOST_ROWS: usize = 256;
/// With fewer, reading the weights would take longer than the products: all threads then share each product.
const LEAST_ROWS: usize = 128;

/// Rows of a block, of `rows` rows of `columns` values between weights of `weights` values.
fn rows_of_block(rows: usize, columns: usize, weights: usize, threads: usize) -> usize {
    if 4 * weights <= BLOCK_BYTES {
        return (BLOCK_BYTES / 4 / columns.max(1)).max(1);
    }
    let blocks = threads * rows.div_ceil(threads * MOST_ROWS);
    let share = rows.div_ceil(blocks.max(1));
    if share >= LEAST_ROWS { share } else { rows.max(1) }
}

/// Whether `steps[place]` and the step behind it are two such products: nothing else reads what the first
/// writes, neither a later step nor the caller. `is_free` says whether a buffer belongs to no tensor any
/// more, now that all is recorded.
pub(super) fn is_pair(
    steps: &[Step],
    index: usize,
    uniforms: &[u8],
    is_free: impl Fn(&Buffer) -> bool,
) -> bool {
    let [Step::Dispatch(first), Step::Dispatch(second), rest @ ..] = &steps[index..] else { return false };
    let ([read @ .., between], [input, others @ .., output]) = (&first.resources[..], &second.resources[..])
    else {
        return false;
    };
    let are_products = [first, second].iter().all(|dispatch| ops::is_product(dispatch.pipeline.kernel));
    if between.bytes < LEAST_BYTES || !are_products {
        return false;
    }
    // The second may see the same values in rows of another length.
    let sizes = |dispatch| call(dispatch, uniforms, &[], &mut []).params::<matmul_tile::Params>().ok();
    let rows_match = sizes(first)
        .zip(sizes(second))
        .is_some_and(|(first, second)| first.rows == second.rows && first.columns == second.inner);
    let is_between = |resource: &Resource| resource.memory == between.memory;
    let follow = is_between(input) && !others.iter().any(is_between) && !is_between(output);
    // Rows of the second product are written while the first still reads others.
    let overwrites = read.iter().any(|read| read.memory == output.memory);
    let next_use = rest.iter().find_map(|step| match step {
        Step::Dispatch(dispatch) => {
            let (written, read) = dispatch.resources.split_last()?;
            let is_read = read.iter().any(is_between);
            (is_read || is_between(written)).then_some(is_read)
        }
        Step::BufferToTexture { .. } | Step::TextureToBuffer { .. } => None,
    });
    let is_forgotten = matches!(&between.memory, Memory::Buffer(buffer) if is_free(buffer));
    rows_match && follow && !overwrites && is_forgotten && next_use != Some(true)
}

/// Runs both products of a pair.
pub(super) fn run_pair(first: &Dispatch, second: &Dispatch, uniforms: &[u8]) -> Result<()> {
    let (before, after) = (Operands::of(first)?, Operands::of(second)?);
    // The second product's input is what lies between them.
    let read = [&before.read[..], &after.read[1..]].concat();
    with_inputs(&read, |inputs| {
        let (first_inputs, second_inputs) = inputs.split_at(before.read.len());
        let second_inputs = [&[Input::Words(&[])], second_inputs].concat();
        let up = Layer::of(&call(first, uniforms, first_inputs, &mut []))?;
        let down = Layer::of(&call(second, uniforms, &second_inputs, &mut []))?;
        let input = call(first, uniforms, first_inputs, &mut []).floats_of(0, up.rows * up.inner)?;
        let mut output = after.written.write();
        let output = output.floats_mut(after.bytes)?;

        let weights = up.columns * (up.inner + down.columns);
        let rows = rows_of_block(up.rows, up.columns, weights, rayon::current_num_threads());
        let blocks = output.par_chunks_mut(rows * down.columns).enumerate();
        blocks.try_for_each_init(Vec::new, |between, (block, output)| {
            let (first, rows) = (block * rows, output.len() / down.columns);
            between.resize(rows * up.columns, 0.0);
            up.run(first, &input[first * up.inner..][..rows * up.inner], between)?;
            down.run(first, between, output)
        })
    })
}

#[cfg(test)]
mod tests {
    use clipseg_testing::Random;

    use super::rows_of_block;
    use crate::{Activation, AdapterChoice, Device, DeviceOptions, Linear, Plan, Recorder, Tensor, block_on};

    /// Rows that fill several blocks and a part of one.
    const ROWS: usize = 1111;
    const INPUTS: usize = 20;
    const BETWEEN: usize = 4100;
    const OUTPUTS: usize = 36;

    struct Mlp {
        device: Device,
        up: Linear,
        down: Linear,
        values: Vec<f32>,
        inputs: usize,
    }

    fn random(seed: u64, length: usize) -> Vec<f32> {
        Random(seed).values(length)
    }

    impl Mlp {
        fn new() -> Self {
            Self::of([INPUTS, BETWEEN])
        }

        fn of([inputs, between]: [usize; 2]) -> Self {
            let options = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
            let device = Device::open(&options).unwrap();
            let layer = |[outputs, inputs]: [usize; 2]| {
                let [weight, bias] = [random(1, outputs * inputs), random(2, outputs)];
                Linear::new(&device, outputs, inputs, &weight, Some(&bias)).unwrap()
            };
            let [up, down] = [layer([between, inputs]), layer([OUTPUTS, between])];
            Self { up, down, values: random(3, ROWS * inputs), inputs, device }
        }

        /// Records both layers, and hands what lies between them to `keep` once the second has been recorded.
        /// The plan with its input and output.
        fn record<T>(
            &self,
            rows: usize,
            keep: impl FnOnce(&mut Recorder, Tensor) -> T,
        ) -> (Plan, [Tensor; 2], T) {
            let mut recorder = Recorder::new(&self.device);
            let input = recorder.input(&[rows, self.inputs]).unwrap();
            let residual = self.device.upload(&[rows, OUTPUTS], &random(4, rows * OUTPUTS)).unwrap();
            let between = recorder.linear_with(&input, &self.up, Activation::Relu, None).unwrap();
            let output =
                recorder.linear_with(&between, &self.down, Activation::None, Some(&residual)).unwrap();
            let output = recorder.output(&output).unwrap();
            let kept = keep(&mut recorder, between);
            (recorder.finish().unwrap(), [input, output], kept)
        }

        fn run(&self, plan: &Plan, input: &Tensor, outputs: &[&Tensor]) -> Vec<Vec<f32>> {
            let mut run = plan.run();
            run.write(input, &self.values[..input.len()]).unwrap();
            let arrays = block_on(run.finish(outputs)).unwrap();
            arrays.into_iter().map(|array| array.values).collect()
        }
    }

    fn pairs(plan: &Plan) -> usize {
        plan.program().unwrap().pairs()
    }

    #[test]
    fn a_pair_computes_what_its_products_do() {
        check(&Mlp::new());
    }

    /// Weights that a core's cache does not hold.
    #[test]
    fn a_pair_of_large_weights_computes_what_its_products_do() {
        check(&Mlp::of([300, 1500]));
    }

    #[test]
    fn blocks_are_as_many_as_threads_can_share_and_not_too_small() {
        // CLIPSeg's decoder, with 32 prompts; its vision tower, with one image and with eight.
        assert_eq!(rows_of_block(15_520, 2048, 2 * 2048 * 64, 2), 128);
        let tower = |rows, threads| rows_of_block(rows, 3072, 2 * 3072 * 768, threads);
        assert_eq!([tower(485, 2), tower(485, 3), tower(8 * 485, 2)], [243, 162, 243]);
        // Too few for each thread.
        assert_eq!([tower(485, 16), tower(0, 2)], [485, 1]);
    }

    fn check(mlp: &Mlp) {
        let (alone, [input, output], between) = mlp.record(ROWS, |_, between| between);
        assert_eq!(pairs(&alone), 0, "a tensor that can be read back is written");
        let [expected, between] = &mlp.run(&alone, &input, &[&output, &between])[..] else { panic!() };
        assert!(between.iter().any(|value| *value > 0.0));

        let (pair, [input, output], ()) = mlp.record(ROWS, |_, between| drop(between));
        assert_eq!(pairs(&pair), 1);
        for _ in 0..2 {
            let found = &mlp.run(&pair, &input, &[&output])[0];
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-6 * largest;
            assert!(found.len() == expected.len() && found.iter().zip(expected).all(close));
        }
    }

    #[test]
    fn what_a_later_step_reads_is_written() {
        let mlp = Mlp::new();
        let (plan, [input, output], relu) = mlp.record(ROWS, |recorder, between| {
            let relu = recorder.activation(&between, Activation::Relu).unwrap();
            recorder.output(&relu).unwrap()
        });
        assert_eq!(pairs(&plan), 0);
        let (alone, [other, _], between) = mlp.record(ROWS, |_, between| between);
        let expected = &mlp.run(&alone, &other, &[&between])[0];
        assert_eq!(&mlp.run(&plan, &input, &[&output, &relu])[1], expected);
    }

    #[test]
    fn memory_that_a_later_step_writes_anew_may_stay_unwritten() {
        let mlp = Mlp::new();
        let (plan, [input, output], sum) = mlp.record(ROWS, |recorder, between| {
            drop(between);
            let again = recorder.allocate(&[ROWS, BETWEEN], crate::DType::F32).unwrap();
            drop(again);
            let zeros = mlp.device.upload(&[ROWS, BETWEEN], &vec![0.0; ROWS * BETWEEN]).unwrap();
            let copy = recorder.activation(&zeros, Activation::Relu).unwrap();
            let sum = recorder.activation(&copy, Activation::Relu).unwrap();
            drop(copy);
            recorder.output(&sum).unwrap()
        });
        assert_eq!(pairs(&plan), 1);
        assert!(mlp.run(&plan, &input, &[&output, &sum])[1].iter().all(|value| *value == 0.0));
    }

    #[test]
    fn rows_of_another_length_are_not_a_pair() {
        let mlp = Mlp::new();
        let mut recorder = Recorder::new(&mlp.device);
        let input = recorder.input(&[ROWS, INPUTS]).unwrap();
        let between = recorder.linear_with(&input, &mlp.up, Activation::Relu, None).unwrap();
        let halves = recorder.reshape(&between, &[2 * ROWS, BETWEEN / 2]).unwrap();
        drop(between);
        let weight = random(5, 8 * BETWEEN / 2);
        let layer = Linear::new(&mlp.device, 8, BETWEEN / 2, &weight, None).unwrap();
        let output = recorder.linear(&halves, &layer).unwrap();
        let output = recorder.output(&output).unwrap();
        drop(halves);
        let plan = recorder.finish().unwrap();
        assert_eq!(pairs(&plan), 0);
        assert_eq!(mlp.run(&plan, &input, &[&output])[0].len(), 2 * ROWS * 8);
    }

    #[test]
    fn what_caches_hold_is_not_a_pair() {
        let (plan, ..) = Mlp::new().record(100, |_, between| drop(between));
        assert_eq!(pairs(&plan), 0);
    }
}

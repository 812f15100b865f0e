use clipseg_shaders::kernels::{depth_to_space, im2col_3x3};
use clipseg_shaders::twins;
use clipseg_tensor::{Activation, Convolution3x3, TransposedConvolution, UpsampleInput};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Random, assert_close, cases, devices, run};

/// As for the matrix products that the convolutions become.
const TOLERANCE: f32 = 2e-6;

proptest! {
    #![proptest_config(cases(16))]

    // Held against the convolution itself, not against the rearrangement that the op is made of. One
    // activation, as for `linear`, and few shapes: each is compiled anew where the side of a texture is a
    // power of two.
    #[test]
    fn conv2d_3x3_equals_its_twin(
        (images, skip) in (1..=2_usize, 0..=1_usize),
        (height, width) in select(&[(1, 1), (1, 7), (3, 5), (5, 7)]),
        (channels, outputs) in (select(&[1, 3, 4, 17, 33, 36]), select(&[1, 3, 33])),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let input = random.values(images * (skip + height * width) * channels);
        let (weight, bias) = (random.values(outputs * channels * 9), random.values(outputs));
        let params = im2col_3x3::Params {
            images: images as u32,
            height: height as u32,
            width: width as u32,
            channels: channels as u32,
            skip: skip as u32,
        };
        let mut expected = vec![0.0; images * height * width * outputs];
        twins::conv2d_3x3(&params, &input, &weight, &bias, &mut expected);
        let activation = Activation::QuickGelu;
        let expected: Vec<_> = expected.into_iter().map(|value| twins::activate(activation, value)).collect();
        for device in devices() {
            let layer = Convolution3x3::new(device, outputs, channels, &weight, &bias).expect("a layer");
            let actual = run(device, |recorder| {
                let input = device.upload(&[images, skip + height * width, channels], &input)?;
                recorder.conv2d_3x3(&input, (height, width), skip, &layer, activation)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }

    #[test]
    fn transposed_conv2d_equals_its_twin(
        (images, height, width) in select(&[(1, 1, 1), (1, 3, 5), (1, 7, 5), (2, 3, 7)]),
        (channels, outputs, kernel) in (select(&[1, 3, 17]), select(&[1, 3, 17]), 1..=4_usize),
        seed in any::<u64>(),
    ) {
        let mut random = Random(seed);
        let input = random.values(images * height * width * channels);
        let weight = random.values(channels * outputs * kernel * kernel);
        let bias = random.values(outputs);
        let params = params((images, height, width), kernel, outputs);
        let mut expected = vec![0.0; images * height * width * kernel * kernel * outputs];
        twins::transposed_conv2d(&params, &input, &weight, &bias, &mut expected);
        for device in devices() {
            let applied_to = UpsampleInput::Tokens;
            let layer = TransposedConvolution::new(device, channels, outputs, kernel, &weight, &bias, applied_to);
            let layer = layer.expect("a layer");
            let actual = run(device, |recorder| {
                let input = device.upload(&[images, height * width, channels], &input)?;
                recorder.transposed_conv2d(&input, (height, width), &layer, None)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }

    #[test]
    fn two_transposed_convolutions_equal_their_twins(
        maps in select(&[(1, 1, 1), (1, 3, 5), (1, 7, 5), (2, 3, 7)]),
        (channels, middle, outputs) in (select(&[3, 17]), select(&[4, 17]), select(&[1, 3])),
        (first_kernel, second_kernel) in (1..=4_usize, 1..=4_usize),
        seed in any::<u64>(),
    ) {
        check_two(maps, [channels, middle, outputs], [first_kernel, second_kernel], seed);
    }
}

// One kernel does both on software adapters. A workgroup of it takes 24 tokens; the pixels of a token are one
// group, two, or four.
#[test]
fn two_transposed_convolutions_in_one_kernel_equal_their_twins() {
    for (seed, (maps, [channels, middle], kernels)) in [
        ((1, 5, 5), [64, 32], [4, 4]),
        ((2, 3, 7), [33, 64], [2, 4]),
        ((1, 1, 1), [50, 32], [4, 3]),
        ((3, 7, 5), [61, 17], [2, 3]),
    ]
    .into_iter()
    .enumerate()
    {
        check_two(maps, [channels, middle, 1], kernels, seed as u64);
    }
}

// Too many weights to be repeated for every pixel of a token: the pixels become rows of their own instead.
#[test]
fn a_wide_second_transposed_convolution_equals_its_twin() {
    check_two((1, 2, 3), [3, 129, 8], [4, 4], 8);
}

fn check_two(
    (images, height, width): (usize, usize, usize),
    [channels, middle, outputs]: [usize; 3],
    [first_kernel, second_kernel]: [usize; 2],
    seed: u64,
) {
    let between = Activation::QuickGelu;
    let mut random = Random(seed);
    let input = random.values(images * height * width * channels);
    let first_weight = random.values(channels * middle * first_kernel * first_kernel);
    let second_weight = random.values(middle * outputs * second_kernel * second_kernel);
    let (first_bias, second_bias) = (random.values(middle), random.values(outputs));

    let (outer_height, outer_width) = (height * first_kernel, width * first_kernel);
    let mut outer = vec![0.0; images * outer_height * outer_width * middle];
    let first = params((images, height, width), first_kernel, middle);
    twins::transposed_conv2d(&first, &input, &first_weight, &first_bias, &mut outer);
    outer.iter_mut().for_each(|value| *value = twins::activate(between, *value));
    let pixels = images * outer_height * outer_width * second_kernel * second_kernel;
    let mut expected = vec![0.0; pixels * outputs];
    let second = params((images, outer_height, outer_width), second_kernel, outputs);
    twins::transposed_conv2d(&second, &outer, &second_weight, &second_bias, &mut expected);

    for device in devices() {
        let layer = |inputs, outputs, kernel, weight, bias, input| {
            TransposedConvolution::new(device, inputs, outputs, kernel, weight, bias, input).expect("a layer")
        };
        let first = layer(channels, middle, first_kernel, &first_weight, &first_bias, UpsampleInput::Tokens);
        let applied_to = UpsampleInput::Pixels(first_kernel * first_kernel);
        let second = layer(middle, outputs, second_kernel, &second_weight, &second_bias, applied_to);
        let actual = run(device, |recorder| {
            let input = device.upload(&[images, height * width, channels], &input)?;
            recorder.transposed_conv2d(&input, (height, width), &first, Some((between, &second)))
        });
        assert_close(&actual, &expected, TOLERANCE);
    }
}

fn params(
    (images, height, width): (usize, usize, usize),
    kernel: usize,
    channels: usize,
) -> depth_to_space::Params {
    depth_to_space::Params {
        images: images as u32,
        height: height as u32,
        width: width as u32,
        outer: kernel as u32,
        inner: 1,
        channels: channels as u32,
    }
}

// As large as the decoder's: a map of 22 by 22 with 64 channels, one transposed convolution of 16.
#[test]
fn a_decoder_sized_transposed_convolution_equals_its_twin() {
    let mut random = Random(7);
    let (channels, kernel, side) = (64, 16, 22);
    let input = random.values(side * side * channels);
    let (weight, bias) = (random.values(channels * kernel * kernel), random.values(1));
    let mut expected = vec![0.0; side * side * kernel * kernel];
    twins::transposed_conv2d(&params((1, side, side), kernel, 1), &input, &weight, &bias, &mut expected);
    for device in devices() {
        let layer =
            TransposedConvolution::new(device, channels, 1, kernel, &weight, &bias, UpsampleInput::Tokens)
                .expect("a layer");
        let actual = run(device, |recorder| {
            recorder.transposed_conv2d(
                &device.upload(&[1, side * side, channels], &input)?,
                (side, side),
                &layer,
                None,
            )
        });
        assert_close(&actual, &expected, TOLERANCE);
    }
}

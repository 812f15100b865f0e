//! Convolutions over maps with the channels last, directly and as the rearrangements around a matrix product.

use crate::kernels::{depth_to_space, im2col_3x3};

/// `columns[image, y, x, (ky, kx, channel)] = input[image, y + ky - 1, x + kx - 1, channel]`, zero outside
/// the map; `skip` leading rows of each image are stepped over.
pub fn im2col_3x3(params: &im2col_3x3::Params, input: &[f32], columns: &mut [f32]) {
    let (height, width) = (params.height as usize, params.width as usize);
    let (channels, skip) = (params.channels as usize, params.skip as usize);
    let mut place = 0;
    for image in 0..params.images as usize {
        for y in 0..height {
            for x in 0..width {
                for (source_y, source_x) in neighbourhood(y, x) {
                    let columns = &mut columns[place..place + channels];
                    if source_y < height && source_x < width {
                        let row = image * (height * width + skip) + skip + source_y * width + source_x;
                        columns.copy_from_slice(&input[row * channels..][..channels]);
                    } else {
                        columns.fill(0.0);
                    }
                    place += channels;
                }
            }
        }
    }
}

/// The nine places around one, row by row; what lies before the map's edge wraps to a place far beyond the
/// other.
fn neighbourhood(y: usize, x: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..9).map(move |tap| ((y + tap / 3).wrapping_sub(1), (x + tap % 3).wrapping_sub(1)))
}

/// A 3×3 convolution with padding 1, step 1 and a bias: PyTorch's `Conv2d`, with its weight
/// `[outputs, channels, 3, 3]`.
///
/// The input is laid out as [`im2col_3x3()`] reads it, the output is `[images, height, width, outputs]`.
pub fn conv2d_3x3(
    params: &im2col_3x3::Params,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let (height, width) = (params.height as usize, params.width as usize);
    let (channels, skip) = (params.channels as usize, params.skip as usize);
    let mut place = 0;
    for image in 0..params.images as usize {
        for y in 0..height {
            for x in 0..width {
                for (output_channel, bias) in bias.iter().enumerate() {
                    let mut sum = *bias;
                    for (tap, (source_y, source_x)) in neighbourhood(y, x).enumerate() {
                        if source_y >= height || source_x >= width {
                            continue;
                        }
                        let row = image * (height * width + skip) + skip + source_y * width + source_x;
                        for channel in 0..channels {
                            let weight = weight[(output_channel * channels + channel) * 9 + tap];
                            sum += weight * input[row * channels + channel];
                        }
                    }
                    output[place] = sum;
                    place += 1;
                }
            }
        }
    }
}

/// `output[image, (y, a, c), (x, b, d), channel] = input[image, y, x, a, b, c, d, channel]`, with `outer`
/// steps a and b and `inner` steps c and d.
pub fn depth_to_space(params: &depth_to_space::Params, input: &[f32], output: &mut [f32]) {
    let (height, width) = (params.height as usize, params.width as usize);
    let (outer, inner, channels) = (params.outer as usize, params.inner as usize, params.channels as usize);
    let factor = outer * inner;
    let mut source = 0;
    for image in 0..params.images as usize {
        for (y, x) in grid(height, width) {
            for (a, b) in grid(outer, outer) {
                for (c, d) in grid(inner, inner) {
                    let row = (image * height + y) * factor + a * inner + c;
                    let place = (row * width + x) * factor + b * inner + d;
                    output[place * channels..][..channels].copy_from_slice(&input[source..][..channels]);
                    source += channels;
                }
            }
        }
    }
}

/// The places of a grid, row by row.
fn grid(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows * columns).map(move |place| (place / columns, place % columns))
}

/// A transposed convolution whose kernel equals its stride, with a bias: PyTorch's `ConvTranspose2d`, with
/// its weight `[inputs, channels, stride, stride]`.
///
/// The parameters are those of the [`depth_to_space()`] that ends it, `outer` its stride and `inner` 1. The
/// input is `[images, height, width, inputs]`, the output
/// `[images, height · stride, width · stride, channels]`.
pub fn transposed_conv2d(
    params: &depth_to_space::Params,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    assert_eq!(params.inner, 1, "one transposed convolution at a time");
    let (height, width) = (params.height as usize, params.width as usize);
    let (stride, channels) = (params.outer as usize, params.channels as usize);
    let inputs = weight.len() / (channels * stride * stride);
    for image in 0..params.images as usize {
        for (y, x) in grid(height * stride, width * stride) {
            let source = (image * height + y / stride) * width + x / stride;
            let place = (image * height * stride + y) * width * stride + x;
            for channel in 0..channels {
                let mut sum = bias[channel];
                for input_channel in 0..inputs {
                    let kernel = (input_channel * channels + channel) * stride * stride;
                    let weight = weight[kernel + y % stride * stride + x % stride];
                    sum += weight * input[source * inputs + input_channel];
                }
                output[place * channels + channel] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;
    use crate::kernels::matmul_tile;
    use crate::twins::{assert_near, matmul};

    fn map() -> Vec<f32> {
        (0..12).map(|i| (i * 7 % 11) as f32 - 5.0).collect()
    }

    fn weights(length: usize) -> Vec<f32> {
        (0..length).map(|i| (i * 5 % 13) as f32 * 0.25 - 1.5).collect()
    }

    // torch.nn.functional.conv2d(padding=1) on a 2×3 map of two channels.
    #[test]
    fn conv2d_3x3_equals_pytorch_whatever_is_skipped() {
        let expected = [0.75, 5.0, -7.25, 8.75, 19.0, 9.25, -7.25, -9.5, 8.25, 1.5, 12.25, -10.5];
        for skip in [0, 1, 2] {
            let mut input = vec![f32::NAN; 2 * skip];
            input.extend(map());
            let params =
                im2col_3x3::Params { images: 1, height: 2, width: 3, channels: 2, skip: skip as u32 };
            let mut output = [0.0; 12];
            conv2d_3x3(&params, &input, &weights(36), &[0.5, -1.0], &mut output);
            assert_near(&output, &expected, 0.0);
        }
    }

    #[test]
    fn im2col_and_a_product_make_the_convolution() {
        let params = im2col_3x3::Params { images: 2, height: 2, width: 2, channels: 1, skip: 1 };
        let (input, weight, bias) = (&map()[..10], weights(18), [0.5, -1.0]);
        let mut direct = [0.0; 16];
        conv2d_3x3(&params, input, &weight, &bias, &mut direct);

        let mut columns = [f32::NAN; 72];
        im2col_3x3(&params, input, &mut columns);
        let product = matmul_tile::Params { rows: 8, columns: 2, inner: 9, has_bias: 1, has_residual: 0 };
        let mut output = [0.0; 16];
        // With one channel the weight [outputs, channels, 3, 3] already is [outputs, (ky, kx, channel)].
        matmul(&product, Activation::None, &columns, &weight, &bias, &[], &mut output);
        assert_near(&output, &direct, 0.0);
    }

    // torch.nn.functional.conv_transpose2d(stride=2) on a 1×2 map of two channels.
    #[test]
    fn transposed_conv2d_equals_pytorch() {
        let params =
            depth_to_space::Params { images: 1, height: 1, width: 2, outer: 2, inner: 1, channels: 3 };
        let mut output = [0.0; 24];
        transposed_conv2d(&params, &map()[..4], &weights(24), &[0.5, -1.0, 2.0], &mut output);
        let expected = [
            9.0, -4.25, 9.75, -1.25, -8.0, -0.5, 6.0, -6.5, 8.25, -6.5, -2.75, -4.25, -5.0, 4.5, -4.25, 7.5,
            -5.75, 8.25, -2.75, 7.5, -0.5, 7.5, -5.0, 9.75,
        ];
        assert_near(&output, &expected, 0.0);
    }

    #[test]
    fn depth_becomes_space_in_one_step_or_two() {
        let input: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let mut output = [0.0; 16];
        let mut params =
            depth_to_space::Params { images: 1, height: 1, width: 1, outer: 4, inner: 1, channels: 1 };
        depth_to_space(&params, &input, &mut output);
        assert_eq!(output, *input);

        (params.outer, params.inner) = (2, 2);
        depth_to_space(&params, &input, &mut output);
        let expected = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15];
        assert_eq!(output, expected.map(|i| i as f32));
    }
}

//! Every kernel by its name, at a shape of clipseg-rd64-refined or of a photo: what the bench `kernels`
//! measures. A test holds the list against that of all kernels.

use clipseg_tensor::{
    Activation, AttentionMask, Convolution3x3, DType, Device, LayerNorm, Linear, Mlp, Modulation, Recorder,
    Result, Tensor, Tile, TransposedConvolution, UpsampleInput,
};

use crate::host::{self, Host, PHOTO, Run, SIDE};
use crate::{Rate, random, random_tensor, repeated};

/// The tokens of a 352 × 352 image, with the class token.
const TOKENS: usize = 485;
/// The image's patches on a side.
const GRID: usize = 22;
/// The vision tower's width.
const WIDTH: usize = 768;
/// The decoder's width.
const REDUCED: usize = 64;

/// What a kernel is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The workgroup kernels, in f32.
    Workgroup,
    /// The same, on an adapter that has subgroups besides.
    Subgroups,
    /// The workgroup kernels with weights in f16.
    PackedF16,
    /// The same, on an adapter that has subgroups besides.
    PackedF16Subgroups,
    /// Matrix units.
    MatrixUnits {
        /// Rows and columns of the matrices that they multiply.
        side: u32,
        /// Of a subgroup.
        lanes: u32,
    },
    /// The subgroup kernels, in f32.
    Lanes,
    /// The subgroup kernels with weights in f16.
    LanesPackedF16,
}

const MATRICES_8: On = On::MatrixUnits { side: 8, lanes: 8 };
const MATRICES_8_LANES_32: On = On::MatrixUnits { side: 8, lanes: 32 };
const MATRICES_16: On = On::MatrixUnits { side: 16, lanes: 32 };

/// What is timed.
#[derive(Clone, Copy)]
pub enum Work {
    /// What this records, given the kernel's name.
    Recorded(fn(&str, &Device, &mut Recorder) -> Result<Tensor>),
    /// What this gives to be called, on memory of a host.
    OfHost(fn(Host) -> Result<Run>),
}

/// A kernel at a shape.
#[derive(Clone, Copy)]
pub struct KernelBench {
    /// The kernel's name, its file's in `shaders/wgsl/`.
    pub kernel: &'static str,
    /// Tells the kernel's benches from each other.
    pub shape: &'static str,
    /// What its throughput counts.
    pub rate: Rate,
    /// Where it runs.
    pub on: On,
    /// What runs it; other kernels may run besides.
    pub work: Work,
}

/// All benches, by operation.
#[must_use]
pub fn all() -> Vec<KernelBench> {
    [products(), attention(), rows(), tokens(), algebra(), pixels()].concat()
}

/// A bench of recorded work.
fn recorded(
    kernel: &'static str,
    shape: &'static str,
    rate: Rate,
    on: On,
    record: fn(&str, &Device, &mut Recorder) -> Result<Tensor>,
) -> KernelBench {
    KernelBench { kernel, shape, rate, on, work: Work::Recorded(record) }
}

/// A linear layer of random weights.
///
/// # Errors
/// The device's.
pub fn layer(device: &Device, columns: usize, inner: usize) -> Result<Linear> {
    Linear::new(device, columns, inner, &random(columns * inner), Some(&random(columns)))
}

fn input_as(dtype: DType, device: &Device, shape: &[usize]) -> Result<Tensor> {
    match dtype {
        DType::F16 => device.upload_f16(shape, &random(shape.iter().product())),
        _ => random_tensor(device, shape),
    }
}

fn products() -> Vec<KernelBench> {
    /// The vision tower's attention output, by a kernel on buffers.
    fn of_image(dtype: DType, kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        let layer = layer(device, WIDTH, WIDTH)?;
        let input = input_as(dtype, device, &[TOKENS, WIDTH])?;
        recorder.linear_by(kernel, dtype, &input, &layer, Activation::None, None)
    }
    fn in_f32(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        of_image(DType::F32, kernel, device, recorder)
    }
    fn in_f16(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        of_image(DType::F16, kernel, device, recorder)
    }
    /// The text tower's queries, keys and values.
    fn of_words(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        let input = random_tensor(device, &[8, 512])?;
        let layer = layer(device, 1536, 512)?;
        recorder.linear_by(kernel, DType::F32, &input, &layer, Activation::None, None)
    }
    fn by_panels(_: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        recorder.linear(&random_tensor(device, &[TOKENS, WIDTH])?, &layer(device, WIDTH, WIDTH)?)
    }
    fn narrow_mlp(_: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        let (up, down) = (layer(device, 2048, REDUCED)?, layer(device, REDUCED, 2048)?);
        let mlp = Mlp::new(up, down, Activation::Relu)?;
        let input = random_tensor(device, &[TOKENS, REDUCED])?;
        recorder.mlp(&input, &mlp, &input)
    }
    let product = |kernel, on, record| recorded(kernel, "485x768x768", Rate::Flops, on, record);
    let skinny = |kernel, on| recorded(kernel, "8x512x1536", Rate::Flops, on, of_words);
    let mlp = |kernel, on| recorded(kernel, "485x64x2048", Rate::Flops, on, narrow_mlp);
    vec![
        product("matmul_tile", On::Workgroup, in_f32),
        product("matmul_tile_vec4", On::Workgroup, in_f32),
        product("matmul_tile_dot", On::Workgroup, in_f32),
        product("matmul_tile_double_buffered", On::Workgroup, in_f32),
        product("matmul_broadcast", On::Subgroups, in_f32),
        product("matmul_tile_lanes", On::Subgroups, in_f32),
        product("matmul_tile_lanes_packed_f16", On::PackedF16Subgroups, in_f32),
        product("matmul_tile_packed_f16", On::PackedF16, in_f32),
        product("matmul_cooperative_8", MATRICES_8, in_f16),
        product("matmul_cooperative_8_lanes_32", MATRICES_8_LANES_32, in_f16),
        product("matmul_cooperative_16", MATRICES_16, in_f16),
        product("matmul_cooperative_small_8", MATRICES_8, in_f16),
        product("matmul_cooperative_small_8_lanes_32", MATRICES_8_LANES_32, in_f16),
        product("matmul_cooperative_small_16", MATRICES_16, in_f16),
        product("matmul_subgroup", On::Lanes, by_panels),
        product("matmul_subgroup_packed_f16", On::LanesPackedF16, by_panels),
        skinny("matmul_skinny", On::Workgroup),
        skinny("matmul_skinny_packed_f16", On::PackedF16),
        mlp("mlp_subgroup", On::Lanes),
        mlp("mlp_subgroup_packed_f16", On::LanesPackedF16),
    ]
}

fn attention() -> Vec<KernelBench> {
    fn heads(
        dtype: DType,
        kernel: &str,
        device: &Device,
        recorder: &mut Recorder,
        heads: usize,
        size: usize,
    ) -> Result<Tensor> {
        let input = input_as(dtype, device, &[1, TOKENS, 3 * heads * size])?;
        recorder.attention_by(kernel, dtype, &input, heads, &AttentionMask::default())
    }
    /// The vision tower's.
    fn of_image(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        heads(DType::F32, kernel, device, recorder, 12, 64)
    }
    fn in_f16(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        heads(DType::F16, kernel, device, recorder, 12, 64)
    }
    let bench = |kernel, shape, on, record| recorded(kernel, shape, Rate::Flops, on, record);
    vec![
        bench("attention", "12 heads of 64", On::Workgroup, of_image),
        bench("attention", "6 heads of 128", On::Workgroup, |kernel, device, recorder| {
            heads(DType::F32, kernel, device, recorder, 6, 128)
        }),
        bench("attention_vec4", "12 heads of 64", On::Workgroup, of_image),
        bench("attention_lanes", "12 heads of 64", On::Subgroups, of_image),
        bench("attention_cooperative_8", "12 heads of 64", MATRICES_8, in_f16),
        bench("attention_cooperative_8_lanes_32", "12 heads of 64", MATRICES_8_LANES_32, in_f16),
        bench("attention_cooperative_16", "12 heads of 64", MATRICES_16, in_f16),
        bench("attention_subgroup", "12 heads of 64", On::Lanes, of_image),
        bench("attention_subgroup_16", "12 heads of 64", On::Lanes, of_image),
        bench("attention_scores", "12 heads of 64", On::Workgroup, |_, device, recorder| {
            let input = random_tensor(device, &[1, TOKENS, 3 * WIDTH])?;
            recorder.attention_probabilities(&input, 12, &AttentionMask::default())
        }),
    ]
}

/// All of these are bound by memory.
fn rows() -> Vec<KernelBench> {
    fn norm(
        kernel: &str,
        device: &Device,
        recorder: &mut Recorder,
        [rows, columns]: [usize; 2],
    ) -> Result<Tensor> {
        let layer = LayerNorm::new(device, &random(columns), &random(columns), 1e-5)?;
        let input = random_tensor(device, &[rows, columns])?;
        repeated(&input, |tensor| recorder.layer_norm_by(kernel, DType::F32, tensor, &layer))
    }
    fn of_image(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        norm(kernel, device, recorder, [TOKENS, WIDTH])
    }
    fn of_pairs(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        norm(kernel, device, recorder, [32 * TOKENS, REDUCED])
    }
    fn softmax(kernel: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        recorder.softmax_by(kernel, &random_tensor(device, &[12 * TOKENS, TOKENS])?)
    }
    fn film(device: &Device, recorder: &mut Recorder, pairs: usize) -> Result<Tensor> {
        let reduced = random_tensor(device, &[1, TOKENS, REDUCED])?;
        let previous = random_tensor(device, &[pairs, TOKENS, REDUCED])?;
        let gamma = random_tensor(device, &[pairs, REDUCED])?;
        let beta = random_tensor(device, &[pairs, REDUCED])?;
        repeated(&previous, |previous| {
            let modulation = Modulation { gamma: &gamma, beta: &beta };
            recorder.film(pairs, &reduced, Some(previous), Some(modulation))
        })
    }
    /// To a texture and back, of rows that a plain copy cannot do.
    fn copies(_: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        let input = random_tensor(device, &[1, 8 * TOKENS, 100])?;
        let output = recorder.film(1, &input, None, None)?;
        recorder.output(&output)
    }
    let bench = |kernel, shape, on, record| recorded(kernel, shape, Rate::Bytes, on, record);
    vec![
        bench("layer_norm", "485x768", On::Workgroup, of_image),
        bench("layer_norm", "485x770", On::Workgroup, |kernel, device, recorder| {
            norm(kernel, device, recorder, [TOKENS, 770])
        }),
        bench("layer_norm_vec4", "485x768", On::Workgroup, of_image),
        bench("layer_norm_vec4", "15520x64", On::Workgroup, of_pairs),
        bench("layer_norm_lanes", "485x768", On::Subgroups, of_image),
        bench("layer_norm_lanes", "15520x64", On::Subgroups, of_pairs),
        bench("layer_norm_subgroup", "485x768", On::Lanes, of_image),
        bench("layer_norm_subgroup", "15520x64", On::Lanes, of_pairs),
        bench("softmax", "5820x485", On::Workgroup, softmax),
        bench("softmax_lanes", "5820x485", On::Subgroups, softmax),
        bench("film", "1 pair", On::Workgroup, |_, device, recorder| film(device, recorder, 1)),
        bench("film", "32 pairs", On::Workgroup, |_, device, recorder| film(device, recorder, 32)),
        bench("film_subgroup", "1 pair", On::Lanes, |_, device, recorder| film(device, recorder, 1)),
        bench("film_subgroup", "32 pairs", On::Lanes, |_, device, recorder| film(device, recorder, 32)),
        bench("texture_from_buffer", "3880x100", On::Lanes, copies),
        bench("buffer_from_texture", "3880x100", On::Lanes, copies),
    ]
}

fn tokens() -> Vec<KernelBench> {
    /// Places that jump about, as token ids do.
    fn scattered(count: usize, bound: usize) -> Vec<u32> {
        (0..count).map(|place| (place * 7919 % bound) as u32).collect()
    }
    let bench = |kernel, shape, record| recorded(kernel, shape, Rate::Bytes, On::Workgroup, record);
    vec![
        bench("gather_rows", "484 of 485x768", |_, device, recorder| {
            let rows = device.upload_u32(&[TOKENS - 1], &scattered(TOKENS - 1, TOKENS))?;
            recorder.gather_rows(&random_tensor(device, &[TOKENS, WIDTH])?, &rows)
        }),
        KernelBench {
            on: On::Lanes,
            ..bench("gather_rows_subgroup", "484 of 485x768", |_, device, recorder| {
                let rows = device.upload_u32(&[TOKENS - 1], &scattered(TOKENS - 1, TOKENS))?;
                // What it gives lies in a texture.
                let input = recorder.film(1, &random_tensor(device, &[1, TOKENS, WIDTH])?, None, None)?;
                recorder.gather_rows(&input, &rows)
            })
        },
        bench("token_embedding", "32x16x512", |_, device, recorder| {
            let ids = device.upload_u32(&[32, 16], &scattered(32 * 16, 49_408))?;
            let position_ids = device.upload_u32(&[32, 16], &scattered(32 * 16, 77))?;
            let tokens = random_tensor(device, &[49_408, 512])?;
            let positions = random_tensor(device, &[77, 512])?;
            recorder.token_embedding(&ids, &position_ids, &tokens, &positions)
        }),
        bench("vision_embedding", "485x768", |_, device, recorder| {
            let patches = random_tensor(device, &[1, TOKENS - 1, WIDTH])?;
            let class_embedding = random_tensor(device, &[WIDTH])?;
            let positions = random_tensor(device, &[TOKENS, WIDTH])?;
            recorder.vision_embedding(&patches, &class_embedding, &positions)
        }),
    ]
}

/// Sums and parts of the vision tower's hidden states, and the products of its heads.
fn algebra() -> Vec<KernelBench> {
    let bench = |kernel, shape, record| recorded(kernel, shape, Rate::Bytes, On::Workgroup, record);
    vec![
        bench("binary", "485x768", |_, device, recorder| {
            let other = random_tensor(device, &[TOKENS, WIDTH])?;
            repeated(&random_tensor(device, &[TOKENS, WIDTH])?, |tensor| recorder.add(tensor, &other))
        }),
        bench("strided_copy", "485x12x64 permuted", |_, device, recorder| {
            recorder.permute(&random_tensor(device, &[TOKENS, 12, 64])?, &[1, 0, 2])
        }),
        bench("strided_copy", "485x768 of 2304", |_, device, recorder| {
            recorder.slice(&random_tensor(device, &[TOKENS, 3 * WIDTH])?, 1, WIDTH, WIDTH)
        }),
        bench("concat", "485x768 and 485x768", |_, device, recorder| {
            let right = random_tensor(device, &[TOKENS, WIDTH])?;
            recorder.concat(&random_tensor(device, &[TOKENS, WIDTH])?, &right, 1)
        }),
        KernelBench {
            rate: Rate::Flops,
            ..bench("batched_matmul", "12x485x64x485", |_, device, recorder| {
                let keys = random_tensor(device, &[12, TOKENS, 64])?;
                recorder.matmul_transposed(&random_tensor(device, &[12, TOKENS, 64])?, &keys)
            })
        },
        KernelBench {
            rate: Rate::Flops,
            ..bench("batched_matmul", "12x485x485x64", |_, device, recorder| {
                let values = random_tensor(device, &[12, TOKENS, 64])?;
                recorder.matmul(&random_tensor(device, &[12, TOKENS, TOKENS])?, &values)
            })
        },
    ]
}

fn pixels() -> Vec<KernelBench> {
    fn coefficients(_: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        let guide = random_tensor(device, &[3, SIDE, SIDE])?;
        recorder.guided_coefficients(&guide, &random_tensor(device, &[SIDE, SIDE])?, 8, 1e-4)
    }
    fn convolution(_: &str, device: &Device, recorder: &mut Recorder) -> Result<Tensor> {
        let (weight, bias) = (random(9 * REDUCED * REDUCED), random(REDUCED));
        let layer = Convolution3x3::new(device, REDUCED, REDUCED, &weight, &bias)?;
        let input = random_tensor(device, &[1, TOKENS, REDUCED])?;
        recorder.conv2d_3x3(&input, (GRID, GRID), 1, &layer, Activation::Relu)
    }
    let bench = |kernel, shape, record| recorded(kernel, shape, Rate::Bytes, On::Workgroup, record);
    let of_host = |kernel, shape, work| KernelBench {
        work: Work::OfHost(work),
        ..bench(kernel, shape, |_, _, recorder| recorder.input(&[1]))
    };
    vec![
        bench("patchify", "3x352x352", |_, device, recorder| {
            recorder.patchify(&random_tensor(device, &[1, 3, SIDE, SIDE])?, 16)
        }),
        // From the grid of 224 × 224 that CLIP was trained with.
        bench("bicubic_positions", "14x14 to 22x22", |_, device, recorder| {
            recorder.bicubic_positions(&random_tensor(device, &[1 + 14 * 14, WIDTH])?, GRID, GRID)
        }),
        bench("im2col_3x3", "22x22x64", convolution),
        KernelBench { on: On::Lanes, ..bench("im2col_3x3_subgroup", "22x22x64", convolution) },
        bench("depth_to_space", "22x22x64 to 352x352", |_, device, recorder| {
            let (weight, bias) = (random(REDUCED * 16 * 16), random(1));
            let tokens = UpsampleInput::Tokens;
            let layer = TransposedConvolution::new(device, REDUCED, 1, 16, &weight, &bias, tokens)?;
            let input = random_tensor(device, &[1, GRID * GRID, REDUCED])?;
            recorder.transposed_conv2d(&input, (GRID, GRID), &layer, None)
        }),
        bench("sigmoid", "8x352x352", |_, device, recorder| {
            recorder.sigmoid(&random_tensor(device, &[8, SIDE, SIDE])?)
        }),
        bench("activation", "8x352x352", |_, device, recorder| {
            recorder.activation(&random_tensor(device, &[8, SIDE, SIDE])?, Activation::QuickGelu)
        }),
        bench("bilinear_resize", "352x352 to 960x1280", |_, device, recorder| {
            let input = random_tensor(device, &[1, SIDE, SIDE])?;
            recorder.bilinear_resize(&input, &Tile::whole(SIDE, SIDE), &Tile::whole(PHOTO.0, PHOTO.1))
        }),
        // These three run together.
        bench("guided_moments", "352x352, radius 8", coefficients),
        bench("box_mean", "352x352, radius 8", coefficients),
        bench("guided_coefficients", "352x352, radius 8", coefficients),
        bench("guided_apply", "960x1280", |_, device, recorder| {
            let guide = random_tensor(device, &[3, PHOTO.0, PHOTO.1])?;
            recorder.guided_apply(&random_tensor(device, &[4, PHOTO.0, PHOTO.1])?, &guide)
        }),
        // An axis each.
        of_host("resize_photo", "960x1280 to 352x352", host::resize_photo),
        of_host("resize_bytes", "960x1280 to 352x352", host::resize_photo),
        of_host("pack_mask", "352x352 to 960x1280", host::write_mask),
        of_host("overlay_mask", "352x352 to 960x1280", host::write_overlay),
    ]
}

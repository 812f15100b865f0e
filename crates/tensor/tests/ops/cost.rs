//! What ops say that they cost, beside numbers computed by hand; and the memory that a device counts.

use clipseg_tensor::{
    Activation, AttentionMask, Cost, Device, KernelFamily, LayerNorm, Linear, MemoryUse, Mlp, Recorder,
    Result, Tensor, TransposedConvolution, UpsampleInput,
};

use super::support::{Random, another, devices};

/// The cost of the kernels whose names start with `name`; moving between buffers and textures is none of
/// theirs.
#[track_caller]
fn cost_of(
    device: &Device,
    name: &str,
    record: impl FnOnce(&mut Recorder) -> Result<Tensor>,
) -> (usize, Cost) {
    let mut recorder = Recorder::new(device);
    let output = record(&mut recorder).expect("the op is recorded");
    recorder.output(&output).expect("the output is kept");
    let plan = recorder.finish().expect("the plan is made");
    assert_eq!(plan.kernels().count(), plan.dispatches());
    let costs: Vec<_> = plan.kernels().filter(|(kernel, _)| kernel.starts_with(name)).collect();
    (costs.len(), costs.iter().fold(Cost::default(), |sum, (_, cost)| sum + *cost))
}

/// No f16 values, so that the default precision keeps them as they are.
const WEIGHT: [f32; 42 * 35] = [0.1; 42 * 35];

// Of 35 and 42 columns: panels, textures and pooled buffers are larger than the tensors.
#[test]
fn a_product_costs_its_operands_once() {
    for device in devices() {
        let layer = Linear::new(device, 42, 35, &WEIGHT, Some(&[0.0; 42])).unwrap();
        let bare = Linear::new(device, 42, 35, &WEIGHT, None).unwrap();
        let cost = |layer: &Linear, with_residual: bool| {
            cost_of(device, "matmul", |recorder| {
                let input = recorder.input(&[10, 35])?;
                let residual = recorder.input(&[10, 42])?;
                recorder.linear_with(&input, layer, Activation::Relu, with_residual.then_some(&residual))
            })
        };
        // 10 · 35 · 42 products and as many sums; 10 · 35 + 35 · 42 + 10 · 42 values.
        assert_eq!(cost(&bare, false), (1, Cost { flops: 29_400, bytes: 4 * 2_240 }));
        // And 42 biases; and 10 · 42 residuals.
        assert_eq!(cost(&layer, false), (1, Cost { flops: 29_400, bytes: 4 * 2_282 }));
        assert_eq!(cost(&layer, true), (1, Cost { flops: 29_400, bytes: 4 * 2_702 }));
    }
}

#[test]
fn attention_costs_the_pairs_that_see_each_other() {
    for device in devices() {
        let cost = |causal| {
            cost_of(device, "attention", |recorder| {
                let input = recorder.input(&[2, 5, 3 * 2 * 8])?;
                recorder.attention(&input, 2, &AttentionMask { causal, ..AttentionMask::default() })
            })
        };
        // Two images, two heads, 5 · 5 pairs, 8 products and sums for the score, as many for the values;
        // three inputs and an output of 2 · 5 · 16 values.
        assert_eq!(cost(false), (1, Cost { flops: 2 * 2 * 25 * 32, bytes: 4 * 640 }));
        // 1 + 2 + 3 + 4 + 5 pairs.
        assert_eq!(cost(true), (1, Cost { flops: 2 * 2 * 15 * 32, bytes: 4 * 640 }));
    }
}

#[test]
fn a_layer_norm_costs_seven_operations_a_value() {
    for device in devices() {
        let norm = LayerNorm::new(device, &[1.0; 20], &[0.0; 20], 1e-5).unwrap();
        let cost = cost_of(device, "layer_norm", |recorder| {
            let input = recorder.input(&[3, 20])?;
            recorder.layer_norm(&input, &norm)
        });
        assert_eq!(cost, (1, Cost { flops: 420, bytes: 4 * (60 + 20 + 20 + 60) }));
    }
}

// The fused kernel reads a residual that is its input once, and needs no memory for what is inside.
#[test]
fn a_fused_mlp_costs_two_products() {
    for device in devices() {
        let layer = |columns, inner| {
            Linear::new(device, columns, inner, &vec![0.1; columns * inner], Some(&vec![0.0; columns]))
                .unwrap()
        };
        let mlp = Mlp::new(layer(96, 48), layer(48, 96), Activation::Relu).unwrap();
        let record = |recorder: &mut Recorder| {
            let input = recorder.input(&[10, 48])?;
            recorder.mlp(&input, &mlp, &input)
        };
        let (fused, fused_cost) = cost_of(device, "mlp", record);
        let (products, cost) = cost_of(device, "matmul", record);
        assert_eq!(fused + products / 2, 1);
        assert_eq!((fused_cost + cost).flops, 2 * 2 * 10 * 48 * 96);
        let values = 2 * 10 * 48 + 2 * 48 * 96 + 96 + 48;
        // Unfused, the hidden values are written and read, and the residual is another kernel's.
        let unfused = values + 2 * 10 * 96 + 10 * 48;
        assert_eq!((fused_cost + cost).bytes, 4 * if fused == 1 { values } else { unfused });
    }
}

// The one kernel of two transposed convolutions stores no pixels between them. Where each has its own, the
// products are as many: four pixels of a token at a time, by a weight of which three quarters are zeros.
#[test]
fn fused_transposed_convolutions_cost_two_products() {
    for device in devices() {
        let layer = |inputs, outputs, kernel: usize, input| {
            let weight = vec![0.1; inputs * outputs * kernel * kernel];
            TransposedConvolution::new(device, inputs, outputs, kernel, &weight, &vec![0.0; outputs], input)
                .unwrap()
        };
        let first = layer(64, 32, 4, UpsampleInput::Tokens);
        let second = layer(32, 1, 4, UpsampleInput::Pixels(16));
        let record = |recorder: &mut Recorder| {
            let input = recorder.input(&[1, 9, 64])?;
            recorder.transposed_conv2d(&input, (3, 3), &first, Some((Activation::Relu, &second)))
        };
        let (fused, cost) = cost_of(device, "mlp", record);
        assert_eq!(fused, usize::from(device.kernels() == KernelFamily::Subgroup));
        if fused == 1 {
            let products = 2 * 9 * 64 * 512 + 4 * 2 * 9 * 128 * 64;
            let values = 9 * 64 + 64 * 512 + 512 + 128 * 64 + 64 + 9 * 256;
            assert_eq!(cost, Cost { flops: products, bytes: 4 * values });
        }
    }
}

#[test]
fn a_table_costs_the_rows_that_are_taken() {
    for device in devices() {
        let cost = cost_of(device, "gather_rows", |recorder| {
            let table = recorder.input(&[100, 12])?;
            let rows = device.upload_u32(&[3], &[5, 50, 99])?;
            recorder.gather_rows(&table, &rows)
        });
        assert_eq!(cost, (1, Cost { flops: 0, bytes: 4 * (36 + 3 + 36) }));
    }
}

#[test]
fn a_profile_has_each_shape_with_its_cost() {
    for like in devices() {
        // One of its own: other tests run plans meanwhile.
        let device = another(like);
        let mut recorder = Recorder::new(&device);
        let (small, large) = (recorder.input(&[4]).unwrap(), recorder.input(&[400]).unwrap());
        for input in [&small, &large, &small] {
            let output = recorder.sigmoid(input).unwrap();
            recorder.output(&output).unwrap();
        }
        let plan = recorder.finish().unwrap();
        device.start_profile().unwrap();
        plan.run().submit().unwrap();
        let profile = device.take_profile();
        for time in &profile {
            assert_eq!((time.each.len(), time.each.iter().sum::<f64>()), (time.runs, time.seconds));
        }
        let mut times: Vec<_> = profile.into_iter().map(|time| (time.kernel, time.cost, time.runs)).collect();
        times.sort();
        let cost = |values: u64| Cost { flops: 4 * values, bytes: 8 * values };
        assert_eq!(times, [("sigmoid", cost(4), 2), ("sigmoid", cost(400), 1)]);
    }
}

#[test]
fn memory_is_counted_as_long_as_it_is_there() {
    for device in devices().iter().map(another) {
        let device = &device;
        assert_eq!(device.memory_use(), MemoryUse::default());
        let weights = device.upload(&[10], &Random(1).values(10)).unwrap();
        // Buffers are of whole vectors.
        assert_eq!(device.memory_use(), MemoryUse { weights: 48, ..MemoryUse::default() });
        let mut recorder = Recorder::new(device);
        let output = recorder.sigmoid(&weights).unwrap();
        recorder.output(&output).unwrap();
        let plan = recorder.finish().unwrap();
        assert_eq!(
            device.memory_use(),
            MemoryUse { weights: 48, plans: plan.arena_bytes(), ..MemoryUse::default() }
        );
        drop((plan, output, weights));
        assert_eq!(device.memory_use(), MemoryUse::default());
    }
}

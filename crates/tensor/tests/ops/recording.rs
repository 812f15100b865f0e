//! What a plan does with memory, and shapes that do not fit.

use clipseg_tensor::{
    Activation, Convolution3x3, Error, LayerNorm, Linear, Recorder, Result, Tensor, Tile,
    TransposedConvolution, UpsampleInput,
};

use super::support::{Random, another, assert_close, devices};

#[test]
fn a_plan_replays_with_other_inputs() {
    for device in devices() {
        let mut recorder = Recorder::new(device);
        let input = recorder.input(&[3, 17]).unwrap();
        let doubled = Linear::new(device, 17, 17, &diagonal(17, 2.0), None).unwrap();
        let output = recorder.linear(&input, &doubled).unwrap();
        let output = recorder.output(&output).unwrap();
        let plan = recorder.finish().unwrap();
        for seed in 0..3 {
            let values = Random(seed).values(3 * 17);
            let mut run = plan.run();
            run.write(&input, &values).unwrap();
            let actual = pollster::block_on(run.finish(&[&output])).unwrap();
            let expected: Vec<_> = values.iter().map(|value| 2.0 * value).collect();
            assert_close(&actual[0].values, &expected, 0.0);
        }
    }
}

fn diagonal(side: usize, value: f32) -> Vec<f32> {
    let mut weight = vec![0.0; side * side];
    (0..side).for_each(|i| weight[i * side + i] = value);
    weight
}

// Twenty layers of one shape need a few buffers, not twenty; and what is still alive keeps its content.
#[test]
fn dropped_tensors_give_their_memory_to_later_ops() {
    let values = Random(1).values(40 * 72);
    for device in devices() {
        let layer = Linear::new(device, 72, 72, &diagonal(72, 0.5), None).unwrap();
        let norm = LayerNorm::new(device, &[1.0; 72], &[0.0; 72], 1e-5).unwrap();
        let mut recorder = Recorder::new(device);
        let input = recorder.input(&[40, 72]).unwrap();
        let early = recorder.linear(&input, &layer).unwrap();
        let mut hidden = early.clone();
        for _ in 0..20 {
            let normed = recorder.layer_norm(&hidden, &norm).unwrap();
            hidden = recorder.linear_with(&normed, &layer, Activation::Relu, Some(&hidden)).unwrap();
        }
        let (early, hidden) = (recorder.output(&early).unwrap(), recorder.output(&hidden).unwrap());
        let plan = recorder.finish().unwrap();
        assert!(plan.arena_bytes() <= 8 * 40 * 72 * 4, "{} bytes", plan.arena_bytes());
        let mut run = plan.run();
        run.write(&input, &values).unwrap();
        let actual = pollster::block_on(run.finish(&[&early, &hidden])).unwrap();
        let expected: Vec<_> = values.iter().map(|value| 0.5 * value).collect();
        assert_close(&actual[0].values, &expected, 0.0);
        assert!(actual[1].values.iter().all(|value| value.is_finite()));
    }
}

// An input is filled before the first op runs, so its memory must not be any that an earlier op writes.
#[test]
fn an_input_made_late_keeps_what_is_written_to_it() {
    let (early_values, late_values) = (Random(2).values(3 * 64), Random(3).values(3 * 64));
    for device in devices() {
        let mut recorder = Recorder::new(device);
        let early = recorder.input(&[3, 64]).unwrap();
        let dropped = recorder.activation(&early, Activation::Relu).unwrap();
        let kept = recorder.sigmoid(&dropped).unwrap();
        drop(dropped);
        let late = recorder.input(&[3, 64]).unwrap();
        let output = recorder.activation(&late, Activation::Relu).unwrap();
        let (kept, output) = (recorder.output(&kept).unwrap(), recorder.output(&output).unwrap());
        let plan = recorder.finish().unwrap();
        let mut run = plan.run();
        run.write(&early, &early_values).unwrap();
        run.write(&late, &late_values).unwrap();
        let actual = pollster::block_on(run.finish(&[&kept, &output])).unwrap();
        let expected: Vec<_> = late_values.iter().map(|value| value.max(0.0)).collect();
        assert_close(&actual[1].values, &expected, 0.0);
    }
}

// Tensors of a plan's own and tensors from outside, in buffers and in textures, through ops that want one or
// the other.
#[test]
fn tensors_move_between_buffers_and_textures() {
    let values = Random(4).values(420);
    for device in devices() {
        for columns in [60, 42, 35] {
            let rows = values.len() / columns;
            let layer = Linear::new(device, columns, columns, &diagonal(columns, 3.0), None).unwrap();
            let outside = device.upload(&[rows, columns], &values).unwrap();
            let mut recorder = Recorder::new(device);
            let once = recorder.linear(&outside, &layer).unwrap();
            let positive = recorder.activation(&once, Activation::Relu).unwrap();
            let sum = recorder.linear_with(&positive, &layer, Activation::None, Some(&outside)).unwrap();
            let output = recorder.output(&sum).unwrap();
            let plan = recorder.finish().unwrap();
            let expected: Vec<_> = values.iter().map(|value| 9.0 * value.max(0.0) + value).collect();
            // Twice: the second run must not find what the first one left.
            for _ in 0..2 {
                let actual = pollster::block_on(plan.run().finish(&[&output])).unwrap();
                assert_close(&actual[0].values, &expected, 1e-6);
            }
        }
    }
}

#[test]
fn tensors_are_copied_between_plans_on_the_device() {
    let values = Random(5).values(3 * 16);
    for device in devices() {
        let mut recorder = Recorder::new(device);
        let input = recorder.input(&[3, 16]).unwrap();
        let output = recorder.sigmoid(&input).unwrap();
        let output = recorder.output(&output).unwrap();
        let plan = recorder.finish().unwrap();

        let from = device.upload(&[3, 16], &values).unwrap();
        let to = device.uninit(&[3, 16]).unwrap();
        let mut run = plan.run();
        run.copy_in(&from, &input).unwrap();
        run.copy_out(&output, &to).unwrap();
        let actual = pollster::block_on(run.finish(&[&to])).unwrap();
        let expected: Vec<_> = values.iter().map(|value| 1.0 / (1.0 + (-value).exp())).collect();
        assert_close(&actual[0].values, &expected, 1e-6);
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors_that_name_the_op() {
    for device in devices() {
        let mut recorder = Recorder::new(device);
        let layer = Linear::new(device, 4, 8, &[0.0; 32], None).unwrap();
        let input = recorder.input(&[2, 7]).unwrap();
        let named = |result: Result<Tensor>| match result {
            Err(Error::Shape { op, reason }) => format!("{op}: {reason}"),
            other => panic!("{other:?}"),
        };
        let message = named(recorder.linear(&input, &layer));
        assert!(
            message.starts_with("linear") && message.contains("[2, 7]") && message.contains('8'),
            "{message}"
        );
        assert!(named(recorder.attention(&input, 2, &Default::default())).starts_with("attention"));
        assert!(
            named(recorder.bilinear_resize(&input, &Tile::whole(2, 7), &Tile::whole(3, 3)))
                .contains("[2, 7]")
        );
        assert!(named(recorder.patchify(&input, 3)).starts_with("patchify"));
        assert!(named(input.reshape(&[7, 2])).starts_with("reshape"));
    }
}

// Kernels have no bounds checks: a shape whose product wraps must not get a small buffer.
#[test]
fn shapes_that_no_memory_holds_are_refused() {
    let half = 1 << (usize::BITS / 2);
    // Of elements, of bytes, and beside a dimension of zero.
    let shapes = [vec![half, half], vec![half / 2, half / 2], vec![half, half, 0], vec![usize::MAX]];
    for device in devices() {
        let recorder = Recorder::new(device);
        let planning = Recorder::planning(device);
        let empty = device.upload(&[0], &[]).unwrap();
        for shape in &shapes {
            let results = [
                device.upload(shape, &[]),
                device.upload_u32(shape, &[]),
                device.upload_f16(shape, &[]),
                device.upload_recycled(shape, &[]),
                device.uninit(shape),
                recorder.input(shape),
                recorder.input_u32(shape),
                planning.input(shape),
                empty.reshape(shape),
            ];
            for (place, result) in results.into_iter().enumerate() {
                assert!(matches!(result, Err(Error::Shape { .. })), "{place}: {result:?}");
            }
        }
    }
}

// Products of a caller's numbers, which would wrap to a shape that fits.
#[test]
fn sizes_that_no_memory_holds_are_refused() {
    let half = 1 << (usize::BITS / 2);
    for device in devices() {
        is_too_large(Linear::new(device, half, half, &[], None));
        is_too_large(Convolution3x3::new(device, half, half, &[], &[]));
        is_too_large(TransposedConvolution::new(device, half, half, half, &[], &[], UpsampleInput::Tokens));
        let mut recorder = Recorder::new(device);
        let input = recorder.input(&[1, 5, 8]).unwrap();
        is_too_large(recorder.film(half, &input, None, None));
        is_too_large(recorder.film(usize::MAX / 8, &input, None, None));
        is_too_large(recorder.bicubic_positions(&recorder.input(&[5, 8]).unwrap(), half, half));
        let layer = Convolution3x3::new(device, 4, 8, &[0.5; 4 * 8 * 9], &[0.0; 4]).unwrap();
        for (size, skip) in [((half, half), 5), ((usize::MAX, 1), 6), ((2, 2), usize::MAX)] {
            is_too_large(recorder.conv2d_3x3(&input, size, skip, &layer, Activation::None));
        }
    }
}

fn is_too_large<T>(result: Result<T>) {
    assert!(matches!(result.err(), Some(Error::Shape { .. } | Error::TooLarge { .. })));
}

#[test]
fn a_run_without_outputs_reads_nothing() {
    for device in devices() {
        let mut recorder = Recorder::new(device);
        let input = recorder.input(&[2, 3]).unwrap();
        let kept = recorder.sigmoid(&input).unwrap();
        recorder.output(&kept).unwrap();
        let plan = recorder.finish().unwrap();
        assert!(pollster::block_on(plan.run().finish(&[])).unwrap().is_empty());
    }
}

fn is_refused<T>(result: Result<T>) {
    match result {
        Err(Error::OtherDevice { .. }) => {}
        Err(error) => panic!("refused for another reason: {error}"),
        Ok(_) => panic!("memory of another device was taken for this one's"),
    }
}

#[test]
fn what_lies_on_another_device_is_refused_by_ops_and_plans() {
    for other in devices().iter().map(another) {
        let other = &other;
        let foreign = other.upload(&[3, 64], &Random(1).values(192)).unwrap();
        let foreign_layer = Linear::new(other, 64, 64, &diagonal(64, 2.0), None).unwrap();
        for device in devices() {
            let layer = Linear::new(device, 64, 64, &diagonal(64, 2.0), None).unwrap();
            let mut recorder = Recorder::new(device);
            let input = recorder.input(&[3, 64]).unwrap();
            is_refused(recorder.linear(&foreign, &layer));
            is_refused(recorder.linear(&input, &foreign_layer));
            is_refused(recorder.linear_with(&input, &layer, Activation::None, Some(&foreign)));
            is_refused(recorder.output(&foreign));
            let output = recorder.linear(&input, &layer).unwrap();
            let output = recorder.output(&output).unwrap();
            let plan = recorder.finish().unwrap();

            let mut run = plan.run();
            is_refused(run.copy_in(&foreign, &input));
            is_refused(run.copy_out(&output, &foreign));
            is_refused(run.write(&foreign, &Random(2).values(192)));
            is_refused(pollster::block_on(run.finish(&[&foreign])));
            // The plan itself is none the worse for it.
            let values = Random(3).values(192);
            let mut run = plan.run();
            run.write(&input, &values).unwrap();
            let actual = pollster::block_on(run.finish(&[&output])).unwrap();
            let expected: Vec<_> = values.iter().map(|value| 2.0 * value).collect();
            assert_close(&actual[0].values, &expected, 0.0);
        }
    }
}

//! What the processor does otherwise than a GPU. That its numbers are right, the other tests of the ops show.

use std::sync::Arc;

use clipseg_tensor::{
    Activation, AdapterChoice, Device, DeviceOptions, Error, KernelFamily, Linear, Plan, Precision, Recorder,
    Tensor,
};
use rayon::prelude::*;

use super::support::{Random, assert_close};

fn open(options: DeviceOptions) -> Device {
    let options = DeviceOptions { adapter: AdapterChoice::Processor, ..options };
    Device::open(&options).expect("the processor is always there")
}

fn product(device: &Device, weight: &[f32]) -> (Plan, Tensor, Tensor) {
    let layer = Linear::new(device, 64, 64, weight, None).expect("a layer");
    let mut recorder = Recorder::new(device);
    let input = recorder.input(&[100, 64]).expect("an input");
    let output = recorder.linear_with(&input, &layer, Activation::QuickGelu, None).expect("the op");
    let output = recorder.output(&output).expect("an output");
    (recorder.finish().expect("a plan"), input, output)
}

fn run((plan, input, output): &(Plan, Tensor, Tensor), values: &[f32]) -> Vec<f32> {
    let mut run = plan.run();
    run.write(input, values).expect("as many values");
    pollster::block_on(run.finish(&[output])).expect("a run").remove(0).values
}

#[test]
fn it_is_taken_where_no_gpu_is_and_nobody_asks_for_kernels() {
    let default = Device::open(&DeviceOptions::default()).unwrap();
    assert!(default.is_processor() || default.info().device_type != wgpu::DeviceType::Cpu);
    let workgroup = DeviceOptions { kernels: KernelFamily::Workgroup, ..DeviceOptions::default() };
    assert!(Device::open(&workgroup).is_ok_and(|device| !device.is_processor()));
    let both = DeviceOptions { adapter: AdapterChoice::Processor, ..workgroup };
    let refused = Device::open(&both).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::Adapter { .. }) && refused.to_string().contains("kernels"), "{refused}");
}

#[test]
fn a_word_names_it() {
    for (word, choice) in [("cpu", AdapterChoice::Processor), ("driver", AdapterChoice::Driver)] {
        assert_eq!(word.parse(), Ok(choice.clone()));
        assert_eq!(word.to_uppercase().parse(), Ok(choice));
    }
}

// A thread that waits for a run may take up other work of its pool. Were that a run of the same plan, it
// would wait for itself.
#[test]
fn threads_of_a_pool_share_a_plan() {
    let plan = Arc::new(product(&open(DeviceOptions::default()), &Random(1).values(64 * 64)));
    let inputs: Vec<_> = (0..40).map(|seed| Random(seed).values(6400)).collect();
    let expected: Vec<_> = inputs.iter().map(|values| run(&plan, values)).collect();
    let actual: Vec<_> = inputs.par_iter().map(|values| run(&plan, values)).collect();
    assert_eq!(actual, expected);
}

#[test]
fn f16_rounds_weights_and_nothing_else() {
    let weight = Random(2).values(64 * 64);
    let rounded: Vec<_> = weight.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect();
    let input = Random(3).values(6400);
    let in_halves = DeviceOptions { precision: Precision::F16, ..DeviceOptions::default() };
    let expected = run(&product(&open(DeviceOptions::default()), &rounded), &input);
    assert_close(&run(&product(&open(in_halves), &weight), &input), &expected, 0.0);
}

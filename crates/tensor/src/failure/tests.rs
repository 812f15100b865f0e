use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::faults::{self, Fault};
use super::*;
use crate::{Activation, AdapterChoice, DeviceOptions, Linear, Plan, Recorder, Tensor};

fn open() -> Device {
    let options = DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() };
    Device::open(&options).expect("this test needs an adapter")
}

/// Fails on any adapter: a buffer that is mapped for reading cannot be a storage buffer.
fn fail(device: &Device) -> Result<()> {
    device.guard(|| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("impossible"),
            size: 16,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })?;
        Ok(())
    })
}

fn try_doubling(device: &Device) -> Result<(Plan, Tensor, Tensor)> {
    let mut weight = vec![0.0; 64 * 64];
    (0..64).for_each(|i| weight[i * 65] = 2.0);
    let layer = Linear::new(device, 64, 64, &weight, None)?;
    let mut recorder = Recorder::new(device);
    let input = recorder.input(&[3, 64])?;
    let output = recorder.linear_with(&input, &layer, Activation::None, None)?;
    let output = recorder.output(&output)?;
    Ok((recorder.finish()?, input, output))
}

fn doubling(device: &Device) -> (Plan, Tensor, Tensor) {
    try_doubling(device).unwrap()
}

fn run((plan, input, output): &(Plan, Tensor, Tensor), value: f32) -> Result<Vec<f32>> {
    let mut run = plan.run();
    run.write(input, &[value; 192])?;
    Ok(pollster::block_on(run.finish(&[output]))?.remove(0).values)
}

#[test]
fn a_failure_is_told_to_the_thread_whose_it_is_and_to_no_other() {
    let device = open();
    let plan = doubling(&device);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let mut failures = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(matches!(fail(&device), Err(Error::Device(_))));
                failures += 1;
            }
            failures
        });
        let working: Vec<_> = (0..3)
            .map(|number| {
                let (device, plan) = (&device, &plan);
                scope.spawn(move || {
                    for turn in 0..20 {
                        let value = (number * 100 + turn) as f32;
                        assert_eq!(run(plan, value).unwrap(), [2.0 * value; 192]);
                        device.upload(&[4], &[value; 4]).unwrap();
                        device.wait().unwrap();
                    }
                })
            })
            .collect();
        for thread in working {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(failing.join().unwrap() > 0);
    });
}

#[test]
fn a_read_back_that_fails_leaves_the_next_one_unharmed() {
    let device = open();
    let plan = doubling(&device);
    let (plan_alone, _, output) = &plan;
    // More than the largest buffer takes.
    let limit = device.limits().max_buffer_size;
    let too_many = vec![output; (limit / 768) as usize + 1];
    for value in [1.0, 2.0] {
        let failed = pollster::block_on(plan_alone.run().finish(&too_many));
        assert!(matches!(failed, Err(Error::Device(_) | Error::OutOfMemory(_))), "{failed:?}");
        assert_eq!(run(&plan, value).unwrap(), [2.0 * value; 192]);
    }
}

#[test]
fn a_lost_device_stays_lost_and_others_do_not() {
    let (lost, other) = (open(), open());
    let plan = doubling(&lost);
    run(&plan, 1.0).unwrap();
    lost.destroy();
    for _ in 0..2 {
        let results = [
            run(&plan, 1.0).map(|_| ()),
            lost.upload(&[4], &[0.0; 4]).map(|_| ()),
            Recorder::new(&lost).input(&[4]).map(|_| ()),
            lost.wait(),
        ];
        for result in results {
            assert!(matches!(result, Err(Error::DeviceLost(_))), "{result:?}");
        }
    }
    assert_eq!(run(&doubling(&other), 3.0).unwrap(), [6.0; 192]);
}

#[test]
fn a_read_back_can_be_given_up_and_awaited_on_another_thread() {
    let device = open();
    let plan = doubling(&device);
    for _ in 0..3 {
        drop(plan.0.run());
        drop(plan.0.run().finish(&[&plan.2]));
        assert_eq!(device.memory_use().read_back, 0);
    }
    let mut started = plan.0.run();
    started.write(&plan.1, &[4.0; 192]).unwrap();
    let read_back = started.finish(&[&plan.2]);
    // The plan is free again, and what was submitted keeps its own numbers.
    assert_eq!(run(&plan, 5.0).unwrap(), [10.0; 192]);
    let values = thread::spawn(move || pollster::block_on(read_back)).join().unwrap().unwrap();
    assert_eq!(values[0].values, [8.0; 192]);
}

/// Everything from the weights to the numbers: uploads, recording, the run and reading it back.
fn whole(device: &Device, value: f32) -> Result<Vec<f32>> {
    run(&try_doubling(device)?, value)
}

/// The results of [`whole`] while each of its pieces of work fails in turn. For the last result the fault was
/// placed behind the last piece, so it did not strike.
fn results_of(
    fault: Fault,
    device: impl Fn() -> Device,
    mut also: impl FnMut(&Device),
) -> Vec<Result<Vec<f32>>> {
    let mut results = Vec::new();
    loop {
        let device = device();
        faults::at(results.len(), fault);
        let result = whole(&device, 1.5);
        let has_failed = faults::end().is_none();
        results.push(result);
        if !has_failed {
            return results;
        }
        also(&device);
    }
}

/// The least number of pieces of work in [`whole`]; the main ones are weights, input, output, parameters and
/// bind groups, writing the input, staging, submitting and mapping.
const PIECES: usize = 9;

#[test]
fn whatever_fails_is_told_and_harms_nothing_that_follows() {
    let device = open();
    let plan = doubling(&device);
    for fault in [Fault::OutOfMemory, Fault::Refused] {
        let mut results = results_of(
            fault,
            || device.clone(),
            |device| {
                assert_eq!(run(&plan, 7.0).unwrap(), [14.0; 192], "a plan that was there");
                assert_eq!(whole(device, 8.0).unwrap(), [16.0; 192], "a new one");
            },
        );
        assert_eq!(results.pop().unwrap().unwrap(), [3.0; 192]);
        assert!(results.len() >= PIECES, "{}", results.len());
        for result in results {
            match fault {
                Fault::OutOfMemory => assert!(matches!(result, Err(Error::OutOfMemory(_))), "{result:?}"),
                _ => assert!(matches!(result, Err(Error::Device(_))), "{result:?}"),
            }
        }
    }
}

/// Seven threads that run `plan` over and over until `done`, or until it fails. Each returns how many runs
/// succeeded, and the failure if there was one.
fn seven_at_work<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    plan: &'scope (Plan, Tensor, Tensor),
    done: &'scope AtomicBool,
) -> Vec<thread::ScopedJoinHandle<'scope, (usize, Option<Error>)>> {
    let work = move |number: usize| {
        for turn in 0.. {
            if done.load(Ordering::Relaxed) {
                return (turn, None);
            }
            let value = (1000 * number + turn) as f32;
            match run(plan, value) {
                Ok(values) => assert_eq!(values, [2.0 * value; 192]),
                Err(error) => return (turn, Some(error)),
            }
        }
        unreachable!()
    };
    (0..7).map(|number| scope.spawn(move || work(number))).collect()
}

#[test]
fn seven_others_do_not_notice_what_fails_in_one_thread() {
    let device = open();
    let plan = doubling(&device);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = seven_at_work(scope, &plan, &done);
        let results = results_of(Fault::OutOfMemory, || device.clone(), |_| ());
        done.store(true, Ordering::Relaxed);
        assert!(results.len() > PIECES);
        for other in others {
            let (_, failure) = other.join().unwrap();
            assert!(failure.is_none(), "{failure:?}");
        }
    });
}

#[test]
fn a_loss_is_called_a_loss_wherever_it_comes() {
    let mut results = results_of(Fault::Loss, open, |lost| {
        let after = whole(lost, 1.0);
        assert!(matches!(after, Err(Error::DeviceLost(_))), "{after:?}");
    });
    assert_eq!(results.pop().unwrap().unwrap(), [3.0; 192]);
    assert!(results.len() >= PIECES);
    for result in results {
        assert!(matches!(result, Err(Error::DeviceLost(_))), "{result:?}");
    }
}

#[test]
fn all_who_are_at_work_are_told_of_a_loss() {
    for turn in 0..10 {
        let device = open();
        let plan = doubling(&device);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let others = seven_at_work(scope, &plan, &done);
            // Each turn destroys the device at another moment of their runs.
            for _ in 0..turn {
                run(&plan, 1.0).unwrap();
            }
            device.destroy();
            for other in others {
                let (_, failure) = other.join().unwrap();
                assert!(matches!(failure, Some(Error::DeviceLost(_))), "{failure:?}");
            }
        });
    }
}

#[test]
fn what_is_on_its_way_when_the_device_is_lost_is_lost() {
    let device = open();
    let plan = doubling(&device);
    let mut started = plan.0.run();
    started.write(&plan.1, &[4.0; 192]).unwrap();
    let read_back = started.finish(&[&plan.2]);
    device.destroy();
    let result = pollster::block_on(read_back);
    assert!(matches!(result, Err(Error::DeviceLost(_))), "{result:?}");
    device.destroy();
}

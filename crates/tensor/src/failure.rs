//! Whose failure it is: error scopes around each piece of work, and the loss of the device, which is everyone's.

use std::sync::{Arc, OnceLock};

use crate::{Device, Error, Result};

/// The failures of a device that no single caller is to blame for.
#[derive(Default)]
pub(crate) struct Failures {
    /// Why the device was lost. Once lost it stays so.
    lost: OnceLock<String>,
    /// What a browser reported: there an error scope answers only later, and there is one thread alone whose failure it can be.
    #[cfg(target_family = "wasm")]
    reported: std::sync::Mutex<Option<Error>>,
}

impl Failures {
    /// The failures of `gpu`, from now on.
    pub fn of(gpu: &wgpu::Device) -> Arc<Self> {
        let failures = Arc::new(Self::default());
        let of_device = Arc::clone(&failures);
        gpu.set_device_lost_callback(move |reason, message| {
            log::error!("device lost ({reason:?}): {message}");
            // The first reason is the one that the others follow from.
            let _ = of_device.lost.set(format!("{reason:?}: {message}"));
        });
        #[cfg(target_family = "wasm")]
        let of_device = Arc::clone(&failures);
        // Without a handler of ours wgpu would panic.
        gpu.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            log::error!("outside any scope: {error}");
            #[cfg(target_family = "wasm")]
            if let Ok(mut reported) = of_device.reported.lock() {
                reported.get_or_insert(error.into());
            }
        }));
        failures
    }

    /// Whether the device can still be used.
    pub fn check(&self) -> Result<()> {
        if let Some(reason) = self.lost.get() {
            return Err(Error::DeviceLost(reason.clone()));
        }
        #[cfg(target_family = "wasm")]
        if let Some(error) = self.reported.lock().ok().and_then(|mut reported| reported.take()) {
            return Err(error);
        }
        Ok(())
    }

    /// Does a piece of work on `gpu` and gives its failure alone, whatever other threads do meanwhile: wgpu keeps scopes per
    /// thread. What was made in work that failed may be unusable: drop it.
    pub fn guard<T>(&self, gpu: &wgpu::Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.check()?;
        #[cfg(not(target_family = "wasm"))]
        let scopes = {
            use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
            [Internal, Validation, OutOfMemory].map(|filter| gpu.push_error_scope(filter))
        };
        #[cfg(target_family = "wasm")]
        let _ = gpu;
        let result = work();
        #[cfg(not(target_family = "wasm"))]
        // The last one first, as they are nested. Out of memory outdoes what follows from it.
        let failure = scopes.into_iter().rev().fold(None, |failure, scope| {
            let of_scope = pollster::block_on(scope.pop());
            failure.or(of_scope)
        });
        // A loss explains whatever else went wrong.
        self.check()?;
        #[cfg(not(target_family = "wasm"))]
        if let Some(error) = failure {
            return Err(error.into());
        }
        result
    }
}

impl Device {
    /// As [`Failures::guard`], on this device.
    pub(crate) fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.gpu() {
            Ok(gpu) => gpu.failures.guard(&gpu.device, work),
            // The processor tells its failures where they happen.
            Err(_) => work(),
        }
    }
}

impl From<wgpu::Error> for Error {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::OutOfMemory(error.to_string()),
            wgpu::Error::Validation { .. } | wgpu::Error::Internal { .. } => Self::Device(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::{Activation, AdapterChoice, DeviceOptions, Linear, Plan, Recorder, Tensor};

    fn open() -> Device {
        let options = DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() };
        Device::open(&options).expect("this test needs an adapter")
    }

    /// A failure that any adapter has: a buffer that is mapped for reading cannot be a storage buffer.
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

    fn doubling(device: &Device) -> (Plan, Tensor, Tensor) {
        let mut weight = vec![0.0; 64 * 64];
        (0..64).for_each(|i| weight[i * 65] = 2.0);
        let layer = Linear::new(device, 64, 64, &weight, None).unwrap();
        let mut recorder = Recorder::new(device);
        let input = recorder.input(&[3, 64]).unwrap();
        let output = recorder.linear_with(&input, &layer, Activation::None, None).unwrap();
        let output = recorder.output(&output).unwrap();
        (recorder.finish().unwrap(), input, output)
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
        let gpu = &lost.gpu().unwrap().device;
        gpu.destroy();
        let _ = gpu.poll(wgpu::PollType::Poll);
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
            drop(plan.0.run().finish(&[&plan.2]));
        }
        let mut started = plan.0.run();
        started.write(&plan.1, &[4.0; 192]).unwrap();
        let read_back = started.finish(&[&plan.2]);
        // The plan is free again, and what was submitted keeps its own numbers.
        assert_eq!(run(&plan, 5.0).unwrap(), [10.0; 192]);
        let values = thread::spawn(move || pollster::block_on(read_back)).join().unwrap().unwrap();
        assert_eq!(values[0].values, [8.0; 192]);
    }
}

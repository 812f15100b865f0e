//! The engine on a device that its host opened and goes on using.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use clipseg::{
    Array, ClipSegForImageSegmentation, ConditionInput, Device, DeviceError, DeviceOptions, Error,
    ImageInput, OutputOptions, PipelineStore, SegmentationInput, TextInput, minimum_limits,
    required_features, required_limits, wgpu,
};
use clipseg_tests::host::{Host, adapter};
use clipseg_tests::{DEVICE, WORKGROUP, assert_close, load, random, random_ids};
use pollster::block_on;

const SIDE: usize = 48;
const LENGTH: usize = 7;

/// The logits of a small model for the same inputs each time.
fn logits(model: &ClipSegForImageSegmentation) -> clipseg::Result<Array> {
    let pixels = random(1, 3 * SIDE * SIDE);
    let images = ImageInput { pixel_values: &pixels, batch: 1, height: SIDE, width: SIDE };
    let ids = random_ids(4, 1, LENGTH, model.config().text_config.eos_token_id);
    let text = TextInput { input_ids: &ids, length: LENGTH, attention_mask: None, position_ids: None };
    let condition = ConditionInput::Text(text);
    let input = SegmentationInput { images, condition, labels: None, options: OutputOptions::default() };
    Ok(block_on(model.forward(input))?.logits)
}

fn engine(host: &Host) -> Device {
    host.engine(&DeviceOptions::default()).expect("the device has all that is needed")
}

/// A failure of the engine's own: more is read back than the largest buffer takes.
fn fail(device: &Device) -> clipseg_tensor::Error {
    let mut recorder = clipseg_tensor::Recorder::new(device);
    let input = recorder.input(&[1 << 18]).expect("it fits");
    let output = recorder.activation(&input, clipseg_tensor::Activation::Relu).expect("it fits");
    let output = recorder.output(&output).expect("it fits");
    let plan = recorder.finish().expect("it fits");
    let too_many = vec![&output; (device.limits().max_buffer_size >> 20) as usize + 1];
    block_on(plan.run().finish(&too_many)).expect_err("it does not fit")
}

fn is_lost<T: std::fmt::Debug>(result: clipseg::Result<T>) -> bool {
    matches!(result, Err(Error::Device(DeviceError::DeviceLost(_))))
}

#[test]
fn a_model_gives_the_same_as_on_a_device_of_its_own() {
    let [expected, of_subgroups] =
        [&*WORKGROUP, &*DEVICE].map(|device| logits(&load(device, "tiny-complex")).unwrap());
    for limits in [wgpu::Limits::default(), minimum_limits()] {
        let host = Host::open(wgpu::Features::empty(), limits.clone());
        let device = engine(&host);
        assert_eq!(device.limits(), &limits, "not those of the adapter");
        // Without the adapter's subgroups another kernel computes some of the matrix products.
        let found = logits(&load(&device, "tiny-complex")).unwrap();
        assert_close(&found.values, &expected.values, 1e-5);
        assert_eq!(host.told(), 0);
    }
    let adapter = adapter();
    let (features, limits) = (required_features(&adapter), required_limits(&adapter));
    let host = Host::on(adapter, features, limits);
    let device = engine(&host);
    assert_eq!(device.kernels(), DEVICE.kernels());
    assert!(logits(&load(&device, "tiny-complex")).unwrap() == of_subgroups);
    assert_eq!(host.told(), 0);
}

#[test]
fn the_hosts_handlers_hear_of_its_own_errors_alone() {
    let host = Host::plain();
    let device = engine(&host);
    let model = load(&device, "tiny-complex");
    let expected = logits(&model).unwrap();
    host.make_a_mistake();
    assert_eq!(host.told(), 1);
    let failure = fail(&device);
    assert!(matches!(failure, DeviceError::Device(_) | DeviceError::OutOfMemory(_)), "{failure:?}");
    assert_eq!(host.told(), 1);
    // An error scope of the host around the engine's failure catches nothing either.
    let scope = host.device.push_error_scope(wgpu::ErrorFilter::Validation);
    fail(&device);
    assert!(block_on(scope.pop()).is_none());
    assert!(logits(&model).unwrap() == expected);
    assert!(host.losses.lock().unwrap().is_empty());
}

#[test]
fn what_a_device_lacks_is_named() {
    let small = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 4,
        max_compute_workgroups_per_dimension: 1000,
        ..wgpu::Limits::default()
    };
    let host = Host::open(wgpu::Features::empty(), small);
    let Err(DeviceError::Limits { missing, adapter }) = host.engine(&DeviceOptions::default()) else {
        panic!("it is too small")
    };
    assert_eq!(adapter, host.adapter.get_info().name);
    let missing: Vec<_> = missing.iter().map(|limit| (limit.name, limit.needed, limit.has)).collect();
    assert_eq!(
        missing,
        [
            ("max_storage_buffers_per_shader_stage", 5, 4),
            ("max_compute_workgroups_per_dimension", 65535, 1000)
        ]
    );
    let message = host.engine(&DeviceOptions::default()).unwrap_err().to_string();
    assert!(message.contains("max_storage_buffers_per_shader_stage of 4 where 5 is needed"), "{message}");
    assert!(message.contains("minimum_limits()"), "{message}");

    // Kernels that the adapter could run, on a device that was opened without what they need.
    let options = DeviceOptions { kernels: clipseg::KernelFamily::Subgroup, ..DeviceOptions::default() };
    let refused = Host::plain().engine(&options);
    assert!(matches!(refused, Err(DeviceError::Adapter { .. })), "{refused:?}");
}

#[test]
fn two_engines_share_a_device() {
    let host = Host::plain();
    let models = [0, 1].map(|_| load(&engine(&host), "tiny-complex"));
    let expected = logits(&models[0]).unwrap();
    std::thread::scope(|scope| {
        for model in &models {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert!(logits(model).unwrap() == expected);
                }
            });
        }
    });
    let [first, second] = models;
    first.device().destroy();
    assert!(is_lost(logits(&first)));
    drop(first);
    assert!(logits(&second).unwrap() == expected, "the other engine goes on");
    host.make_a_mistake();
    assert_eq!(host.told(), 1, "and so does the host's device");
    assert!(host.losses.lock().unwrap().is_empty());
}

#[test]
fn a_loss_on_the_hosts_side_is_called_a_loss() {
    let host = Host::plain();
    let device = engine(&host);
    let model = load(&device, "tiny-complex");
    logits(&model).unwrap();
    host.device.destroy();
    assert!(is_lost(logits(&model)));
    assert!(matches!(device.upload(&[4], &[0.0; 4]), Err(DeviceError::DeviceLost(_))));
    assert!(matches!(device.wait(), Err(DeviceError::DeviceLost(_))));
    assert!(is_lost(logits(&model)), "it stays so");
    let late = host.engine(&DeviceOptions::default());
    assert!(matches!(late, Err(DeviceError::DeviceLost(_))), "{late:?}");
    assert_eq!(host.told(), 0);
    // The host's handler is called as if the engine were not there.
    let _ = host.device.poll(wgpu::PollType::wait_indefinitely());
    assert_eq!(host.losses.lock().unwrap().len(), 1);
}

#[test]
fn the_engine_waits_for_its_own_work_alone() {
    let host = Host::plain();
    let device = engine(&host);
    let model = load(&device, "tiny-complex");
    let expected = logits(&model).unwrap();
    let (pixels, ids) =
        (random(1, 3 * SIDE * SIDE), random_ids(4, 1, LENGTH, model.config().text_config.eos_token_id));
    let images = ImageInput { pixel_values: &pixels, batch: 1, height: SIDE, width: SIDE };
    let text = TextInput { input_ids: &ids, length: LENGTH, attention_mask: None, position_ids: None };
    let scene = block_on(model.encode_image(images)).unwrap();
    let condition = block_on(model.encode_text(text)).unwrap();
    let frame = host.submit_a_long_frame();
    device.wait().unwrap();
    assert!(!frame.load(Ordering::SeqCst), "the host's frame came later and is not waited for");
    // Work that is submitted behind the frame waits for it, as queues work in order.
    assert!(block_on(model.decode(&scene, &condition)).unwrap() == expected);
    assert!(frame.load(Ordering::SeqCst));
}

#[test]
fn pipelines_are_kept_in_the_hosts_cache() {
    let adapter = adapter();
    if !adapter.features().contains(wgpu::Features::PIPELINE_CACHE) {
        eprintln!("this adapter keeps no pipelines; nothing is tested");
        return;
    }
    let host = Host::on(adapter.clone(), wgpu::Features::PIPELINE_CACHE, wgpu::Limits::default());
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("host"), data: None, fallback: true };
    // SAFETY: there are no data.
    let cache = unsafe { host.device.create_pipeline_cache(&descriptor) };
    let options = DeviceOptions {
        pipeline_cache: Some(PipelineStore::Cache(cache.clone())),
        ..DeviceOptions::default()
    };
    logits(&load(&host.engine(&options).unwrap(), "tiny-complex")).unwrap();
    assert_eq!(host.told(), 0);

    // On another device the cache cannot be used, and the failure there shows that it is used at all.
    let other = Host::on(adapter, wgpu::Features::PIPELINE_CACHE, wgpu::Limits::default());
    let refused = logits(&load(&other.engine(&options).unwrap(), "tiny-complex"));
    assert!(matches!(refused, Err(Error::Device(DeviceError::Device(_)))), "{refused:?}");
    assert_eq!(other.told(), 0);

    let options = DeviceOptions { adapter: clipseg::AdapterChoice::Driver, ..options };
    let elsewhere = [Device::open(&options).map(|_| ()), Host::plain().engine(&options).map(|_| ())];
    for refused in elsewhere {
        assert!(matches!(refused, Err(DeviceError::Adapter { .. })), "{refused:?}");
    }
}

/// Submits a frame of the host's that does next to nothing, and gives the time until it is done.
fn frame(host: &Host) -> Duration {
    let begin = Instant::now();
    let is_done = Arc::new(AtomicBool::new(false));
    let buffer = host.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("frame"),
        size: 1024,
        usage: wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = host.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.clear_buffer(&buffer, 0, None);
    host.queue.submit([encoder.finish()]);
    let done = Arc::clone(&is_done);
    host.queue.on_submitted_work_done(move || done.store(true, Ordering::SeqCst));
    while !is_done.load(Ordering::SeqCst) {
        let _ = host.device.poll(wgpu::PollType::Poll);
        std::thread::sleep(Duration::from_micros(100));
    }
    begin.elapsed()
}

/// The time of the longest of the frames that are drawn while another thread does `work`.
fn longest_frame(host: &Host, work: impl FnOnce() + Send) -> Duration {
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        let mut longest = Duration::ZERO;
        while !work.is_finished() {
            longest = longest.max(frame(host));
        }
        work.join().expect("no panic");
        longest
    })
}

#[test]
fn long_runs_are_submitted_in_parts_between_frames() {
    const SIDE: usize = 384;
    let adapter = adapter();
    let (features, limits) = (required_features(&adapter), required_limits(&adapter));
    let host = Host::on(adapter, features, limits);
    let longest = Duration::from_millis(5);
    let whole = engine(&host);
    let in_parts = host
        .engine(&DeviceOptions { longest_submission: Some(longest), ..DeviceOptions::default() })
        .unwrap();
    let models = [&whole, &in_parts].map(|device| load(device, "tiny-complex"));
    let pixels = random(1, 3 * SIDE * SIDE);
    let images = ImageInput { pixel_values: &pixels, batch: 1, height: SIDE, width: SIDE };
    let embed = |model: &ClipSegForImageSegmentation| block_on(model.encode_image_prompt(images)).unwrap();
    let [expected, found] = models.each_ref().map(embed);
    assert!(found.embeddings == expected.embeddings, "the same kernels in the same order");

    let [in_one, in_many] = models.each_ref().map(|model| {
        let before = model.device().submissions();
        let frames = longest_frame(&host, || drop(embed(model)));
        println!("frames took at most {frames:?}");
        model.device().submissions() - before
    });
    assert_eq!(in_one, 1);
    assert!(in_many > 3, "{in_many} submissions");

    // A run whose future is dropped stops: at most the submission that the device works on is finished.
    let before = in_parts.submissions();
    let mut future = Box::pin(models[1].encode_image_prompt(images));
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    while in_parts.submissions() == before {
        std::thread::yield_now();
    }
    drop(future);
    // This run is queued behind the dropped one, so all of that one is over when this is done.
    assert!(embed(&models[1]).embeddings == expected.embeddings);
    let submissions = in_parts.submissions() - before;
    assert!(submissions < 2 * in_many, "{submissions} where {in_many} are a whole run");
    assert_eq!(host.told(), 0);
}

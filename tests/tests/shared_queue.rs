//! A host and the engine hand work to the same queue, each when it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use clipseg::{
    ClipSegForImageSegmentation, Device, DeviceOptions, EncodedImage, ImageInput, TextInput, wgpu,
};
use clipseg_tensor::{Activation, Recorder};
use clipseg_tests::host::Host;
use clipseg_tests::{load, random, random_ids};
use pollster::block_on;

/// A photo's pixels for the model, another one for each seed.
struct Photo(Vec<f32>, usize);

impl Photo {
    fn new(seed: u64, side: usize) -> Self {
        Self(random(seed, 3 * side * side), side)
    }

    fn input(&self) -> ImageInput<'_> {
        ImageInput { pixel_values: &self.0, batch: 1, height: self.1, width: self.1 }
    }
}

fn engine(host: &Host) -> Device {
    host.engine(&DeviceOptions::default()).expect("it works alone")
}

fn in_parts(host: &Host, longest: Duration) -> Device {
    host.engine(&DeviceOptions { longest_submission: Some(longest), ..DeviceOptions::default() })
        .expect("it works alone")
}

/// The logits of an image for the same prompt each time.
fn logits(model: &ClipSegForImageSegmentation, image: &EncodedImage) -> Vec<f32> {
    let ids = random_ids(4, 1, 7, model.config().text_config.eos_token_id);
    let text = TextInput { input_ids: &ids, length: 7, attention_mask: None, position_ids: None };
    let condition = block_on(model.encode_text(text)).expect("it works alone");
    block_on(model.decode(image, &condition)).expect("it works alone").values
}

// The memory used to be given to the work that was submitted first, which these commands then overwrote.
#[test]
fn an_image_that_unsubmitted_commands_make_is_not_given_to_other_work() {
    let host = Host::plain();
    let device = engine(&host);
    let model = load(&device, "tiny-complex");
    let photos = [1, 2].map(|seed| Photo::new(seed, 48));
    let encode = |place: usize| block_on(model.encode_image(photos[place].input())).unwrap();
    let expected = logits(&model, &encode(1));
    let (_, commands) =
        device.commands(|| block_on(model.encode_image(photos[0].input())).map(drop)).unwrap();
    let kept = encode(1);
    host.queue.submit(commands);
    assert!(logits(&model, &kept) == expected, "the commands have overwritten another image");
    drop(kept);

    // Commands that are never submitted let go of it, too.
    let (image, commands) = device.commands(|| block_on(model.encode_image(photos[0].input()))).unwrap();
    drop((image, commands));
    drop(encode(1));
    device.trim();
    assert_eq!(device.memory_use().encoded_images, 0);
    assert_eq!(host.told(), 0);
}

// Both used to run the same plan, whose memory holds what a run has computed so far.
#[test]
fn a_hosts_commands_between_two_parts_of_a_run_leave_it_alone() {
    let host = Host::plain();
    let device = in_parts(&host, Duration::from_millis(1));
    let model = load(&device, "tiny-complex");
    let photos = [1, 2].map(|seed| Photo::new(seed, 384));
    let expected = logits(&model, &block_on(model.encode_image(photos[0].input())).unwrap());
    for _ in 0..3 {
        let before = device.submissions();
        let mut running = Box::pin(model.encode_image(photos[0].input()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(running.as_mut().poll(&mut context).is_pending());
        let (_, commands) =
            device.commands(|| block_on(model.encode_image(photos[1].input())).map(drop)).unwrap();
        while device.submissions() < before + 2 {
            thread::yield_now();
        }
        host.queue.submit(commands);
        assert!(logits(&model, &block_on(running).unwrap()) == expected, "it went on with another photo");
    }
}

// What the host's frames took used to be taken for the engine's own time, so that parts became shorter and
// shorter until each was a single workgroup.
#[test]
fn a_busy_host_does_not_make_parts_ever_shorter() {
    let host = Host::plain();
    let device = in_parts(&host, Duration::from_millis(2));
    let model = load(&device, "tiny-complex");
    let photo = Photo::new(1, 384);
    let encode = || {
        let before = device.submissions();
        drop(block_on(model.encode_image(photo.input())).unwrap());
        device.submissions() - before
    };
    // The first run is cut by a guess.
    encode();
    let is_over = AtomicBool::new(false);
    let counts: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let frame = host.submit_a_frame(2_000);
                while !frame.load(Ordering::SeqCst) {
                    let _ = host.device.poll(wgpu::PollType::Poll);
                    thread::sleep(Duration::from_micros(100));
                }
            }
        });
        let counts = (0..6).map(|_| encode()).collect();
        is_over.store(true, Ordering::SeqCst);
        counts
    });
    println!("submissions of one run after another: {counts:?}");
    let first = counts[0].max(counts[1]);
    assert!(counts[5] <= 3 * first, "{counts:?}");
}

// The engine used to hold a lock while it submitted, which is when wgpu calls callbacks.
#[test]
fn a_callback_of_the_host_may_wait_for_the_engine() {
    let host = Host::plain();
    let device = engine(&host);
    let (done, is_done) = mpsc::channel();
    let waiting = device.clone();
    let frame = host.submit_a_frame(10);
    host.queue.on_submitted_work_done(move || done.send(waiting.wait()).unwrap());
    while !frame.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
        drop(device.upload(&[2 << 20], &random(1, 2 << 20)).unwrap());
    }
    assert!(is_done.recv_timeout(Duration::from_secs(20)).expect("it returns").is_ok());
}

// It used to hold that lock while it waited, too, which is when wgpu calls callbacks as well.
#[test]
fn a_callback_of_the_host_may_wait_for_the_engine_while_that_waits() {
    let host = Host::plain();
    let device = engine(&host);
    let mut recorder = Recorder::new(&device);
    let input = recorder.input(&[64]).unwrap();
    let output = recorder.activation(&input, Activation::Relu).unwrap();
    recorder.output(&output).unwrap();
    let plan = recorder.finish().unwrap();
    plan.run().submit().unwrap();
    // It comes with the end of the run, for which the thread waits.
    let (of_callback, of_thread) = (device.clone(), device.clone());
    host.queue.on_submitted_work_done(move || of_callback.wait().unwrap());
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || done.send(of_thread.wait()));
    assert!(is_done.recv_timeout(Duration::from_secs(20)).expect("it returns").is_ok());
}

#[test]
fn an_error_in_a_callback_of_the_host_is_the_hosts() {
    let host = Arc::new(Host::plain());
    let device = engine(&host);
    let _frame = host.submit_a_frame(10);
    let of_host = Arc::downgrade(&host);
    host.queue.on_submitted_work_done(move || of_host.upgrade().expect("it is there").make_a_mistake());
    // The frame is done, and nobody has polled yet.
    thread::sleep(Duration::from_millis(500));
    let values = random(1, 2 << 20);
    // Enough that the engine submits and waits for its uploads, which is when wgpu calls back.
    for _ in 0..4 {
        device.upload(&[values.len()], &values).expect("it is not the engine's mistake");
    }
    assert_eq!(host.told(), 1);
}

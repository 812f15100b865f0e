//! What an async program needs to run the engine on whatever thread it has, and to give up when it likes.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use clipseg::{
    Array, ClipSeg, ClipSegModel, ClipSegTextModel, ClipSegVisionModel, ConditionInput, Device,
    DeviceOptions, ImageInput, MemoryUse, OutputOptions, Photo, Refinement, SegmentationInput, TextInput,
};
use clipseg_tests::{fixture, load, open_alone, random, random_ids};
use pollster::block_on;

const SIDE: usize = 48;
const LENGTH: usize = 7;

/// Makes a future three times: drops it before it is polled, drops it after its first poll, and then awaits
/// it on another thread, where the dropped ones must not be in the way.
fn give_up<T: Send, F: Future<Output = clipseg::Result<T>> + Send>(make: impl Fn() -> F) -> T {
    drop(make());
    let _ = pin!(make()).poll(&mut Context::from_waker(Waker::noop()));
    let future = make();
    let awaited = std::thread::scope(|scope| scope.spawn(|| block_on(future)).join());
    awaited.expect("no panic").expect("nothing is in the way")
}

#[test]
fn futures_can_be_sent_and_given_up() {
    let device = open_alone();
    let model = load(&device, "tiny-complex");
    let pixels = random(1, 3 * SIDE * SIDE);
    let images = ImageInput { pixel_values: &pixels, batch: 1, height: SIDE, width: SIDE };
    let ids = random_ids(4, 1, LENGTH, model.config().text_config.eos_token_id);
    let text = TextInput { input_ids: &ids, length: LENGTH, attention_mask: None, position_ids: None };
    let condition = ConditionInput::Text(text);
    let input = SegmentationInput { images, condition, labels: None, options: OutputOptions::default() };
    let all = || {
        let scene = give_up(|| model.encode_image(images));
        let condition = give_up(|| model.encode_text(text));
        give_up(|| model.encode_image_prompt(images));
        let output = give_up(|| model.forward(input));
        let logits = give_up(|| model.decode(&scene, &condition));
        assert_eq!(logits, output.logits);
        logits
    };
    let first = all();
    let memory = device.memory_use();
    for _ in 0..3 {
        assert_eq!(all(), first);
    }
    let after = device.memory_use();
    // When a future is dropped, the buffer that its result was to be read back through goes, and the next one
    // makes its own, so the sizes of the buffers that are kept differ.
    assert_eq!(MemoryUse { read_back: 0, ..after }, MemoryUse { read_back: 0, ..memory });
    assert!(after.read_back <= 2 * memory.read_back, "{after:?}, {memory:?}");
}

#[test]
fn futures_of_maps_and_of_the_towers_too() {
    let device = block_on(sent(Device::open_async(&DeviceOptions::default()))).unwrap();
    let model = ClipSeg::from_pretrained(&device, fixture("clipseg-shapes")).unwrap();
    let photo = Photo::from_rgb(40, 30, vec![100; 40 * 30 * 3]).unwrap();
    let scene = model.encode_image(&photo).unwrap();
    let segmentation = model.segment(&scene, &["a red star"]).unwrap();
    let resized = give_up(|| segmentation.resized_async(40, 30));
    let refined = give_up(|| segmentation.refined_async(&photo, Refinement::default()));
    assert_eq!(resized.logits().shape, refined.logits().shape);

    let pixels = model.processor().preprocess(&photo);
    let text = model.tokenizer().encode_batch(&["a red star"]).unwrap();
    let folder = fixture("clipseg-shapes");
    let towers = ClipSegModel::from_pretrained(&device, &folder).unwrap();
    let options = OutputOptions::default();
    give_up(|| towers.forward((&text).into(), (&pixels).into(), false, options));
    let texts = ClipSegTextModel::from_pretrained(&device, &folder).unwrap();
    give_up(|| texts.forward((&text).into(), options));
    let vision = ClipSegVisionModel::from_pretrained(&device, &folder).unwrap();
    give_up(|| vision.forward((&pixels).into(), options));
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A poll returns before the device is done, and the task is woken when it is; two futures at a time do not
/// wait for each other.
#[test]
fn nobody_is_blocked_and_two_at_once_go_well() {
    const SIDE: usize = 384;
    let device = open_alone();
    let model = load(&device, "tiny-complex");
    let pixels = random(1, 3 * SIDE * SIDE);
    let images = ImageInput { pixel_values: &pixels, batch: 1, height: SIDE, width: SIDE };
    let expected = block_on(model.encode_image_prompt(images)).unwrap();
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut context = Context::from_waker(&waker);
    let mut futures = [0, 1].map(|_| Box::pin(model.encode_image_prompt(images)));
    for future in &mut futures {
        // A poll that had waited would find the future ready.
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    for mut future in futures {
        let found = loop {
            if let Poll::Ready(found) = future.as_mut().poll(&mut context) {
                break found.unwrap();
            }
            std::thread::yield_now();
        };
        assert!(found.embeddings == expected.embeddings);
    }
    assert!(wakes.0.load(Ordering::SeqCst) >= 2, "each was woken");
}

fn sent<T: Send>(future: T) -> T {
    future
}

/// Everything that is kept between calls can be moved to other threads and shared by them.
#[test]
fn what_is_kept_is_send_and_sync() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Device>();
    is_shared::<ClipSeg>();
    is_shared::<ClipSegModel>();
    is_shared::<clipseg::EncodedImage>();
    is_shared::<clipseg::Segmentation>();
    is_shared::<clipseg::Checkpoint>();
    is_shared::<Array>();
}

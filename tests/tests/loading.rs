//! Loading from memory, the progress of loading, and cancelling it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clipseg::{
    Checkpoint, ClipSeg, ClipSegConfig, ClipSegForImageSegmentation, ClipSegModel, ClipSegTextModel,
    ClipSegVisionModel, Error, LoadProgress, MemoryUse, Orientation, Photo, PreprocessorConfig, Processor,
    Tokenizer,
};
use clipseg_tests::{PROCESSOR, fixture, load, open_alone};

const MODEL: &str = "clipseg-shapes";

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).expect("a file of a fixture")
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).expect("a text of a fixture")
}

fn photo() -> Photo {
    let path = fixture("../shapes/scene-1.png");
    Photo::open(path, Orientation::Apply).expect("a picture of a fixture")
}

#[test]
fn a_model_in_memory_computes_what_its_folder_does() {
    let folder = fixture(MODEL);
    let prompts = ["the orange ring", "a blue square"];
    let expected = ClipSeg::from_pretrained(&PROCESSOR, &folder).unwrap();
    let scene = expected.encode_image(&photo()).unwrap();
    let expected = expected.segment(&scene, &prompts).unwrap();

    let checkpoint = Checkpoint::from_bytes("weights", bytes(&folder, "model.safetensors")).unwrap();
    let config = ClipSegConfig::from_json(&text(&folder, "config.json")).unwrap();
    let model = ClipSegForImageSegmentation::load(&PROCESSOR, &checkpoint, &config).unwrap();
    let processor = PreprocessorConfig::from_json(&text(&folder, "preprocessor_config.json"));
    let names = ["vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"];
    let files: Vec<_> = names.map(|name| (name, text(&folder, name))).into();
    let tokenizer = Tokenizer::from_files(files.iter().map(|(name, text)| (*name, text.as_str()))).unwrap();
    let model = ClipSeg::from_parts(model, Processor::new(processor.unwrap()).unwrap(), tokenizer).unwrap();
    let scene = model.encode_image(&photo()).unwrap();
    assert_eq!(model.segment(&scene, &prompts).unwrap().logits(), expected.logits());
}

#[test]
fn shards_in_memory_make_the_model_of_their_index() {
    let folder = fixture("tiny-sharded");
    let index: serde_json::Value =
        serde_json::from_str(&text(&folder, "model.safetensors.index.json")).unwrap();
    let mut files: Vec<_> = index["weight_map"].as_object().unwrap().values().collect();
    files.sort_by_key(|file| file.as_str());
    files.dedup();
    assert!(files.len() > 1);
    let shards = files.iter().map(|file| {
        let file = file.as_str().unwrap();
        Checkpoint::from_bytes(file, bytes(&folder, file)).unwrap()
    });
    let checkpoint = Checkpoint::from_shards("tiny", shards).unwrap();
    let config = ClipSegConfig::from_file(&folder).unwrap();
    let model = ClipSegForImageSegmentation::load(&PROCESSOR, &checkpoint, &config).unwrap();
    assert_eq!(model.fingerprint(), load(&PROCESSOR, "tiny-sharded").fingerprint());
}

#[test]
fn progress_grows_to_all_weights_that_a_model_has() {
    let folder = fixture(MODEL);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let config = ClipSegConfig::from_file(&folder).unwrap();
    let heard = Arc::new(Mutex::new(Vec::<LoadProgress>::new()));
    let listener = Arc::clone(&heard);
    let watched = checkpoint.with_progress(move |progress| {
        listener.lock().unwrap().push(progress);
        ControlFlow::Continue(())
    });
    ClipSegForImageSegmentation::load(&PROCESSOR, &watched, &config).unwrap();
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    assert!(heard.len() > 50, "{}", heard.len());
    assert!(heard.is_sorted_by(|one, next| one.done < next.done && one.total == next.total));
    let last = heard.last().unwrap();
    // The segmentation does without the scale of CLIP's similarities.
    let scale = checkpoint.get("clip.logit_scale").unwrap().bytes().unwrap().len() as u64;
    assert_eq!(last.done + scale, last.total);
    assert!(last.share() > 0.999 && last.share() < 1.0);

    // A tower alone stays below the total, and a tensor that is loaded twice is counted once.
    let last = Arc::new(AtomicU64::new(0));
    let listener = Arc::clone(&last);
    let watched = checkpoint.with_progress(move |progress| {
        listener.store(progress.done, Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    ClipSegTextModel::load(&PROCESSOR, &watched, &config.text_config).unwrap();
    let text = last.load(Ordering::Relaxed);
    ClipSegTextModel::load(&PROCESSOR, &watched, &config.text_config).unwrap();
    assert_eq!(last.load(Ordering::Relaxed), text);
    ClipSegVisionModel::load(&PROCESSOR, &watched, &config.vision_config).unwrap();
    assert!(last.load(Ordering::Relaxed) > text);
    ClipSegModel::load(&PROCESSOR, &watched, &config).unwrap();
}

#[test]
fn a_loading_that_is_broken_off_leaves_nothing_on_the_device() {
    let folder = fixture(MODEL);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let config = ClipSegConfig::from_file(&folder).unwrap();
    let device = open_alone();
    for after in [0, 1, 30] {
        let calls = Arc::new(AtomicUsize::new(0));
        let listener = Arc::clone(&calls);
        let watched = checkpoint.with_progress(move |_| {
            let is_over = listener.fetch_add(1, Ordering::Relaxed) == after;
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let error = ClipSegForImageSegmentation::load(&device, &watched, &config).err().unwrap();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert_eq!(calls.load(Ordering::Relaxed), after + 1, "it is called no more");
        assert_eq!(device.memory_use(), MemoryUse::default());
        // The watched checkpoint stays cancelled; the checkpoint behind it is as good as before.
        let again = ClipSegForImageSegmentation::load(&device, &watched, &config);
        assert!(matches!(again, Err(Error::Cancelled)));
    }
    ClipSegForImageSegmentation::load(&device, &checkpoint, &config).unwrap();
}

/// Counts the bytes that are read of a file.
struct Counting(File, Arc<AtomicU64>);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.read(buffer)?;
        self.1.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl Seek for Counting {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(position)
    }
}

#[test]
fn two_devices_read_a_kept_checkpoint_once() {
    let folder = fixture(MODEL);
    let count = Arc::new(AtomicU64::new(0));
    let file = File::open(folder.join("model.safetensors")).unwrap();
    let length = file.metadata().unwrap().len();
    let checkpoint = Checkpoint::from_reader("weights", Counting(file, Arc::clone(&count))).unwrap();
    count.store(0, Ordering::Relaxed);
    let checkpoint = checkpoint.keep().unwrap();
    let config = ClipSegConfig::from_file(&folder).unwrap();
    for device in [&*PROCESSOR, &open_alone()] {
        ClipSegForImageSegmentation::load(device, &checkpoint, &config).unwrap();
    }
    assert_eq!(count.load(Ordering::Relaxed), length);
}

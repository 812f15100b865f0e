//! After a failure the next mask is right, and all other work is undisturbed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use clipseg::{
    Array, Checkpoint, ClipSeg, Device, DeviceError, DeviceOptions, Error, Photo, Refinement, Result,
    Segmentation,
};
use clipseg_tensor::faults::{self, Fault};
use clipseg_tests::{fixture, open_alone as open};
use safetensors::SafeTensors;

const MODEL: &str = "clipseg-shapes";

fn load(device: &Device) -> ClipSeg {
    ClipSeg::from_pretrained(device, fixture(MODEL)).expect("the committed model")
}

fn photo(index: u64) -> Photo {
    let scene = clipseg_shapes::Scene::new(33, index);
    Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).expect("a scene is a photo")
}

/// Every step, from the photo and words to maps at the photo's size.
fn segment(model: &ClipSeg, photo: &Photo, prompts: &[String]) -> Result<[Segmentation; 2]> {
    let scene = model.encode_image(photo)?;
    let segmentation = model.segment(&scene, prompts)?;
    let resized = segmentation.resized(photo.width() + 30, photo.height() + 20)?;
    Ok([resized, segmentation.refined(photo, Refinement::default())?])
}

/// The logits of the first two prompts.
fn logits(maps: Result<[Segmentation; 2]>) -> Result<[Vec<f32>; 2]> {
    let first_two = |map: &Segmentation| [0, 1].map(|prompt| map.logits().slice(prompt).to_vec()).concat();
    Ok(maps?.each_ref().map(first_two))
}

/// Two prompts, and one that was never asked for before, so that it is encoded.
fn prompts(number: usize) -> [String; 3] {
    ["a red star".to_owned(), "something blue".to_owned(), format!("number {number:04}")]
}

#[test]
fn whatever_fails_in_a_segmentation_the_next_one_is_right() {
    let device = open();
    let model = load(&device);
    let photo = photo(0);
    let expected = logits(segment(&model, &photo, &prompts(0))).unwrap();
    let (mut failures, mut went_on) = (0, 0);
    for turn in 1.. {
        // Without this, nothing would be recorded anew.
        device.trim();
        let fault = if turn % 2 == 0 { Fault::OutOfMemory } else { Fault::Refused };
        faults::at(2 * turn, fault);
        let found = logits(segment(&model, &photo, &prompts(turn)));
        let has_failed = faults::end().is_none();
        match found {
            Ok(found) => {
                assert!(found == expected, "a wrong mask as Ok in turn {turn}");
                went_on += usize::from(has_failed);
            }
            Err(Error::Device(DeviceError::OutOfMemory(_))) if fault == Fault::OutOfMemory => failures += 1,
            Err(Error::Device(DeviceError::Device(_))) if fault == Fault::Refused => failures += 1,
            Err(error) => panic!("in turn {turn} it is told as {error:?}"),
        }
        let again = logits(segment(&model, &photo, &prompts(turn))).unwrap();
        assert!(again == expected, "a wrong mask after turn {turn}");
        if !has_failed {
            break;
        }
    }
    // Where memory was short for all prompts, the run goes on with half of them at a time, and later runs
    // begin so.
    assert!(failures > 30 && went_on > 0, "{failures} failures, went on after {went_on}");
}

#[test]
fn a_loss_in_any_step_of_a_segmentation_is_called_a_loss() {
    let photo = photo(0);
    // Only some places, as loading a model for each place would take minutes.
    for place in [0, 1, 7, 30, 60, 90] {
        let device = open();
        let model = load(&device);
        faults::at(place, Fault::Loss);
        let found = segment(&model, &photo, &prompts(0));
        assert!(faults::end().is_none(), "{place} is behind the end");
        for result in [found.map(|_| ()), segment(&model, &photo, &prompts(0)).map(|_| ()), model.wait()] {
            assert!(matches!(result, Err(Error::Device(DeviceError::DeviceLost(_)))), "{place}: {result:?}");
        }
    }
}

/// Seven threads that segment over and over until `done`; each tells how it ended.
fn seven_at_work<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    model: &'scope ClipSeg,
    done: &'scope AtomicBool,
) -> Vec<thread::ScopedJoinHandle<'scope, Result<usize>>> {
    let work = move |number: usize| {
        let photo = photo(number as u64);
        let find = || -> Result<Array> {
            let scene = model.encode_image(&photo)?;
            Ok(model.segment(&scene, &["a red star"])?.logits().clone())
        };
        let expected = find()?;
        for turn in 1.. {
            assert!(find()? == expected, "a wrong mask as Ok");
            if done.load(Ordering::Relaxed) {
                return Ok(turn);
            }
        }
        Ok(0)
    };
    (0..7).map(|number| scope.spawn(move || work(number))).collect()
}

#[test]
fn seven_others_do_not_notice_that_memory_was_short() {
    let device = open();
    let model = load(&device);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = seven_at_work(scope, &model, &done);
        let photo = photo(9);
        for turn in 0..16 {
            // Another size in each turn, so that the maps are recorded anew.
            let photo = photo.cropped(0..40 + turn, 0..50);
            faults::at(turn, Fault::OutOfMemory);
            let _ = segment(&model, &photo, &prompts(turn));
            assert_eq!(faults::end(), None, "it has come to piece {turn}");
        }
        done.store(true, Ordering::Relaxed);
        for other in others {
            other.join().unwrap().unwrap();
        }
    });
}

#[test]
fn all_are_told_of_a_loss_and_go_on_with_what_the_host_kept() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.json", "merges.txt"] {
        std::fs::copy(fixture(MODEL).join(file), folder.path().join(file)).unwrap();
    }
    let device = open();
    let model = ClipSeg::from_pretrained(&device, folder.path()).unwrap();
    let kept = Checkpoint::open(folder.path()).unwrap().keep().unwrap();
    // From now on no file can be read.
    folder.close().unwrap();
    let expected = logits(segment(&model, &photo(0), &prompts(0))).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = seven_at_work(scope, &model, &done);
        let _ = segment(&model, &photo(8), &prompts(8)).unwrap();
        device.destroy();
        for other in others {
            let end = other.join().unwrap();
            assert!(matches!(end, Err(Error::Device(DeviceError::DeviceLost(_)))), "{end:?}");
        }
    });
    let model = model.reloaded(&open(), &kept).unwrap();
    assert!(logits(segment(&model, &photo(0), &prompts(0))).unwrap() == expected);
}

#[test]
fn a_model_is_not_reloaded_from_another_ones_checkpoint() {
    let device = Device::open(&DeviceOptions::default()).unwrap();
    let model = load(&device);
    let other = Checkpoint::open(fixture("tiny-complex")).unwrap();
    assert!(model.reloaded(&device, &other).is_err());
    // Trained further, in one part alone.
    let file = std::fs::read(fixture(MODEL).join("model.safetensors")).unwrap();
    for changed in ["decoder.film_mul.bias", "clip.text_model.encoder.layers.0.self_attn.q_proj.bias"] {
        let mut further = file.clone();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let start = tensors.tensor(changed).unwrap().data().as_ptr() as usize - file.as_ptr() as usize;
        // The high byte of the first number, in which its sign is.
        further[start + tensors.tensor(changed).unwrap().dtype().bitsize() / 8 - 1] ^= 0x80;
        let further = Checkpoint::from_bytes("further", further).unwrap();
        let error = model.reloaded(&device, &further).map(drop).expect_err(changed);
        assert!(matches!(&error, Error::Input(message) if message.starts_with("further: ")), "{error}");
    }
    let kept = Checkpoint::open(fixture(MODEL)).unwrap();
    assert!(model.reloaded(&device, &kept).is_ok(), "also from files");
}

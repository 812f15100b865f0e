//! Photos larger than the model's picture: windows that slide over them, and masks that follow their edges.

use clipseg::{Array, ClipSeg, Error, Photo, Refinement, Segmentation, WindowStep, Windows};
use clipseg_shapes::{Prompt, SIZE, Scene};
use clipseg_tests::{DEVICE, PROCESSOR, WORKGROUP, assert_close, fixture, random};

/// The seed of scenes that the model has not seen in training.
const SEED: u64 = 12;

fn load() -> ClipSeg {
    ClipSeg::from_pretrained(&DEVICE, fixture("clipseg-shapes")).expect("the committed model")
}

fn scales(scales: &[f32]) -> Windows {
    Windows { scales: scales.to_vec(), ..Windows::default() }
}

/// `columns` × `rows` scenes beside each other as one photo, and for each pixel whether it shows one of the
/// objects that `members` picks.
fn mosaic(columns: usize, rows: usize, members: impl Fn(&Scene) -> Vec<usize>) -> (Photo, Vec<bool>) {
    let (width, height) = (columns * SIZE, rows * SIZE);
    let (mut rgb, mut wanted) = (vec![0; 3 * width * height], vec![false; width * height]);
    for place in 0..columns * rows {
        let scene = Scene::new(SEED, place as u64);
        let mask = scene.mask(&members(&scene));
        for row in 0..SIZE {
            let start = (place / columns * SIZE + row) * width + place % columns * SIZE;
            rgb[3 * start..3 * (start + SIZE)].copy_from_slice(&scene.pixels[3 * row * SIZE..][..3 * SIZE]);
            let marked = mask[row * SIZE..][..SIZE].iter().map(|&pixel| pixel != 0);
            wanted[start..start + SIZE].iter_mut().zip(marked).for_each(|(wanted, marked)| *wanted = marked);
        }
    }
    (Photo::from_rgb(width, height, rgb).expect("a photo"), wanted)
}

fn iou(found: &[bool], wanted: &[bool]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let count =
        |test: fn(bool, bool) -> bool| found.iter().zip(wanted).filter(|(a, b)| test(**a, **b)).count();
    count(|a, b| a && b) as f64 / count(|a, b| a || b) as f64
}

/// Objects of a colour are found when windows show the scenes at the size at which the model has learnt them.
#[test]
fn windows_find_what_the_whole_photo_shows_too_small() {
    let model = load();
    let blue = clipseg_shapes::COLOURS.iter().position(|colour| *colour == "blue").expect("a colour");
    for (columns, rows, scale) in [(3, 3, 3.0), (4, 2, 2.0)] {
        let members = |scene: &Scene| {
            (0..scene.objects.len()).filter(|&object| scene.objects[object].colour == blue).collect()
        };
        let (photo, wanted) = mosaic(columns, rows, members);
        let condition = model.encode_text(&["something blue"]).unwrap();
        let found = |windows: &Windows| {
            let pixels = windows.cut(&photo, model.processor()).unwrap();
            let scenes = model.encode_windows(&pixels, |_| ()).unwrap();
            let segmentation = model.decode_windows(&scenes, &condition).unwrap();
            let mask = segmentation.resized(photo.width(), photo.height()).unwrap().mask(0, 0.5);
            (pixels.count(), iou(&mask, &wanted))
        };
        let (whole, through) = (found(&scales(&[1.0])), found(&scales(&[scale])));
        assert_eq!(whole.0, 1);
        assert!(through.0 > columns * rows, "{} windows", through.0);
        assert!(through.1 > whole.1 + 0.1, "whole {:.3}, through windows {:.3}", whole.1, through.1);
    }
}

#[test]
fn the_only_window_is_the_whole_photo_and_scales_are_averaged() {
    let model = load();
    let (photo, _) = mosaic(2, 1, |_| Vec::new());
    let prompts = ["a red circle", "something blue", "the large ring"];
    let condition = model.encode_text(&prompts).unwrap();
    let scenes = |windows: &[f32]| {
        let pixels = scales(windows).cut(&photo, model.processor()).unwrap();
        let mut told = Vec::new();
        let scenes = model.encode_windows(&pixels, |done| told.push(done)).unwrap();
        assert_eq!(told, (1..=pixels.count()).collect::<Vec<_>>());
        scenes
    };
    let logits = |windows: &[f32]| model.decode_windows(&scenes(windows), &condition).unwrap();
    let whole = model.segment(&model.encode_image(&photo).unwrap(), &prompts).unwrap();
    let only = logits(&[1.0]);
    assert_eq!(only.logits(), whole.logits());

    let twice = logits(&[2.0]);
    assert_eq!(twice.logits().shape, [3, 256, 512]);
    let both = logits(&[1.0, 2.0]);
    let large = only.resized(512, 256).unwrap();
    let pairs = large.logits().values.iter().zip(&twice.logits().values);
    let mean: Vec<_> = pairs.map(|(a, b)| 0.5 * a + 0.5 * b).collect();
    assert_close(&both.logits().values, &mean, 1e-6);

    // Window by window the logits are the same, and each step is reported.
    let pixels = scales(&[1.0, 2.0]).cut(&photo, model.processor()).unwrap();
    let mut steps = Vec::new();
    let streamed = model.segment_windows(&pixels, &condition, |step| steps.push(step)).unwrap();
    assert_eq!(streamed.logits(), both.logits());
    assert_eq!(steps, [WindowStep::Encoded, WindowStep::Decoded].repeat(pixels.count()));

    for (place, prompt) in prompts.iter().enumerate() {
        let alone = model.decode_windows(&scenes(&[2.0]), &model.encode_text(&[prompt]).unwrap()).unwrap();
        assert_close(&alone.logits().values, twice.logits().slice(place), 1e-5);
    }
}

#[test]
fn refined_masks_follow_the_photo() {
    let model = load();
    let (mut plain, mut refined) = (0.0, 0.0);
    for index in 0..12 {
        let scene = Scene::new(SEED, index);
        let photo = Photo::from_rgb(SIZE, SIZE, scene.pixels.clone()).unwrap();
        let encoded = model.encode_image(&photo).unwrap();
        for query in scene.queries(SEED, index) {
            let Prompt::Text(text) = &query.prompt else { continue };
            if query.members.is_empty() {
                continue;
            }
            let wanted: Vec<_> = scene.mask(&query.members).into_iter().map(|pixel| pixel != 0).collect();
            let segmentation = model.segment(&encoded, &[text]).unwrap();
            plain += iou(&segmentation.resized(SIZE, SIZE).unwrap().mask(0, 0.5), &wanted);
            let fine = segmentation.refined(&photo, Refinement::default()).unwrap();
            refined += iou(&fine.mask(0, 0.5), &wanted);
        }
    }
    assert!(refined > 1.02 * plain, "plain {plain:.2}, refined {refined:.2}");
}

/// A guide of a single colour has no edges: what is left of the filter is the box filter, twice, which keeps
/// a mask's middle and its size.
#[test]
fn a_flat_photo_blurs_alone() {
    let (width, height) = (90, 70);
    let photo = Photo::from_rgb(width, height, vec![90; 3 * width * height]).unwrap();
    let shape = vec![2, 35, 45];
    let values = random(5, 35 * 45).into_iter().map(|value| 3.0 * value);
    let square = (0..35 * 45)
        .map(|i| if (10..25).contains(&(i / 45)) && (12..33).contains(&(i % 45)) { 8.0 } else { -8.0 });
    let logits = Array { shape, values: values.chain(square).collect() };
    for device in [&*DEVICE, &*WORKGROUP, &*PROCESSOR] {
        let segmentation = Segmentation::from_logits(device, logits.clone()).unwrap();
        let refined = segmentation.refined(&photo, Refinement { radius: 2, epsilon: 1e-3 }).unwrap();
        assert_eq!(refined.logits().shape, [2, height, width]);
        assert!(refined.probabilities(0).iter().all(|p| (0.15..=0.85).contains(p)), "noise is smoothed");
        let wanted: Vec<_> = (0..width * height)
            .map(|i| (20..50).contains(&(i / width)) && (24..66).contains(&(i % width)))
            .collect();
        assert!(iou(&refined.mask(1, 0.5), &wanted) > 0.95);
    }
}

#[test]
fn what_is_impossible_is_refused() {
    let refused = |result: clipseg::Result<Segmentation>, part: &str| match result {
        Err(Error::Input(message)) => assert!(message.contains(part), "{message}"),
        other => panic!("{other:?}"),
    };
    let logits = |shape: &[usize], values| Array { shape: shape.to_vec(), values: vec![0.5; values] };
    refused(Segmentation::from_logits(&DEVICE, logits(&[4, 4], 16)), "[4, 4]");
    refused(Segmentation::from_logits(&DEVICE, logits(&[1, 4, 4], 15)), "15");
    let segmentation = Segmentation::from_logits(&DEVICE, logits(&[1, 4, 4], 16)).unwrap();
    let photo = Photo::from_rgb(3, 2, vec![7; 18]).unwrap();
    refused(segmentation.refined(&photo, Refinement { radius: 0, ..Refinement::default() }), "radius");
    refused(segmentation.refined(&photo, Refinement { epsilon: 0.0, ..Refinement::default() }), "epsilon");
    assert_eq!(segmentation.refined(&photo, Refinement::default()).unwrap().logits().shape, [1, 2, 3]);
}

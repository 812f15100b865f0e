//! What people do with masks, by the library and with the small trained model.

use std::sync::LazyLock;

use clipseg::masks::{Combination, MaskOptions, ProbabilityMap};
use clipseg::{ClipSeg, Error, Orientation, Photo, SavedConditions, Segmentation, Smoother};
use clipseg_tests::{DEVICE, assert_close, fixture};

static MODEL: LazyLock<ClipSeg> = LazyLock::new(|| {
    ClipSeg::from_pretrained(&DEVICE, fixture("clipseg-shapes")).expect("the committed model")
});

fn photo(name: &str) -> Photo {
    Photo::open(fixture("../shapes").join(name), Orientation::Apply).expect("a committed scene")
}

fn segment(photo: &Photo, prompts: &[&str]) -> Segmentation {
    MODEL.segment(&MODEL.encode_image(photo).expect("a scene"), prompts).expect("a segmentation")
}

#[test]
fn prompts_are_subtracted_and_combined() {
    let photo = photo("scene-1.png");
    let prompts = ["something striped", "a circle", "a crescent"];
    let maps = segment(&photo, &prompts).resized(photo.width(), photo.height()).unwrap();
    let [striped, circle, crescent] = [0, 1, 2].map(|prompt| maps.probability_map(prompt).unwrap());
    let options = MaskOptions::default();
    let area = |map: &ProbabilityMap| options.mask(map).unwrap().area();
    let mut rest = striped.clone();
    rest.subtract(&circle, 1.0).unwrap();
    let mut both = striped.clone();
    both.combine(&circle, Combination::All).unwrap();
    let mut either = striped.clone();
    either.combine(&circle, Combination::Any).unwrap();
    // One of the striped things is a circle.
    assert!(area(&both) > 1000 && area(&rest) > 1000, "{} {}", area(&both), area(&rest));
    assert_eq!(area(&either) + area(&both), area(&striped) + area(&circle));
    let mut none = circle.clone();
    none.combine(&crescent, Combination::All).unwrap();
    assert_eq!(area(&none), 0);
}

#[test]
fn presence_tells_what_is_there() {
    for (name, there, absent) in [
        (
            "scene-1.png",
            ["a ring", "a star", "something striped"],
            ["a crescent", "a red circle", "a yellow cross"],
        ),
        ("scene-2.png", ["a crescent", "a circle", "a triangle"], ["a ring", "a star", "something striped"]),
    ] {
        let segmentation = segment(&photo(name), &[there, absent].concat());
        for (prompt, name) in there.iter().chain(&absent).enumerate() {
            let presence = segmentation.presence(prompt).unwrap();
            assert!(if prompt < 3 { presence > 0.99 } else { presence < 0.01 }, "{name}: {presence}");
        }
    }
}

#[test]
fn conditions_come_back_from_a_file_to_their_own_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prompts.safetensors");
    let prompts = ["a ring", "a star"];
    let condition = MODEL.encode_text(&prompts).unwrap();
    let names = prompts.map(str::to_owned).to_vec();
    let classes = vec![None, Some("stars".to_owned())];
    let saved =
        SavedConditions::new(MODEL.model(), condition.clone(), names.clone(), classes.clone()).unwrap();
    saved.save(&path).unwrap();
    let loaded = SavedConditions::load(&path).unwrap();
    assert_eq!((loaded.prompts(), loaded.classes()), (&names[..], &classes[..]));
    assert_eq!(loaded.for_model(MODEL.model()).unwrap(), &condition);
    assert!(loaded.to_bytes().unwrap() == std::fs::read(&path).unwrap());

    let tiny = clipseg_tests::load(&DEVICE, "tiny-complex");
    assert!(matches!(loaded.for_model(&tiny), Err(Error::OtherModel { .. })));
    assert_ne!(tiny.fingerprint(), MODEL.model().fingerprint());
    std::fs::write(&path, &saved.to_bytes().unwrap()[..100]).unwrap();
    assert!(matches!(SavedConditions::load(&path), Err(Error::Conditions { .. })));
    assert!(matches!(SavedConditions::load(folder.path().join("gone")), Err(Error::Read { .. })));
    let refused = |classes| SavedConditions::new(MODEL.model(), condition.clone(), names.clone(), classes);
    assert!(matches!(refused(vec![None]), Err(Error::Input(_))));
    assert!(matches!(refused(vec![None, Some("a\u{1b}[31m".to_owned())]), Err(Error::Input(_))));
}

#[test]
fn frames_are_averaged() {
    let photos = ["scene-1.png", "scene-2.png"].map(photo);
    let frames = photos.each_ref().map(|photo| segment(photo, &["a square", "a crescent"]));
    let mut smoother = Smoother::new(0.5).unwrap();
    let mut means = [0, 1].map(|prompt| frames[0].probabilities(prompt));
    for place in [0, 1, 1, 0] {
        let smoothed = smoother.smooth(frames[place].clone(), &photos[place]).unwrap();
        for (prompt, mean) in means.iter_mut().enumerate() {
            let now = frames[place].probabilities(prompt);
            mean.iter_mut().zip(&now).for_each(|(mean, now)| *mean = 0.5 * *mean + 0.5 * now);
            assert_close(&smoothed.probabilities(prompt), mean, 1e-5);
        }
    }
}

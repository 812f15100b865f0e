//! What people do with masks, by means of the library and the small trained model.

use std::sync::LazyLock;

use clipseg::masks::{Combination, MaskOptions, ProbabilityMap};
use clipseg::{
    Array, ClipSeg, ClipSegForImageSegmentation, Condition, Error, Orientation, Photo, SavedConditions,
    Segmentation, Smoother,
};
use clipseg_tests::{DEVICE, assert_close, fixture};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

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
    let loaded = SavedConditions::from_file(&path).unwrap();
    assert_eq!((loaded.prompts(), loaded.classes()), (&names[..], &classes[..]));
    assert_eq!(loaded.for_model(MODEL.model()).unwrap(), &condition);
    assert!(loaded.to_bytes().unwrap() == std::fs::read(&path).unwrap());
    assert!(loaded == saved, "where they come from does not count");

    let tiny = clipseg_tests::load(&DEVICE, "tiny-complex");
    assert!(matches!(loaded.for_model(&tiny), Err(Error::OtherModel { .. })));
    let message = saved.for_model(&tiny).unwrap_err().to_string();
    assert!(message.starts_with("the conditions: "), "{message}");
    assert_ne!(tiny.fingerprint(), MODEL.model().fingerprint());
    std::fs::write(&path, &saved.to_bytes().unwrap()[..100]).unwrap();
    assert!(matches!(SavedConditions::from_file(&path), Err(Error::Conditions { .. })));
    assert!(matches!(SavedConditions::from_file(folder.path().join("gone")), Err(Error::Read { .. })));
    let refused = |classes| SavedConditions::new(MODEL.model(), condition.clone(), names.clone(), classes);
    assert!(matches!(refused(vec![None]), Err(Error::Input(_))));
    assert!(matches!(refused(vec![None, Some("a\u{1b}[31m".to_owned())]), Err(Error::Input(_))));
    // Of another model, whose conditions are narrower.
    let narrow = Condition { embeddings: Array { shape: vec![2, 3], values: vec![0.5; 6] } };
    let narrow = SavedConditions::new(MODEL.model(), narrow, names.clone(), classes.clone());
    assert!(matches!(narrow, Err(Error::Input(message)) if message.contains("of shape [2, 3]")));
}

/// Rounding the weights to 16 bits keeps the fingerprint; other weights, or another end token, change it.
#[test]
fn fingerprints_know_what_conditions_are_made_by() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("tiny-complex");
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let fingerprint = |changed: Option<&str>, config: &str| {
        let halves = |name: &str, view: &TensorView| -> Vec<u8> {
            let (values, _) = view.data().as_chunks::<4>();
            let shift = if changed == Some(name) { 0.5 } else { 0.0 };
            let value = |&bytes: &[u8; 4]| f16::from_f32(f32::from_le_bytes(bytes) + shift).to_le_bytes();
            values.iter().flat_map(value).collect()
        };
        let weights = tensors.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
        let weights: Vec<_> =
            weights.map(|(name, view)| (name, view.shape().to_vec(), halves(name, &view))).collect();
        let views = weights
            .iter()
            .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap()));
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let model = ClipSegForImageSegmentation::from_pretrained(&DEVICE, folder.path()).unwrap();
        model.fingerprint().to_owned()
    };
    let original = clipseg_tests::load(&DEVICE, "tiny-complex").fingerprint().to_owned();
    assert_eq!(fingerprint(None, &config), original);
    assert_eq!(fingerprint(Some("decoder.film_mul.weight"), &config), original, "another decoder");
    for name in [
        "clip.text_projection.weight",
        "clip.visual_projection.weight",
        // What a merged LoRA changes.
        "clip.text_model.encoder.layers.0.self_attn.q_proj.weight",
        "clip.vision_model.encoder.layers.1.self_attn.v_proj.weight",
        "clip.text_model.embeddings.token_embedding.weight",
        "clip.vision_model.post_layernorm.bias",
    ] {
        assert_ne!(fingerprint(Some(name), &config), original, "{name}");
    }
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::from_str(&config).unwrap();
        change(&mut json);
        fingerprint(None, &json.to_string())
    };
    assert_eq!(changed(&|_| ()), original);
    assert_ne!(changed(&|json| json["text_config"]["eos_token_id"] = 598.into()), original);
    for tower in ["text_config", "vision_config"] {
        assert_ne!(changed(&|json| json[tower]["layer_norm_eps"] = 0.5.into()), original, "{tower}");
        assert_ne!(changed(&|json| json[tower]["num_attention_heads"] = 1.into()), original, "{tower}");
        assert_ne!(changed(&|json| json[tower]["hidden_act"] = "relu".into()), original, "{tower}");
    }
    assert_eq!(changed(&|json| json["extract_layers"] = vec![0, 1].into()), original, "another decoder");
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

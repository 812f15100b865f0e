//! What loads from a checkpoint that holds less than the whole model, and what the refusal of the rest says.

use clipseg::{
    Checkpoint, ClipSegForImageSegmentation, ClipSegModel, ClipSegTextConfig, ClipSegVisionConfig,
    TextEncoder, VisionEncoder,
};
use clipseg_tests::{DEVICE, fixture};

fn refusal<T>(result: clipseg::Result<T>) -> String {
    result.map(|_| ()).expect_err("this checkpoint lacks what was asked for").to_string()
}

#[test]
fn a_clip_without_decoder_compares_but_does_not_segment() {
    let folder = fixture("tiny-clip");
    assert!(ClipSegModel::from_pretrained(&DEVICE, &folder).is_ok());
    let error = refusal(ClipSegForImageSegmentation::from_pretrained(&DEVICE, &folder));
    assert!(error.contains("config.json: extract_layers = [3, 6, 9]: layer 3 does not exist"), "{error}");
}

#[test]
fn a_tower_alone_loads_as_that_tower_and_as_nothing_else() {
    let (text, vision) = (fixture("tiny-text-tower"), fixture("tiny-vision-tower"));
    let config = ClipSegTextConfig::from_file(&text).unwrap();
    let checkpoint = Checkpoint::open(&text).unwrap();
    let prefix = checkpoint.clip_prefix().unwrap();
    assert!(TextEncoder::load(&DEVICE, &checkpoint, prefix, &config, None).is_ok());
    // A tower alone has no projection.
    let error = refusal(TextEncoder::load(&DEVICE, &checkpoint, prefix, &config, Some(16)));
    assert!(error.contains("`text_projection.weight` is missing (expected shape [16, 48])"), "{error}");

    let config = ClipSegVisionConfig::from_file(&vision).unwrap();
    let checkpoint = Checkpoint::open(&vision).unwrap();
    assert!(VisionEncoder::load(&DEVICE, &checkpoint, prefix, &config, None, &[]).is_ok());

    for folder in [&text, &vision] {
        let error = refusal(ClipSegModel::from_pretrained(&DEVICE, folder));
        assert!(error.contains("this is one tower alone"), "{error}");
        let error = refusal(ClipSegForImageSegmentation::from_pretrained(&DEVICE, folder));
        assert!(error.contains("config.json: model_type") && error.contains("one tower alone"), "{error}");
    }
    let error = refusal(ClipSegTextConfig::from_file(&vision));
    assert!(error.contains("model_type = \"clipseg_vision_model\""), "{error}");
}

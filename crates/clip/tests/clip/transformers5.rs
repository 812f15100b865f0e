//! Reads a folder as transformers 5 saves it, with `processor_config.json` and `tokenizer.json` but without
//! the older files.

use std::collections::BTreeMap;

use clipseg_clip::{
    Checkpoint, ClipSegConfig, ClipSegTextConfig, ClipSegVisionConfig, ImageSize, Processor, Tokenizer,
};
use clipseg_testing::fixture;

#[test]
fn everything_of_the_folder_is_read() {
    let folder = fixture("models/tiny-transformers-5");
    for older in ["preprocessor_config.json", "vocab.json", "merges.txt", "special_tokens_map.json"] {
        assert!(!folder.join(older).exists(), "{older}");
    }
    let config = ClipSegConfig::from_file(&folder).unwrap();
    config.validate().unwrap();
    assert_eq!(
        (config.extract_layers.as_slice(), &config.extra["dtype"]),
        ([0, 2].as_slice(), &"float32".into())
    );
    let processor = Processor::from_dir(&folder).unwrap();
    assert_eq!(processor.config().size, ImageSize::Sides { height: 48, width: 48 });
    assert_eq!(processor.config().image_std, [0.229, 0.224, 0.225]);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    assert_eq!(checkpoint.clip_prefix().unwrap(), "clip.");

    let tokenizer = Tokenizer::from_dir(&folder).unwrap();
    assert_eq!(tokenizer.max_length(), 20);
    tokenizer.check_added_tokens(config.text_config.vocab_size).unwrap();
    let text = std::fs::read_to_string(folder.join("references/prompts.json")).unwrap();
    let prompts: BTreeMap<String, Vec<u32>> = serde_json::from_str(&text).unwrap();
    assert!(prompts.len() >= 8);
    for (prompt, ids) in prompts {
        assert_eq!(tokenizer.encode(&prompt).unwrap().ids, ids, "{prompt}");
    }
}

#[test]
fn a_tower_alone_has_no_prefix() {
    let (text, vision) =
        (fixture("models/tiny-transformers-5-text"), fixture("models/tiny-transformers-5-vision"));
    for (folder, tensor) in
        [(&text, "embeddings.token_embedding.weight"), (&vision, "embeddings.class_embedding")]
    {
        let checkpoint = Checkpoint::open(folder).unwrap();
        assert!(checkpoint.contains(tensor));
        assert_eq!(checkpoint.clip_prefix().unwrap(), "");
    }
    assert_eq!(ClipSegTextConfig::from_file(&text).unwrap().hidden_size, 16);
    assert_eq!(ClipSegVisionConfig::from_file(&vision).unwrap().hidden_size, 24);
}

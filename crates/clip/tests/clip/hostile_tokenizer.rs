//! Hostile versions of `tokenizer.json`: cut short, changed at random, and made to do harm.

use clipseg_clip::{Error, Tokenizer};
use clipseg_testing::fixture;
use proptest::prelude::*;
use serde_json::{Value, json};

fn good() -> String {
    let file = fixture("models/tiny-transformers-5/tokenizer.json");
    std::fs::read_to_string(file).expect("a fixture")
}

/// The result for a folder with this `tokenizer.json`. If there is a tokenizer, it must also survive a
/// prompt.
fn open(text: &[u8]) -> Result<Tokenizer, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tokenizer.json"), text).expect("a file");
    let tokenizer = Tokenizer::from_dir(folder.path())?;
    if let Ok(tokens) = tokenizer.encode("The green star <obj>, A's <|endoftext|> 12 été \u{1f600}") {
        assert!(tokens.ids.len() <= tokenizer.max_length());
        let _ = tokenizer.decode(&tokens.ids, false);
    }
    Ok(tokenizer)
}

fn refused(text: &str) -> String {
    let error = open(text.as_bytes()).map(|_| ()).expect_err("the file should be refused");
    let message = error.to_string();
    assert!(matches!(error, Error::Tokenizer { .. } | Error::StandIn { .. }), "{message}");
    assert!(message.contains("tokenizer.json") && message.len() < 1_000, "{message}");
    message
}

#[test]
fn files_that_made_the_engine_panic_or_ask_for_gigabytes_are_refused_by_field() {
    for (file, word) in [
        ("tokenizer-truncated.json", "EOF"),
        ("tokenizer-crash-0.json", "model.type = \"Unigram\""),
        ("tokenizer-crash-1.json", "model.type = \"WordPiece\""),
        ("tokenizer-replace-bomb.json", "normalizer.normalizers[0].pattern.Regex = null"),
    ] {
        let text = std::fs::read_to_string(fixture("hostile").join(file)).expect("a fixture");
        let message = refused(&text);
        assert!(message.contains(word), "{file}: {message}");
    }
}

#[test]
fn no_part_of_a_good_file_is_taken_for_one() {
    let whole = good();
    for length in (0..whole.trim_end().len()).step_by(29) {
        assert!(open(&whole.as_bytes()[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn what_clip_does_not_have_is_refused_by_field() {
    let good: Value = serde_json::from_str(&good()).expect("a fixture");
    for (place, value, words) in [
        (
            "/normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AA=="}),
            "normalizer.type = \"Precompiled\"",
        ),
        ("/normalizer/normalizers/1/content", json!("aa"), "normalizer.normalizers[1].content = \"aa\""),
        (
            "/normalizer/normalizers/1/pattern",
            json!({"Regex": "(a+)+$"}),
            "normalizer.normalizers[1].pattern.Regex",
        ),
        (
            "/normalizer/normalizers",
            json!(vec![json!({"type": "NFC"}); 9]),
            "normalizer.normalizers has 9 items",
        ),
        (
            "/normalizer/normalizers/0",
            json!({"type": "Sequence", "normalizers": []}),
            "normalizers[0].type = \"Sequence\"",
        ),
        ("/pre_tokenizer", json!({"type": "ByteLevel"}), "pre_tokenizer.type = \"ByteLevel\""),
        ("/pre_tokenizer", Value::Null, "pre_tokenizer.type = null"),
        (
            "/pre_tokenizer/pretokenizers/0/pattern/Regex",
            json!("(x+x+)+y"),
            "pretokenizers[0].pattern.Regex = \"(x+x+)+y\"",
        ),
        ("/pre_tokenizer/pretokenizers/0/behavior", json!("Isolated"), "pretokenizers[0].behavior"),
        ("/pre_tokenizer/pretokenizers/1/use_regex", json!(3), "pretokenizers[1].use_regex = 3"),
        ("/post_processor", Value::Null, "post_processor.type = null"),
        ("/post_processor/sep", json!(["<|endoftext|>", 3]), "post_processor.sep"),
        ("/post_processor/sep", json!(["<|endoftext|>", -3]), "post_processor.sep"),
        ("/post_processor/cls", json!(["none", 524]), "not at all"),
        ("/decoder", json!({"type": "Metaspace"}), "decoder.type = \"Metaspace\""),
        ("/added_tokens", json!({}), "added_tokens = an object"),
        ("/added_tokens/0/id", json!(-1), "added_tokens[0].id = -1"),
        ("/added_tokens/0/id", json!(4_294_967_295_u64), "added_tokens[0].id = 4294967295"),
        ("/added_tokens/0/content", json!(7), "added_tokens[0].content = 7"),
        ("/added_tokens/0/content", json!("x".repeat(5000)), "is longer than 1024 bytes"),
        (
            "/added_tokens",
            json!(vec![json!({"id": 1, "content": "a"}); 70_000]),
            "added_tokens has 70000 items",
        ),
        ("/model", Value::Null, "model = null"),
        ("/model/dropout", json!(0.5), "model.dropout = 0.5"),
        ("/model/continuing_subword_prefix", json!("##"), "model.continuing_subword_prefix"),
        ("/model/end_of_word_suffix", Value::Null, "model.end_of_word_suffix = null"),
        ("/model/byte_fallback", json!(true), "model.byte_fallback = true"),
        ("/model/unk_token", json!("none"), "model.unk_token = \"none\""),
        ("/model/vocab", json!([]), "model.vocab"),
        ("/model/vocab/!", json!(-1), "model.vocab: \"!\" has the id -1"),
        ("/model/vocab/!", json!(1.5), "model.vocab: \"!\" has the id 1.5"),
        ("/model/vocab/!", json!(1_u64 << 40), "model.vocab: \"!\" has the id 1099511627776"),
        ("/model/vocab/!", json!(1), "have the same id, 1"),
        ("/model/merges/0", json!(["s", "none"]), "model.merges do not fit model.vocab"),
        ("/model/merges/1", json!("a b c"), "model.merges[1]"),
        ("/model/merges/1", json!(["a", "b", 3]), "model.merges[1]"),
        ("/model/merges", json!("a b"), "model.merges = \"a b\""),
    ] {
        let mut file = good.clone();
        *file.pointer_mut(place).unwrap_or_else(|| panic!("no {place}")) = value;
        let message = refused(&file.to_string());
        assert!(message.contains(words), "{place}: {message}");
    }
    let deep = "[".repeat(1_000_000);
    assert!(refused(&deep).contains("recursion limit"), "{}", refused(&deep));
}

/// Collects the paths of all values in a JSON file.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| paths(item, &format!("{at}/{n}"), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            paths(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = good().into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = open(&bytes);
    }

    #[test]
    fn changed_values_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), 0..14_usize), 1..4)) {
        let mut file: Value = serde_json::from_str(&good()).expect("a fixture");
        let others = [
            json!(null), json!(true), json!(-1), json!(0), json!(u32::MAX), json!(u64::MAX), json!(1e300), json!(""),
            json!("a"), json!("</w>"), json!("\u{0}é"), json!([]), json!({}), json!(["a", "b"]),
        ];
        for (place, other) in changes {
            let mut found = Vec::new();
            // Values outside the vocabulary and the merges are one in a hundred, so half of the changes are
            // made among them only.
            let mut outline = file.clone();
            if other % 2 == 0 && let Some(model) = outline.get_mut("model").and_then(Value::as_object_mut) {
                model.insert("vocab".to_owned(), json!(0));
                model.insert("merges".to_owned(), json!(0));
            }
            paths(&outline, "", &mut found);
            if let Some(value) = file.pointer_mut(&found[place.index(found.len())]) {
                *value = others[other].clone();
            }
        }
        let _ = open(file.to_string().as_bytes());
    }
}

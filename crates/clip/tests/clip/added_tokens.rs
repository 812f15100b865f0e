//! Compares tokens that a tokenizer's files add to its vocabulary with transformers' `CLIPTokenizerFast`.

use std::collections::BTreeMap;

use clipseg_clip::{Error, Tokenizer};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// `fixtures/processor/tokenizers.json`.
#[derive(Deserialize)]
struct Fixture {
    vocab: BTreeMap<String, u32>,
    merges: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, String>,
    /// Whether vocab.json and merges.txt are there.
    vocabulary: bool,
    pad_token_id: u32,
    ids: BTreeMap<String, Vec<u32>>,
}

fn fixture() -> Fixture {
    let path = clipseg_testing::fixture("processor/tokenizers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A folder with the fixture's vocabulary and these files.
fn folder(fixture: &Fixture, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("vocab.json", &json!(fixture.vocab).to_string());
    write("merges.txt", &format!("#version: 0.2\n{}\n", fixture.merges.join("\n")));
    files.iter().for_each(|(name, text)| write(name, text));
    folder
}

#[test]
fn ids_equal_those_of_transformers_whatever_the_files_say() {
    let fixture = fixture();
    assert!(fixture.cases.len() > 20);
    let mut wrong = Vec::new();
    for case in &fixture.cases {
        let files: Vec<_> = case.files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let folder = folder(&fixture, &files);
        if !case.vocabulary {
            std::fs::remove_file(folder.path().join("vocab.json")).unwrap();
            std::fs::remove_file(folder.path().join("merges.txt")).unwrap();
        }
        let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
        assert_eq!(tokenizer.pad_token_id(), case.pad_token_id, "{}", case.name);
        for (text, ids) in &case.ids {
            let found = tokenizer.encode(text).unwrap().ids;
            if found != *ids {
                wrong.push(format!("{}: {text:?}\n  expected {ids:?}\n  got      {found:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Editors on Windows add a byte order mark and their own line ends, and those of old Macs had another.
#[test]
fn files_that_other_systems_saved_give_the_same_ids() {
    let fixture = fixture();
    let plain =
        folder(&fixture, &[("added_tokens.json", &json!({"<obj>": fixture.vocab.len()}).to_string())]);
    let expected = Tokenizer::from_dir(plain.path()).unwrap();
    for (mark, line_end) in [("\u{feff}", "\r\n"), ("", "\r")] {
        let saved = folder(&fixture, &[]);
        for name in ["vocab.json", "merges.txt", "added_tokens.json"] {
            let text = std::fs::read_to_string(plain.path().join(name)).unwrap();
            std::fs::write(saved.path().join(name), mark.to_owned() + &text.replace('\n', line_end)).unwrap();
        }
        let saved = Tokenizer::from_dir(saved.path()).unwrap();
        for text in ["the green star!!", "a <obj> b"] {
            assert_eq!(saved.encode(text).unwrap(), expected.encode(text).unwrap());
        }
    }
}

/// Releases before 4 called `model_max_length` so.
#[test]
fn the_longest_length_has_an_old_name() {
    let fixture = fixture();
    for (settings, length) in [
        (r#"{"max_len": 9}"#, 9),
        (r#"{"max_len": 9, "model_max_length": 8}"#, 8),
        (r#"{"errors": "replace", "model_max_length": 77}"#, 77),
    ] {
        let folder = folder(&fixture, &[("tokenizer_config.json", settings)]);
        assert_eq!(Tokenizer::from_dir(folder.path()).unwrap().max_length(), length);
    }
}

/// Python's slow tokenizer accepts any id; its fast one silently numbers such tokens on from the end of the
/// vocabulary.
#[test]
fn an_id_beyond_a_gap_is_kept() {
    let fixture = fixture();
    let id = fixture.vocab.len() as u32 + 7;
    let folder = folder(&fixture, &[("added_tokens.json", &json!({"<obj>": id}).to_string())]);
    let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("<obj>").unwrap().ids[1], id);
    assert_eq!(tokenizer.decode(&[id], false).unwrap(), "<obj>");
    tokenizer.check_added_tokens(id as usize + 1).unwrap();
    let message = tokenizer.check_added_tokens(id as usize).unwrap_err().to_string();
    assert!(message.contains("\"<obj>\"") && message.contains(&format!("the id {id}")), "{message}");
}

#[test]
fn lists_that_contradict_the_vocabulary_are_refused_by_name() {
    let fixture = fixture();
    let next = fixture.vocab.len();
    let refused = |name: &str, content: Value, words: &[&str]| {
        let folder = folder(&fixture, &[(name, &content.to_string())]);
        let error = Tokenizer::from_dir(folder.path()).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Tokenizer { .. }), "{error:?}");
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "{name} = {content}\n  says: {message}\n  lacks: {word}");
        }
    };
    let added = "added_tokens.json";
    refused(added, json!({"<obj>": 5}), &[added, "\"<obj>\"", "the id 5", "has already"]);
    refused(added, json!({"<obj>": next, "<b>": next}), &[added, "\"<obj>\"", "\"<b>\""]);
    refused(added, json!({"!": next}), &[added, "\"!\"", "vocab.json"]);
    for id in [json!(-1), json!(1.5), json!(5_000_000_000_u64), json!(u32::MAX), json!("7"), Value::Null] {
        refused(added, json!({"<obj>": id}), &[added, "\"<obj>\"", "must be a whole number"]);
    }
    refused(added, json!(["<obj>"]), &[added, "is not a JSON object"]);
    let config = "tokenizer_config.json";
    refused(config, json!({"added_tokens_decoder": {"x": {"content": "<obj>"}}}), &[config, "\"x\""]);
    refused(config, json!({"added_tokens_decoder": {"600": "<obj>"}}), &[config, "\"600\"", "content"]);
    refused(config, json!({"added_tokens_decoder": []}), &[config, "added_tokens_decoder"]);
    refused(config, json!({"pad_token": 5}), &["pad_token = 5"]);
    refused(config, json!({"additional_special_tokens": "<obj>"}), &["additional_special_tokens"]);
    refused(config, json!({"pad_token": "<none>"}), &["the pad_token \"<none>\" is not in the vocabulary"]);
}

/// The engine would choose its own ids for added tokens that the vocabulary lacks.
#[test]
fn a_tokenizer_json_whose_added_ids_leave_a_gap_is_refused() {
    let fixture = fixture();
    let case = fixture.cases.iter().find(|case| !case.vocabulary).unwrap();
    let mut whole: Value = serde_json::from_str(&case.files["tokenizer.json"]).unwrap();
    let last = whole["added_tokens"].as_array_mut().unwrap().last_mut().unwrap();
    let content = last["content"].to_string();
    last["id"] = json!(9_000);
    let folder = folder(&fixture, &[("tokenizer.json", &whole.to_string())]);
    let message = Tokenizer::from_dir(folder.path()).map(|_| ()).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json") && message.contains(&content) && message.contains("9000"),
        "{message}"
    );
}

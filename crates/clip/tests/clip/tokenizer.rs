//! Compares token ids with transformers' `CLIPTokenizerFast`; tests the tokenizer's files.

use clipseg_clip::{Error, PaddingSide, Tokenizer};
use clipseg_testing::fixture;
use proptest::prelude::*;
use serde::Deserialize;
use tempfile::TempDir;

fn tokenizer() -> Tokenizer {
    Tokenizer::from_dir(fixture("clip-tokenizer")).unwrap()
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    truncated: bool,
    decoded: String,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(fixture("processor/prompts.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn ids_and_decoded_text_equal_transformers() {
    let (tokenizer, cases) = (tokenizer(), cases());
    assert!(cases.len() > 300);
    let mut wrong = Vec::new();
    for case in &cases {
        let tokens = tokenizer.encode(&case.text).unwrap();
        if (&tokens.ids, tokens.truncated) != (&case.ids, case.truncated) {
            wrong.push(format!("{:?}\n  expected {:?}\n  got      {:?}", case.text, case.ids, tokens.ids));
        }
        let decoded = tokenizer.decode(&case.ids, true).unwrap();
        if decoded != case.decoded {
            wrong.push(format!("{:?} decodes to {decoded:?}, expected {:?}", case.text, case.decoded));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn files_in_memory_make_the_tokenizer_of_their_folder() {
    for folder in ["clip-tokenizer", "models/clipseg-shapes", "models/tiny-transformers-5"] {
        let folder = fixture(folder);
        let files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
            })
            .collect();
        let named = || files.iter().map(|(name, bytes)| (name.as_str(), bytes));
        let (memory, disk) = (Tokenizer::from_files(named()).unwrap(), Tokenizer::from_dir(&folder).unwrap());
        for case in cases() {
            let encoded = [&memory, &disk].map(|tokenizer| tokenizer.encode(&case.text).unwrap());
            assert_eq!(encoded[0], encoded[1], "{}: {:?}", folder.display(), case.text);
        }
        assert_eq!(
            (memory.pad_token_id(), memory.padding_side(), memory.max_length()),
            (disk.pad_token_id(), disk.padding_side(), disk.max_length())
        );
    }
}

#[test]
fn files_in_memory_are_named_in_errors() {
    let vocab = std::fs::read_to_string(fixture("clip-tokenizer/vocab.json")).unwrap();
    for (files, words) in [
        (vec![], "tokenizer.json is missing: there is no tokenizer"),
        (vec![("vocab.json", vocab.as_str())], "merges.txt is missing: vocab.json and merges.txt make"),
        (vec![("vocab.json", "{}"), ("merges.txt", "#version\na b c\n")], "merges.txt: line 2"),
        (vec![("vocab.json", "<html>"), ("merges.txt", "#version\n")], "vocab.json is a web page"),
        (vec![("tokenizer.json", "[]")], "tokenizer.json: is not a tokenizer"),
        (
            vec![("tokenizer_config.json", r#"{"error":"Repository not found"}"#), ("vocab.json", "{}")],
            "tokenizer_config.json is an error's message in place of the file ({\"error\":\"Repository not found\"})",
        ),
        (vec![("vocab.json", "{}"), ("merges.txt", "#version\n")], "the tokenizer: the eos_token"),
        (
            vec![("tokenizer_config.json", "1"), ("vocab.json", "{}")],
            "tokenizer_config.json: is not a JSON object",
        ),
    ] {
        let error = Tokenizer::from_files(files).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn a_batch_is_padded_to_the_longest() {
    let tokenizer = tokenizer();
    let long = "cat ".repeat(100);
    let batch = tokenizer.encode_batch(&["a cat", "two cats lying"]).unwrap();
    assert_eq!((batch.batch, batch.length), (2, 5));
    assert_eq!(batch.input_ids, [49406, 320, 2368, 49407, 49407, 49406, 1237, 3989, 7175, 49407]);
    assert_eq!(batch.attention_mask, [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]);
    assert!(batch.truncated.is_empty());

    let batch = tokenizer.encode_batch(&["a cat", &long]).unwrap();
    assert_eq!((batch.batch, batch.length, batch.truncated.as_slice()), (2, 77, [1].as_slice()));
    assert_eq!(batch.input_ids[77 * 2 - 1], 49407, "the end token survives the cut");
    assert_eq!(tokenizer.encode_batch::<&str>(&[]).unwrap().length, 0);
}

#[test]
fn blank_prompts_are_named() {
    let tokenizer = tokenizer();
    for blank in ["", " ", "\t\n", "\u{3000}\u{a0}"] {
        assert!(matches!(tokenizer.encode(blank), Err(Error::EmptyPrompt { index: 0, count: 1 })));
    }
    let error = tokenizer.encode_batch(&["a cat", " "]).unwrap_err().to_string();
    assert!(error.contains("prompt 2 of 2 is empty"), "{error}");
}

#[test]
fn a_shorter_text_tower_cuts_earlier() {
    let mut tokenizer = tokenizer();
    tokenizer.limit_length(1000).unwrap();
    assert_eq!(tokenizer.max_length(), 77);
    tokenizer.limit_length(4).unwrap();
    let tokens = tokenizer.encode("two remote controls").unwrap();
    assert_eq!((tokens.ids.as_slice(), tokens.truncated), ([49406, 1237, 9687, 49407].as_slice(), true));
    let message = tokenizer.limit_length(2).unwrap_err().to_string();
    assert!(message.contains("text_config.max_position_embeddings = 2: "), "{message}");
    assert!(message.contains("leaves no room"), "{message}");
}

/// The ids are those of transformers 4.37.2.
#[test]
fn a_prompt_is_cut_on_the_side_that_the_files_say() {
    let text = |name: &str| std::fs::read_to_string(fixture("clip-tokenizer").join(name)).unwrap();
    let (vocab, merges) = (text("vocab.json"), text("merges.txt"));
    let with = |side: &str| {
        let config = format!(r#"{{"model_max_length": 6{side}}}"#);
        let files = [("vocab.json", &vocab), ("merges.txt", &merges), ("tokenizer_config.json", &config)];
        Tokenizer::from_files(files)
    };
    let left = r#", "truncation_side": "left""#;
    let (long, short) = ("one two three four five six seven eight", "one two three four");
    for (side, text, ids, truncated) in [
        ("", long, [49406, 637, 1237, 2097, 2721, 49407], true),
        (r#", "truncation_side": "right""#, long, [49406, 637, 1237, 2097, 2721, 49407], true),
        (left, long, [49406, 3127, 4093, 5757, 7910, 49407], true),
        (left, short, [49406, 637, 1237, 2097, 2721, 49407], false),
    ] {
        let tokens = with(side).unwrap().encode(text).unwrap();
        assert_eq!((tokens.ids.as_slice(), tokens.truncated), (&ids[..], truncated), "{side} {text}");
    }
    let mut shorter = with(left).unwrap();
    shorter.limit_length(4).unwrap();
    assert_eq!(shorter.encode(long).unwrap().ids, [49406, 5757, 7910, 49407]);
    let message = with(r#", "truncation_side": "up""#).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: truncation_side = \"up\": must be"), "{message}");
}

/// A folder with a small vocabulary, whose files the tests change one by one.
fn small() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "vocab.json",
        r#"{"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6}"#,
    );
    write("merges.txt", "#version: 0.2\na b</w>\n");
    folder
}

#[test]
fn settings_come_from_the_folder() {
    let folder = small();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let open = || Tokenizer::from_dir(folder.path());
    assert_eq!(open().unwrap().encode("AB a").unwrap().ids, [5, 4, 2, 6]);
    assert_eq!((open().unwrap().max_length(), open().unwrap().pad_token_id()), (77, 6));

    write("tokenizer_config.json", r#"{"model_max_length": 4, "pad_token": "b</w>"}"#);
    assert_eq!((open().unwrap().max_length(), open().unwrap().pad_token_id()), (4, 3));
    write("special_tokens_map.json", r#"{"pad_token": {"content": "a</w>"}}"#);
    assert_eq!(open().unwrap().pad_token_id(), 2);
    write("tokenizer_config.json", r#"{"model_max_length": 1000000000000000019884624838656}"#);
    assert_eq!(open().unwrap().max_length(), 77);

    let refused = |name: &str, text: &str, expected: &str| {
        let before = std::fs::read_to_string(folder.path().join(name)).unwrap_or("{}".to_owned());
        write(name, text);
        let error = open().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} = {text}: {error}");
        write(name, &before);
    };
    let room = "tokenizer_config.json: model_max_length = 2: a longest length of 2 tokens leaves no room";
    refused("tokenizer_config.json", r#"{"model_max_length": 2}"#, room);
    refused("tokenizer_config.json", "{", "tokenizer_config.json: is not valid JSON");
    refused(
        "special_tokens_map.json",
        r#"{"pad_token": "!"}"#,
        "the pad_token \"!\" is not in the vocabulary",
    );
    refused(
        "special_tokens_map.json",
        r#"{"eos_token": "!"}"#,
        "the eos_token \"!\" is not in the vocabulary",
    );
    refused("vocab.json", "[]", "vocab.json: is not a vocabulary");
    refused("merges.txt", "#version: 0.2\na\n", "merges.txt: line 2: expected two pieces");
    refused("merges.txt", "\n \n#version: 0.2\na\n", "merges.txt: line 4: expected two pieces");
    refused("merges.txt", "#version: 0.2\na x\n", "do not fit each other");

    std::fs::remove_file(folder.path().join("merges.txt")).unwrap();
    assert!(open().unwrap_err().to_string().contains("merges.txt is missing"));
    std::fs::remove_file(folder.path().join("vocab.json")).unwrap();
    assert!(open().unwrap_err().to_string().contains("there is no tokenizer"));
    assert!(
        Tokenizer::from_dir(folder.path().join("nowhere"))
            .unwrap_err()
            .to_string()
            .contains("nowhere is missing")
    );
}

/// `tokenizer.json` takes precedence over the vocabulary. Of its own padding and truncation only the sides
/// count, and these only where tokenizer_config.json has none, as in transformers 4.37.2.
#[test]
fn tokenizer_json_is_read() {
    let folder = small();
    let path = folder.path().join("tokenizer.json");
    let mut json = serde_json::json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "a"},
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Removed", "invert": true,
                "pattern": {"Regex": r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 8], "cls": ["<|startoftext|>", 7],
            "trim_offsets": false, "add_prefix_space": false},
        "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false,
            "vocab": {"a": 0, "b</w>": 1, "ab</w>": 2, "<|startoftext|>": 7, "<|endoftext|>": 8},
            "merges": ["a b</w>"]},
    });
    std::fs::write(&path, json.to_string()).unwrap();
    let tokenizer = Tokenizer::from_dir(folder.path()).unwrap();
    assert_eq!(tokenizer.encode("ab AB").unwrap().ids, [7, 2, 2, 8]);
    assert_eq!((tokenizer.pad_token_id(), tokenizer.padding_side()), (8, PaddingSide::Right));

    let open = |json: &serde_json::Value, config: &str| {
        std::fs::write(&path, json.to_string()).unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        Tokenizer::from_dir(folder.path())
    };
    json["padding"]["direction"] = "Left".into();
    json["truncation"]["direction"] = "Left".into();
    let tokenizer = open(&json, r#"{"model_max_length": 3}"#).unwrap();
    assert_eq!(tokenizer.padding_side(), PaddingSide::Left);
    assert_eq!(tokenizer.encode("ab a").unwrap().ids, [7, 8, 8]);
    let config = r#"{"model_max_length": 3, "padding_side": "right", "truncation_side": "right"}"#;
    let tokenizer = open(&json, config).unwrap();
    assert_eq!(tokenizer.padding_side(), PaddingSide::Right);
    assert_eq!(tokenizer.encode("ab a").unwrap().ids, [7, 2, 8]);
    json["truncation"]["direction"] = "Up".into();
    let message = open(&json, "{}").unwrap_err().to_string();
    assert!(message.contains("truncation.direction = \"Up\": must be"), "{message}");
    std::fs::write(&path, "{}").unwrap();
    assert!(
        Tokenizer::from_dir(folder.path())
            .unwrap_err()
            .to_string()
            .contains("tokenizer.json: is not a tokenizer")
    );
}

#[test]
fn arbitrary_text_never_panics() {
    let tokenizer = tokenizer();
    proptest!(|(text in any::<String>())| {
        if let Ok(tokens) = tokenizer.encode(&text) {
            prop_assert!(tokens.ids.len() <= 77);
            prop_assert_eq!((tokens.ids[0], tokens.ids[tokens.ids.len() - 1]), (49406, 49407));
            tokenizer.decode(&tokens.ids, false).unwrap();
        }
    });
}

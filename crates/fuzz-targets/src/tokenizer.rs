use clipseg_clip::Tokenizer;
use clipseg_files::TOKENIZER_FILES;

use crate::{check_refusal, folder};

/// The input consists of the files in the order of [`TOKENIZER_FILES`], separated by zeros; an empty file is
/// left out. If they make a tokenizer, prompts are encoded and decoded with it.
pub fn run(input: &[u8]) -> bool {
    let files = input.split(|&byte| byte == 0).take(TOKENIZER_FILES.len()).zip(TOKENIZER_FILES);
    let files = folder(files.filter(|(bytes, _)| !bytes.is_empty()).map(|(bytes, name)| (name, bytes)));
    match Tokenizer::from_dir(files.path()) {
        Ok(tokenizer) => {
            check(tokenizer);
            true
        }
        Err(error) => check_refusal(&error, input),
    }
}

fn check(mut tokenizer: Tokenizer) {
    let long = "ab ".repeat(200);
    let prompts = ["a", "ÄPFEL don't  12!!", "<|endoftext|>a<|startoftext|>", "日本\u{0}\u{301}", &long];
    for limit in [usize::MAX, 8] {
        if tokenizer.limit_length(limit).is_err() {
            continue;
        }
        let most = tokenizer.max_length();
        assert!(most <= limit);
        for prompt in prompts {
            let Ok(tokens) = tokenizer.encode(prompt) else { continue };
            assert!(tokens.ids.len() <= most, "{} tokens of {prompt:?}, at most {most}", tokens.ids.len());
            assert_eq!(tokenizer.encode(prompt).ok(), Some(tokens.clone()));
            for skip_special in [false, true] {
                let _ = tokenizer.decode(&tokens.ids, skip_special);
            }
        }
        if let Ok(batch) = tokenizer.encode_batch(&prompts) {
            assert_eq!(batch.input_ids.len(), prompts.len() * batch.length);
            assert_eq!(batch.attention_mask.len(), batch.input_ids.len());
            for (index, mask) in batch.attention_mask.chunks(batch.length.max(1)).enumerate() {
                let tokens = tokenizer.encode(prompts[index]).unwrap();
                assert_eq!(mask.iter().sum::<u32>() as usize, tokens.ids.len());
                assert_eq!(batch.truncated.contains(&index), tokens.truncated);
            }
        }
    }
    let _ = tokenizer.decode(&[0, 1, 7, u32::MAX], false);
    let _ = tokenizer.check_added_tokens(512);
}

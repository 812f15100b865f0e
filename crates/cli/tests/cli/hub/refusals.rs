//! What the Hub does not have, or does not give.

use super::Tiny;

fn tokenize(model: &str) -> [&str; 4] {
    ["tokenize", "--model", model, "a cat"]
}

#[test]
fn a_name_that_is_neither_folder_nor_repository() {
    let tiny = Tiny::new();
    let words = ["--model", "no such folder", "owner/name", "config.json"];
    for model in ["clipseg-rd64-refined", "a/b/c", "./tiny/model", "tiny/model@"] {
        tiny.refuse(&tokenize(model), &[], &words);
    }
    let secret = "https://user:geheim@example.com/tiny/model?token=geheim";
    let stderr = tiny.refuse(&tokenize(secret), &[], &["https://example.com/tiny/model", "another host"]);
    assert!(!stderr.contains("geheim"), "{stderr}");
    tiny.refuse(&tokenize("https://huggingface.co/datasets/a/b"), &[], &["data set", "owner/name"]);
    let file = tiny.workspace.argument("model/config.json");
    tiny.refuse(&tokenize(&file), &[], &[&file, "is a file", "folder"]);
    assert!(tiny.server.requests().is_empty());
}

#[test]
fn a_repository_or_revision_that_is_not_there() {
    let tiny = Tiny::new();
    let url = format!("{}/api/models/tiny/none/revision/main", tiny.server.endpoint);
    tiny.refuse(
        &tokenize("tiny/none"),
        &[],
        &["no such folder", "401", "none of this name", "HF_TOKEN", &url],
    );
    let token = [("HF_TOKEN", "hf_any")];
    tiny.refuse(&tokenize("tiny/none"), &token, &["no such folder", "404", "Repository not found", &url]);
    let words = ["no such folder", "404", "tiny/model@none", "Invalid rev id", "revision/none"];
    tiny.refuse(&tokenize("tiny/model@none"), &[], &words);
    assert!(!tiny.cache("").exists());
}

#[test]
fn a_repository_without_a_checkpoint() {
    let tiny = Tiny::new();
    tiny.server.state().files.remove("model.safetensors");
    tiny.refuse_segment(&[], &["tiny/model is not a checkpoint", "neither model.safetensors nor"]);
    tiny.server.state().files.clear();
    tiny.refuse(&tokenize("tiny/model"), &[], &["tiny/model is not a checkpoint", "neither config.json nor"]);
}

#[test]
fn a_hub_that_is_out_of_order_or_none() {
    let tiny = Tiny::new();
    tiny.server.state().status = Some(503);
    tiny.refuse(&tokenize("tiny/model"), &[], &["503", "out of order", "try again later"]);
    tiny.server.state().status = Some(403);
    tiny.refuse(&tokenize("tiny/model"), &[], &["403", "HF_TOKEN"]);
    tiny.server.state().status = Some(204);
    tiny.refuse(&tokenize("tiny/model"), &[], &["answers as no Hub does", "HF_ENDPOINT"]);
    let endpoint = [("HF_ENDPOINT", "127.0.0.1:80")];
    tiny.refuse(&tokenize("tiny/model"), &endpoint, &["HF_ENDPOINT", "127.0.0.1:80", "not an address"]);
}

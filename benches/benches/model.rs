//! The whole model: the trained one in `fixtures/`, and one of the published size where `cargo xtask synth`
//! or `verify --full` has made it in `target/full`.
//!
//! `cargo bench -p clipseg-benches --bench model`

use std::path::Path;

use clipseg::{ClipSeg, Device, DeviceOptions, Photo};
use clipseg_benches::{criterion, random};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MODELS: [&str; 2] = ["fixtures/models/clipseg-shapes", "target/full"];
/// Words that both models' tokenizers know.
const WORDS: [&str; 4] = ["red", "yellow", "square", "cross"];

fn model(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let photo = random(3 * 640 * 480).iter().map(|value| (127.5 * (value + 1.0)) as u8).collect();
    let photo = Photo::from_rgb(640, 480, photo).expect("there are as many bytes as pixels");
    for name in MODELS {
        let folder = root.join(name);
        if !folder.join("model.safetensors").exists() {
            continue;
        }
        let device = Device::open(&DeviceOptions::default()).expect("the processor is always there");
        let model = ClipSeg::from_pretrained(&device, folder).expect("the checkpoint loads");
        let pixels = model.processor().preprocess(&photo);
        let encode = || {
            let scene = model.encode_pixels(&pixels).expect("the image is encoded");
            model.wait().expect("the device works");
            scene
        };
        let mut group = criterion.benchmark_group(name.rsplit('/').next().unwrap_or(name));
        let scene = encode();
        group.throughput(Throughput::Elements(1));
        group.bench_function("encode an image", |bencher| bencher.iter(encode));
        for prompts in [1, 8, 32] {
            let texts: Vec<_> =
                (0..prompts).map(|place| format!("{} {place}", WORDS[place % WORDS.len()])).collect();
            let condition = model.encode_text(&texts).expect("the words are encoded");
            group.throughput(Throughput::Elements(prompts as u64));
            group.bench_function(BenchmarkId::new("decode prompts", prompts), |bencher| {
                // It reads the logits back, and so waits.
                bencher.iter(|| model.decode(&scene, &condition).expect("the prompts are decoded"));
            });
        }
        group.finish();
    }
}

criterion_group! { name = benches; config = criterion(); targets = model }
criterion_main!(benches);

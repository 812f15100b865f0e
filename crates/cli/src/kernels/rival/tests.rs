//! Kernels in the layout on a real driver: ours brought back, and two that were written for these tests.

use std::fs;
use std::path::{Path, PathBuf};

use clipseg::{AdapterChoice, AdapterReport, DeviceOptions};

use super::*;
use crate::kernels::layout::export;
use crate::kernels::work::Arithmetic;
use crate::kernels::{configurations, numbers};
use crate::output::Folder;

const TOLERANCE: f64 = 1e-4;

struct Bench {
    arena: Arena,
    adapter: AdapterReport,
    processor: Device,
}

impl Bench {
    fn new() -> Self {
        let adapter = configurations::find("driver").expect("this test needs an adapter");
        let options = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
        let processor = Device::open(&options).unwrap();
        Self { arena: Arena::open(&adapter).unwrap(), adapter, processor }
    }

    fn outcome(&self, rival: &Rival, work: Work) -> Result<Outcome> {
        self.arena.measure(rival, work, &self.processor, Duration::from_millis(1))
    }

    /// The variant that computes this, whose numbers must be right.
    fn right(&self, rival: &Rival, work: Work) -> String {
        let outcome = self.outcome(rival, work).unwrap_or_else(|error| panic!("{work:?}: {error:#}"));
        let worst = numbers::worst(&outcome.values, &outcome.expected);
        assert!(worst.is_some_and(|worst| worst <= TOLERANCE), "{}, {work:?}: {worst:?}", outcome.form);
        assert!(outcome.times.wall.median_seconds > 0.0 && outcome.kernels[0].1.flops > 0);
        assert!(outcome.times.gpu.is_none() || self.adapter.timestamps);
        outcome.form
    }
}

fn fixture(id: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rivals").join(id)
}

/// A copy of a fixture with a text in one of its files replaced.
fn changed(id: &str, file: &str, from: &str, to: &str) -> (tempfile::TempDir, Result<Rival>) {
    let folder = tempfile::tempdir().unwrap();
    for entry in walkdir::WalkDir::new(fixture(id).join("build/webgpu")) {
        let entry = entry.unwrap();
        let within = entry.path().strip_prefix(fixture(id).join("build/webgpu")).unwrap();
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(folder.path().join(within)).unwrap(),
            false => drop(fs::copy(entry.path(), folder.path().join(within)).unwrap()),
        }
    }
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} in {file}");
    fs::write(path, text.replace(from, to)).unwrap();
    let rival = Rival::open(folder.path());
    (folder, rival)
}

#[test]
fn ours_come_back_right_in_every_variant() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    export::write(&Folder::prepare(folder.path(), "--export").unwrap()).unwrap();
    let product = |m, n, k| Work::Product { m, n, k };
    let works = [
        product(1, 1, 1),
        product(7, 12, 20),
        product(65, 68, 36),
        product(37, 5, 3),
        Work::attention(2, 37, 3, 16, false),
        Work::attention(1, 33, 2, 64, true),
        Work::attention(1, 9, 1, 7, true),
        Work::LayerNorm { rows: 5, columns: 768 },
        Work::LayerNorm { rows: 3, columns: 37 },
        Work::Softmax { rows: 5, columns: 485 },
        Work::Binary { operation: Arithmetic::Add, length: 1001 },
        Work::Binary { operation: Arithmetic::Mul, length: 77 },
        Work::QuickGelu { length: 1001 },
        Work::Sigmoid { length: 131 },
    ];
    let mut ran = Vec::new();
    let mut all = Vec::new();
    for id in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let ids = |rival: &Rival| -> Vec<String> {
            rival.package.manifest.variants.iter().map(|variant| variant.id.clone()).collect()
        };
        for (place, variant) in ids(&Rival::open(&id).unwrap()).into_iter().enumerate() {
            let mut rival = Rival::open(&id).unwrap();
            let alone = rival.package.manifest.variants.swap_remove(place);
            let needs_subgroups = alone.requires.is_some();
            rival.package.manifest.variants = vec![alone];
            for work in works.into_iter().filter(|work| rival.computes(*work)) {
                // One variant takes few shapes; a call with a bias never takes one without.
                match bench.outcome(&rival, work) {
                    Err(error) if format!("{error:#}").contains("no variant of it") => {}
                    Err(error) => panic!("{variant}, {work:?}: {error:#}"),
                    Ok(_) => {
                        bench.right(&rival, work);
                        ran.push(variant.clone());
                    }
                }
            }
            if !needs_subgroups || bench.adapter.subgroups {
                all.push(variant);
            }
        }
    }
    // Those without a bias are called by no work of ours, which have one.
    all.retain(|variant| !variant.starts_with("matmul") || variant.ends_with("_bias"));
    all.retain(|variant| !ran.contains(variant));
    assert_eq!(all, Vec::<String>::new(), "these ran nowhere");
}

#[test]
fn the_cases_that_come_with_ours_are_what_they_compute() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    export::write(&Folder::prepare(folder.path(), "--export").unwrap()).unwrap();
    let floats = |data: &serde_json::Value| -> Vec<f32> {
        assert_eq!(data["kind"], "values");
        data["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
    };
    let mut count = 0;
    for id in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let package = Package::open(&id).unwrap();
        let text = fs::read_to_string(id.join("build/webgpu/test.json")).unwrap();
        let tests: serde_json::Value = serde_json::from_str(&text).unwrap();
        for case in tests["cases"].as_array().unwrap() {
            let shape = |tensor: &serde_json::Value| -> Vec<usize> {
                serde_json::from_value(tensor["shape"].clone()).unwrap()
            };
            let given = case["inputs"].as_object().unwrap();
            let inputs = given.iter().map(|(name, input)| (name.clone(), shape(input))).collect();
            let attributes = case["attrs"].as_object().into_iter().flatten();
            let attributes = attributes.map(|(name, value)| (name.clone(), value.clone())).collect();
            let program =
                Program::new(&package, bench.arena.0.facts(), &Call { inputs, attributes }).unwrap();
            let values: Vec<_> = given.values().map(|input| floats(&input["data"])).collect();
            let values: Vec<_> = values.iter().map(|values| &values[..]).collect();
            let loaded = Loaded::new(&bench.arena.0, &program, &values).unwrap();
            for (name, output) in case["outputs"].as_object().unwrap() {
                let worst = numbers::worst(&loaded.result(name).unwrap(), &floats(&output["data"]));
                let tolerance = output["tolerance"].as_f64().unwrap();
                assert!(worst.is_some_and(|worst| worst <= tolerance), "{id:?} {}: {worst:?}", case["name"]);
                assert!(program.tensors.contains(&(name.clone(), shape(output))), "{name} of {id:?}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 12);
}

#[test]
fn others_run_by_their_conditions() {
    let bench = Bench::new();
    let product = Rival::open(&fixture("ai.onnx.MatMul")).unwrap();
    for (work, variant) in [
        (Work::Product { m: 5, n: 8, k: 6 }, "ai.onnx.MatMul (vectors)"),
        (Work::Product { m: 67, n: 132, k: 33 }, "ai.onnx.MatMul (vectors)"),
        (Work::Product { m: 9, n: 7, k: 10 }, "ai.onnx.MatMul (plain)"),
    ] {
        assert_eq!(bench.right(&product, work), variant);
        let note = bench.outcome(&product, work).unwrap().note;
        assert!(note.is_some_and(|note| note.contains("without a bias")));
    }
    let softmax = Rival::open(&fixture("ai.onnx.Softmax")).unwrap();
    let wide = if bench.adapter.subgroups {
        "ai.onnx.Softmax (subgroup_rows)"
    } else {
        "ai.onnx.Softmax (two_passes)"
    };
    for (work, variant) in [
        (Work::Softmax { rows: 9, columns: 131 }, wide),
        (Work::Softmax { rows: 3, columns: 131 }, "ai.onnx.Softmax (two_passes)"),
        (Work::Softmax { rows: 129, columns: 5 }, "ai.onnx.Softmax (two_passes)"),
    ] {
        assert_eq!(bench.right(&softmax, work), variant);
    }
}

#[test]
fn wrong_numbers_are_told_from_right_ones() {
    let bench = Bench::new();
    for (id, file, from, to, work) in [
        ("ai.onnx.MatMul", "plain.wgsl.jinja", "k = 0u", "k = 1u", Work::Product { m: 9, n: 7, k: 10 }),
        (
            "ai.onnx.MatMul",
            "plain.wgsl.jinja",
            "= sum;",
            "= sum * 1.001;",
            Work::Product { m: 9, n: 7, k: 10 },
        ),
        // Beyond its memory nothing is read or written; what is missing is wrong.
        (
            "ai.onnx.MatMul",
            "plain.wgsl.jinja",
            "out[id.y",
            "out[100000u + id.y",
            Work::Product { m: 9, n: 7, k: 10 },
        ),
        // Memory that is to be zeros before each run: the second run finds what the first left there.
        (
            "ai.onnx.Softmax",
            "manifest.json",
            ", \"zeroInit\": true",
            "",
            Work::Softmax { rows: 65, columns: 5 },
        ),
    ] {
        let (_folder, rival) = changed(id, file, from, to);
        let rival = rival.unwrap();
        let outcome = bench.outcome(&rival, work).unwrap();
        let worst = numbers::worst(&outcome.values, &outcome.expected);
        assert!(worst.is_none_or(|worst| worst > TOLERANCE), "{to:?} for {from:?}: {worst:?}");
    }
}

#[test]
fn what_does_not_end_is_given_up() {
    let adapter = configurations::find("driver").expect("this test needs an adapter");
    let arena = Arena(Gpu::open(&adapter, Duration::ZERO).unwrap());
    let bench = Bench { arena, ..Bench::new() };
    let work = Work::Product { m: 9, n: 7, k: 10 };
    // Some milliseconds on a software driver, and no time to wait at all.
    let long = "for (var i = 0u; i < 60000u; i++) { sum = sum * 1.0001 + 0.5; }\n    out[id.y";
    let (_folder, rival) = changed("ai.onnx.MatMul", "plain.wgsl.jinja", "out[id.y", long);
    let error = format!("{:#}", bench.outcome(&rival.unwrap(), work).err().unwrap());
    assert!(error.contains("did not end within 0 s"), "{error}");
    assert!(bench.arena.is_stuck());
    let error = bench.outcome(&Rival::open(&fixture("ai.onnx.MatMul")).unwrap(), work).err().unwrap();
    assert!(format!("{error:#}").contains("an earlier kernel never ended"), "{error:#}");
}

#[test]
fn what_wgpu_refuses_is_told() {
    let bench = Bench::new();
    let work = Work::Product { m: 9, n: 7, k: 10 };
    for (file, from, to, words) in [
        ("plain.wgsl.jinja", "var sum", "var sum = 1; var sum", &["wgpu refuses it", "sum"][..]),
        ("plain.wgsl.jinja", "@compute", "enable nothing_known;\n@compute", &["wgpu refuses it"]),
        ("plain.wgsl.jinja", "fn main", "fn other", &["wgpu refuses it"]),
        ("plain.wgsl.jinja", "{{ tunables.TILE }}", "{{ tunables.TILE * 64 }}", &["wgpu refuses it"]),
        ("plain.wgsl.jinja", "{% endif %}", "", &["plain.wgsl.jinja", "syntax error"]),
        (
            "manifest.json",
            "\"x\": \"ceilDiv(columns, tunables.TILE)\"",
            "\"x\": \"nothing\"",
            &["nothing is not known"],
        ),
        (
            "manifest.json",
            "\"f16Ok(dtypes.T)\"",
            "\"columns > 1000\"",
            &["no variant of it", "`columns > 1000` does not hold"],
        ),
        ("manifest.json", "\"onnx\": \"B\"", "\"onnx\": \"C\"", &["no input of its manifest is B"]),
        ("manifest.json", "[\"float16\", \"float32\"]", "[\"float16\"]", &["left cannot be float32"]),
    ] {
        let (_folder, rival) = changed("ai.onnx.MatMul", file, from, to);
        let error = match rival.and_then(|rival| bench.outcome(&rival, work)) {
            Ok(outcome) => panic!("{to}: {} ran", outcome.form),
            Err(error) => format!("{error:#}"),
        };
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} are not in: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    // And the device is as good as before.
    bench.right(&Rival::open(&fixture("ai.onnx.MatMul")).unwrap(), work);
}

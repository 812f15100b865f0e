//! Composes every kernel of `wgsl/` with what it includes, validates it, and writes one Rust module per
//! kernel: its parameter block, constants, bindings and overrides as naga reflects them, so that Rust cannot
//! disagree with WGSL.

mod compose;
mod reflect;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use naga::valid::{Capabilities, ValidationFlags, Validator};

use compose::Composed;

/// What a kernel may need beyond WebGPU's core: subgroups and matrix units, which a kernel says that it uses,
/// and what naga calls a capability although WGSL's core has it, `unpack2x16float`.
const CAPABILITIES: Capabilities = Capabilities::SUBGROUP
    .union(Capabilities::SUBGROUP_BARRIER)
    .union(Capabilities::SHADER_FLOAT16_IN_FLOAT32)
    .union(Capabilities::SHADER_FLOAT16)
    .union(Capabilities::COOPERATIVE_MATRIX);

fn main() {
    println!("cargo::rerun-if-changed=wgsl");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::create_dir_all(out.join("wgsl")).expect("OUT_DIR is writable");

    let included = RefCell::new(BTreeSet::new());
    let read = |file: &str| {
        included.borrow_mut().insert(file.to_owned());
        fs::read_to_string(Path::new("wgsl").join(file)).map_err(|error| format!("wgsl/{file}: {error}"))
    };
    let names = files(Path::new("wgsl"));
    let mut generated = String::new();
    for name in &names {
        let composed = Composed::of(&format!("{name}.wgsl"), &read).unwrap_or_else(|error| panic!("{error}"));
        let source = composed.text();
        let path = out.join("wgsl").join(format!("{name}.wgsl"));
        fs::write(&path, &source).expect("OUT_DIR is writable");
        let shown = path.display().to_string();
        let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|error| {
            fail(&composed, error.location(&source), &error.emit_to_string_with_path(&source, &shown))
        });
        Validator::new(ValidationFlags::all(), CAPABILITIES).validate(&module).unwrap_or_else(|error| {
            fail(&composed, error.location(&source), &error.emit_to_string_with_path(&source, &shown))
        });
        reflect::write_kernel(&mut generated, name, &source, &module);
    }
    for name in files(Path::new("wgsl/shared")) {
        let file = format!("shared/{name}.wgsl");
        assert!(included.borrow().contains(&file), "no kernel includes wgsl/{file}");
    }
    writeln!(
        generated,
        "/// Every kernel, in alphabetical order.\npub static ALL: [&Kernel; {}] = [",
        names.len()
    )
    .expect("writing to a string");
    for name in &names {
        writeln!(generated, "    &{name}::KERNEL,").expect("writing to a string");
    }
    generated.push_str("];\n");
    fs::write(out.join("kernels.rs"), generated).expect("OUT_DIR is writable");
}

/// The names of a folder's WGSL files, in alphabetical order.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("shaders/wgsl is part of the crate");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let kernels = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    let stems = kernels.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<_> = stems.collect();
    names.sort();
    names
}

/// Ends the build with naga's message on a composed kernel, and the file and line to change.
fn fail(composed: &Composed, location: Option<naga::SourceLocation>, message: &str) -> ! {
    let origin = location.and_then(|location| composed.origin(location.line_number as usize));
    panic!("{message}\nThe line to change is {}", origin.as_deref().unwrap_or("one of several"));
}

//! `devices`.

use std::process::Command;

use serde_json::Value;

use crate::support::succeed;

#[test]
fn adapters_are_listed_for_people_and_for_programs() {
    let adapters: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    let is_processor = |adapter: &Value| adapter["kind"] == "processor";
    assert_eq!(adapters.as_array().unwrap().iter().filter(|adapter| is_processor(adapter)).count(), 1);
    let Some(first) = adapters.as_array().unwrap().iter().find(|adapter| !is_processor(adapter)) else {
        panic!("this test needs an adapter: {adapters}");
    };
    assert!(first["limits"]["max_buffer_size"].as_u64().unwrap() > 0);
    assert!(first["pipeline_cache"].is_boolean(), "{first}");
    let kernels = first["kernels"].as_array().unwrap();
    assert!(
        kernels.contains(&"workgroup".into()) && kernels.contains(&first["automatic_kernels"]),
        "{kernels:?}"
    );

    let text = succeed(&["devices"]);
    for adapter in adapters.as_array().unwrap() {
        let title = format!("{}: {}\n", adapter["index"], adapter["description"].as_str().unwrap());
        assert!(text.contains(&title), "{text}");
    }
    for word in [
        "kind",
        "limits",
        "features",
        "pipeline cache",
        "kernels",
        "(automatic)",
        "--tune-kernels",
        "--adapter cpu",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_software_adapter_of_other_lanes_says_how_to_make_it_fast() {
    let output = Command::new(env!("CARGO_BIN_EXE_clipseg"))
        .args(["devices", "--json"])
        .env("LP_NATIVE_VECTOR_WIDTH", "128")
        .output()
        .unwrap();
    let adapters: Value = serde_json::from_slice(&output.stdout).unwrap();
    for adapter in adapters.as_array().unwrap() {
        let is_slow = adapter["kind"] == "software" && adapter["automatic_kernels"] == "workgroup";
        assert_eq!(adapter["hint"].is_string(), is_slow, "{adapter}");
        if adapter["description"].as_str().unwrap().contains("llvmpipe Mesa") {
            let width = &adapter["vector_width"];
            assert_eq!((width["bits"].as_u64(), width["set_by"].as_str()), (Some(128), Some("environment")));
        }
    }
}

#[test]
fn llvmpipe_is_told_its_vector_width_by_us_unless_by_the_user() {
    let text = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
    command.arg("devices").env_remove("LP_NATIVE_VECTOR_WIDTH");
    let untold = text(&mut command);
    if !untold.contains("llvmpipe Mesa") {
        return;
    }
    // Which of these is printed depends on the driver and the processor.
    let [ours, its_own] = ["which clipseg chose", "the driver's own choice"];
    assert!(untold.contains(ours) || untold.contains(its_own), "{untold}");
    let is_wide = untold.contains(&format!("vectors   of 512 bits, {ours}"));
    assert_eq!(untold.contains("subgroups of 16 lanes"), is_wide, "{untold}");
    for (bits, lanes) in [("256", 8), ("512", 16)] {
        let told = text(command.env("LP_NATIVE_VECTOR_WIDTH", bits));
        assert!(
            told.contains(&format!("vectors   of {bits} bits, as LP_NATIVE_VECTOR_WIDTH says")),
            "{told}"
        );
        assert!(told.contains(&format!("subgroups of {lanes} lanes")), "{told}");
        assert!(told.contains("subgroup (automatic)"), "{told}");
    }
}

#[test]
fn a_width_that_llvmpipe_does_not_survive_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
    let output = command.arg("devices").env("LP_NATIVE_VECTOR_WIDTH", "7").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("128, 256 or 512"), "{message}");
}

/// Mesa 25.0 crashes on shaders of another width in its cache, so the shaders of a chosen width must not be
/// in the cache that other programs use.
#[test]
fn shaders_of_a_chosen_width_have_a_cache_of_their_own() {
    let caches = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipseg"));
    command.args(["segment", "--model", "fixtures/models/clipseg-shapes", "fixtures/shapes/scene-1.png"]);
    command
        .args(["--adapter", "llvmpipe", "-p", "a star", "--logits"])
        .arg(caches.path().join("logits.safetensors"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).env("XDG_CACHE_HOME", caches.path());
    let output = command.env("LP_NATIVE_VECTOR_WIDTH", "256").output().unwrap();
    let is_there = !String::from_utf8_lossy(&output.stderr).contains("no adapter with \"llvmpipe\"");
    assert!(output.status.success() || !is_there, "{output:?}");
    assert!(!caches.path().join("mesa_shader_cache").exists());
    assert!(!caches.path().join("mesa_shader_cache_db").exists());
}

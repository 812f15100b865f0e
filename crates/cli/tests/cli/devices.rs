//! `devices`.

use std::process::Command;

use serde_json::Value;

use crate::support::succeed;

#[test]
fn adapters_are_listed_for_people_and_for_programs() {
    let adapters: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    let first = &adapters[0];
    assert_eq!(first["index"], 0);
    assert!(first["limits"]["max_buffer_size"].as_u64().unwrap() > 0);
    assert!(first["pipeline_cache"].is_boolean(), "{first}");
    let kernels = first["kernels"].as_array().unwrap();
    assert!(
        kernels.contains(&"classic".into()) && kernels.contains(&first["automatic_kernels"]),
        "{kernels:?}"
    );

    let text = succeed(&["devices"]);
    assert!(text.starts_with(&format!("0: {}\n", first["description"].as_str().unwrap())), "{text}");
    for word in ["kind", "limits", "features", "pipeline cache", "kernels", "(automatic)"] {
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
        let is_slow = adapter["kind"] == "software" && adapter["automatic_kernels"] == "classic";
        assert_eq!(adapter["hint"].is_string(), is_slow, "{adapter}");
        if adapter["description"].as_str().unwrap().contains("llvmpipe Mesa") {
            let width = &adapter["vector_width"];
            assert_eq!(
                (width["bits"].as_str(), width["set_by"].as_str()),
                (Some("128"), Some("environment"))
            );
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
    // Which of the two depends on the processor.
    let is_wide = untold.contains("vectors   of 512 bits, which clipseg sets");
    assert!(is_wide || untold.contains("vectors   of 256 bits, which clipseg sets"), "{untold}");
    assert!(
        untold.contains(if is_wide { "subgroups of 16 lanes" } else { "subgroups of 8 lanes" }),
        "{untold}"
    );
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

//! `devices`.

use serde_json::Value;

use crate::support::succeed;

#[test]
fn adapters_are_listed_for_people_and_for_programs() {
    let adapters: Value = serde_json::from_str(&succeed(&["devices", "--json"])).unwrap();
    let first = &adapters[0];
    assert_eq!(first["index"], 0);
    assert!(first["limits"]["max_buffer_size"].as_u64().unwrap() > 0);
    let kernels = first["kernels"].as_array().unwrap();
    assert!(
        kernels.contains(&"classic".into()) && kernels.contains(&first["automatic_kernels"]),
        "{kernels:?}"
    );

    let text = succeed(&["devices"]);
    assert!(text.starts_with(&format!("0: {}\n", first["description"].as_str().unwrap())), "{text}");
    for word in ["kind", "limits", "features", "kernels", "(automatic)"] {
        assert!(text.contains(word), "{text}");
    }
}

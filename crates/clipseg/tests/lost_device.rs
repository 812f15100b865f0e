//! The example of that name does what it says.

#[allow(dead_code, reason = "its main reads arguments")]
#[path = "../examples/lost_device.rs"]
mod example;

#[test]
fn the_example_gets_the_same_mask_on_a_new_device() {
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/shapes/scene-1.png");
    assert!(example::run(photo, "the orange ring").unwrap() > 0);
}

//! The example of that name does what it says.

#[allow(dead_code, reason = "its main prints")]
#[path = "../examples/server.rs"]
mod example;

use clipseg::{AdapterChoice, Device, DeviceOptions};

#[test]
fn eight_callers_get_what_each_would_alone() {
    let options = DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() };
    let served = example::run(&Device::open(&options).expect("this test needs an adapter")).unwrap();
    let (first, second) = served.masks.split_at(4);
    assert_eq!(first, second, "four prompts, asked for twice");
    assert!(first.iter().any(|&mask| mask > 0) && first[0] != first[1], "{first:?}");
    println!("the executor was held up for at most {:?}", served.longest_poll);
}

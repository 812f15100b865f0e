//! The example of that name does what it says.

#[allow(dead_code, reason = "its main reads arguments")]
#[path = "../examples/host_device.rs"]
mod example;

#[test]
fn the_renderer_shows_the_ring_that_it_drew() {
    let [picture, mask, shown] = example::run("the orange ring").unwrap();
    let (width, height) = (example::SIZE.0 as usize, example::SIZE.1 as usize);
    assert_eq!(mask.len(), width * height);
    let is_ring = |place: usize| {
        let (x, y) = ((place % width) as f64 + 0.5, (place / width) as f64 + 0.5);
        (45.0..85.0).contains(&(x - 130.0).hypot(y - 150.0))
    };
    let (mut both, mut either) = (0.0, 0.0);
    for (place, &found) in mask.iter().enumerate() {
        let (drawn, found) = (is_ring(place), found >= 128);
        both += f64::from(u8::from(drawn && found));
        either += f64::from(u8::from(drawn || found));
    }
    assert!(both / either > 0.8, "intersection over union of {}", both / either);

    // What is shown is the picture, drawn over where the mask says so.
    let linear = |byte: u8| {
        let value = f64::from(byte) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let stored = |value: f64| {
        let value = if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
        255.0 * value
    };
    let mut drawn_over = 0;
    for (place, &found) in mask.iter().enumerate() {
        for channel in 0..3 {
            let [picture, shown] = [&picture, &shown].map(|texels| texels[4 * place + channel]);
            let share = 0.6 * f64::from(found) / 255.0;
            let magenta = [1.0, 0.0, 1.0][channel];
            let expected = stored(linear(picture) * (1.0 - share) + magenta * share);
            assert!((f64::from(shown) - expected).abs() <= 2.0, "{shown}, expected {expected} at {place}");
            drawn_over += usize::from(shown != picture);
        }
    }
    assert!(drawn_over > 10_000, "{drawn_over}");
}

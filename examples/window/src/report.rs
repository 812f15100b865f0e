//! What the window tells whoever watches it: lines of JSON.

use clipseg::serde_json::{Map, Value, json};
use eframe::egui::Rect;

use crate::engine::Wanted;
use crate::frames::{Frames, Phase};

/// Where something lies in the window, in its pixels: left, top, width, height.
fn place(rect: Rect, pixels_per_point: f32) -> Value {
    let pixels = [rect.left(), rect.top(), rect.width(), rect.height()].map(|side| side * pixels_per_point);
    json!(pixels)
}

/// A line of what is shown and how long frames took in each phase.
pub fn line(
    shown: &Wanted,
    frames: &Frames,
    milliseconds: [Option<f64>; 3],
    [picture, slider]: [Rect; 2],
    pixels_per_point: f32,
) -> String {
    let of_phases: Map<_, _> = Phase::ALL
        .into_iter()
        .filter_map(|phase| {
            let all = frames.of(phase)?;
            let value = json!({ "count": all.count, "median": all.median, "longest": all.longest });
            Some((phase.name().to_owned(), value))
        })
        .collect();
    let [loaded, encoded, found] = milliseconds;
    json!({
        "photo": shown.photo,
        "words": shown.words,
        "threshold": shown.threshold,
        "picture": place(picture, pixels_per_point),
        "slider": place(slider, pixels_per_point),
        "milliseconds": { "loading": loaded, "encoding": encoded, "finding": found },
        "frames": of_phases,
    })
    .to_string()
}

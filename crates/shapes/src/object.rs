//! Coloured shapes: what they look like, and which points belong to them.

use crate::draws::Draws;

/// The colours, as prompts name them.
pub const COLOURS: [&str; 8] = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink"];
/// The shapes, as prompts name them.
pub const SHAPES: [&str; 7] = ["circle", "square", "triangle", "ring", "star", "cross", "crescent"];
/// The fills, as prompts name them.
pub const FILLS: [&str; 3] = ["plain", "striped", "dotted"];
/// The sizes, as prompts name them; no prompt says "medium".
pub const SIZES: [&str; 3] = ["small", "medium", "large"];

/// Pairs of indices in [`COLOURS`] and [`SHAPES`] that never occur together in training, neither in pictures
/// nor in phrases: they make the zero-shot test.
pub const HELD_OUT: [(usize, usize); 8] = [(0, 4), (1, 0), (2, 2), (3, 6), (4, 1), (5, 3), (6, 5), (7, 0)];

const PALETTE: [[i64; 3]; 8] = [
    [205, 35, 35],
    [40, 150, 50],
    [40, 70, 205],
    [235, 215, 50],
    [130, 45, 165],
    [240, 130, 25],
    [60, 205, 215],
    [250, 140, 190],
];
const RADII: [(i64, i64); 3] = [(36, 44), (52, 64), (74, 92)];

/// The fixed-point scale of sines, directions and fractions of a radius.
const UNIT: i64 = 1 << 14;

/// One object. Shape, colour, fill and size are indices in [`SHAPES`], [`COLOURS`], [`FILLS`] and [`SIZES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Index in [`SHAPES`].
    pub shape: usize,
    /// Index in [`COLOURS`].
    pub colour: usize,
    /// Index in [`FILLS`].
    pub fill: usize,
    /// Index in [`SIZES`].
    pub size: usize,
    /// In pixels.
    pub(crate) radius: i64,
    /// In 1/256 of a turn.
    angle: i64,
    /// Column and row.
    pub(crate) centre: (i64, i64),
    ink: [i64; 3],
    /// Colour of stripes and dots.
    second_ink: [i64; 3],
    /// Distance of stripes and dots, in pixels.
    pitch: i64,
    light_angle: i64,
    light: i64,
    /// Number of pixels, including those that later objects cover.
    pub(crate) area: i64,
    /// Number of visible pixels.
    pub(crate) visible: i64,
}

/// Coordinates in a frame turned by `angle`/256 of a circle, in units of 1/[`UNIT`].
pub(crate) fn rotated(x: i64, y: i64, angle: i64) -> (i64, i64) {
    let (cosine, sine) = (sine(angle + 64), sine(angle));
    (x * cosine + y * sine, y * cosine - x * sine)
}

/// `UNIT` times the sine, rounded; no value is close to a half, so every libm gives the same integers.
fn sine(angle: i64) -> i64 {
    let radians = std::f64::consts::TAU * (angle.rem_euclid(256) as f64) / 256.0;
    (radians.sin() * UNIT as f64).round() as i64
}

/// A colour near another.
pub(crate) fn near(draws: &mut Draws, colour: [i64; 3], spread: i64) -> [i64; 3] {
    colour.map(|channel| (channel + draws.between(-spread, spread)).clamp(0, 255))
}

impl Object {
    /// Draws everything but the position. Some objects take their shape or colour from an earlier one, so
    /// that one word of a prompt is not enough to tell them apart.
    pub(crate) fn draw(draws: &mut Draws, others: &[Self], pair: Option<(usize, usize)>) -> Self {
        let (mut shape, mut colour) = (draws.below(SHAPES.len()), draws.below(COLOURS.len()));
        if !others.is_empty() && draws.chance(25) {
            let other = &others[draws.below(others.len())];
            if draws.chance(50) {
                shape = other.shape;
            } else {
                colour = other.colour;
            }
        }
        if let Some(pair) = pair {
            (colour, shape) = pair;
        }
        let fill = draws.weighted(&[50, 25, 25]);
        let size = draws.weighted(&[30, 40, 30]);
        let radius = draws.between(RADII[size].0, RADII[size].1);
        let ink = near(draws, PALETTE[colour], 18);
        let pale = draws.chance(50);
        Self {
            shape,
            colour,
            fill,
            size,
            radius,
            angle: draws.below(256) as i64,
            centre: (0, 0),
            ink,
            second_ink: ink.map(|channel| if pale { 240 } else { (channel * 90) >> 8 }),
            pitch: draws.between(radius / 6 + 3, radius / 5 + 5),
            light_angle: draws.below(256) as i64,
            light: draws.between(0, 50),
            area: 0,
            visible: 0,
        }
    }

    /// Colour and shape.
    #[must_use]
    pub fn pair(&self) -> (usize, usize) {
        (self.colour, self.shape)
    }

    /// Whether a point belongs to the object; the point is relative to the object's centre, in half pixels.
    pub(crate) fn contains(&self, x: i64, y: i64) -> bool {
        let (u, v) = rotated(x, y, self.angle);
        inside(SHAPES[self.shape], u, v, 2 * self.radius)
    }

    /// The colour of a point as red, green and blue, which may exceed 0..=255.
    pub(crate) fn colour_at(&self, x: i64, y: i64) -> [i64; 3] {
        let (u, v) = rotated(x, y, self.angle);
        let (u, v) = (u >> 15, v >> 15); // whole pixels
        let second = match FILLS[self.fill] {
            "striped" => u.div_euclid(self.pitch) & 1 == 1,
            "dotted" => {
                let period = 2 * self.pitch + 4;
                let right = u.rem_euclid(period) - self.pitch - 2;
                let down = v.rem_euclid(period) - self.pitch - 2;
                right * right + down * down <= period * period * 10 / 64
            }
            _ => false,
        };
        let (along, _) = rotated(x, y, self.light_angle);
        let factor = 256 + ((along >> 14) * self.light).div_euclid(2 * self.radius);
        let ink = if second { self.second_ink } else { self.ink };
        ink.map(|channel| (channel * factor) >> 8)
    }
}

/// Outward normals of a triangle's sides, in 1/[`UNIT`].
const TRIANGLE: [(i64, i64); 3] = [(0, 16384), (14189, -8192), (-14189, -8192)];
/// Outward normals of the lines of a five-pointed star: its points lie behind at least four of the lines.
const STAR: [(i64, i64); 5] = [(0, -16384), (15582, -5063), (9630, 13255), (-9630, 13255), (-15582, -5063)];

/// Whether a point belongs to a shape of this radius (in half pixels). The point is in the object's frame, in
/// half pixels / [`UNIT`].
fn inside(shape: &str, u: i64, v: i64, radius: i64) -> bool {
    let within = |u: i64, fraction: i64| u * u + v * v <= (radius * fraction).pow(2);
    let behind = |normal: (i64, i64), fraction: i64| normal.0 * u + normal.1 * v <= radius * fraction * UNIT;
    let bar = |along: i64, across: i64| along.abs() <= radius * 15565 && across.abs() <= radius * 5407;
    match shape {
        "circle" => within(u, 14746),
        "square" => u.abs() <= radius * 13107 && v.abs() <= radius * 13107,
        "triangle" => TRIANGLE.iter().all(|&normal| behind(normal, 9011)),
        "ring" => within(u, 15565) && !within(u, 8520),
        "star" => STAR.iter().filter(|&&normal| behind(normal, 5898)).count() >= 4,
        "cross" => bar(u, v) || bar(v, u),
        _ => within(u, 15565) && !within(u - radius * 8192, 13107),
    }
}

//! Pictures of overlapping objects on a dull background.

use std::ops::Range;

use crate::draws::{Draws, number};
use crate::object::{Object, near, rotated};

/// Rows and columns of a scene.
pub const SIZE: usize = 256;

/// Weights of having two, three, … six objects.
const COUNTS: [usize; 5] = [25, 30, 25, 12, 8];

/// A picture, and which object each of its pixels shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Red, green and blue, `[256, 256, 3]`.
    pub pixels: Vec<u8>,
    /// `[256, 256]`: 0 for the background, otherwise 1 + the index in `objects`.
    pub labels: Vec<u8>,
    /// The objects, from back to front.
    pub objects: Vec<Object>,
}

impl Scene {
    /// Scene `index` of the data set `seed`.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Self {
        Self::draw(&mut Draws::new(&[seed, index, 0]), None)
    }

    /// A mask of the pixels that show one of these objects, 1 for those and 0 for others: `[256, 256]`.
    #[must_use]
    pub fn mask(&self, members: &[usize]) -> Vec<u8> {
        let shown = |label: &u8| u8::from(*label != 0 && members.contains(&(usize::from(*label) - 1)));
        self.labels.iter().map(shown).collect()
    }

    /// Two to six objects; `pair` fixes the colour and shape of the first one.
    pub(crate) fn draw(draws: &mut Draws, pair: Option<(usize, usize)>) -> Self {
        let mut pixels = background(draws);
        let mut labels = vec![0; SIZE * SIZE];
        let mut objects: Vec<Object> = Vec::new();
        for place_in_order in 0..2 + draws.weighted(&COUNTS) {
            let pair = pair.filter(|_| place_in_order == 0);
            let mut object = Object::draw(draws, &objects, pair);
            let Some(points) = place(draws, &mut object, &mut objects, &labels) else { continue };
            for &(column, row) in &points {
                let (x, y) = from_centre(&object, column, row);
                pixels[row * SIZE + column] = object.colour_at(x, y);
                labels[row * SIZE + column] = objects.len() as u8 + 1;
            }
            objects.push(object);
        }
        let (amplitude, key) = (draws.between(0, 14), draws.bits());
        let noisy = pixels.iter().zip(0..).flat_map(|(colour, index)| {
            let noise = number(key, index);
            [0, 1, 2].map(|channel| {
                let byte = (noise >> (8 * channel) & 255) as i64;
                let value = colour[channel] + ((byte * (2 * amplitude + 1)) >> 8) - amplitude;
                value.clamp(0, 255) as u8
            })
        });
        Self { pixels: noisy.collect(), labels, objects }
    }
}

/// Two related dull colours in one of four textures, lit from one side; values may exceed 0..=255.
fn background(draws: &mut Draws) -> Vec<[i64; 3]> {
    let grey = draws.between(40, 205);
    let first = near(draws, [grey; 3], 22);
    let other = (grey + draws.between(-50, 50)).clamp(20, 235);
    let second = near(draws, [other; 3], 22);
    let texture = draws.below(4);
    let period = draws.between(24, 64);
    let angle = draws.below(256) as i64;
    let key = draws.bits();
    let (light_angle, light) = (draws.below(256) as i64, draws.between(0, 60));
    let pixel = |x: i64, y: i64| {
        let (u, v) = rotated(x, y, angle);
        let weight = match texture {
            0 => 0,
            1 => blotches(x, y, period, key),
            2 => (2 * (u >> 14).rem_euclid(period) - period).abs() * 256 / period,
            _ => (((u >> 14).div_euclid(period) + (v >> 14).div_euclid(period)) & 1) * 256,
        };
        let half = SIZE as i64 / 2;
        let (along, _) = rotated(x - half, y - half, light_angle);
        let factor = 256 + (((along >> 14) * light) >> 7);
        [0, 1, 2].map(|channel| {
            let (first, second) = (first[channel], second[channel]);
            ((first + (((second - first) * weight) >> 8)) * factor) >> 8
        })
    };
    let side = SIZE as i64;
    (0..side * side).map(|index| pixel(index % side, index / side)).collect()
}

/// Smooth noise, 0 to 255: random numbers on a lattice, interpolated bilinearly.
fn blotches(x: i64, y: i64, period: i64, key: u64) -> i64 {
    let at = |column: i64, row: i64| (number(key, (row * 4096 + column) as u64) & 255) as i64;
    let (column, row, right, down) = (x / period, y / period, x % period, y % period);
    let above = at(column, row) * (period - right) + at(column + 1, row) * right;
    let below = at(column, row + 1) * (period - right) + at(column + 1, row + 1) * right;
    (above * (period - down) + below * down) / (period * period)
}

/// A pixel's centre relative to the object's centre, in half pixels.
fn from_centre(object: &Object, column: usize, row: usize) -> (i64, i64) {
    (2 * (column as i64 - object.centre.0) + 1, 2 * (row as i64 - object.centre.1) + 1)
}

/// Finds a position that leaves three fifths of every earlier object visible; returns the pixels (column,
/// row) of the object there.
fn place(
    draws: &mut Draws,
    object: &mut Object,
    others: &mut [Object],
    labels: &[u8],
) -> Option<Vec<(usize, usize)>> {
    let reach = object.radius * 6 / 5 + 1;
    let end = SIZE as i64;
    for _ in 0..12 {
        let mut coordinate = || draws.between(object.radius, end - 1 - object.radius);
        object.centre = (coordinate(), coordinate());
        let window = |middle: i64| -> Range<usize> {
            (middle - reach).max(0) as usize..(middle + reach).min(end) as usize
        };
        let points: Vec<_> = window(object.centre.1)
            .flat_map(|row| window(object.centre.0).map(move |column| (column, row)))
            .filter(|&(column, row)| {
                let (x, y) = from_centre(object, column, row);
                object.contains(x, y)
            })
            .collect();
        let mut covered = vec![0; others.len() + 1];
        for &(column, row) in &points {
            covered[usize::from(labels[row * SIZE + column])] += 1;
        }
        let in_sight = |(other, covered): (&Object, &i64)| 5 * (other.visible - covered) >= 3 * other.area;
        if others.iter().zip(&covered[1..]).all(in_sight) {
            for (other, covered) in others.iter_mut().zip(&covered[1..]) {
                other.visible -= covered;
            }
            object.area = points.len() as i64;
            object.visible = object.area;
            return Some(points);
        }
    }
    None
}

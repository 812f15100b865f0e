use std::sync::Arc;

use clipseg_tensor::{
    Device, MaskTexels, MaskWriter, MemoryUse, OverlayWriter, Plan, PlanCache, Recorder, Tensor, Tile,
};

use crate::{Refinement, Result};

/// Plans of each kind that are kept: a large photo's hold maps of a tile's size.
const PLANS: usize = 2;
/// Most bytes of a map that is worked on in one piece, where the adapter takes as many: what WebGPU asks of
/// every adapter.
const PIECE: u64 = 128 << 20;
/// As many bytes at least, however little a budget leaves: what does not fit then is refused, where ever
/// smaller pieces would take time without end.
const LEAST_PIECE: u64 = 256 << 10;

/// A device with the plans that resized and refined maps the last times; what a model gives shares them.
pub(crate) struct MapPlans {
    device: Device,
    /// Most bytes of a map that is worked on in one piece.
    piece: u64,
    resizes: PlanCache<ResizeKey, ResizePlan>,
    refinements: PlanCache<RefinementKey, RefinementPlan>,
    masks: PlanCache<MaskKey, MaskWriter>,
    overlays: PlanCache<OverlayKey, OverlayWriter>,
}

/// The sizes of logits and of a mask of them, rows and columns each; what its texels are, and whether rows
/// are padded.
type MaskKey = ((usize, usize), (usize, usize), MaskTexels, bool);

/// The sizes of logits and of an overlay with a mask of them, rows and columns each.
type OverlayKey = ((usize, usize), (usize, usize));

/// A tile of a resized map, and what it is made of.
#[derive(Clone, PartialEq)]
pub(crate) struct ResizeKey {
    pub from: Tile,
    pub to: Tile,
}

pub(crate) struct ResizePlan {
    pub plan: Plan,
    /// `[1, rows, columns]`
    pub input: Tensor,
    /// `[1, rows, columns]`
    pub output: Tensor,
}

/// A tile of a refined map, and what it is made of.
#[derive(Clone, PartialEq)]
pub(crate) struct RefinementKey {
    pub from: Tile,
    pub to: Tile,
    pub refinement: Refinement,
}

pub(crate) struct RefinementPlan {
    pub plan: Plan,
    /// `[3, rows, columns]`, the photo at the logits' size.
    pub coarse_guide: Tensor,
    /// `[rows, columns]`
    pub logits: Tensor,
    /// `[3, rows, columns]`, the photo.
    pub guide: Tensor,
    /// `[rows, columns]`
    pub output: Tensor,
}

impl MapPlans {
    pub fn new(device: &Device) -> Arc<Self> {
        let limits = device.limits();
        let piece = PIECE.min(limits.max_storage_buffer_binding_size).min(limits.max_buffer_size);
        Self::with_piece(device, piece.min(piece_within_budget(device)))
    }

    /// What resizing a map takes: the plans that are kept then, and what the map is read back through.
    #[cfg(all(feature = "tokenizer", not(target_family = "wasm")))]
    pub fn memory_needed(&self, from: (usize, usize), to: (usize, usize)) -> Result<MemoryUse> {
        let mut needed = MemoryUse::default();
        let keys = self.resizes(from, to);
        for key in keys.iter().rev().take(PLANS).filter(|key| !self.resizes.has(key)) {
            let mut recorder = Recorder::planning(&self.device);
            let _tensors = record_resize(&mut recorder, key)?;
            needed.plans += recorder.arena_bytes();
        }
        needed.read_back = keys.iter().map(|key| 4 * key.to.pixels() as u64).max().unwrap_or(0);
        Ok(needed)
    }

    /// As [`new`](Self::new), with another bound on the pieces.
    pub fn with_piece(device: &Device, piece: u64) -> Arc<Self> {
        let (resizes, refinements) = (PlanCache::new(device, PLANS), PlanCache::new(device, PLANS));
        let (masks, overlays) = (PlanCache::new(device, PLANS), PlanCache::new(device, PLANS));
        Arc::new(Self { device: device.clone(), piece, resizes, refinements, masks, overlays })
    }

    /// What writes masks of `to` from logits of `from`, rows and columns each.
    pub fn mask(
        &self,
        from: (usize, usize),
        to: (usize, usize),
        texels: MaskTexels,
        is_padded: bool,
    ) -> Result<Arc<MaskWriter>> {
        self.masks.get_or_record(&(from, to, texels, is_padded), || {
            Ok(MaskWriter::new(&self.device, from, to, texels, is_padded)?)
        })
    }

    /// What lays masks over photos, overlays of `to` from logits of `from`, rows and columns each.
    pub fn overlay(&self, from: (usize, usize), to: (usize, usize)) -> Result<Arc<OverlayWriter>> {
        self.overlays.get_or_record(&(from, to), || Ok(OverlayWriter::new(&self.device, from, to)?))
    }

    /// The keys of all tiles of a map of `to` made from one of `from`, rows and columns each: as few as keep
    /// the maps of each within the largest piece.
    pub fn resizes(&self, from: (usize, usize), to: (usize, usize)) -> Vec<ResizeKey> {
        let key = |to: Tile| ResizeKey { from: to.source(from.0, from.1), to };
        let bytes = |key: &ResizeKey| bytes(1, &key.from).max(bytes(1, &key.to));
        tiles(to, key, bytes, self.piece)
    }

    /// As [`resizes`](Self::resizes), of refined maps.
    pub fn refinements(
        &self,
        from: (usize, usize),
        to: (usize, usize),
        refinement: Refinement,
    ) -> Vec<RefinementKey> {
        // The coefficients of a pixel are means of those around it, which come of means around them.
        let margin = refinement.radius.saturating_mul(2);
        let key = |to: Tile| {
            let from = to.source(from.0, from.1).with_margin(margin);
            RefinementKey { from, to, refinement }
        };
        // Thirteen moments, and four coefficients.
        let bytes = |key: &RefinementKey| bytes(13, &key.from).max(bytes(4, &key.to));
        tiles(to, key, bytes, self.piece)
    }

    pub fn resize(&self, key: &ResizeKey) -> Result<Arc<ResizePlan>> {
        self.resizes.get_or_record(key, || {
            let mut recorder = Recorder::new(&self.device);
            let (input, output) = record_resize(&mut recorder, key)?;
            Ok(ResizePlan { plan: recorder.finish()?, input, output })
        })
    }

    pub fn refinement(&self, key: &RefinementKey) -> Result<Arc<RefinementPlan>> {
        self.refinements.get_or_record(key, || {
            let RefinementKey { from, to, refinement: Refinement { radius, epsilon } } = key;
            let mut recorder = Recorder::new(&self.device);
            let coarse_guide = recorder.input(&[3, from.rows.len(), from.columns.len()])?;
            let logits = recorder.input(&[from.rows.len(), from.columns.len()])?;
            let guide = recorder.input(&[3, to.rows.len(), to.columns.len()])?;
            let coefficients = recorder.guided_coefficients(&coarse_guide, &logits, *radius, *epsilon)?;
            let coefficients = recorder.bilinear_resize(&coefficients, from, to)?;
            let output = recorder.guided_apply(&coefficients, &guide)?;
            let output = recorder.output(&output)?;
            Ok(RefinementPlan { plan: recorder.finish()?, coarse_guide, logits, guide, output })
        })
    }
}

/// The plan's input and output.
fn record_resize(recorder: &mut Recorder, key: &ResizeKey) -> Result<(Tensor, Tensor)> {
    let input = recorder.input(&[1, key.from.rows.len(), key.from.columns.len()])?;
    let output = recorder.bilinear_resize(&input, &key.from, &key.to)?;
    let output = recorder.output(&output)?;
    Ok((input, output))
}

/// So large a piece that the plans of maps, of which each takes up to four, leave most of the budget to
/// others.
fn piece_within_budget(device: &Device) -> u64 {
    device.memory_budget().map_or(u64::MAX, |budget| {
        let MemoryUse { weights, encoded_images, .. } = device.memory_use();
        (budget.saturating_sub(weights + encoded_images) / 16).max(LEAST_PIECE)
    })
}

/// The bytes of `maps` maps of f32 of a tile's size.
fn bytes(maps: u64, tile: &Tile) -> u64 {
    4 * maps * tile.pixels() as u64
}

/// The keys of the tiles of a map of `size`, rows and columns, which are cut in half, along the longer side
/// where that helps, until no key takes more than `piece` bytes. Where cuts no longer save an eighth, since
/// what is around a tile is most of it, the keys take more; should the device not have that, it refuses it.
fn tiles<K>(size: (usize, usize), key: impl Fn(Tile) -> K, bytes: impl Fn(&K) -> u64, piece: u64) -> Vec<K> {
    let cut_into = |tile: (usize, usize)| {
        let keys: Vec<_> = grid(size, tile).map(&key).collect();
        let most = keys.iter().map(&bytes).max().unwrap_or_default();
        (tile, keys, most)
    };
    let mut cut = cut_into((size.0.max(1), size.1.max(1)));
    loop {
        let ((rows, columns), keys, most) = cut;
        if most <= piece {
            return keys;
        }
        let halves = [(rows.div_ceil(2), columns), (rows, columns.div_ceil(2))];
        let [first, second] = if rows > columns { halves } else { [halves[1], halves[0]] };
        let saves = |cut: &(_, _, u64)| cut.2 <= most - most / 8;
        let finer = [first, second].into_iter().map(cut_into).find(saves);
        match finer {
            Some(finer) => cut = finer,
            None => return keys,
        }
    }
}

/// The tiles of at most `rows` by `columns` that a map is made of, one at least.
fn grid((height, width): (usize, usize), (rows, columns): (usize, usize)) -> impl Iterator<Item = Tile> {
    (0..height.max(1)).step_by(rows).flat_map(move |top| {
        (0..width.max(1)).step_by(columns).map(move |left| Tile {
            height,
            width,
            rows: top..height.min(top + rows),
            columns: left..width.min(left + columns),
        })
    })
}

#[cfg(test)]
mod tests {
    use clipseg_tensor::{Array, DeviceOptions};
    use clipseg_testing::Random;

    use super::*;
    use crate::{Photo, Segmentation};

    /// Whatever the pieces, maps are equal bit for bit.
    #[test]
    fn maps_made_in_tiles_equal_those_made_at_once() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let refinement = Refinement { radius: 3, epsilon: 1e-3 };
        for ((rows, columns), (height, width)) in
            [((40, 30), (70, 90)), ((90, 80), (100, 140)), ((50, 60), (40, 30)), ((7, 9), (64, 3))]
        {
            let values = Random(7).values(2 * rows * columns).iter().map(|value| 4.0 * value).collect();
            let logits = Array { shape: vec![2, rows, columns], values };
            let photo = Photo::from_rgb(width, height, Random(7).bytes(3 * height * width)).unwrap();
            let made = |piece: u64| {
                let plans = MapPlans::with_piece(&device, piece);
                let segmentation = Segmentation::new(&plans, logits.clone());
                let resized = segmentation.resized(width, height).unwrap();
                let refined = segmentation.refined(&photo, refinement).unwrap();
                [resized, refined].map(|map| map.logits().clone())
            };
            let whole = made(PIECE);
            // Little more than the moments of a pixel and its surroundings take.
            for piece in [52 * 20 * 20, 52 * 20 * 30] {
                assert!(
                    made(piece) == whole,
                    "{rows} × {columns} to {height} × {width} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn tiles_are_few_and_cover_the_map() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let plans = MapPlans::with_piece(&device, PIECE);
        let refinement = Refinement::default();
        // The model's own picture for a photo of 12 million pixels; and three scales of a wide photo, whose
        // moments would take 139 MB at once.
        assert_eq!(plans.refinements((352, 352), (3000, 4000), refinement).len(), 2);
        assert_eq!(plans.refinements((1056, 2534), (1000, 2400), refinement).len(), 2);
        assert_eq!(plans.resizes((352, 352), (3000, 4000)).len(), 1);
        for (from, to) in [((10_000, 17_000), (9_999, 16_001)), ((1, 170_000_000), (3, 50_000_000))] {
            let keys = plans.refinements(from, to, Refinement { radius: 256, ..refinement });
            assert_eq!(keys.iter().map(|key| key.to.pixels()).sum::<usize>(), to.0 * to.1);
            assert!(keys.iter().all(|key| 52 * key.from.pixels() as u64 <= PIECE), "{from:?}");
            assert!(keys.len() < 4000, "{}", keys.len());
        }
    }

    /// However small the pieces should be, and whatever is around each, tiles are not cut without end.
    #[test]
    fn tiles_are_not_cut_where_that_saves_nothing() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        for piece in [0, 1, 20_000] {
            let plans = MapPlans::with_piece(&device, piece);
            for radius in [8, 256] {
                let refinement = Refinement { radius, ..Refinement::default() };
                let keys = plans.refinements((352, 352), (1500, 2000), refinement);
                assert_eq!(keys.iter().map(|key| key.to.pixels()).sum::<usize>(), 1500 * 2000);
                assert!(keys.len() <= 1024, "radius {radius}, piece {piece}: {}", keys.len());
            }
        }
    }

    /// Photos of one size are made by the same plans.
    #[test]
    fn plans_are_kept() {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let plans = MapPlans::new(&device);
        let [key] = plans.refinements((9, 9), (20, 20), Refinement::default()).try_into().ok().unwrap();
        assert!(Arc::ptr_eq(&plans.refinement(&key).unwrap(), &plans.refinement(&key).unwrap()));
    }
}

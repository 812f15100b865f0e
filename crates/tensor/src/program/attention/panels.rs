//! A head's keys and values in the order in which attention reads them.

use std::ops::Range;

/// Keys, or channels of values, that are read together.
pub(super) const PANEL: usize = 4;

pub(super) type Panel = [f32; PANEL];

/// Keys and values of a head, in panels with zeros beyond the last key and channel.
pub(super) struct Panels {
    /// `[keys / PANEL, head_size, PANEL]`
    keys: Vec<Panel>,
    /// `[head_size / PANEL, keys, PANEL]`
    values: Vec<Panel>,
    count: usize,
    head_size: usize,
}

impl Panels {
    /// Of `count` keys and values of `head_size` channels each; the next key and the next value come `stride`
    /// later.
    pub fn new(keys: &[f32], values: &[f32], stride: usize, count: usize, head_size: usize) -> Self {
        let mut panels = Self {
            keys: vec![Panel::default(); count.div_ceil(PANEL) * head_size],
            values: vec![Panel::default(); head_size.div_ceil(PANEL) * count],
            count,
            head_size,
        };
        for key in 0..count {
            let panel = &mut panels.keys[key / PANEL * head_size..][..head_size];
            for (to, from) in panel.iter_mut().zip(&keys[key * stride..]) {
                to[key % PANEL] = *from;
            }
            for (panel, channels) in values[key * stride..][..head_size].chunks(PANEL).enumerate() {
                panels.values[panel * count + key][..channels.len()].copy_from_slice(channels);
            }
        }
        panels
    }

    /// Panels of keys, `[head_size, PANEL]` each.
    pub fn keys(&self, panels: Range<usize>) -> impl Iterator<Item = &[Panel]> {
        self.keys[panels.start * self.head_size..panels.end * self.head_size].chunks_exact(self.head_size)
    }

    /// Some keys' values: panels of channels, `[keys, PANEL]` each.
    pub fn values(&self, keys: Range<usize>) -> impl Iterator<Item = &[Panel]> {
        self.values.chunks_exact(self.count).map(move |panel| &panel[keys.clone()])
    }
}

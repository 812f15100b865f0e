use std::ops::Range;

/// A rectangle of a map, for maps that are larger than an adapter takes in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows of the whole map.
    pub height: usize,
    /// Columns of the whole map.
    pub width: usize,
    /// The rows of the tile.
    pub rows: Range<usize>,
    /// The columns of the tile.
    pub columns: Range<usize>,
}

impl Tile {
    /// The whole map of `height` by `width` pixels.
    #[must_use]
    pub fn whole(height: usize, width: usize) -> Self {
        Self { height, width, rows: 0..height, columns: 0..width }
    }

    /// The number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Whether the tile is not empty and lies within its map.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Self { height, width, rows, columns } = self;
        !rows.is_empty() && rows.end <= *height && !columns.is_empty() && columns.end <= *width
    }

    /// Whether all of `other`, a tile of the same map, lies within this one.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let within =
            |inner: &Range<usize>, outer: &Range<usize>| inner.start >= outer.start && inner.end <= outer.end;
        (self.height, self.width) == (other.height, other.width)
            && within(&other.rows, &self.rows)
            && within(&other.columns, &self.columns)
    }

    /// The tile and `margin` pixels around it, as far as the map goes.
    #[must_use]
    pub fn with_margin(&self, margin: usize) -> Self {
        let grow = |range: &Range<usize>, length: usize| {
            range.start.saturating_sub(margin)..range.end.saturating_add(margin).min(length)
        };
        let Self { height, width, rows, columns } = self;
        Self { height: *height, width: *width, rows: grow(rows, *height), columns: grow(columns, *width) }
    }

    /// For a map that was resized bilinearly from one of `height` by `width`: the tile of that map from which
    /// this tile was made, or a little more.
    #[must_use]
    pub fn source(&self, height: usize, width: usize) -> Self {
        // A pixel lies between two source pixels. Take one more on each side, as kernels compute its place in
        // f32.
        let source = |range: &Range<usize>, length: usize, from: usize| {
            let position = |index: usize| ((index as f64 + 0.5) * from as f64 / length as f64 - 0.5) as usize;
            let last = from.saturating_sub(1);
            let start = position(range.start).min(last).saturating_sub(1);
            start..(position(range.end.saturating_sub(1)).min(last) + 3).min(from)
        };
        let rows = source(&self.rows, self.height, height);
        Self { height, width, rows, columns: source(&self.columns, self.width, width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_know_what_they_were_made_of() {
        let tile = Tile { height: 100, width: 60, rows: 40..60, columns: 0..30 };
        let source = Tile { height: 10, width: 60, rows: 2..8, columns: 0..32 };
        assert_eq!(tile.source(10, 60), source);
        assert_eq!(Tile::whole(7, 9).source(3, 2), Tile::whole(3, 2));
        let within = Tile { height: 70, width: 90, rows: 10..60, columns: 21..70 };
        assert_eq!(Tile::whole(3, 2).source(70, 90), within);
        assert!(Tile::whole(10, 60).contains(&source) && !source.contains(&Tile::whole(10, 60)));
    }

    #[test]
    fn margins_end_with_the_map() {
        let tile = Tile { height: 9, width: 9, rows: 1..3, columns: 4..5 };
        let grown = Tile { height: 9, width: 9, rows: 0..5, columns: 2..7 };
        assert_eq!(tile.with_margin(2), grown);
        assert_eq!(tile.with_margin(usize::MAX), Tile::whole(9, 9));
    }
}

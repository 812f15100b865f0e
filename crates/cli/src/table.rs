//! Tables of plain text.

use clipseg_files::shown;

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lines of cells in columns as wide as their widest cell, two spaces apart, without trailing spaces. Cells
/// may be prompts and names from files, so they are escaped, and cut where they are too long for a name.
pub fn render<const COLUMNS: usize>(columns: [Align; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| shown(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = (0..COLUMNS).map(|column| {
            let (cell, width) = (&row[column], widths[column]);
            match columns[column] {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_without_end_are_cut() {
        let table = render([Align::Left, Align::Right], &[["x".repeat(100_000), "\u{1b}[2J".to_owned()]]);
        assert!(table.len() < 300 && !table.contains('\u{1b}'), "{table}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["prompt", "peak"], ["ä cat", "0.5"]].map(|row| row.map(str::to_owned));
        assert_eq!(render([Align::Left, Align::Right], &rows), "prompt  peak\nä cat    0.5\n");
        assert_eq!(render([Align::Right, Align::Left], &rows), "prompt  peak\n ä cat  0.5\n");
    }
}

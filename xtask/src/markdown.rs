//! Tables for READMEs, aligned so that a terminal shows them as well.

/// A table whose first column is words and whose others are numbers.
pub fn table(heading: &[String], rows: &[Vec<String>]) -> String {
    let lines = || std::iter::once(heading).chain(rows.iter().map(Vec::as_slice));
    let width =
        |column: usize| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..heading.len()).map(|column| width(column).unwrap_or(0).max(2)).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!(" {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(column, &width)| match column {
        0 => format!("{}|", "-".repeat(width + 2)),
        _ => format!("{}:|", "-".repeat(width + 1)),
    });
    let rule = format!("|{}\n", rule.collect::<String>());
    line(heading) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&row(["kernel", "runs"]), &[row(["film", "3"]), row(["matmul_tile", "12345"])]);
        assert_eq!(
            text,
            "| kernel      |  runs |\n|-------------|------:|\n| film        |     3 |\n| matmul_tile | 12345 |\n"
        );
    }
}

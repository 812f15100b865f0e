//! A table of results, with the engines in rows and the work that they were measured on in columns.

use std::fmt::Write;
use std::ptr;

use crate::cli::median;

pub struct Table {
    columns: Vec<Column>,
    /// Ours first: the others are compared with the engine that is added first.
    engines: Vec<Engine>,
    notes: Vec<String>,
}

pub struct Column {
    pub heading: String,
    /// The floating-point operations of one run, where the rate is of interest.
    pub flops: Option<f64>,
}

struct Engine {
    name: String,
    /// One for each column.
    cells: Vec<Cell>,
}

#[derive(Clone)]
enum Cell {
    Empty,
    /// The seconds of every round.
    Measured(Vec<f64>),
    /// Not run, as it would take that many seconds.
    NotRun(f64),
}

impl Table {
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, engines: Vec::new(), notes: Vec::new() }
    }

    /// Adds the seconds of a round.
    pub fn add(&mut self, name: &str, column: usize, seconds: f64) {
        match self.cell(name, column) {
            Cell::Measured(all) => all.push(seconds),
            cell => *cell = Cell::Measured(vec![seconds]),
        }
    }

    pub fn not_run(&mut self, name: &str, column: usize, expected_seconds: f64) {
        *self.cell(name, column) = Cell::NotRun(expected_seconds);
    }

    /// A paragraph below the table.
    pub fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn cell(&mut self, name: &str, column: usize) -> &mut Cell {
        let known = self.engines.iter().position(|engine| engine.name == name);
        let row = known.unwrap_or_else(|| {
            let cells = vec![Cell::Empty; self.columns.len()];
            self.engines.push(Engine { name: name.to_owned(), cells });
            self.engines.len() - 1
        });
        &mut self.engines[row].cells[column]
    }

    /// Medians over the rounds, their spread, and how many times ours each takes.
    pub fn to_markdown(&self) -> String {
        let heads: String = self.columns.iter().map(|column| format!(" {} |", column.heading)).collect();
        let mut text = format!("| |{heads}\n|---|{}\n", "---|".repeat(self.columns.len()));
        for engine in &self.engines {
            write!(text, "| {} |", engine.name).expect("writing to a string");
            for (index, (cell, column)) in engine.cells.iter().zip(&self.columns).enumerate() {
                let ours = self.engines.first().filter(|ours| !ptr::eq(*ours, engine));
                let reference = ours.and_then(|ours| ours.cells[index].median());
                write!(text, " {} |", cell.to_text(column.flops, reference)).expect("writing to a string");
            }
            text.push('\n');
        }
        for note in &self.notes {
            writeln!(text, "\n{note}").expect("writing to a string");
        }
        text
    }
}

impl Cell {
    fn median(&self) -> Option<f64> {
        match self {
            Self::Measured(seconds) => Some(median(seconds.clone())),
            Self::Empty | Self::NotRun(_) => None,
        }
    }

    fn to_text(&self, flops: Option<f64>, reference: Option<f64>) -> String {
        let seconds = match self {
            Self::Empty => return "–".to_owned(),
            Self::NotRun(expected) => return format!("not run: some {expected:.0} s"),
            Self::Measured(seconds) => seconds,
        };
        let (least, most) =
            seconds.iter().fold((f64::MAX, 0.0_f64), |(least, most), &x| (least.min(x), most.max(x)));
        let middle = median(seconds.clone());
        let mut text = match flops {
            None => format!("{middle:.2} s ({least:.2}–{most:.2})"),
            Some(flops) => format!(
                "{:.1} ms ({:.1}–{:.1}), {:.1} GFLOP/s",
                middle * 1e3,
                least * 1e3,
                most * 1e3,
                flops / middle / 1e9
            ),
        };
        if let Some(reference) = reference {
            write!(text, ", {:.2} × ours", middle / reference).expect("writing to a string");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(headings: [&str; 2], flops: Option<f64>) -> Table {
        Table::new(headings.map(|heading| Column { heading: heading.to_owned(), flops }).into())
    }

    #[test]
    fn the_table_has_medians_and_ratios() {
        let mut results = table(["1 prompt", "8 prompts"], None);
        for (seconds, theirs) in [(1.0, 3.0), (2.0, 2.0), (4.0, 4.0)] {
            results.add("ours", 0, seconds);
            results.add("theirs", 0, theirs);
            results.add("ours", 1, seconds);
        }
        results.note("Another is left out: it finds no adapter.");
        let text = results.to_markdown();
        assert!(text.starts_with("| | 1 prompt | 8 prompts |\n|---|---|---|\n"), "{text}");
        assert!(text.contains("| ours | 2.00 s (1.00–4.00) | 2.00 s (1.00–4.00) |"), "{text}");
        assert!(text.contains("| theirs | 3.00 s (2.00–4.00), 1.50 × ours | – |"), "{text}");
        assert!(text.ends_with("|\n\nAnother is left out: it finds no adapter.\n"), "{text}");
    }

    #[test]
    fn what_is_not_run_has_no_time() {
        let mut results = table(["1 prompt", "8 prompts"], None);
        results.add("ours", 0, 1.0);
        results.add("ours", 1, 1.0);
        results.add("theirs", 0, 14.0);
        results.not_run("theirs", 1, 112.0);
        let text = results.to_markdown();
        assert!(
            text.contains("| theirs | 14.00 s (14.00–14.00), 14.00 × ours | not run: some 112 s |"),
            "{text}"
        );
    }

    #[test]
    fn operations_make_a_rate() {
        let mut results = table(["small", "large"], Some(2e9));
        results.add("ours", 0, 0.020);
        results.add("theirs", 0, 0.040);
        results.add("theirs", 1, 0.040);
        let text = results.to_markdown();
        assert!(text.contains("| ours | 20.0 ms (20.0–20.0), 100.0 GFLOP/s | – |"), "{text}");
        assert!(text.contains("50.0 GFLOP/s, 2.00 × ours | 40.0 ms (40.0–40.0), 50.0 GFLOP/s |"), "{text}");
    }
}

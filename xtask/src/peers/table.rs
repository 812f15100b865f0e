//! The table of results.

use std::fmt::Write;
use std::thread::available_parallelism;

use crate::cli::median;

/// Seconds by engine and number of prompts, of every round.
#[derive(Default)]
pub struct Results {
    /// Ours first.
    engines: Vec<Engine>,
    left_out: Vec<(String, String)>,
}

struct Engine {
    name: String,
    /// The number of prompts, and the seconds of every round.
    seconds: Vec<(u16, Vec<f64>)>,
}

impl Results {
    pub fn add(&mut self, name: &str, prompts: u16, seconds: f64) {
        let known = self.engines.iter().position(|engine| engine.name == name);
        let place = known.unwrap_or_else(|| {
            self.engines.push(Engine { name: name.to_owned(), seconds: Vec::new() });
            self.engines.len() - 1
        });
        let engine = &mut self.engines[place];
        match engine.seconds.iter_mut().find(|(count, _)| *count == prompts) {
            Some((_, all)) => all.push(seconds),
            None => engine.seconds.push((prompts, vec![seconds])),
        }
    }

    pub fn leave_out(&mut self, name: &str, reason: &str) {
        self.left_out.push((name.to_owned(), reason.to_owned()));
    }

    /// Medians over the rounds, their spread, and how many times ours each takes.
    pub fn to_markdown(&self, rounds: usize, runs: usize) -> String {
        let mut text = "# Beside other engines\n\nWritten by `cargo xtask peers`: every engine in turn on the same machine, \
                        photo, prompts and checkpoint of the published size; their logits agree within 0.001 of the largest. "
            .to_owned();
        let cores = available_parallelism().map_or(1, usize::from);
        writeln!(
            text,
            "Medians of {rounds} rounds, of {runs} warm runs each, in brackets the fastest and the slowest round; preprocessing \
             and tokenizing are in the time. Machine: {}, {cores} cores.\n",
            processor()
        )
        .expect("writing to a string");
        let Some(ours) = self.engines.first() else { return text };
        let counts: Vec<_> = ours.seconds.iter().map(|(prompts, _)| *prompts).collect();
        let heads: String = counts
            .iter()
            .map(|count| format!(" {count} prompt{} |", if *count == 1 { "" } else { "s" }))
            .collect();
        writeln!(text, "| |{heads}\n|---|{}", "---|".repeat(counts.len())).expect("writing to a string");
        for engine in &self.engines {
            let cell = |count: &u16| engine.cell(*count, ours);
            let cells: String = counts.iter().map(|count| format!(" {} |", cell(count))).collect();
            writeln!(text, "| {} |{cells}", engine.name).expect("writing to a string");
        }
        for (name, reason) in &self.left_out {
            writeln!(text, "\n{name} is left out: {reason}.").expect("writing to a string");
        }
        text
    }
}

impl Engine {
    fn of(&self, prompts: u16) -> Option<&Vec<f64>> {
        self.seconds.iter().find(|(count, _)| *count == prompts).map(|(_, seconds)| seconds)
    }

    fn cell(&self, prompts: u16, ours: &Self) -> String {
        let Some((seconds, reference)) = self.of(prompts).zip(ours.of(prompts)) else {
            return "–".to_owned();
        };
        let (least, most) =
            seconds.iter().fold((f64::MAX, 0.0_f64), |(least, most), &x| (least.min(x), most.max(x)));
        let (seconds, reference) = (median(seconds.clone()), median(reference.clone()));
        let ratio = if std::ptr::eq(self, ours) {
            String::new()
        } else {
            format!(", {:.2} × ours", seconds / reference)
        };
        format!("{seconds:.2} s ({least:.2}–{most:.2}){ratio}")
    }
}

/// What the machine calls its processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_ratios() {
        let mut results = Results::default();
        for (seconds, theirs) in [(1.0, 3.0), (2.0, 2.0), (4.0, 4.0)] {
            results.add("ours", 1, seconds);
            results.add("theirs", 1, theirs);
            results.add("ours", 8, seconds);
        }
        results.leave_out("another", "it finds no adapter");
        let text = results.to_markdown(3, 5);
        assert!(text.contains("| | 1 prompt | 8 prompts |\n|---|---|---|\n"), "{text}");
        assert!(text.contains("| ours | 2.00 s (1.00–4.00) | 2.00 s (1.00–4.00) |"), "{text}");
        assert!(text.contains("| theirs | 3.00 s (2.00–4.00), 1.50 × ours | – |"), "{text}");
        assert!(text.ends_with("another is left out: it finds no adapter.\n"), "{text}");
    }
}

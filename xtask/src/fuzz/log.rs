//! Reads libFuzzer's log of a run.

/// A run in numbers, as text; empty where libFuzzer does not give the number.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    inputs: String,
    seconds: String,
    edges: String,
    kept: String,
    megabytes: String,
}

impl Figures {
    /// Reads the figures from a log.
    pub fn of(log: &str) -> Self {
        let statistic = |name: &str| {
            let start = format!("stat::{name}:");
            let found = log.lines().rev().find_map(|line| line.strip_prefix(&start));
            found.map(|value| value.trim().to_owned()).unwrap_or_default()
        };
        // As in `#1024 pulse  cov: 207 ft: 530 corp: 31/1200b exec/s: 512 rss: 60Mb`.
        let field = |name: &str| {
            let found = log.lines().rev().find_map(|line| line.split_once(name)).map(|(_, rest)| rest);
            found.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default().to_owned()
        };
        let inputs = statistic("number_of_executed_units");
        let rate: f64 = statistic("average_exec_per_sec").parse().unwrap_or_default();
        let seconds = inputs.parse::<f64>().ok().filter(|_| rate > 0.0).map(|inputs| inputs / rate);
        Self {
            inputs,
            seconds: seconds.map(|seconds| format!("{seconds:.0}")).unwrap_or_default(),
            edges: field(" cov: "),
            kept: field(" corp: ").split('/').next().unwrap_or_default().to_owned(),
            megabytes: statistic("peak_rss_mb"),
        }
    }

    /// As a row of a table.
    pub fn row(&self, target: &str, findings: usize) -> Vec<String> {
        let Self { inputs, seconds, edges, kept, megabytes } = self;
        let findings = findings.to_string();
        [target, inputs, seconds, edges, kept, megabytes, &findings].map(str::to_owned).to_vec()
    }
}

/// The place of a panic and its message, which are in two lines of the log.
pub fn panic(log: &str) -> Option<(&str, &str)> {
    let mut lines = log.lines();
    let place = lines.find_map(|line| line.split_once(" panicked at ").map(|(_, place)| place))?;
    Some((place.trim_end_matches(':'), lines.next().unwrap_or_default()))
}

/// What the log says of a failure, or else its last line.
pub fn last_words(log: &str) -> String {
    match panic(log) {
        Some((place, message)) => format!("{place}: {message}"),
        None => {
            let error = log.lines().find(|line| line.contains("ERROR: libFuzzer"));
            error.or(log.lines().last()).unwrap_or_default().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO: seed corpus: files: 6\n\
        #7 INITED cov: 207 ft: 530 corp: 6/1200b exec/s: 0 rss: 60Mb\n\
        #1024 NEW    cov: 310 ft: 730 corp: 31/2Kb lim: 11 exec/s: 512 rss: 61Mb L: 5/9 MS: 1 EraseBytes-\n\
        thread '<unnamed>' (12) panicked at crates/hub/src/download.rs:163:20:\n\
        attempt to subtract with overflow\n\
        stat::number_of_executed_units: 1030\n\
        stat::average_exec_per_sec:     515\n\
        stat::peak_rss_mb:              62\n";

    #[test]
    fn figures_are_read() {
        assert_eq!(Figures::of(LOG).row("hub", 1), ["hub", "1030", "2", "310", "31", "62", "1"]);
        assert_eq!(Figures::of("").row("hub", 0), ["hub", "", "", "", "", "", "0"]);
    }

    #[test]
    fn a_panic_is_found() {
        let place = "crates/hub/src/download.rs:163:20";
        assert_eq!(panic(LOG), Some((place, "attempt to subtract with overflow")));
        assert_eq!(
            last_words("a\n==1== ERROR: libFuzzer: timeout after 20 seconds\nb"),
            "==1== ERROR: libFuzzer: timeout after 20 seconds"
        );
    }
}

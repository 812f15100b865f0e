//! Samples the memory of the process and the device over time.

use std::fmt;
use std::fs;

use clipseg::Device;

const MB: f64 = (1 << 20) as f64;

/// The memory at one moment, in MB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Resident memory of the process; none where the system does not have Linux's /proc.
    resident: Option<f64>,
    /// Weights and plans on the device.
    device: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resident {
            Some(resident) => write!(formatter, "{resident:.0} MB resident, ")?,
            None => write!(formatter, "resident memory unknown, ")?,
        }
        write!(formatter, "{:.1} MB on the device", self.device)
    }
}

/// All samples of a run.
#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Takes another sample.
    pub fn take(&mut self, device: &Device) -> Sample {
        let memory = device.memory_use();
        let sample = Sample { resident: resident(), device: (memory.weights + memory.plans) as f64 / MB };
        self.0.push(sample);
        sample
    }

    /// Which memory grew: its maximum in the last third of a run is above that of the middle third by more
    /// than a tenth and 16 MB. The first third does not count, as caches are filled then.
    pub fn growth(&self) -> Option<String> {
        let third = self.0.len() / 3;
        let [middle, last] = [&self.0[third..2 * third], &self.0[2 * third..]];
        let most = |samples: &[Sample], of: fn(&Sample) -> f64| samples.iter().map(of).fold(0.0, f64::max);
        let grown = |name: &str, of: fn(&Sample) -> f64| {
            let (before, after) = (most(middle, of), most(last, of));
            (third > 0 && after > before * 1.1 + 16.0)
                .then(|| format!("from at most {before:.0} MB {name} to {after:.0}"))
        };
        grown("resident", |sample| sample.resident.unwrap_or_default())
            .or_else(|| grown("on the device", |sample| sample.device))
    }
}

/// The process's resident memory.
fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(resident: impl Fn(usize) -> f64, device: impl Fn(usize) -> f64) -> Option<String> {
        let sample = |second| Sample { resident: Some(resident(second)), device: device(second) };
        Samples((0..90).map(sample).collect()).growth()
    }

    #[test]
    fn what_grows_is_told_from_what_is_filled() {
        let filled = |second: usize| 100.0 + 10.0 * second.min(30) as f64;
        assert_eq!(growth(filled, |_| 50.0), None);
        assert_eq!(growth(|second| 400.0 + (second % 7) as f64, |_| 50.0), None);
        let grows = |second: usize| 100.0 + 2.0 * second as f64;
        assert_eq!(growth(grows, |_| 50.0).unwrap(), "from at most 218 MB resident to 278");
        assert!(growth(filled, grows).unwrap().contains("on the device"));
        assert_eq!(Samples::default().growth(), None);
    }
}

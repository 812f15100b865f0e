//! Measures the peak rates of an adapter: the ceilings that kernels are compared with.

mod bench;

use std::time::Instant;

use self::bench::{Bench, Params};
use crate::matrix_units::MatrixSize;
use crate::{Cost, Device, Error, Result};

/// Bytes of the buffers that are read, written and copied. Caches make small buffers faster, so each size is
/// measured.
const WORKING_SETS: [u64; 5] = [64 << 10, 1 << 20, 8 << 20, 32 << 20, 256 << 20];
/// The largest buffer that is measured on software adapters, whose memory is the processor's.
const SOFTWARE_WORKING_SET: u64 = 32 << 20;
/// Dispatches in a pass, each of which waits for the one before.
const DISPATCHES: u32 = 100;
/// Submissions that are timed, of which the median counts.
const SUBMISSIONS: usize = 21;

/// The peak rates of an adapter, as measured by [`Device::measure_peaks`].
#[derive(Clone, Debug, PartialEq)]
pub struct Peaks {
    /// Operations per second in f32 on registers; a fused multiply-add counts as two.
    pub f32_flops: f64,
    /// The same in f16, where the device was opened with f16 arithmetic.
    pub f16_flops: Option<f64>,
    /// The same of matrix units, in f16 with sums in f32, where the device was opened with them.
    pub matrix_flops: Option<f64>,
    /// Rates of storage buffers by their size, the smallest first.
    pub memory: Vec<MemoryRates>,
    /// Bytes per second read from workgroup memory.
    pub workgroup_memory: f64,
    /// Seconds from the start of an empty dispatch to the start of the next, which waits for it.
    pub dispatch_seconds: f64,
    /// Seconds from an empty submission until the host knows that it is done: the median.
    pub submit_seconds: f64,
}

/// Bytes per second of a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryRates {
    /// Bytes of the buffer.
    pub bytes: u64,
    /// When all of it is read.
    pub read: f64,
    /// When all of it is written.
    pub write: f64,
    /// When it is copied to another, bytes read and bytes written together.
    pub copy: f64,
}

impl Peaks {
    /// The least that a run of this cost takes on the adapter: its operations at the peak rate, or its bytes
    /// at the memory's, whichever is longer (Williams, Waterman and Patterson, "Roofline", 2009). With
    /// `on_matrix_units` the peak rate is that of the matrix units.
    #[must_use]
    pub fn least_seconds(&self, Cost { flops, bytes }: Cost, on_matrix_units: bool) -> f64 {
        let rate = self.matrix_flops.filter(|_| on_matrix_units).unwrap_or(self.f32_flops);
        (flops as f64 / rate).max(bytes as f64 / self.memory_rate(bytes))
    }

    /// The peak rate at which `bytes` can be read or written: the best rate of the smallest measured buffer
    /// that holds them, or of the largest one if none does.
    #[must_use]
    pub fn memory_rate(&self, bytes: u64) -> f64 {
        let fitting = self.memory.iter().find(|rates| rates.bytes >= bytes).or(self.memory.last());
        fitting.map_or(f64::INFINITY, |rates| rates.read.max(rates.write).max(rates.copy))
    }
}

impl Device {
    /// Measures the peak rates of the adapter, by its own clock. This takes a second or so, during which
    /// nothing else should run on it.
    ///
    /// # Errors
    /// [`Error::Adapter`] for the processor, whose rates are not measured; [`Error::Device`] when the adapter
    /// has no timestamps.
    pub fn measure_peaks(&self) -> Result<Peaks> {
        if self.is_processor() {
            let reason = "its peaks are not measured; name an adapter".to_owned();
            return Err(Error::Adapter { adapter: self.description().to_owned(), reason });
        }
        if !self.has(wgpu::Features::TIMESTAMP_QUERY) {
            return Err(Error::Device(format!("{} has no timestamps to measure with", self.description())));
        }
        let f16 = || self.arithmetic(include_str!("peaks/arithmetic_f16.wgsl"));
        Ok(Peaks {
            f32_flops: self.arithmetic(include_str!("peaks/arithmetic_f32.wgsl"))?,
            f16_flops: self.has(wgpu::Features::SHADER_F16).then(f16).transpose()?,
            matrix_flops: self.matrix_units().map(|size| self.matrix_products(size)).transpose()?,
            memory: self.memory_rates()?,
            workgroup_memory: self.workgroup_memory()?,
            dispatch_seconds: self.dispatch_seconds()?,
            submit_seconds: self.submit_seconds()?,
        })
    }

    /// The number of workgroups of 256 threads in a measurement: enough to keep every unit of a large GPU
    /// busy, or the processor's threads for long enough.
    fn workgroups(&self) -> u32 {
        if self.is_software() { 64 } else { 2048 }
    }

    fn is_software(&self) -> bool {
        self.info().device_type == wgpu::DeviceType::Cpu
    }

    /// Operations per second of a kernel that does 16 × 8 fused multiplications and additions per thread and
    /// round.
    fn arithmetic(&self, source: &str) -> Result<f64> {
        let workgroups = self.workgroups();
        let threads = u64::from(workgroups) * 256;
        let bench = Bench::new(self, source, threads * 16)?;
        let seconds = bench.seconds_per_round(Params::numbers(0.999, 1e-3), workgroups)?;
        Ok(threads as f64 * 16.0 * 8.0 * 2.0 / seconds)
    }

    fn matrix_products(&self, size: MatrixSize) -> Result<f64> {
        let source = match size {
            MatrixSize::Eight | MatrixSize::EightOf32Lanes => {
                concat!(include_str!("peaks/matrix_8.wgsl"), include_str!("peaks/matrix_body.wgsl"))
            }
            MatrixSize::Sixteen => {
                concat!(include_str!("peaks/matrix_16.wgsl"), include_str!("peaks/matrix_body.wgsl"))
            }
        };
        let workgroups = self.workgroups();
        let subgroups = u64::from(workgroups) * 128 / u64::from(size.lanes());
        let bench = Bench::new(self, source, u64::from(workgroups) * 128 * 16)?;
        let seconds = bench.seconds_per_round(Params::numbers(1e-3, 0.0), workgroups)?;
        Ok(subgroups as f64 * 4.0 * 2.0 * (size.side() as f64).powi(3) / seconds)
    }

    fn memory_rates(&self) -> Result<Vec<MemoryRates>> {
        let limits = self.limits();
        let largest = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let largest = if self.is_software() { largest.min(SOFTWARE_WORKING_SET) } else { largest };
        let rates = |bytes: u64| {
            // Fewer workgroups where a thread would get less than one vector.
            let vectors = bytes / 16;
            let workgroups = self.workgroups().min((vectors / 256) as u32);
            let params = Params::memory(vectors as u32, workgroups * 256);
            let rate = |source, bytes_per_round: u64| -> Result<f64> {
                let bench = Bench::new(self, source, bytes)?;
                Ok(bytes_per_round as f64 / bench.seconds_per_round(params, workgroups)?)
            };
            Ok(MemoryRates {
                bytes,
                read: rate(include_str!("peaks/read.wgsl"), bytes)?,
                write: rate(include_str!("peaks/write.wgsl"), bytes)?,
                copy: rate(include_str!("peaks/copy.wgsl"), 2 * bytes)?,
            })
        };
        WORKING_SETS.into_iter().filter(|&bytes| bytes <= largest).map(rates).collect()
    }

    fn workgroup_memory(&self) -> Result<f64> {
        let workgroups = self.workgroups();
        let threads = u64::from(workgroups) * 256;
        let bench = Bench::new(self, include_str!("peaks/workgroup_memory.wgsl"), threads * 16)?;
        let seconds = bench.seconds_per_round(Params::numbers(0.5, 0.25), workgroups)?;
        Ok(threads as f64 * 8.0 * 16.0 / seconds)
    }

    fn dispatch_seconds(&self) -> Result<f64> {
        let bench = Bench::new(self, include_str!("peaks/empty.wgsl"), 16)?;
        let best = (0..5).map(|_| bench.seconds(1, DISPATCHES)).collect::<Result<Vec<_>>>()?;
        Ok(best.into_iter().fold(f64::INFINITY, f64::min) / f64::from(DISPATCHES))
    }

    fn submit_seconds(&self) -> Result<f64> {
        let bench = Bench::new(self, include_str!("peaks/empty.wgsl"), 16)?;
        let mut seconds = Vec::with_capacity(SUBMISSIONS);
        for _ in 0..SUBMISSIONS {
            let start = Instant::now();
            bench.submit(1, 1, None)?;
            self.wait()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[SUBMISSIONS / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdapterChoice, DeviceOptions};

    const PEAKS: Peaks = Peaks {
        f32_flops: 1e12,
        f16_flops: None,
        matrix_flops: Some(1e13),
        memory: Vec::new(),
        workgroup_memory: 1e12,
        dispatch_seconds: 1e-6,
        submit_seconds: 1e-5,
    };

    fn peaks() -> Peaks {
        let rates = |bytes, rate: f64| MemoryRates { bytes, read: rate, write: rate / 2.0, copy: rate / 4.0 };
        Peaks { memory: vec![rates(1_000_000, 1e12), rates(1_000_000_000, 1e11)], ..PEAKS }
    }

    #[test]
    fn the_longer_of_operations_and_bytes_counts() {
        let peaks = peaks();
        // Two milliseconds of arithmetic, one of memory; and the other way round.
        let arithmetic = Cost { flops: 2_000_000_000, bytes: 100_000_000 };
        let memory = Cost { flops: 1_000_000_000, bytes: 200_000_000 };
        assert_eq!(peaks.least_seconds(arithmetic, false), 2e-3);
        assert_eq!(peaks.least_seconds(memory, false), 2e-3);
        // On matrix units the arithmetic takes a tenth, and the bytes remain.
        assert_eq!(peaks.least_seconds(arithmetic, true), 1e-3);
        assert_eq!(peaks.least_seconds(Cost::default(), false), 0.0);
    }

    #[test]
    fn bytes_that_fit_a_cache_are_judged_by_it() {
        let peaks = peaks();
        assert_eq!(peaks.memory_rate(1000), 1e12);
        assert_eq!(peaks.memory_rate(1_000_001), 1e11);
        assert_eq!(peaks.memory_rate(u64::MAX), 1e11);
    }

    #[test]
    fn an_adapter_has_peaks_and_the_processor_has_none_that_are_measured() {
        let options = DeviceOptions { adapter: AdapterChoice::Driver, ..DeviceOptions::default() };
        let device = Device::open(&options).expect("this test needs an adapter");
        let peaks = device.measure_peaks().expect("peaks");
        let rates = peaks.memory.iter().flat_map(|rates| [rates.read, rates.write, rates.copy]);
        for rate in rates.chain([peaks.f32_flops, peaks.workgroup_memory]) {
            // A kernel whose work a compiler left out would be beyond what any adapter reaches.
            assert!((1e7..1e17).contains(&rate), "{peaks:?}");
        }
        assert!(peaks.dispatch_seconds > 0.0 && peaks.submit_seconds > 0.0, "{peaks:?}");

        let options = DeviceOptions { adapter: AdapterChoice::Processor, ..DeviceOptions::default() };
        let processor = Device::open(&options).expect("the processor is always there");
        assert!(matches!(processor.measure_peaks(), Err(Error::Adapter { .. })));
    }
}

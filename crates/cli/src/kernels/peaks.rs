//! The adapter's ceilings, measured twice.

use clipseg::{MemoryRates, Peaks};

/// Of two measurements of one adapter the better figure each: whatever disturbs one makes it slower.
pub fn better(a: &Peaks, b: &Peaks) -> Peaks {
    let most = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a.max(b)).or(a).or(b);
    let memory = a.memory.iter().map(|own| {
        let other = b.memory.iter().find(|other| other.bytes == own.bytes).unwrap_or(own);
        MemoryRates {
            bytes: own.bytes,
            read: own.read.max(other.read),
            write: own.write.max(other.write),
            copy: own.copy.max(other.copy),
        }
    });
    Peaks {
        f32_flops: a.f32_flops.max(b.f32_flops),
        f16_flops: most(a.f16_flops, b.f16_flops),
        matrix_flops: most(a.matrix_flops, b.matrix_flops),
        memory: memory.collect(),
        workgroup_memory: a.workgroup_memory.max(b.workgroup_memory),
        dispatch_seconds: a.dispatch_seconds.min(b.dispatch_seconds),
        submit_seconds: a.submit_seconds.min(b.submit_seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_of_each_figure_counts() {
        let peaks = |factor: f64| Peaks {
            f32_flops: factor,
            f16_flops: None,
            matrix_flops: Some(1.0 / factor),
            memory: vec![MemoryRates { bytes: 8, read: factor, write: 1.0 / factor, copy: 1.0 }],
            workgroup_memory: factor,
            dispatch_seconds: factor,
            submit_seconds: 1.0 / factor,
        };
        let best = better(&peaks(2.0), &peaks(4.0));
        assert_eq!((best.f32_flops, best.f16_flops, best.matrix_flops), (4.0, None, Some(0.5)));
        assert_eq!(best.memory, [MemoryRates { bytes: 8, read: 4.0, write: 0.5, copy: 1.0 }]);
        assert_eq!((best.workgroup_memory, best.dispatch_seconds, best.submit_seconds), (4.0, 2.0, 0.25));
    }
}

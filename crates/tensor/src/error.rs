use crate::LimitTooSmall;

/// What can go wrong on a device.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter at all, or none that the options allow.
    #[error("{0}")]
    NoAdapter(String),
    /// The adapter exists but cannot do what was asked of it.
    #[error("adapter {adapter}: {reason}")]
    Adapter {
        /// The adapter's name.
        adapter: String,
        /// What it lacks.
        reason: String,
    },
    /// A host opened its device with lower limits than the kernels need.
    #[error(
        "the device that was opened on {adapter} has {}; open it with limits that are at least those of `minimum_limits()`: \
         `wgpu::Limits::default()` is enough",
        Listed(missing)
    )]
    Limits {
        /// The adapter's name.
        adapter: String,
        /// Every limit that is too small.
        missing: Vec<LimitTooSmall>,
    },
    /// An op was called on shapes that do not fit together.
    #[error("{op}: {reason}")]
    Shape {
        /// The op.
        op: &'static str,
        /// The shapes, and what was expected of them.
        reason: String,
    },
    /// A tensor or a layer was given to a device other than its own.
    #[error("{what} is on another device than the one that it is given to; make it again on that one")]
    OtherDevice {
        /// The tensor with its shape, or the layer.
        what: String,
    },
    /// A result was asked for within [`Device::commands`](crate::Device::commands), where the work that
    /// yields it is not submitted yet.
    #[error(
        "{what} needs the device to have done its work, which is yet to be submitted; do it after Device::commands"
    )]
    Unsubmitted {
        /// What was asked for.
        what: String,
    },
    /// A host's texture cannot be used for the purpose that it was given for.
    #[error("{what}: {reason}")]
    Texture {
        /// Which one.
        what: &'static str,
        /// What is wrong with it, and what is needed.
        reason: String,
    },
    /// A host's buffer cannot be used for the purpose that it was given for.
    #[error("{what}: {reason}")]
    Buffer {
        /// Which one.
        what: &'static str,
        /// What is wrong with it, and what is needed.
        reason: String,
    },
    /// A tensor is larger than the device takes in one piece.
    #[error(
        "{what} of {bytes} bytes exceeds the adapter's limit of {limit}; use a smaller image, fewer prompts at once, \
         or another adapter"
    )]
    TooLarge {
        /// What was to be made.
        what: String,
        /// Its size.
        bytes: u64,
        /// The adapter's limit for it.
        limit: u64,
    },
    /// The device had no memory for this piece of work; other work goes on. Smaller images, fewer prompts at
    /// once or half-precision weights need less.
    #[error(
        "the device is out of memory: {0}; use a smaller image, fewer prompts at once, or, on an adapter, 16-bit weights"
    )]
    OutOfMemory(String),
    /// The [memory budget](crate::DeviceOptions::memory_budget) of the device does not allow this piece of
    /// work; other work goes on.
    #[error(
        "this needs at least {} of device memory, and the memory budget is {}; raise it (--memory, DeviceOptions::memory_budget), or \
         use a smaller image or, on an adapter, 16-bit weights", Megabytes(*needed), Megabytes(*budget)
    )]
    OverBudget {
        /// Bytes that would be in use with it.
        needed: u64,
        /// Bytes that may be.
        budget: u64,
    },
    /// The device is gone, with all that was on it: its driver was reset, or its adapter removed. Open it
    /// again and load anew.
    #[error("the device was lost: {0}; open it again")]
    DeviceLost(String),
    /// The device refused a piece of work: a fault in the engine or the driver.
    #[error("the device failed: {0}")]
    Device(String),
}

impl Error {
    /// Whether the work failed for want of memory, on the device or in its budget: smaller work may succeed.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory(_) | Self::OverBudget { .. })
    }
}

/// Limits, one after the other.
struct Listed<'a>(&'a [LimitTooSmall]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, limit) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{limit}")?;
        }
        Ok(())
    }
}

/// Bytes, shown as megabytes and rounded up, so that a need is never understated; few as they are.
struct Megabytes(u64);

impl std::fmt::Display for Megabytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 100_000 {
            return write!(f, "{} bytes", self.0);
        }
        write!(f, "{:.1} MB", self.0.div_ceil(100_000) as f64 / 10.0)
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

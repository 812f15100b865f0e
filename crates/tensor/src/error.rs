/// What can go wrong on a device.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter at all, or none that the options allow.
    #[error("{0}")]
    NoAdapter(String),
    /// The adapter exists but does not give what was asked of it.
    #[error("adapter {adapter}: {reason}")]
    Adapter {
        /// The adapter's name.
        adapter: String,
        /// What it lacks.
        reason: String,
    },
    /// An op was called on shapes that do not fit together.
    #[error("{op}: {reason}")]
    Shape {
        /// The op.
        op: &'static str,
        /// The shapes, and what was expected of them.
        reason: String,
    },
    /// A tensor larger than the device takes in one piece.
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
    /// The device refused or lost work: out of memory, a lost device, or a fault in the engine.
    #[error("the device failed: {0}")]
    Device(String),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

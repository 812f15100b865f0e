use std::fmt;

/// Errors of masks and of what they are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The number of values is not the number of pixels.
    Length {
        /// Columns of pixels.
        width: usize,
        /// Rows of pixels.
        height: usize,
        /// How many values there were.
        values: usize,
    },

    /// More than 2³¹ - 1 pixels.
    TooLarge {
        /// Columns of pixels.
        width: usize,
        /// Rows of pixels.
        height: usize,
    },

    /// Two things that must have the same size do not.
    Sizes {
        /// Width and height that were expected.
        expected: (usize, usize),
        /// Width and height that were given.
        found: (usize, usize),
    },

    /// More masks than there are 16-bit labels.
    TooManyLabels,

    /// A distance by which masks cannot grow, shrink or fade: not a number, below 0, or beyond
    /// [`Mask::MAX_DISTANCE`](crate::Mask::MAX_DISTANCE).
    Distance(
        /// What was given.
        String,
    ),

    /// A probability, a threshold or a weight that is NaN or outside its range.
    Probability(
        /// What was given, and what it may be.
        String,
    ),

    /// Invalid run lengths.
    RunLengths(
        /// What is wrong.
        String,
    ),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { width, height, values } => {
                write!(formatter, "{values} values given for {width} × {height} pixels; give one per pixel")
            }
            Self::TooLarge { width, height } => {
                write!(formatter, "{width} × {height} pixels are more than the {} allowed", i32::MAX)
            }
            Self::Sizes { expected: (width, height), found } => {
                write!(
                    formatter,
                    "a mask of {} × {} pixels was given for {width} × {height}; resize it first",
                    found.0, found.1
                )
            }
            Self::TooManyLabels => {
                write!(formatter, "a label map holds {} masks; make a second one of the others", u16::MAX)
            }
            Self::Distance(given) => {
                let most = crate::Mask::MAX_DISTANCE;
                write!(formatter, "a distance of {given} pixels; give a number within 0..={most}")
            }
            Self::Probability(message) => formatter.write_str(message),
            Self::RunLengths(message) => write!(formatter, "run lengths: {message}"),
        }
    }
}

impl std::error::Error for Error {}

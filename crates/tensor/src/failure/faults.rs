//! Failures on purpose, for tests: the device refuses a piece of work, or is lost before it.
//!
//! Everything that asks something of the device is a guarded piece of work: making a buffer or texture,
//! writing to it, making a plan's bind groups, submitting, mapping. A test has one of them after the other
//! fail, until the work is done before.

use std::cell::Cell;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The work is done, and the device says that it had no memory for it, as wgpu does of what it made.
    OutOfMemory,
    /// The same, with the device finding fault with it.
    Refused,
    /// The device is lost before.
    Loss,
}

thread_local! {
    static NEXT: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
}

/// Has one of the calling thread's pieces of work fail: number `place` from now, counted from 0. Other
/// threads notice nothing.
pub fn at(place: usize, fault: Fault) {
    NEXT.set(Some((place, fault)));
}

/// Ends what [`at`] began. `None` where it has failed; else how many more pieces of work would have gone
/// well.
pub fn end() -> Option<usize> {
    NEXT.take().map(|(place, _)| place)
}

/// What happens to the piece of work that begins now, before which `lose` may lose its device.
pub(super) fn next(lose: impl FnOnce()) -> Option<wgpu::Error> {
    let (place, fault) = NEXT.take()?;
    if place > 0 {
        NEXT.set(Some((place - 1, fault)));
        return None;
    }
    let source = "on purpose".into();
    match fault {
        Fault::OutOfMemory => Some(wgpu::Error::OutOfMemory { source }),
        Fault::Refused => Some(wgpu::Error::Validation { source, description: "on purpose".to_owned() }),
        Fault::Loss => {
            lose();
            None
        }
    }
}

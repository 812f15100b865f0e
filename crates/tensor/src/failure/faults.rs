//! Failures on purpose, for tests: the device refuses a piece of work, or is lost before it.
//!
//! Everything that asks something of the device is a guarded piece of work: making a buffer or texture,
//! writing to it, making a plan's bind groups, submitting, mapping. A test makes each of them fail in turn,
//! until the work is done before its turn comes.

use std::cell::Cell;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The work is done, then the device reports that it had no memory for it, as wgpu does about a resource
    /// that it has already made.
    OutOfMemory,
    /// The work is done, then the device reports that it was invalid.
    Refused,
    /// The device is lost before the work.
    Loss,
}

thread_local! {
    static NEXT: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
}

/// Makes one of the calling thread's next pieces of work fail: number `index`, counted from 0. Other threads
/// notice nothing.
pub fn at(index: usize, fault: Fault) {
    NEXT.set(Some((index, fault)));
}

/// Takes back the fault that [`at`] set. `None` where it has struck; else the number of pieces of work that
/// it would still have let pass.
pub fn end() -> Option<usize> {
    NEXT.take().map(|(index, _)| index)
}

/// The error of the piece of work that begins now, if a fault strikes it. For [`Fault::Loss`] it calls `lose`
/// and gives none.
pub(super) fn next(lose: impl FnOnce()) -> Option<wgpu::Error> {
    let (index, fault) = NEXT.take()?;
    if index > 0 {
        NEXT.set(Some((index - 1, fault)));
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

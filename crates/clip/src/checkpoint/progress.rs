//! Reports to the caller how far the loading of a model has come.

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use clipseg_tensor::wgpu::WasmNotSendSync;

use crate::error::{Error, Result};

/// How much of a checkpoint a model has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// Bytes of the weights read so far; each weight counts once.
    pub done: u64,
    /// Bytes of all weights. A model that leaves some unread, as one tower of a CLIP does, is loaded before
    /// `done` reaches this number.
    pub total: u64,
}

impl LoadProgress {
    /// The share that was read, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.done as f64 / self.total as f64 }
    }
}

/// The caller's closure, which hears of the progress.
trait Listener: WasmNotSendSync {
    fn hear(&self, progress: LoadProgress) -> ControlFlow<()>;
}

impl<F: Fn(LoadProgress) -> ControlFlow<()> + WasmNotSendSync> Listener for F {
    fn hear(&self, progress: LoadProgress) -> ControlFlow<()> {
        self(progress)
    }
}

/// One loading whose progress is reported.
pub(super) struct Watch {
    listener: Box<dyn Listener>,
    state: Mutex<State>,
}

struct State {
    seen: HashSet<String>,
    progress: LoadProgress,
    is_cancelled: bool,
}

impl Watch {
    pub fn new(
        total: u64,
        listener: impl Fn(LoadProgress) -> ControlFlow<()> + WasmNotSendSync + 'static,
    ) -> Self {
        let progress = LoadProgress { done: 0, total };
        let state = State { seen: HashSet::new(), progress, is_cancelled: false };
        Self { listener: Box::new(listener), state: Mutex::new(state) }
    }

    /// Fails once the listener has cancelled, so that all loading threads stop.
    pub fn check(&self) -> Result<()> {
        match self.state.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    /// Reports that the weight `name` was read. The lock is held while the listener runs, so `done` never
    /// decreases from one call to the next.
    pub fn tell(&self, name: &str, bytes: u64) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_cancelled {
            return Err(Error::Cancelled);
        }
        if state.seen.insert(name.to_owned()) {
            state.progress.done += bytes;
        }
        match self.listener.hear(state.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                state.is_cancelled = true;
                Err(Error::Cancelled)
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

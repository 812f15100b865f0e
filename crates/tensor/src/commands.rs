//! Command buffers that the engine gives to its host to submit, instead of submitting them itself.

use std::cell::RefCell;

use crate::device_id::DeviceId;
use crate::{Device, Error, Result};

thread_local! {
    static COLLECTING: RefCell<Vec<Collected>> = const { RefCell::new(Vec::new()) };
}

/// What was recorded on the calling thread for one call of [`Device::commands`].
struct Collected {
    device: DeviceId,
    commands: Vec<wgpu::CommandBuffer>,
}

/// Pops the last entry of `COLLECTING` when it is dropped, also after a panic.
struct Pushed;

impl Drop for Pushed {
    fn drop(&mut self) {
        COLLECTING.with_borrow_mut(|all| drop(all.pop()));
    }
}

/// Suspends the calling thread's collecting until it is dropped.
pub(crate) struct Aside(Vec<Collected>);

impl Drop for Aside {
    fn drop(&mut self) {
        COLLECTING.set(std::mem::take(&mut self.0));
    }
}

/// Until the returned value is dropped, the calling thread's work is submitted even within
/// [`Device::commands`]. Plans are prepared this way: other threads may run them before the collected
/// commands are submitted.
pub(crate) fn aside() -> Aside {
    Aside(COLLECTING.take())
}

impl Device {
    /// Runs `work` and returns what it would have submitted to this device, as command buffers for the caller
    /// to submit. This is for a host that does not let others submit to its queue, or that wants its frame
    /// and the engine's work in one submission.
    ///
    /// Submit each of them once, in the order in which the calls of this function returned them. Until then
    /// the tensors and images that `work` made are empty: whatever reads them has to be submitted after them,
    /// in other commands or by a call that submits. Dropping the command buffers leaves the images empty and
    /// harms nothing else. Command buffers keep the memory alive that they work on.
    ///
    /// Only the calling thread's work is collected. Two kinds of work cannot wait and are submitted at once:
    /// uploads of weights, and what prepares the first work for a size. To get these out of the way, do the
    /// same work once beforehand.
    ///
    /// The processor submits nothing: there the work is done when this returns.
    ///
    /// # Errors
    /// Those of `work`, after which nothing is left to submit. Reading results back within `work` fails with
    /// [`Error::Unsubmitted`].
    pub fn commands<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<(T, Vec<wgpu::CommandBuffer>), E> {
        COLLECTING.with_borrow_mut(|all| all.push(Collected { device: self.id(), commands: Vec::new() }));
        let _pushed = Pushed;
        let made = work()?;
        let commands =
            COLLECTING.with_borrow_mut(|all| all.last_mut().map(|last| std::mem::take(&mut last.commands)));
        Ok((made, commands.unwrap_or_default()))
    }

    /// Whether the calling thread collects commands of this device.
    pub(crate) fn is_collecting(&self) -> bool {
        COLLECTING.with_borrow(|all| all.iter().any(|collected| collected.device == self.id()))
    }

    /// Keeps a command buffer for the innermost call of [`commands`](Self::commands) on this device.
    pub(crate) fn collect(&self, commands: wgpu::CommandBuffer) {
        COLLECTING.with_borrow_mut(|all| {
            let ours = all.iter_mut().rfind(|collected| collected.device == self.id());
            if let Some(collected) = ours {
                collected.commands.push(commands);
            }
        });
    }

    /// Refuses `what`, which has to wait for the device, while the calling thread collects commands: they are
    /// yet to be submitted.
    pub(crate) fn expect_submitting(&self, what: &str) -> Result<()> {
        if self.is_collecting() { Err(Error::Unsubmitted { what: what.to_owned() }) } else { Ok(()) }
    }
}

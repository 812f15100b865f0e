//! Commands that are handed to whoever submits them, instead of being submitted.

use std::cell::RefCell;

use crate::device::DeviceId;
use crate::{Device, Error, Result};

thread_local! {
    static COLLECTING: RefCell<Vec<Collected>> = const { RefCell::new(Vec::new()) };
}

/// What was recorded on the calling thread for one call of [`Device::commands`].
struct Collected {
    device: DeviceId,
    commands: Vec<wgpu::CommandBuffer>,
}

/// Takes what was pushed last off again, also after a panic.
struct Pushed;

impl Drop for Pushed {
    fn drop(&mut self) {
        COLLECTING.with_borrow_mut(|all| drop(all.pop()));
    }
}

/// The collecting of a thread is put aside until this is dropped.
pub(crate) struct Aside(Vec<Collected>);

impl Drop for Aside {
    fn drop(&mut self) {
        COLLECTING.set(std::mem::take(&mut self.0));
    }
}

/// What the calling thread does until this is dropped is submitted although it is within
/// [`Device::commands`]: what plans are prepared by, which others may use before the commands are submitted.
pub(crate) fn aside() -> Aside {
    Aside(COLLECTING.take())
}

impl Device {
    /// Does `work`, and gives what it would have submitted to this device as command buffers that the caller
    /// submits: for a host that does not want others to submit to its queue, or wants its frame and the
    /// engine's work in one submission.
    ///
    /// Submit all of them, once, in the order in which calls of this function gave them. Until then tensors
    /// and images that the work made are empty: what reads them has to be submitted later too, in other
    /// commands or by a call that submits. Dropping the command buffers leaves the images empty and harms
    /// nothing else. Command buffers hold the memory that they work on.
    ///
    /// It holds for the calling thread alone. What cannot wait is submitted all the same: uploads of weights,
    /// and preparations the first time that something is done for a size. To have these out of the way, do
    /// the same work once before.
    ///
    /// The processor has nothing to submit: there the work is done when this returns.
    ///
    /// # Errors
    /// Those of `work`, after which no commands are left; of reading results back, [`Error::Unsubmitted`].
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

    /// Keeps a command buffer for who is collecting.
    pub(crate) fn collect(&self, commands: wgpu::CommandBuffer) {
        COLLECTING.with_borrow_mut(|all| {
            let ours = all.iter_mut().rfind(|collected| collected.device == self.id());
            if let Some(collected) = ours {
                collected.commands.push(commands);
            }
        });
    }

    /// Refuses what has to wait for the device, where it is to be submitted later.
    pub(crate) fn expect_submitting(&self, what: &str) -> Result<()> {
        if self.is_collecting() { Err(Error::Unsubmitted { what: what.to_owned() }) } else { Ok(()) }
    }
}

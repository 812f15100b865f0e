//! Command buffers that the engine gives to its host to submit, instead of submitting them itself.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::device_id::DeviceId;
use crate::plan::Work;
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

/// Whether the calling thread collects commands of this device.
pub(crate) fn are_collected(device: DeviceId) -> bool {
    COLLECTING.with_borrow(|all| all.iter().any(|collected| collected.device == device))
}

/// What command buffers work on that a host may yet submit. A tensor that its owner drops meanwhile must not
/// be given to other work, which would run before them.
#[derive(Default)]
pub(crate) struct Unsubmitted(Mutex<Vec<(Arc<AtomicBool>, Work)>>);

/// Tells that a command buffer is over when it is dropped: the command buffer owns it until its work is done,
/// or until it is dropped without having been submitted.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Unsubmitted {
    /// Keeps what `commands` work on until they are over.
    fn keep(&self, commands: &wgpu::CommandBuffer, work: Work) {
        let is_over = Arc::<AtomicBool>::default();
        let over = Over(Arc::clone(&is_over));
        commands.on_submitted_work_done(move || drop(over));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((is_over, work));
    }

    /// Lets go of what the command buffers worked on that are over.
    pub fn clear(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |entry: &mut (Arc<AtomicBool>, Work)| entry.0.load(Ordering::Acquire);
        let over: Vec<_> = kept.extract_if(.., is_over).collect();
        // The lock is released first: memory that is given back may ask for it.
        drop(kept);
        drop(over);
    }
}

impl Device {
    /// Runs `work` and returns what it would have submitted to this device, as command buffers for the caller
    /// to submit. This is for a host that does not let others submit to its queue, or that wants its frame
    /// and the engine's work in one submission.
    ///
    /// Submit each of them once, in the order in which the calls of this function returned them. Until then
    /// the tensors and images that `work` made are empty: whatever reads them has to be submitted after them,
    /// in other commands or by a call that submits. Dropping the command buffers leaves the images empty and
    /// harms nothing else. Tensors and images that they work on may be dropped: the memory serves others only
    /// when the command buffers are done or dropped.
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
        are_collected(self.id())
    }

    /// Keeps a command buffer for the innermost call of [`commands`](Self::commands) on this device, and the
    /// tensors of its `work` until it is over.
    pub(crate) fn collect(&self, commands: wgpu::CommandBuffer, work: Work) -> Result<()> {
        let unsubmitted = &self.gpu()?.unsubmitted;
        unsubmitted.clear();
        unsubmitted.keep(&commands, work);
        COLLECTING.with_borrow_mut(|all| {
            let ours = all.iter_mut().rfind(|collected| collected.device == self.id());
            if let Some(collected) = ours {
                collected.commands.push(commands);
            }
        });
        Ok(())
    }

    /// Refuses `what`, which has to wait for the device, while the calling thread collects commands: they are
    /// yet to be submitted.
    pub(crate) fn expect_submitting(&self, what: &str) -> Result<()> {
        if self.is_collecting() { Err(Error::Unsubmitted { what: what.to_owned() }) } else { Ok(()) }
    }
}

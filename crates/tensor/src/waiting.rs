//! Waiting for the device: on the caller's thread where it blocks, on a thread of the device's own where it
//! awaits.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use crate::failure::Failures;
use crate::submitted::Submitted;
use crate::{Error, Result};

/// The longest that a thread sleeps before it polls a host's device again.
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

thread_local! {
    static BLOCKS: Cell<bool> = const { Cell::new(false) };
}

/// Blocks the calling thread on a future of this crate, and polls the device on that thread meanwhile: the
/// blocking form of an asynchronous function. Any executor can run such futures too; then a thread of the
/// device's own polls.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// Restores the thread's earlier state when it is dropped, also after a panic.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            BLOCKS.set(self.0);
        }
    }
    let _before = Before(BLOCKS.replace(true));
    pollster::block_on(future)
}

/// Whether the calling thread is within [`block_on`].
fn may_block() -> bool {
    BLOCKS.get()
}

/// The parts of a device that waiting for it takes.
#[derive(Clone)]
pub(crate) struct Waited {
    pub device: wgpu::Device,
    pub failures: Arc<Failures>,
}

impl Waited {
    /// Waits until the work is done, but not for what anyone submitted later.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait_for(&self, submitted: &Submitted) -> Result<()> {
        match &submitted.is_done {
            Some(is_done) => self.look_until(is_done),
            None if self.poll(wait_for(Some(&submitted.index)))? => Ok(()),
            None => Err(Error::Device("the queue refused the work".to_owned())),
        }
    }

    /// As [`wait_for`](Self::wait_for), for work that the queue may have refused: in that case it waits for
    /// all that was submitted.
    pub fn wait_for_last(&self, submitted: &Submitted) -> Result<()> {
        match &submitted.is_done {
            Some(is_done) => self.look_until(is_done),
            None if self.poll(wait_for(Some(&submitted.index)))? => Ok(()),
            None => self.poll(wait_for(None)).map(|_| ()),
        }
    }

    /// Calls the callbacks that are due.
    pub fn call_back(&self) -> Result<()> {
        self.poll(wgpu::PollType::Poll).map(|_| ())
    }

    /// Polls until the work is done. It does not let wgpu wait: wgpu would hold a lock meanwhile that a
    /// host's `present` needs, and when its wait times out it may lose the callbacks of others.
    fn look_until(&self, is_done: &AtomicBool) -> Result<()> {
        let mut sleep = Duration::from_micros(20);
        loop {
            self.poll(wgpu::PollType::Poll)?;
            if is_done.load(Ordering::Acquire) {
                return Ok(());
            }
            thread::sleep(sleep);
            sleep = (2 * sleep).min(LONGEST_SLEEP);
        }
    }

    /// Polls the device; false where the queue knows no such submission.
    fn poll(&self, until: wgpu::PollType) -> Result<bool> {
        // A poll of a lost device frees its memory, which another thread may still be reading.
        self.failures.look(&self.device)?;
        // wgpu panics when the driver reports a loss.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(until)));
        // A lost device has not done the work, whatever the poll says.
        self.failures.look(&self.device)?;
        match polled {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(wgpu::PollError::WrongSubmissionIndex(..))) => Ok(false),
            Ok(Err(error)) => Err(Error::Device(error.to_string())),
            Err(_) => Err(Error::Device("waiting for the device failed".to_owned())),
        }
    }
}

/// A poll until this submission is done, or without one until all submissions are done.
fn wait_for(submission: Option<&wgpu::SubmissionIndex>) -> wgpu::PollType {
    wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: None }
}

/// Waits for a device on behalf of futures, on a thread that begins with the first future and ends with the
/// device.
#[derive(Default)]
pub(crate) struct Waiter(Mutex<Option<mpsc::Sender<Waiting>>>);

struct Waiting {
    device: Waited,
    submitted: Submitted,
    done: oneshot::Sender<Result<()>>,
}

impl Waiter {
    /// A future that is ready when the work is done. Within [`block_on`] that is before this returns.
    pub fn wait_for(&self, device: Waited, submitted: Submitted) -> impl Future<Output = Result<()>> + use<> {
        let (done, waited) = oneshot::channel();
        let waiting = Waiting { device, submitted, done };
        if may_block() {
            waiting.wait();
        } else if let Err(waiting) = self.hand_over(waiting) {
            // The system gives no thread, so this one waits.
            waiting.wait();
        }
        async move { waited.await.unwrap_or_else(|_| Err(Error::Device("nobody waited".to_owned()))) }
    }

    fn hand_over(&self, waiting: Waiting) -> Result<(), Waiting> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.is_none() {
            let (new, receiver) = mpsc::channel::<Waiting>();
            let wait = move || receiver.into_iter().for_each(Waiting::wait);
            *sender = thread::Builder::new().name("clipseg waits".to_owned()).spawn(wait).ok().map(|_| new);
        }
        match &*sender {
            Some(sender) => sender.send(waiting).map_err(|mpsc::SendError(waiting)| waiting),
            None => Err(waiting),
        }
    }
}

impl Waiting {
    fn wait(self) {
        let Self { device, submitted, done } = self;
        // The receiver is gone where the future was dropped: then there is nothing to wait for.
        if !done.is_canceled() {
            let _ = done.send(device.wait_for(&submitted));
        }
    }
}

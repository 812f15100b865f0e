//! Waiting for the device: on the caller's thread where it blocks, on a thread of the device's own where it awaits.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use crate::failure::Failures;
use crate::{Error, Result};

/// How long wgpu is asked to wait at a time. While it waits it holds a lock that a host's `present` and `destroy` need, so a frame of the
/// host's waits at most so long.
const AT_A_TIME: Duration = Duration::from_millis(1);

thread_local! {
    static BLOCKS: Cell<bool> = const { Cell::new(false) };
}

/// Waits for a future of this crate's on the calling thread, which polls the device meanwhile: for the blocking form of an
/// asynchronous function. Any executor may run such futures too; then a thread of the device's own polls.
pub fn block_on<F: Future>(future: F) -> F::Output {
    /// What the thread did before, also after a panic.
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

/// What a device is waited with.
#[derive(Clone)]
pub(crate) struct Waited {
    pub device: wgpu::Device,
    pub failures: Arc<Failures>,
}

impl Waited {
    /// Waits until `submission` is done. What was submitted later, by whomever, is not waited for.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] when the device is gone.
    pub fn wait_for(&self, submission: &wgpu::SubmissionIndex) -> Result<()> {
        if self.wait_for_any(Some(submission))? {
            Ok(())
        } else {
            Err(Error::Device("the queue refused the work".to_owned()))
        }
    }

    /// As [`wait_for`](Self::wait_for), or for all that was submitted by anybody. Whether there is such a submission.
    pub fn wait_for_any(&self, submission: Option<&wgpu::SubmissionIndex>) -> Result<bool> {
        loop {
            // Polled again, wgpu gives back the memory of a lost device, under the hands of who may still read it.
            self.failures.look(&self.device)?;
            let until =
                wgpu::PollType::Wait { submission_index: submission.cloned(), timeout: Some(AT_A_TIME) };
            // wgpu panics where the driver tells it of a loss while it waits.
            let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(until)));
            match polled {
                Ok(Ok(_)) => {
                    // A lost device has done nothing.
                    self.failures.look(&self.device)?;
                    return Ok(true);
                }
                Ok(Err(wgpu::PollError::Timeout)) => (),
                Ok(Err(wgpu::PollError::WrongSubmissionIndex(..))) => {
                    self.failures.look(&self.device)?;
                    return Ok(false);
                }
                Err(_) => {
                    self.failures.look(&self.device)?;
                    return Err(Error::Device("waiting for the device failed".to_owned()));
                }
            }
        }
    }
}

/// Who waits for a device on behalf of futures: a thread that begins with the first one and ends with the device.
#[derive(Default)]
pub(crate) struct Waiter(Mutex<Option<mpsc::Sender<Waiting>>>);

struct Waiting {
    device: Waited,
    submission: wgpu::SubmissionIndex,
    done: oneshot::Sender<Result<()>>,
}

impl Waiter {
    /// Is ready when `submission` is done. Within [`block_on`] it is when this returns.
    pub fn wait_for(
        &self,
        device: Waited,
        submission: wgpu::SubmissionIndex,
    ) -> impl Future<Output = Result<()>> + use<> {
        let (done, waited) = oneshot::channel();
        let waiting = Waiting { device, submission, done };
        if may_block() {
            waiting.wait();
        } else if let Err(waiting) = self.hand_over(waiting) {
            // The system gives no thread.
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
        let Self { device, submission, done } = self;
        // The receiver is gone where the future was dropped: then nobody need wait.
        if !done.is_canceled() {
            let _ = done.send(device.wait_for(&submission));
        }
    }
}

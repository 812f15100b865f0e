//! A program that serves many callers at once from one model, as a web service does: each caller is a task of
//! an async executor, and no task blocks the thread that runs it. The executor here is the smallest there is;
//! any other does as well.
//!
//! `cargo run --release --example server`

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo, PixelValues, Result};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");
const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/shapes");
/// How many ask at the same time.
const CALLERS: usize = 8;

fn main() -> Result<()> {
    let Served { masks, longest_poll } = run(&Device::open(&DeviceOptions::default())?)?;
    println!(
        "{CALLERS} callers found {masks:?} pixels; the executor was held up for at most {longest_poll:?}"
    );
    Ok(())
}

/// What the callers got, and how they were served.
pub struct Served {
    /// Pixels of the masks that each caller got.
    pub masks: Vec<usize>,
    /// The longest that a task kept the thread of the executor to itself.
    pub longest_poll: Duration,
}

/// Serves all callers on one thread, their requests interleaved.
pub fn run(device: &Device) -> Result<Served> {
    let model = Arc::new(ClipSeg::from_pretrained(device, MODEL)?);
    let photo = Photo::open(format!("{PHOTOS}/scene-1.png"), Orientation::Apply)?;
    // To decode and resize photos is work for the processor, which services give to threads of their own.
    let pixels = Arc::new(model.processor().preprocess(&photo));
    // The first request of a size has plans recorded and kernels compiled, which takes a thread a while: done
    // before serving.
    pollster::block_on(serve(Arc::clone(&model), Arc::clone(&pixels), 0))?;

    let masks = Arc::new(Mutex::new(BTreeMap::new()));
    let mut executor = Executor::new();
    for caller in 0..CALLERS {
        let (model, pixels, masks) = (Arc::clone(&model), Arc::clone(&pixels), Arc::clone(&masks));
        executor.spawn(async move {
            let mask = serve(model, pixels, caller).await;
            masks.lock().expect("no task panics").insert(caller, mask);
        });
    }
    let longest_poll = executor.run();
    let masks = std::mem::take(&mut *masks.lock().expect("no task panics"));
    Ok(Served { masks: masks.into_values().collect::<Result<_>>()?, longest_poll })
}

/// One request: the pixels of what a caller looks for.
async fn serve(model: Arc<ClipSeg>, pixels: Arc<PixelValues>, caller: usize) -> Result<usize> {
    const PROMPTS: [&str; 4] = ["the orange ring", "a blue star", "something red", "the square"];
    let ids = model.tokenizer().encode_batch(&[PROMPTS[caller % PROMPTS.len()]])?;
    let image = model.model().encode_image((&*pixels).into()).await?;
    let condition = model.model().encode_text((&ids).into()).await?;
    let logits = model.model().decode(&image, &condition).await?;
    Ok(logits.values.iter().filter(|&&logit| logit > 0.0).count())
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task, and where it goes when it can go on.
struct Task {
    job: Mutex<Option<Job>>,
    ready: mpsc::Sender<Arc<Task>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let ready = self.ready.clone();
        // The executor is gone when all tasks are done.
        let _ = ready.send(self);
    }
}

/// Runs tasks on one thread, whichever can go on.
struct Executor {
    ready: mpsc::Receiver<Arc<Task>>,
    sender: mpsc::Sender<Arc<Task>>,
    tasks: usize,
}

impl Executor {
    fn new() -> Self {
        let (sender, ready) = mpsc::channel();
        Self { ready, sender, tasks: 0 }
    }

    fn spawn(&mut self, job: impl Future<Output = ()> + Send + 'static) {
        self.tasks += 1;
        let task = Task { job: Mutex::new(Some(Box::pin(job))), ready: self.sender.clone() };
        Arc::new(task).wake();
    }

    /// Until all are done. The longest that one kept the thread to itself.
    fn run(mut self) -> Duration {
        let mut longest = Duration::ZERO;
        while self.tasks > 0 {
            let Ok(task) = self.ready.recv() else { break };
            let waker = Waker::from(Arc::clone(&task));
            let mut slot = task.job.lock().expect("no task panics");
            let Some(mut job) = slot.take() else { continue };
            let start = Instant::now();
            match job.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => self.tasks -= 1,
                Poll::Pending => *slot = Some(job),
            }
            longest = longest.max(start.elapsed());
        }
        longest
    }
}

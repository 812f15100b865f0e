use std::ops::Range;
use std::sync::Arc;

use clipseg_tensor::{Device, Plan, PlanCache, Recorder, Tensor};

use crate::Result;

/// Plans kept: a large photo's hold a map of its size each.
const PLANS: usize = 2;

/// A device with the plans that resized maps the last times; what a model gives shares them.
pub(crate) struct ResizePlans {
    device: Device,
    plans: PlanCache<ResizeKey, ResizePlan>,
}

/// Rows `rows` of a map of size `to`, made of one of size `from`; sizes are rows and columns.
#[derive(Clone, PartialEq)]
pub(crate) struct ResizeKey {
    pub from: (usize, usize),
    pub to: (usize, usize),
    pub rows: Range<usize>,
}

pub(crate) struct ResizePlan {
    pub plan: Plan,
    pub input: Tensor,
    pub output: Tensor,
}

impl ResizePlans {
    pub fn new(device: &Device) -> Arc<Self> {
        Arc::new(Self { device: device.clone(), plans: PlanCache::new(PLANS) })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    pub fn get(&self, key: &ResizeKey) -> Result<Arc<ResizePlan>> {
        self.plans.get_or_record(key, || {
            let mut recorder = Recorder::new(&self.device);
            let input = recorder.input(&[1, key.from.0, key.from.1])?;
            let output = recorder.bilinear_resize(&input, key.to, key.rows.clone())?;
            let output = recorder.output(&output)?;
            Ok(ResizePlan { plan: recorder.finish()?, input, output })
        })
    }
}

use clipseg_tensor::Weights;

use crate::{Activation, Checkpoint, Error, Result};

impl Weights for Checkpoint {
    type Error = Error;

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.read(name, shape)
    }
}

impl From<Activation> for clipseg_tensor::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::QuickGelu => Self::QuickGelu,
            Activation::Gelu => Self::Gelu,
            Activation::GeluNew => Self::GeluNew,
            Activation::Relu => Self::Relu,
            Activation::Selu => Self::Selu,
        }
    }
}

//! Every op on the device against its CPU twin, on ragged shapes, with each kernel family that the adapter
//! runs.

mod algebra;
mod attention;
mod convolution;
mod cost;
mod elementwise;
mod embedding;
mod guided;
mod halves;
mod host_memory;
mod lanes;
mod linear;
mod matmul;
mod matrix_units;
mod mlp;
mod normalise;
mod parts;
mod pipelines;
mod processor;
mod recording;
mod resample;
mod support;
mod tuner;

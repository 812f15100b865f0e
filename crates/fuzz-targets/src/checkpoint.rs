use std::collections::BTreeMap;
use std::path::Path;

use clipseg_clip::Checkpoint;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::{check_refusal, folder};

/// Type, shape and bytes of each tensor.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A shard that the input, as an index, may list.
const SHARD: &[u8] = b"\x40\0\0\0\0\0\0\0{\"clip.logit_scale\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}\0\0\x80\x3f";

/// Opens the file and reads all its tensors; written and read again, they must be the same.
pub fn run(bytes: &[u8]) -> bool {
    let name = if bytes.starts_with(b"{") { "model.safetensors.index.json" } else { "model.safetensors" };
    let files = folder([(name, bytes), ("a.safetensors", SHARD)]);
    let tensors = match Checkpoint::open(files.path()) {
        Ok(checkpoint) => tensors(&checkpoint),
        Err(error) => return check_refusal(&error, bytes),
    };
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let written = safetensors::serialize(views, None).expect("what was read can be written");
    let again = folder([("model.safetensors", &written[..])]);
    assert_eq!(read(again.path()), tensors);
    true
}

fn read(folder: &Path) -> Tensors {
    tensors(&Checkpoint::open(folder).expect("what was written can be read"))
}

fn tensors(checkpoint: &Checkpoint) -> Tensors {
    let _ = checkpoint.clip_prefix();
    let names = checkpoint.names().map(|name| {
        let view = checkpoint.get(name).expect("a tensor that is listed is there");
        let bytes = view.bytes().expect("a tensor that is listed can be read");
        assert_eq!(bytes.len() * 8, view.len() * view.dtype().bitsize(), "{name:?}");
        if let Ok(values) = view.to_f32() {
            assert_eq!(values.len(), view.len());
            assert!(values.iter().all(|value| value.is_finite()), "{name:?} holds what is not a number");
        }
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), bytes))
    });
    names.collect()
}

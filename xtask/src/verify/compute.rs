//! Running a reference's inputs through the engine, and naming what comes out as the reference does.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clipseg::{
    Array, ClipSegForImageSegmentation, ClipSegModel, ClipSegTextModel, ClipSegVisionModel, ConditionInput,
    Device, OutputOptions, PixelValues, Processor, SegmentationInput, TowerOutput,
};
use pollster::block_on;

use crate::reference_file::Reference;

/// What the engine computed, by the reference's names without `out.`.
pub type Outputs = BTreeMap<String, Array>;

/// Computes everything that the reference's task has outputs for.
pub fn outputs(device: &Device, model: &Path, reference: &Reference) -> Result<Outputs> {
    let options = OutputOptions {
        hidden_states: reference.wants("hidden_states."),
        attentions: reference.wants("attentions."),
    };
    match reference.task.as_str() {
        "segmentation" => segmentation(device, model, reference, options),
        "clip" => clip(device, model, reference, options),
        "text" => {
            let model = ClipSegTextModel::from_pretrained(device, model)?;
            let text = reference.text()?.context("in.input_ids is missing")?;
            let mut outputs = Outputs::new();
            tower(&mut outputs, "", block_on(model.forward(text, options))?);
            Ok(outputs)
        }
        "vision" => {
            let model = ClipSegVisionModel::from_pretrained(device, model)?;
            let images = reference.images("pixel_values")?.context("in.pixel_values is missing")?;
            let mut outputs = Outputs::new();
            tower(&mut outputs, "", block_on(model.forward(images, options))?);
            Ok(outputs)
        }
        "preprocess" => {
            let photo = reference.photo("photo")?.context("in.photo is missing")?;
            let PixelValues { values, height, width } = Processor::from_dir(model)?.preprocess(&photo);
            let pixels = Array { shape: vec![3, height, width], values };
            Ok(Outputs::from([("pixel_values".to_owned(), pixels)]))
        }
        other => bail!("the task {other:?} is none of segmentation, clip, text, vision, preprocess"),
    }
}

fn segmentation(
    device: &Device,
    model: &Path,
    reference: &Reference,
    options: OutputOptions,
) -> Result<Outputs> {
    let model = ClipSegForImageSegmentation::from_pretrained(device, model)?;
    let images = reference.images("pixel_values")?.context("in.pixel_values is missing")?;
    let condition = if let Some(embeddings) = reference.floats("conditional_embeddings")? {
        ConditionInput::Embeddings(embeddings)
    } else if let Some(text) = reference.text()? {
        ConditionInput::Text(text)
    } else if let Some(images) = reference.images("conditional_pixel_values")? {
        ConditionInput::Images(images)
    } else {
        bail!("there is no in.input_ids, in.conditional_pixel_values or in.conditional_embeddings")
    };
    let labels = reference.floats("labels")?.map(|labels| labels.values.as_slice());
    let output = block_on(model.forward(SegmentationInput { images, condition, labels, options }))?;

    let mut outputs = Outputs::new();
    if let Some(loss) = output.loss {
        outputs.insert("loss".to_owned(), scalar(loss));
    }
    outputs.insert("decoder_output.logits".to_owned(), output.logits.clone());
    outputs.insert("logits".to_owned(), output.logits);
    outputs.insert("conditional_embeddings".to_owned(), output.conditional_embeddings);
    outputs.insert("pooled_output".to_owned(), output.pooled_output);
    tower(&mut outputs, "vision_model_output.", output.vision_model_output);
    list(&mut outputs, "decoder_output.hidden_states", output.decoder_output.hidden_states);
    list(&mut outputs, "decoder_output.attentions", output.decoder_output.attentions);
    Ok(outputs)
}

fn clip(device: &Device, model: &Path, reference: &Reference, options: OutputOptions) -> Result<Outputs> {
    let model = ClipSegModel::from_pretrained(device, model)?;
    let text = reference.text()?.context("in.input_ids is missing")?;
    let images = reference.images("pixel_values")?.context("in.pixel_values is missing")?;
    let output = block_on(model.forward(text, images, reference.wants("loss"), options))?;
    let mut outputs = Outputs::from([
        ("logits_per_image".to_owned(), output.logits_per_image),
        ("logits_per_text".to_owned(), output.logits_per_text),
        ("text_embeds".to_owned(), output.text_embeds),
        ("image_embeds".to_owned(), output.image_embeds),
    ]);
    if let Some(loss) = output.loss {
        outputs.insert("loss".to_owned(), scalar(loss));
    }
    tower(&mut outputs, "text_model_output.", output.text_model_output);
    tower(&mut outputs, "vision_model_output.", output.vision_model_output);
    Ok(outputs)
}

fn tower(outputs: &mut Outputs, prefix: &str, output: TowerOutput) {
    outputs.insert(format!("{prefix}last_hidden_state"), output.last_hidden_state);
    outputs.insert(format!("{prefix}pooler_output"), output.pooler_output);
    list(outputs, &format!("{prefix}hidden_states"), output.hidden_states);
    list(outputs, &format!("{prefix}attentions"), output.attentions);
}

fn list(outputs: &mut Outputs, name: &str, arrays: Vec<Array>) {
    outputs.extend(arrays.into_iter().enumerate().map(|(place, array)| (format!("{name}.{place}"), array)));
}

fn scalar(value: f32) -> Array {
    Array { shape: Vec::new(), values: vec![value] }
}

use clipseg_tensor::Array;

/// Mean binary cross-entropy of logits against labels in 0..=1, as torch's `BCEWithLogitsLoss`.
pub(crate) fn binary_cross_entropy(logits: &[f32], labels: &[f32]) -> f32 {
    let sum: f64 = logits
        .iter()
        .zip(labels)
        .map(|(&logit, &label)| {
            let (logit, label) = (f64::from(logit), f64::from(label));
            logit.max(0.0) - logit * label + (-logit.abs()).exp().ln_1p()
        })
        .sum();
    (sum / logits.len() as f64) as f32
}

/// CLIP's loss: the mean of the cross-entropies of texts against images and of images against texts, where
/// the right answer is the diagonal of `logits_per_text` `[batch, batch]`.
pub(crate) fn contrastive(logits_per_text: &Array) -> f32 {
    let batch = logits_per_text.shape[0];
    let logit = |text: usize, image: usize| f64::from(logits_per_text.values[text * batch + image]);
    let cross_entropy = |logit: &dyn Fn(usize, usize) -> f64| {
        let rows = (0..batch).map(|row| {
            let largest = (0..batch).map(|column| logit(row, column)).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..batch).map(|column| (logit(row, column) - largest).exp()).sum();
            largest + sum.ln() - logit(row, row)
        });
        rows.sum::<f64>() / batch as f64
    };
    ((cross_entropy(&logit) + cross_entropy(&|image, text| logit(text, image))) / 2.0) as f32
}

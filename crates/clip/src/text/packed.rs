use clipseg_tensor::Run;

use super::{Layout, TextInput, TextPlan};
use crate::Result;

/// The number of rows and the longest text are rounded up to multiples of these; otherwise nearly every batch
/// would need a plan of its own.
const ROWS: usize = 8;
const LONGEST: usize = 16;

/// Texts one after another, each cut after its pooled token. Attention is causal, so no later token affects
/// the result. Most of a batch of prompts would be padding if all were padded to the longest.
pub(super) struct Packed {
    ids: Vec<u32>,
    position_ids: Vec<u32>,
    /// `[texts + 1]`: the row of each text's first token, and the row after the last token.
    cu_seqlens: Vec<u32>,
}

impl Packed {
    /// Packs texts whose pooled tokens are at `pooled_positions`. `None` where packing would change what a
    /// token sees: if the caller gives position ids, or if padding comes before a token that counts.
    pub fn of(input: TextInput<'_>, pooled_positions: &[usize]) -> Option<Self> {
        let mut packed = Self { ids: Vec::new(), position_ids: Vec::new(), cu_seqlens: vec![0] };
        if input.position_ids.is_some() {
            return None;
        }
        for (text, &pooled) in pooled_positions.iter().enumerate() {
            let tokens = text * input.length..=text * input.length + pooled;
            if input.attention_mask.is_some_and(|mask| mask[tokens.clone()].contains(&0)) {
                return None;
            }
            packed.ids.extend_from_slice(&input.input_ids[tokens]);
            packed.position_ids.extend(0..=pooled as u32);
            packed.cu_seqlens.push(packed.ids.len() as u32);
        }
        let rows = packed.ids.len().next_multiple_of(ROWS);
        packed.ids.resize(rows, 0);
        packed.position_ids.resize(rows, 0);
        Some(packed)
    }

    pub fn layout(&self) -> Layout {
        let max_seqlen =
            self.cu_seqlens.windows(2).map(|text| (text[1] - text[0]) as usize).max().unwrap_or(0);
        Layout::Packed {
            texts: self.cu_seqlens.len() - 1,
            rows: self.ids.len(),
            max_seqlen: max_seqlen.next_multiple_of(LONGEST),
        }
    }

    /// The layout for `texts` texts of `length` tokens each.
    pub fn longest_layout(texts: usize, length: usize) -> Layout {
        // What is too large to be counted is refused with the first tensor of the recording.
        let up = |count: usize, unit| count.checked_next_multiple_of(unit).unwrap_or(usize::MAX);
        let rows = texts.saturating_mul(length);
        Layout::Packed { texts, rows: up(rows, ROWS), max_seqlen: up(length, LONGEST) }
    }

    pub fn fill<'plan>(&self, plan: &'plan TextPlan) -> Result<Run<'plan>> {
        let mut run = plan.plan.run();
        run.write_u32(&plan.tensors.ids, &self.ids)?;
        run.write_u32(&plan.tensors.position_ids, &self.position_ids)?;
        if let Some(cu_seqlens) = &plan.tensors.cu_seqlens {
            run.write_u32(cu_seqlens, &self.cu_seqlens)?;
        }
        let pooled: Vec<_> = self.cu_seqlens[1..].iter().map(|end| end - 1).collect();
        run.write_u32(&plan.tensors.pooled_rows, &pooled)?;
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input<'a>(mask: Option<&'a [u32]>, position_ids: Option<&'a [u32]>) -> TextInput<'a> {
        TextInput { input_ids: &[7, 1, 9, 9, 7, 9, 9, 9], length: 4, attention_mask: mask, position_ids }
    }

    #[test]
    fn texts_end_with_the_pooled_token_and_lie_one_behind_the_other() {
        let packed = Packed::of(input(Some(&[1, 1, 1, 0, 1, 1, 0, 0]), None), &[2, 1]).unwrap();
        assert_eq!(packed.ids, [7, 1, 9, 7, 9, 0, 0, 0]);
        assert_eq!(packed.position_ids, [0, 1, 2, 0, 1, 0, 0, 0]);
        assert_eq!(packed.cu_seqlens, [0, 3, 5]);
        assert!(packed.layout() == Layout::Packed { texts: 2, rows: 8, max_seqlen: 16 });
    }

    #[test]
    fn padding_on_the_left_and_own_positions_are_not_packed() {
        assert!(Packed::of(input(Some(&[0, 1, 1, 1, 1, 1, 0, 0]), None), &[2, 1]).is_none());
        assert!(Packed::of(input(None, Some(&[0, 1, 2, 3, 0, 1, 2, 3])), &[2, 1]).is_none());
    }
}

use std::collections::HashMap;

use clipseg_tensor::Run;

use super::{Layout, TextInput, TextPlan};
use crate::Result;

/// The numbers of rows and of tokens, and the longest text, are rounded up to multiples of these; otherwise
/// nearly every batch would need a plan of its own.
const ROWS: usize = 8;
const LONGEST: usize = 16;

/// Texts one after another, each cut after its pooled token. Attention is causal, so no later token affects
/// the result. Most of a batch of prompts would be padding if all were padded to the longest.
///
/// Where many begin alike, such as "a photo of a cat" and "a photo of a dog", each different beginning is
/// computed once: it has one row, whose token is that of all the texts that begin so.
pub(super) struct Packed {
    /// Of each row.
    ids: Vec<u32>,
    position_ids: Vec<u32>,
    /// `[texts + 1]`: where each text's first token lies, and where the token after the last would.
    cu_seqlens: Vec<u32>,
    /// The row of each text's pooled token.
    pooled_rows: Vec<u32>,
    /// Where texts share rows; otherwise the rows are the tokens.
    shared: Option<Shared>,
}

/// Which tokens are which rows, as [`SharedRows`](clipseg_tensor::SharedRows).
struct Shared {
    row_of_token: Vec<u32>,
    token_of_row: Vec<u32>,
}

impl Packed {
    /// Packs texts whose pooled tokens are at `pooled_positions`. `None` where packing would change what a
    /// token sees: if the caller gives position ids, or if padding comes before a token that counts.
    pub fn of(input: TextInput<'_>, pooled_positions: &[usize]) -> Option<Self> {
        if input.position_ids.is_some() {
            return None;
        }
        let tokens_of = |(text, &pooled): (usize, &usize)| text * input.length..=text * input.length + pooled;
        let mut texts = Vec::new();
        for tokens in pooled_positions.iter().enumerate().map(tokens_of) {
            if input.attention_mask.is_some_and(|mask| mask[tokens.clone()].contains(&0)) {
                return None;
            }
            texts.push(&input.input_ids[tokens]);
        }
        let packed = Self::sharing(&texts);
        Some(packed.unwrap_or_else(|| Self::of_all(&texts)))
    }

    /// With a row for each token.
    fn of_all(texts: &[&[u32]]) -> Self {
        let mut packed = Self::new(cu_seqlens(texts));
        for text in texts {
            packed.ids.extend_from_slice(text);
            packed.position_ids.extend(0..text.len() as u32);
        }
        packed.pooled_rows = packed.cu_seqlens[1..].iter().map(|end| end - 1).collect();
        packed.round_up()
    }

    /// With a row for each different beginning of a text. `None` where too few are shared to make up for the
    /// copies in every attention.
    fn sharing(texts: &[&[u32]]) -> Option<Self> {
        let mut packed = Self::new(cu_seqlens(texts));
        let mut shared = Shared { row_of_token: Vec::new(), token_of_row: Vec::new() };
        // Of a beginning, by the row of the beginning that is shorter by one token, and that token.
        let mut rows = HashMap::new();
        for text in texts {
            let mut row = None;
            for (position, &id) in text.iter().enumerate() {
                let next = packed.ids.len() as u32;
                let found = *rows.entry((row, id)).or_insert(next);
                if found == next {
                    packed.ids.push(id);
                    packed.position_ids.push(position as u32);
                    shared.token_of_row.push(shared.row_of_token.len() as u32);
                }
                shared.row_of_token.push(found);
                row = Some(found);
            }
            packed.pooled_rows.extend(row);
        }
        shared.row_of_token.resize(shared.row_of_token.len().next_multiple_of(ROWS), 0);
        packed.shared = Some(shared);
        let packed = packed.round_up();
        let tokens = packed.shared.as_ref()?.row_of_token.len();
        (packed.ids.len() <= Self::most_rows_to_share(tokens)).then_some(packed)
    }

    /// The most rows of so many tokens with which texts share them.
    fn most_rows_to_share(tokens: usize) -> usize {
        tokens / 2
    }

    fn new(cu_seqlens: Vec<u32>) -> Self {
        let [ids, position_ids, pooled_rows] = [const { Vec::new() }; 3];
        Self { ids, position_ids, cu_seqlens, pooled_rows, shared: None }
    }

    fn round_up(mut self) -> Self {
        let rows = self.ids.len().next_multiple_of(ROWS);
        self.ids.resize(rows, 0);
        self.position_ids.resize(rows, 0);
        if let Some(shared) = &mut self.shared {
            shared.token_of_row.resize(rows, 0);
        }
        self
    }

    pub fn layout(&self) -> Layout {
        let max_seqlen =
            self.cu_seqlens.windows(2).map(|text| (text[1] - text[0]) as usize).max().unwrap_or(0);
        Layout::Packed {
            texts: self.cu_seqlens.len() - 1,
            rows: self.ids.len(),
            shared_tokens: self.shared.as_ref().map(|shared| shared.row_of_token.len()),
            max_seqlen: max_seqlen.next_multiple_of(LONGEST),
        }
    }

    /// The layouts that take most memory for `texts` texts of `length` tokens each: without shared rows, and
    /// with as few of them as possible.
    pub fn largest_layouts(texts: usize, length: usize) -> [Layout; 2] {
        // What is too large to be counted is refused with the first tensor of the recording.
        let up = |count: usize, unit| count.checked_next_multiple_of(unit).unwrap_or(usize::MAX);
        let tokens = up(texts.saturating_mul(length), ROWS);
        let max_seqlen = up(length, LONGEST);
        let rows = Self::most_rows_to_share(tokens);
        [
            Layout::Packed { texts, rows: tokens, shared_tokens: None, max_seqlen },
            Layout::Packed { texts, rows, shared_tokens: Some(tokens), max_seqlen },
        ]
    }

    pub fn fill<'plan>(&self, plan: &'plan TextPlan) -> Result<Run<'plan>> {
        let mut run = plan.plan.run();
        run.write_u32(&plan.tensors.ids, &self.ids)?;
        run.write_u32(&plan.tensors.position_ids, &self.position_ids)?;
        if let Some(packing) = &plan.tensors.packing {
            run.write_u32(&packing.cu_seqlens, &self.cu_seqlens)?;
            if let (Some([row_of_token, token_of_row]), Some(shared)) = (&packing.shared, &self.shared) {
                run.write_u32(row_of_token, &shared.row_of_token)?;
                run.write_u32(token_of_row, &shared.token_of_row)?;
            }
        }
        run.write_u32(&plan.tensors.pooled_rows, &self.pooled_rows)?;
        Ok(run)
    }
}

/// Where each text begins among the tokens of all, and the number of these.
fn cu_seqlens(texts: &[&[u32]]) -> Vec<u32> {
    let ends = texts.iter().scan(0, |end, text| {
        *end += text.len() as u32;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
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
        assert_eq!(packed.pooled_rows, [2, 4]);
        assert!(packed.layout() == Layout::Packed { texts: 2, rows: 8, shared_tokens: None, max_seqlen: 16 });
    }

    #[test]
    fn beginnings_that_texts_share_have_a_row_each() {
        // The last text is a beginning of the first two; the third's end is another than theirs.
        let texts: [&[u32]; 4] = [&[7, 1, 2, 3, 4, 9], &[7, 1, 2, 3, 5, 9], &[7, 1, 2, 9], &[7, 1, 2, 3]];
        let texts = [texts, texts].concat();
        let packed = Packed::sharing(&texts).unwrap();
        assert_eq!(packed.ids[..9], [7, 1, 2, 3, 4, 9, 5, 9, 9]);
        assert_eq!(packed.position_ids[..9], [0, 1, 2, 3, 4, 5, 4, 5, 3]);
        assert_eq!(packed.cu_seqlens, [0, 6, 12, 16, 20, 26, 32, 36, 40]);
        assert_eq!(packed.pooled_rows, [5, 7, 8, 3, 5, 7, 8, 3]);
        let shared = packed.shared.as_ref().unwrap();
        let rows = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 6, 7, 0, 1, 2, 8, 0, 1, 2, 3];
        assert_eq!(shared.row_of_token, [rows, rows].concat());
        assert_eq!(shared.token_of_row[..9], [0, 1, 2, 3, 4, 5, 10, 11, 15]);
        let layout = Layout::Packed { texts: 8, rows: 16, shared_tokens: Some(40), max_seqlen: 16 };
        assert!(packed.layout() == layout);
    }

    #[test]
    fn few_shared_rows_are_not_worth_it() {
        assert!(Packed::sharing(&[&[7, 1, 2, 3, 4, 9], &[7, 2, 3, 4, 5, 9], &[7, 5, 4, 9]]).is_none());
        assert!(Packed::sharing(&[&[7, 1, 2, 3, 4, 5, 6, 8, 9]]).is_none());
    }

    #[test]
    fn padding_on_the_left_and_own_positions_are_not_packed() {
        assert!(Packed::of(input(Some(&[0, 1, 1, 1, 1, 1, 0, 0]), None), &[2, 1]).is_none());
        assert!(Packed::of(input(None, Some(&[0, 1, 2, 3, 0, 1, 2, 3])), &[2, 1]).is_none());
    }
}

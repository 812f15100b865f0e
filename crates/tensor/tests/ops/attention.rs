use clipseg_shaders::kernels::{attention, attention_scores, softmax};
use clipseg_shaders::twins;
use clipseg_tensor::{AttentionMask, DType, Device, KernelFamily, Packing, Recorder, SharedRows, Tensor};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{Random, assert_close, cases, devices, has_subgroups, ragged, run};

/// The rounding of a score of ten or so is ten times that of the probability that it becomes.
const TOLERANCE: f32 = 1e-5;

/// Which keys are left out.
#[derive(Clone, Copy, Debug)]
enum Padding {
    None,
    Left,
    Right,
    Anywhere,
    Everywhere,
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    batch: usize,
    tokens: usize,
    heads: usize,
    head_size: usize,
    causal: bool,
    padding: Padding,
    seed: u64,
}

impl Case {
    /// Queries, keys and values that make some scores far larger than others.
    fn query_key_value(&self) -> Vec<f32> {
        let mut values = Random(self.seed).values(self.batch * self.tokens * 3 * self.heads * self.head_size);
        values.iter_mut().for_each(|value| *value *= 3.0);
        values
    }

    /// The key mask, a different one for each batch entry; empty without padding.
    fn key_mask(&self) -> Vec<u32> {
        let mut random = Random(!self.seed);
        let mut mask = Vec::new();
        for _ in 0..self.batch {
            let kept = 1 + random.indices(1, self.tokens)[0] as usize;
            match self.padding {
                Padding::None => {}
                Padding::Left => {
                    mask.extend((0..self.tokens).map(|key| u32::from(key + kept >= self.tokens)))
                }
                Padding::Right => mask.extend((0..self.tokens).map(|key| u32::from(key < kept))),
                Padding::Anywhere => mask.extend(random.indices(self.tokens, 2)),
                Padding::Everywhere => mask.extend(vec![0; self.tokens]),
            }
        }
        mask
    }

    fn upload(&self, device: &Device) -> (Tensor, Option<Tensor>) {
        let (values, mask) = (self.query_key_value(), self.key_mask());
        let shape = [self.batch, self.tokens, 3 * self.heads * self.head_size];
        let keys = |mask: &[u32]| device.upload_u32(&[self.batch, self.tokens], mask).expect("a mask");
        (device.upload(&shape, &values).expect("a tensor"), (!mask.is_empty()).then(|| keys(&mask)))
    }

    fn params(&self) -> attention_scores::Params {
        attention_scores::Params {
            images: self.batch as u32,
            tokens: self.tokens as u32,
            heads: self.heads as u32,
            head_size: self.head_size as u32,
            causal: self.causal.into(),
            has_mask: (!matches!(self.padding, Padding::None)).into(),
            scale: 1.0 / (self.head_size as f32).sqrt(),
        }
    }
}

/// Every kernel that takes the operands, the engine's own choice first.
fn kernels(
    device: &Device,
    query_key_value: &Tensor,
    heads: usize,
    mask: &AttentionMask<'_>,
) -> Vec<&'static str> {
    let recorder = Recorder::new(device);
    recorder.attention_kernels(DType::F32, query_key_value, heads, mask).expect("the shapes fit")
}

fn check(case: Case) {
    check_on(devices(), case);
}

/// Checks every kernel that takes the case on each of the devices.
pub fn check_on(devices: &[Device], case: Case) {
    let attention_scores::Params { tokens, heads, head_size, causal, has_mask, scale, .. } = case.params();
    let params = attention::Params { tokens, heads, head_size, causal, has_mask, has_cu_seqlens: 0, scale };
    let mut expected = vec![0.0; case.batch * case.tokens * case.heads * case.head_size];
    twins::attention(&params, &case.query_key_value(), &case.key_mask(), &[], &mut expected);
    for device in devices {
        let (query_key_value, keys) = case.upload(device);
        let mask = AttentionMask { causal: case.causal, key_padding_mask: keys.as_ref(), packing: None };
        for kernel in kernels(device, &query_key_value, case.heads, &mask) {
            let actual = run(device, |recorder| {
                recorder.attention_by(kernel, DType::F32, &query_key_value, case.heads, &mask)
            });
            assert_close(&actual, &expected, TOLERANCE);
        }
    }
}

fn check_probabilities(case: Case) {
    let params = case.params();
    let mut scores = vec![0.0; case.batch * case.heads * case.tokens * case.tokens];
    twins::attention_scores(&params, &case.query_key_value(), &case.key_mask(), &mut scores);
    let mut expected = vec![0.0; scores.len()];
    let rows = params.images * params.heads * params.tokens;
    twins::softmax(&softmax::Params { rows, columns: params.tokens }, &scores, &mut expected);
    for device in devices() {
        let (query_key_value, keys) = case.upload(device);
        let mask = AttentionMask { causal: case.causal, key_padding_mask: keys.as_ref(), packing: None };
        let actual =
            run(device, |recorder| recorder.attention_probabilities(&query_key_value, case.heads, &mask));
        assert_close(&actual, &expected, TOLERANCE);
    }
}

pub fn any_case() -> impl Strategy<Value = Case> {
    let padding =
        select(&[Padding::None, Padding::Left, Padding::Right, Padding::Anywhere, Padding::Everywhere]);
    // Multiples of four up to 64 go by vectors, all others one by one.
    let head_size = select(&[6, 8, 16, 24, 30, 32, 64, 80, 128]);
    let sizes = (1..=2_usize, ragged(), 1..=2_usize, head_size);
    (sizes, any::<bool>(), padding, any::<u64>()).prop_map(
        |((batch, tokens, heads, head_size), causal, padding, seed)| Case {
            batch,
            tokens,
            heads,
            head_size,
            causal,
            padding,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn attention_equals_its_twin(case in any_case()) {
        check(case);
    }

    #[test]
    fn attention_probabilities_equal_their_twin(case in any_case()) {
        check_probabilities(case);
    }
}

// What the random cases may leave out: the subgroup kernel and both workgroup kernels, with each mask.
#[test]
fn every_mask_works_with_every_kernel() {
    for head_size in [16, 32, 64, 128] {
        for causal in [false, true] {
            for padding in
                [Padding::None, Padding::Left, Padding::Right, Padding::Anywhere, Padding::Everywhere]
            {
                check(Case { batch: 2, tokens: 19, heads: 2, head_size, causal, padding, seed: 5 });
            }
        }
    }
}

#[test]
fn long_sequences_equal_their_twin() {
    let full = Case {
        batch: 1,
        tokens: 1024,
        heads: 1,
        head_size: 64,
        causal: false,
        padding: Padding::None,
        seed: 6,
    };
    check(full);
    check(Case { tokens: 485, head_size: 16, batch: 2, ..full });
    check(Case { tokens: 485, head_size: 16, causal: true, padding: Padding::Left, ..full });
}

#[test]
fn each_family_takes_its_own_kernel_first_and_refuses_others() {
    for device in devices() {
        let take_of = |tokens: usize, head_size: usize, causal: bool| {
            let values = vec![0.5; tokens * 3 * head_size];
            let input = device.upload(&[1, tokens, 3 * head_size], &values).unwrap();
            kernels(device, &input, 1, &AttentionMask { causal, ..AttentionMask::default() })
        };
        let take = |head_size| take_of(2, head_size, false);
        let is_on_lanes = !device.is_processor() && device.kernels() == KernelFamily::Subgroup;
        let mut of_vectors = match (device.is_processor(), is_on_lanes) {
            (true, _) => vec!["attention"],
            (false, true) => vec!["attention_subgroup", "attention_vec4", "attention"],
            (false, false) => vec!["attention_vec4", "attention"],
        };
        of_vectors.extend(has_subgroups(device).then_some("attention_lanes"));
        if is_on_lanes {
            assert_eq!(take_of(256, 16, false)[..2], ["attention_subgroup_16", "attention_subgroup"]);
            let hiding = take_of(256, 16, true);
            assert!(hiding[0] == "attention_subgroup" && !hiding.contains(&"attention_subgroup_16"));
            of_vectors.push("attention_subgroup_16");
        }
        assert_eq!([take(16), take(64)], [of_vectors.as_slice(); 2]);
        assert_eq!([take(6), take(68), take(128)], [["attention"]; 3]);
        let input = device.upload(&[1, 2, 18], &[0.5; 36]).unwrap();
        let mut recorder = Recorder::new(device);
        let mask = AttentionMask::default();
        let refused = recorder.attention_by("attention_vec4", DType::F32, &input, 1, &mask);
        let message = refused.expect_err("six values are not whole vectors").to_string();
        assert!(message.contains("attention_vec4") && message.contains("18"), "{message}");
    }
}

// A batch of one that holds several sequences, with rows behind the last that are none's.
#[test]
fn packed_sequences_attend_to_their_own() {
    check_packed_on(devices());
}

pub fn check_packed_on(devices: &[Device]) {
    for (head_size, causal, masked) in
        [(16, true, false), (64, true, true), (64, false, false), (30, true, false)]
    {
        // Some have no rows.
        let cu_seqlens = [0, 0, 1, 6, 6, 45, 61, 62, 62];
        let (rows, heads) = (64, 2);
        let mut random = Random(head_size as u64);
        let values = random.values(rows * 3 * heads * head_size);
        let mask = if masked { random.indices(rows, 2) } else { Vec::new() };
        let params = attention::Params {
            heads: heads as u32,
            head_size: head_size as u32,
            causal: causal.into(),
            has_mask: masked.into(),
            has_cu_seqlens: 1,
            scale: 1.0 / (head_size as f32).sqrt(),
            ..Default::default()
        };
        let mut expected = vec![0.0; rows * heads * head_size];
        twins::attention(&params, &values, &mask, &cu_seqlens, &mut expected);
        for device in devices {
            let query_key_value =
                device.upload(&[1, rows, 3 * heads * head_size], &values).expect("a tensor");
            let keys = masked.then(|| device.upload_u32(&[1, rows], &mask).expect("a mask"));
            let cu_seqlens = device.upload_u32(&[cu_seqlens.len()], &cu_seqlens).expect("the rows");
            let packing = Some(Packing { cu_seqlens: &cu_seqlens, max_seqlen: 40, shared: None });
            let mask = AttentionMask { causal, key_padding_mask: keys.as_ref(), packing };
            for kernel in kernels(device, &query_key_value, heads, &mask) {
                let actual = run(device, |recorder| {
                    recorder.attention_by(kernel, DType::F32, &query_key_value, heads, &mask)
                });
                let used = 62 * heads * head_size;
                assert_close(&actual[..used], &expected[..used], TOLERANCE);
            }
        }
    }
}

// Four sequences of which three begin alike, one of them with all of another, and rows that are none's.
#[test]
fn sequences_that_share_rows_attend_as_if_each_had_its_own() {
    let row_of_token = [0, 1, 2, 3, 0, 1, 2, 0, 1, 4, 5, 6, 7, 0];
    let token_of_row = [0, 1, 2, 3, 9, 10, 11, 12, 0];
    let cu_seqlens = [0, 4, 7, 11, 13];
    let (rows, heads) = (token_of_row.len(), 3);
    for head_size in [16, 64, 30] {
        let width = heads * head_size;
        let values = Random(head_size as u64).values(rows * 3 * width);
        let of_tokens: Vec<f32> = row_of_token
            .iter()
            .flat_map(|&row| values[row as usize * 3 * width..][..3 * width].to_vec())
            .collect();
        let params = attention::Params {
            heads: heads as u32,
            head_size: head_size as u32,
            causal: 1,
            has_cu_seqlens: 1,
            scale: 1.0 / (head_size as f32).sqrt(),
            ..Default::default()
        };
        let mut expected = vec![0.0; row_of_token.len() * width];
        twins::attention(&params, &of_tokens, &[], &cu_seqlens, &mut expected);
        for device in devices() {
            let list = |values: &[u32]| device.upload_u32(&[values.len()], values).unwrap();
            let query_key_value = device.upload(&[1, rows, 3 * width], &values).unwrap();
            let lists = [list(&row_of_token), list(&token_of_row), list(&cu_seqlens)];
            let shared = Some(SharedRows { row_of_token: &lists[0], token_of_row: &lists[1] });
            let packing = Some(Packing { cu_seqlens: &lists[2], max_seqlen: 8, shared });
            let mask = AttentionMask { causal: true, packing, ..AttentionMask::default() };
            let actual = run(device, |recorder| {
                recorder.attention_of_shared_rows(query_key_value.clone(), heads, &mask)
            });
            for (row, &token) in token_of_row.iter().enumerate().take(8) {
                let expected = &expected[token as usize * width..][..width];
                assert_close(&actual[row * width..][..width], expected, TOLERANCE);
            }
            let later = AttentionMask { causal: false, ..mask };
            let mut recorder = Recorder::new(device);
            recorder.attention(&query_key_value, heads, &mask).expect_err("these are not all tokens");
            let refused = recorder.attention_of_shared_rows(query_key_value, heads, &later);
            refused.expect_err("what follows would count");
        }
    }
}

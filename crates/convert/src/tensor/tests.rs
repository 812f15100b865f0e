use super::*;

fn storage(length: usize) -> Rc<Storage> {
    Rc::new(Storage::new("0".into(), Dtype::U8, length).unwrap())
}

fn tensor(length: usize, offset: usize, shape: &[usize], strides: &[usize]) -> Result<StoredTensor, String> {
    StoredTensor::new(storage(length), offset, shape.to_vec(), strides.to_vec())
}

#[test]
fn strides_and_offsets_are_followed() {
    let bytes: Vec<u8> = (0..24).collect();
    let gathered = |offset, shape: &[usize], strides: &[usize]| {
        tensor(24, offset, shape, strides).unwrap().gather(&bytes)
    };
    assert_eq!(gathered(0, &[2, 3], &[3, 1]), [0, 1, 2, 3, 4, 5]);
    assert_eq!(gathered(1, &[2, 3], &[1, 2]), [1, 3, 5, 2, 4, 6]);
    assert_eq!(gathered(0, &[2, 2, 3], &[12, 3, 1]), [0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17]);
    assert_eq!(gathered(23, &[], &[]), [23]);
    assert_eq!(gathered(4, &[1, 2, 1], &[99, 5, 77]), [4, 9]);
    assert_eq!(gathered(3, &[2, 2], &[0, 1]), [3, 4, 3, 4]);
    assert_eq!(gathered(0, &[0, 3], &[3, 1]), [0_u8; 0]);
}

#[test]
fn parts_and_transposes_are_views() {
    let bytes: Vec<u8> = (0..6).collect();
    let whole = tensor(6, 0, &[3, 2], &[2, 1]).unwrap();
    assert_eq!(whole.clone().rows(1..3).unwrap().gather(&bytes), [2, 3, 4, 5]);
    assert_eq!(whole.clone().transposed().gather(&bytes), [0, 2, 4, 1, 3, 5]);
    assert_eq!(whole.clone().transposed().rows(1..2).unwrap().gather(&bytes), [1, 3, 5]);
    assert!(whole.rows(2..4).is_none());
    assert!(tensor(1, 0, &[], &[]).unwrap().rows(0..1).is_none());
}

#[test]
fn what_leaves_the_storage_is_refused() {
    for (length, offset, shape, strides, word) in [
        (6, 1, &[3, 2][..], &[2, 1][..], "ends beyond"),
        (6, 0, &[3, 2], &[3, 1], "ends beyond"),
        (6, usize::MAX, &[2], &[1], "ends beyond"),
        (6, 7, &[0], &[1], "ends beyond"),
        (6, 0, &[2], &[usize::MAX], "ends beyond"),
        (6, 0, &[3], &[usize::MAX / 2 + 1], "ends beyond"),
        (6, 0, &[usize::MAX, usize::MAX], &[0, 0], "no number can count"),
        (6, 6, &[7], &[0], "ends beyond"),
        (6, 0, &[2, 7], &[6, 0], "ends beyond"),
        (6, 0, &[2], &[1, 1], "strides"),
        (6, 0, &[1; 9], &[1; 9], "strides"),
    ] {
        let message = tensor(length, offset, shape, strides).unwrap_err();
        assert!(message.contains(word), "{shape:?} {strides:?}: {message}");
    }
    let storage = Rc::new(Storage::new("0".into(), Dtype::F64, 1).unwrap());
    assert!(StoredTensor::new(storage, 0, vec![usize::MAX / 4], vec![0]).is_err());
    assert!(Storage::new("0".into(), Dtype::F64, usize::MAX / 4).is_err());
}

#[test]
fn an_expanded_view_repeats_what_is_stored() {
    let expanded = tensor(3, 0, &[2, 2, 3], &[0, 0, 1]).unwrap();
    assert!(expanded.is_expanded());
    assert_eq!(expanded.gather(&[7, 8, 9]), [7, 8, 9].repeat(4));
    assert_eq!(tensor(1, 0, &[4, 1], &[0, 1]).unwrap().gather(&[5]), [5; 4]);
    assert!(!tensor(12, 0, &[2, 2, 3], &[6, 3, 1]).unwrap().is_expanded());
    // Described, but not made.
    assert_eq!(tensor(1, 0, &[1_000_000, 1_000_000], &[0, 0]).unwrap().bytes(), 1_000_000_000_000);
}

#[test]
fn weights_are_rounded_and_whole_numbers_kept() {
    let halves: Vec<u8> = [1.5, -0.0, 65504.0].iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let floats: Vec<u8> = [1.5_f32, -0.0, 65504.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(WeightType::F32.convert(Dtype::F16, halves.clone()), Ok(floats.clone()));
    assert_eq!(WeightType::F16.convert(Dtype::F32, floats.clone()), Ok(halves));
    assert_eq!(WeightType::F32.convert(Dtype::F32, floats.clone()), Ok(floats.clone()));
    let doubles = [1.5_f64, -0.0, 65504.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(WeightType::F32.convert(Dtype::F64, doubles), Ok(floats));
    let brains = bf16::from_f32(-2.5).to_le_bytes().to_vec();
    assert_eq!(WeightType::F32.convert(Dtype::BF16, brains), Ok((-2.5_f32).to_le_bytes().to_vec()));
    let whole = 70_000_i64.to_le_bytes().to_vec();
    assert_eq!(WeightType::F16.convert(Dtype::I64, whole.clone()), Ok(whole));
}

#[test]
fn what_no_half_can_hold_is_refused() {
    assert_eq!(WeightType::F16.convert(Dtype::F32, 70_000_f32.to_le_bytes().to_vec()), Err(70_000.0));
}

#[test]
fn what_is_not_finite_is_refused_whatever_it_is_converted_to() {
    for wrong in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for (dtype, bytes) in [
            (Dtype::F64, f64::from(wrong).to_le_bytes().to_vec()),
            (Dtype::F32, wrong.to_le_bytes().to_vec()),
            (Dtype::F16, f16::from_f32(wrong).to_le_bytes().to_vec()),
            (Dtype::BF16, bf16::from_f32(wrong).to_le_bytes().to_vec()),
        ] {
            for weights in [WeightType::F32, WeightType::F16] {
                let found = weights.convert(dtype, bytes.clone()).unwrap_err();
                assert!(!found.is_finite() && found.is_nan() == wrong.is_nan(), "{dtype:?} {wrong}");
            }
        }
    }
}

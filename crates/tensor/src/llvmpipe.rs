//! What makes Mesa's software adapter fast.

/// The environment variable in which llvmpipe finds how many bits its vectors are to have. It is read when the first adapter is
/// looked for: a program sets it before, at its start, while no other thread runs.
pub const LLVMPIPE_WIDTH_VARIABLE: &str = "LP_NATIVE_VECTOR_WIDTH";

/// The value of [`LLVMPIPE_WIDTH_VARIABLE`] with which the kernels are fastest on this processor: `"512"` or `"256"`.
///
/// The subgroup kernels are written for the eight lanes of 256 bits and the sixteen of 512. By itself llvmpipe takes 256 where
/// processors have 512, for which sixteen lanes need two thirds of the time; and it takes 128 on processors without AVX, where
/// 256, in two halves, is more than twice as fast.
#[must_use]
pub fn llvmpipe_width() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl") {
        return "512";
    }
    "256"
}

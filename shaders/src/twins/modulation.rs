//! Feature-wise linear modulation.

use crate::kernels::film;

/// `sum = reduced[scene(pair), token, :] + previous[pair, token, :]`, then
/// `output[pair, token, :] = gamma[pair, :] · sum + beta[pair, :]` where conditioned, else `sum`.
///
/// All pairs stand on one scene (`scenes = 1`), or each on its own. What the parameters leave out is not
/// read.
pub fn film(
    params: &film::Params,
    reduced: &[f32],
    previous: &[f32],
    gamma: &[f32],
    beta: &[f32],
    output: &mut [f32],
) {
    let (tokens, columns) = (params.tokens as usize, params.columns as usize);
    for pair in 0..params.pairs as usize {
        let scene = if params.scenes == 1 { 0 } else { pair };
        for token in 0..tokens {
            for column in 0..columns {
                let place = (pair * tokens + token) * columns + column;
                let mut value = reduced[(scene * tokens + token) * columns + column];
                if params.has_previous != 0 {
                    value += previous[place];
                }
                if params.conditioned != 0 {
                    value = gamma[pair * columns + column] * value + beta[pair * columns + column];
                }
                output[place] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_on_one_scene_or_on_two() {
        let scenes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let previous = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0];
        let (gamma, beta) = ([1.0, 2.0, 3.0, 4.0], [0.0, 100.0, 200.0, 300.0]);
        let mut params =
            film::Params { pairs: 2, scenes: 1, tokens: 2, columns: 2, has_previous: 0, conditioned: 1 };
        let mut output = [0.0; 8];
        film(&params, &scenes[..4], &[], &gamma, &beta, &mut output);
        assert_eq!(output, [1.0, 104.0, 3.0, 108.0, 203.0, 308.0, 209.0, 316.0]);

        params.scenes = 2;
        film(&params, &scenes, &[], &gamma, &beta, &mut output);
        assert_eq!(output, [1.0, 104.0, 3.0, 108.0, 215.0, 324.0, 221.0, 332.0]);

        (params.scenes, params.has_previous, params.conditioned) = (1, 1, 0);
        film(&params, &scenes[..4], &previous, &[], &[], &mut output);
        assert_eq!(output, [11.0, 22.0, 33.0, 44.0, 51.0, 62.0, 73.0, 84.0]);
    }
}

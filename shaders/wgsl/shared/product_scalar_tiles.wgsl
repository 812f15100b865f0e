// How a product on matrix units meets its tiles of scalars.

#include "shared/scalar_tile.wgsl" where put = put_input, halves = input_tile

#include "shared/scalar_tile.wgsl" where put = put_weight, halves = weight_tile

#include "shared/scalar_sums.wgsl" where floats = sum_tile

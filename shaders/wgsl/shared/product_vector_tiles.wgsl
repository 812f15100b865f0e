// How a product on matrix units meets its tiles of vectors.

#include "shared/vector_tile.wgsl" where put = put_input, halves = input_tile

#include "shared/vector_tile.wgsl" where put = put_weight, halves = weight_tile

#include "shared/vector_sums.wgsl" where floats = sum_tile

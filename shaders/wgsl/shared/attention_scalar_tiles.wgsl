// How attention on matrix units meets its tiles of scalars.

#include "shared/scalar_tile.wgsl" where put = put_queries, halves = queries

#include "shared/scalar_tile.wgsl" where put = put_keys, halves = keys

#include "shared/scalar_tile.wgsl" where put = put_values, halves = values

#include "shared/scalar_tile.wgsl" where put = put_probabilities, halves = probabilities

#include "shared/scalar_sums.wgsl" where floats = scores

// How attention on matrix units meets its tiles of vectors.

#include "shared/vector_tile.wgsl" where put = put_queries, halves = queries

#include "shared/vector_tile.wgsl" where put = put_keys, halves = keys

#include "shared/vector_tile.wgsl" where put = put_values, halves = values

#include "shared/vector_tile.wgsl" where put = put_probabilities, halves = probabilities

#include "shared/vector_sums.wgsl" where floats = scores

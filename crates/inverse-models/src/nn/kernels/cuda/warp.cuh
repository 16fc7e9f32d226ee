// Blocks of warps, and sums over one.
#pragma once

#define WARP 32
// Threads along the rows of a block whose threads along the columns are one warp.
#define BLOCK_ROWS 8

__device__ __forceinline__ float warp_sum(float value) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

__device__ __forceinline__ double warp_sum(double value) {
  for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

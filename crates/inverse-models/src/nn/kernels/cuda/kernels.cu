// Passes between the matrix products of a network, of its training and of the descent on its input.
//
// Matrices are row-major, (rows, columns). Sums over rows are taken in a fixed order, so that the same input
// gives the same bits: partial sums of ROWS_PER_PART rows, then their sum in order. No kernel uses atomics.

#include "warp.cuh"

// Rows that one block of an elementwise kernel covers.
#define ROWS_PER_BLOCK 32
// Rows of one partial sum; kernels.rs divides by the same number.
#define ROWS_PER_PART 128

enum Activation { RELU = 0, SILU = 1, TANH = 2, IDENTITY = 3 };

// The activation of z; NaN stays NaN.
__device__ __forceinline__ float activation(int kind, float z) {
  if (kind == RELU) return z < 0.0f ? 0.0f : z;
  if (kind == SILU) return z / (1.0f + expf(-z));
  if (kind == TANH) return tanhf(z);
  return z;
}

// Its derivative at z.
__device__ __forceinline__ float slope(int kind, float z) {
  if (kind == RELU) return z > 0.0f ? 1.0f : 0.0f;
  if (kind == SILU) {
    float gate = 1.0f / (1.0f + expf(-z));
    return gate * (1.0f + z * (1.0f - gate));
  }
  if (kind == TANH) {
    float value = tanhf(z);
    return 1.0f - value * value;
  }
  return 1.0f;
}

// A number too small for full precision becomes 0, as on the processor; NaN stays.
__device__ __forceinline__ float flush(float value) {
  return fabsf(value) < 1.17549435e-38f ? 0.0f : value;
}

// ---- Elementwise passes of fixed networks; blocks of (32, 8) threads, one float or four a thread and row. ----

// result = activation(z + bias).
extern "C" __global__ void activate(const float *z, const float *bias, float *result, int rows, int columns,
                                    int kind) {
  int column = blockIdx.x * WARP + threadIdx.x;
  if (column >= columns) return;
  float shift = bias[column];
  int last = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
#pragma unroll 4
  for (int row = blockIdx.y * ROWS_PER_BLOCK + threadIdx.y; row < last; row += BLOCK_ROWS) {
    size_t index = (size_t)row * columns + column;
    result[index] = activation(kind, z[index] + shift);
  }
}

// Four numbers from an address that need not be a multiple of 16 bytes, as parts of a parameter vector are not.
__device__ __forceinline__ float4 load4(const float *values, int group) {
  return make_float4(values[4 * group], values[4 * group + 1], values[4 * group + 2], values[4 * group + 3]);
}

// As `activate`, for columns in multiples of four.
extern "C" __global__ void activate4(const float4 *z, const float *bias, float4 *result, int rows, int columns,
                                     int kind) {
  int column = blockIdx.x * WARP + threadIdx.x;
  if (column >= columns) return;
  float4 shift = load4(bias, column);
  int last = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
#pragma unroll 4
  for (int row = blockIdx.y * ROWS_PER_BLOCK + threadIdx.y; row < last; row += BLOCK_ROWS) {
    size_t index = (size_t)row * columns + column;
    float4 value = z[index];
    value.x = activation(kind, value.x + shift.x);
    value.y = activation(kind, value.y + shift.y);
    value.z = activation(kind, value.z + shift.z);
    value.w = activation(kind, value.w + shift.w);
    result[index] = value;
  }
}

// gradient *= slope(z + bias).
extern "C" __global__ void multiply_slope(float *gradient, const float *z, const float *bias, int rows, int columns,
                                          int kind) {
  int column = blockIdx.x * WARP + threadIdx.x;
  if (column >= columns) return;
  float shift = bias[column];
  int last = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
#pragma unroll 4
  for (int row = blockIdx.y * ROWS_PER_BLOCK + threadIdx.y; row < last; row += BLOCK_ROWS) {
    size_t index = (size_t)row * columns + column;
    gradient[index] *= slope(kind, z[index] + shift);
  }
}

// As `multiply_slope`, for columns in multiples of four.
extern "C" __global__ void multiply_slope4(float4 *gradient, const float4 *z, const float *bias, int rows,
                                           int columns, int kind) {
  int column = blockIdx.x * WARP + threadIdx.x;
  if (column >= columns) return;
  float4 shift = load4(bias, column);
  int last = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
#pragma unroll 4
  for (int row = blockIdx.y * ROWS_PER_BLOCK + threadIdx.y; row < last; row += BLOCK_ROWS) {
    size_t index = (size_t)row * columns + column;
    float4 value = z[index], result = gradient[index];
    result.x *= slope(kind, value.x + shift.x);
    result.y *= slope(kind, value.y + shift.y);
    result.z *= slope(kind, value.z + shift.z);
    result.w *= slope(kind, value.w + shift.w);
    gradient[index] = result;
  }
}

// ---- The descent on the input. ----

// error = sum_j w_j (z_j + bias_j - y_j)^2 and z = its gradient; one warp a row, and the rows of a target lie together.
extern "C" __global__ void weighted_error(float *z, const float *bias, const float *y, const float *weights,
                                          float *error, int rows, int columns, int first_row, int rows_a_target) {
  int row = blockIdx.x * BLOCK_ROWS + threadIdx.y;
  if (row >= rows) return;
  const float *target = y + (size_t)((first_row + row) / rows_a_target) * columns;
  float *values = z + (size_t)row * columns;
  float sum = 0.0f;
  for (int column = threadIdx.x; column < columns; column += WARP) {
    float difference = values[column] + bias[column] - target[column];
    float weighted = weights[column] * difference;
    sum += weighted * difference;
    values[column] = 2.0f * weighted;
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) error[row] = sum;
}

// Adds the boundary loss (eq. 5) and its gradient, keeps the best point that each row has seen, and counts the steps;
// one thread a row.
//
// `first`: whether this point is kept whatever came before. `step`: number of the step, -1 before the first.
extern "C" __global__ void assess(const float *x, float *gradient, const float *error, float *loss, float *best_x,
                                  float *best_loss, float *best_error, const float *center, const float *half_range,
                                  float boundary_weight, int rows, int columns, int first, int *step) {
  int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  if (row == 0) *step += 1;
  size_t start = (size_t)row * columns;
  float boundary = 0.0f;
  for (int column = 0; column < columns; column++) {
    float offset = x[start + column] - center[column];
    float excess = fabsf(offset) - half_range[column];
    if (excess > 0.0f) {
      boundary += excess;
      gradient[start + column] += offset > 0.0f ? boundary_weight : -boundary_weight;
    }
  }
  float total = error[row] + boundary_weight * boundary;
  loss[row] = total;
  if (first || total < best_loss[row]) {
    best_loss[row] = total;
    best_error[row] = error[row];
    for (int column = 0; column < columns; column++) best_x[start + column] = x[start + column];
  }
}

// The learning rate of each target: falls when the mean loss of the target's rows has stopped falling; one block of
// 256 threads a target. The point before the first step counts for nothing.
extern "C" __global__ void plateau(const int *step, const float *loss, float *rate, float *best, int *stale, int rows_a_target,
                                   float factor, int patience, float lowest, float threshold) {
  __shared__ float sums[256];
  if (*step == 0) return;
  const float *values = loss + (size_t)blockIdx.x * rows_a_target;
  float sum = 0.0f;
  for (int row = threadIdx.x; row < rows_a_target; row += 256) sum += values[row];
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (int width = 128; width > 0; width /= 2) {
    if (threadIdx.x < width) sums[threadIdx.x] += sums[threadIdx.x + width];
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  int target = blockIdx.x;
  float mean = sums[0] / rows_a_target;
  int waited = stale[target] + 1;
  if (mean < best[target] * (1.0f - threshold)) {
    best[target] = mean;
    waited = 0;
  }
  if (waited > patience) {
    rate[target] = fmaxf(rate[target] * factor, fminf(lowest, rate[target]));
    waited = 0;
  }
  stale[target] = waited;
}

// One step of Adam on the designs; one thread a number.
//
// `factors`: (steps, 3), rate and bias corrections of both moments; the rate is that of `rates`, one a target, where
// they are given.
extern "C" __global__ void descend(const int *step, const float *factors, float *x, const float *gradient,
                                   float *first, float *second, const float *rates, float beta1, float beta2,
                                   float epsilon, int count, int numbers_a_target) {
  int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  float slope = gradient[index];
  float mean = beta1 * first[index] + (1.0f - beta1) * slope;
  float square = beta2 * second[index] + (1.0f - beta2) * slope * slope;
  first[index] = mean;
  second[index] = square;
  const float *own = factors + 3 * *step;
  float rate = rates ? rates[index / numbers_a_target] : own[0];
  x[index] -= rate * (mean * own[1]) / (sqrtf(square * own[2]) + epsilon);
}

// ---- Training. ----

// Mean and sum of squared deviations of each column over the rows of one part; block (32, 8), grid (columns, parts).
//
// `parts`: (parts, 2, columns).
extern "C" __global__ void column_moments(const float *z, float *parts, int rows, int columns) {
  __shared__ float sums[BLOCK_ROWS][WARP];
  int column = blockIdx.x * WARP + threadIdx.x;
  int start = blockIdx.y * ROWS_PER_PART;
  int count = min(ROWS_PER_PART, rows - start);
  bool inside = column < columns;
  float values[ROWS_PER_PART / BLOCK_ROWS];
  float sum = 0.0f;
#pragma unroll
  for (int step = 0; step < ROWS_PER_PART / BLOCK_ROWS; step++) {
    int row = step * BLOCK_ROWS + threadIdx.y;
    values[step] = inside && row < count ? z[(size_t)(start + row) * columns + column] : 0.0f;
    sum += values[step];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  float mean = 0.0f;
  for (int other = 0; other < BLOCK_ROWS; other++) mean += sums[other][threadIdx.x];
  mean /= count;
  __syncthreads();
  sum = 0.0f;
#pragma unroll
  for (int step = 0; step < ROWS_PER_PART / BLOCK_ROWS; step++) {
    float deviation = step * BLOCK_ROWS + threadIdx.y < count ? values[step] - mean : 0.0f;
    sum += deviation * deviation;
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || !inside) return;
  float squares = 0.0f;
  for (int other = 0; other < BLOCK_ROWS; other++) squares += sums[other][threadIdx.x];
  float *part = parts + (size_t)blockIdx.y * 2 * columns;
  part[column] = mean;
  part[columns + column] = squares;
}

// Moments of whole columns from those of their parts (Chan et al. 1979); one thread a column.
//
// `statistics`: (2, columns), batch mean of z + bias and unbiased variance: what running statistics take in.
extern "C" __global__ void finish_moments(const float *parts, const float *bias, float *mean, float *inverse_deviation,
                                          float *statistics, int rows, int columns, float epsilon) {
  int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  double total = 0.0, average = 0.0, squares = 0.0;
  for (int start = 0, part = 0; start < rows; start += ROWS_PER_PART, part++) {
    double count = min(ROWS_PER_PART, rows - start);
    double part_mean = parts[(size_t)part * 2 * columns + column];
    double difference = part_mean - average;
    squares += parts[((size_t)part * 2 + 1) * columns + column] + difference * difference * total * count / (total + count);
    average += difference * count / (total + count);
    total += count;
  }
  mean[column] = average;
  inverse_deviation[column] = 1.0 / sqrt(squares / rows + epsilon);
  statistics[column] = average + bias[column];
  statistics[columns + column] = squares / max(rows - 1, 1);
}

// z = (z - mean) / deviation, and result = activation(scale z + shift).
extern "C" __global__ void normalize_activate(float *z, const float *mean, const float *inverse_deviation,
                                              const float *scale, const float *shift, float *result, int rows,
                                              int columns, int kind) {
  int column = blockIdx.x * WARP + threadIdx.x;
  if (column >= columns) return;
  float center = mean[column], inverse = inverse_deviation[column], factor = scale[column], offset = shift[column];
  int last = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
#pragma unroll 4
  for (int row = blockIdx.y * ROWS_PER_BLOCK + threadIdx.y; row < last; row += BLOCK_ROWS) {
    size_t index = (size_t)row * columns + column;
    float normalized = (z[index] - center) * inverse;
    z[index] = normalized;
    result[index] = activation(kind, factor * normalized + offset);
  }
}

// gradient *= slope(scale z + shift), and the sums of the result and of its product with z over the rows of one part.
//
// `scale`: null for 1. `parts`: (parts, 2, columns). Block (32, 8), grid (columns, parts).
extern "C" __global__ void pull_back_activation(float *gradient, const float *z, const float *scale, const float *shift,
                                                float *parts, int rows, int columns, int kind) {
  __shared__ float sums[BLOCK_ROWS][WARP];
  __shared__ float products[BLOCK_ROWS][WARP];
  int column = blockIdx.x * WARP + threadIdx.x;
  int start = blockIdx.y * ROWS_PER_PART;
  int count = min(ROWS_PER_PART, rows - start);
  float sum = 0.0f, product = 0.0f;
  if (column < columns) {
    float factor = scale ? scale[column] : 1.0f;
    float offset = kind == IDENTITY ? 0.0f : shift[column];
#pragma unroll 4
    for (int row = threadIdx.y; row < count; row += BLOCK_ROWS) {
      size_t index = (size_t)(start + row) * columns + column;
      float value = kind == IDENTITY ? 0.0f : z[index];
      float pulled = gradient[index];
      if (kind != IDENTITY) {
        pulled *= slope(kind, factor * value + offset);
        gradient[index] = pulled;
      }
      sum += pulled;
      product += pulled * value;
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  products[threadIdx.y][threadIdx.x] = product;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int other = 1; other < BLOCK_ROWS; other++) {
    sum += sums[other][threadIdx.x];
    product += products[other][threadIdx.x];
  }
  float *part = parts + (size_t)blockIdx.y * 2 * columns;
  part[column] = sum;
  part[columns + column] = product;
}

// Sums of whole columns from those of their parts; one thread a column. `products` may be null.
extern "C" __global__ void finish_sums(const float *parts, float *sums, float *products, int rows, int columns) {
  int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  float sum = 0.0f, product = 0.0f;
  for (int start = 0, part = 0; start < rows; start += ROWS_PER_PART, part++) {
    sum += parts[(size_t)part * 2 * columns + column];
    product += parts[((size_t)part * 2 + 1) * columns + column];
  }
  sums[column] = sum;
  if (products) products[column] = product;
}

// The gradient of z from that of the scaled, normalised z: scale / deviation * (g - mean(g) - z mean(g z)).
extern "C" __global__ void pull_back_normalization(float *gradient, const float *z, const float *scale,
                                                   const float *inverse_deviation, const float *sums,
                                                   const float *products, int rows, int columns) {
  int column = blockIdx.x * WARP + threadIdx.x;
  if (column >= columns) return;
  float factor = scale[column] * inverse_deviation[column];
  float mean = sums[column] / rows, projection = products[column] / rows;
  int last = min(rows, (int)(blockIdx.y + 1) * ROWS_PER_BLOCK);
#pragma unroll 4
  for (int row = blockIdx.y * ROWS_PER_BLOCK + threadIdx.y; row < last; row += BLOCK_ROWS) {
    size_t index = (size_t)row * columns + column;
    gradient[index] = factor * (gradient[index] - mean - z[index] * projection);
  }
}

// running = (1 - momentum) running + momentum batch.
extern "C" __global__ void move_statistics(float *running, const float *batch, float momentum, int count) {
  int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index < count) running[index] = (1.0f - momentum) * running[index] + momentum * batch[index];
}

// One step of Adam with an L2 term on a flat vector of parameters.
extern "C" __global__ void adam(float *parameters, const float *gradient, float *first, float *second, float rate,
                                float l2, float limit, float beta1, float beta2, float epsilon,
                                float second_correction, int count) {
  int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  float parameter = parameters[index];
  float slope = gradient[index];
  // Compared so that NaN stays NaN: a diverged training must not look healthy.
  slope = slope > limit ? limit : slope;
  slope = slope < -limit ? -limit : slope;
  slope += l2 * parameter;
  float mean = flush(beta1 * first[index] + (1.0f - beta1) * slope);
  float square = flush(beta2 * second[index] + (1.0f - beta2) * slope * slope);
  first[index] = mean;
  second[index] = square;
  parameters[index] = flush(parameter - rate * mean / (sqrtf(square * second_correction) + epsilon));
}

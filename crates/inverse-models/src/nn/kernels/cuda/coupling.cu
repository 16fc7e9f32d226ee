// Coupling transforms of flows and their gradients, in f64; one warp a row, a lane a variable.

#include "warp.cuh"

// ---- Affine coupling (GLOW) ----

// result = x exp(s) + t, or (x - t) exp(-s) where `inverse`, and in a last column the sum of s, or of -s.
//
// `parameters`: (rows, 2 columns), raw s then t; s = clamp tanh(raw / clamp). `result`: (rows, columns + 1).
extern "C" __global__ void affine_coupling(const double *x, const float *parameters, double *result, int rows,
                                           int columns, double clamp, int inverse) {
  int row = blockIdx.x * BLOCK_ROWS + threadIdx.y;
  if (row >= rows) return;
  const double *from = x + (size_t)row * columns;
  const float *raw = parameters + (size_t)row * 2 * columns;
  double *to = result + (size_t)row * (columns + 1);
  double sum = 0.0;
  for (int column = threadIdx.x; column < columns; column += WARP) {
    double log_scale = clamp * tanh(raw[column] / clamp);
    double shift = raw[columns + column];
    if (inverse) {
      to[column] = (from[column] - shift) * exp(-log_scale);
      sum -= log_scale;
    } else {
      to[column] = from[column] * exp(log_scale) + shift;
      sum += log_scale;
    }
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) to[columns] = sum;
}

// Gradients of x and of the parameters, given that of `affine_coupling`'s result.
extern "C" __global__ void affine_coupling_gradient(const double *x, const float *parameters, const double *gradient,
                                                    double *x_gradient, double *parameter_gradient, int rows,
                                                    int columns, double clamp, int inverse) {
  int row = blockIdx.x * BLOCK_ROWS + threadIdx.y;
  if (row >= rows) return;
  const double *from = x + (size_t)row * columns;
  const float *raw = parameters + (size_t)row * 2 * columns;
  const double *given = gradient + (size_t)row * (columns + 1);
  double *to = x_gradient + (size_t)row * columns;
  double *to_parameters = parameter_gradient + (size_t)row * 2 * columns;
  double given_sum = given[columns];
  for (int column = threadIdx.x; column < columns; column += WARP) {
    double ratio = tanh(raw[column] / clamp);
    double factor = exp(inverse ? -clamp * ratio : clamp * ratio);
    double pulled = given[column] * factor;
    double of_scale;
    if (inverse) {
      of_scale = -pulled * (from[column] - raw[columns + column]) - given_sum;
      to_parameters[columns + column] = -pulled;
    } else {
      of_scale = pulled * from[column] + given_sum;
      to_parameters[columns + column] = given[column];
    }
    to[column] = pulled;
    to_parameters[column] = of_scale * (1.0 - ratio * ratio);
  }
}

// ---- Rational-quadratic splines (Durkan et al. 2019); the formulas and their names are those of kernels/spline.rs. ----

#define LEAST_SHARE 1e-3
#define LEAST_SLOPE 1e-3

// Softmax of raw numbers, one entry at a time: its largest number and the sum of the exponentials.
struct Softmax {
  const float *raw;
  float largest;
  double sum;
};

__device__ __forceinline__ double entry(const Softmax &softmax, int index) {
  return exp((double)softmax.raw[index] - (double)softmax.largest) / softmax.sum;
}

__device__ __forceinline__ Softmax softmax_of(const float *raw, int count) {
  Softmax result = {raw, -INFINITY, 0.0};
  for (int index = 0; index < count; index++) result.largest = fmaxf(result.largest, raw[index]);
  for (int index = 0; index < count; index++) result.sum += exp((double)raw[index] - (double)result.largest);
  return result;
}

__device__ __forceinline__ double shifted(float raw) { return raw + log(expm1(1.0 - LEAST_SLOPE)); }

__device__ __forceinline__ double positive(float raw) {
  double value = shifted(raw);
  return LEAST_SLOPE + fmax(value, 0.0) + log1p(exp(-fabs(value)));
}

__device__ __forceinline__ double positive_slope(float raw) { return 1.0 / (1.0 + exp(-shifted(raw))); }

struct Bin {
  int index;
  double x, y, width, height, left, right, position;
};

__device__ __forceinline__ double secant_of(const Bin &bin) { return bin.height / bin.width; }

__device__ __forceinline__ double curvature_of(const Bin &bin) { return bin.left + bin.right - 2.0 * secant_of(bin); }

__device__ __forceinline__ double mixed_of(const Bin &bin) { return bin.position * (1.0 - bin.position); }

__device__ __forceinline__ double numerator_of(const Bin &bin) {
  return secant_of(bin) * bin.position * bin.position + bin.left * mixed_of(bin);
}

__device__ __forceinline__ double denominator_of(const Bin &bin) {
  return secant_of(bin) + curvature_of(bin) * mixed_of(bin);
}

__device__ __forceinline__ double ends_of(const Bin &bin) {
  double rest = 1.0 - bin.position;
  return bin.right * bin.position * bin.position + 2.0 * secant_of(bin) * mixed_of(bin) + bin.left * rest * rest;
}

__device__ __forceinline__ double log_slope_of(const Bin &bin) {
  return 2.0 * log(secant_of(bin)) + log(ends_of(bin)) - 2.0 * log(denominator_of(bin));
}

__device__ double solve(const Bin &bin, double y) {
  double secant = secant_of(bin), curvature = curvature_of(bin), offset = y - bin.y;
  double a = bin.height * (secant - bin.left) + offset * curvature;
  double b = bin.height * bin.left - offset * curvature;
  double c = -secant * offset;
  double root = sqrt(fmax(b * b - 4.0 * a * c, 0.0));
  return fmin(fmax(2.0 * c / (-b - root), 0.0), 1.0);
}

// The bin in which a value inside the bound lies.
__device__ Bin locate(double value, const Softmax &widths, const Softmax &heights, const float *slopes, int bins,
                      double bound, int inverse) {
  double rest = 1.0 - LEAST_SHARE * bins;
  Bin bin = {0, -bound, -bound};
  for (;; bin.index++) {
    bin.width = 2.0 * bound * (LEAST_SHARE + rest * entry(widths, bin.index));
    bin.height = 2.0 * bound * (LEAST_SHARE + rest * entry(heights, bin.index));
    double end = inverse ? bin.y + bin.height : bin.x + bin.width;
    if (value < end || bin.index + 1 == bins) break;
    bin.x += bin.width;
    bin.y += bin.height;
  }
  bin.left = bin.index == 0 ? 1.0 : positive(slopes[bin.index - 1]);
  bin.right = bin.index + 1 == bins ? 1.0 : positive(slopes[bin.index]);
  bin.position = inverse ? solve(bin, value) : (value - bin.x) / bin.width;
  return bin;
}

// Derivatives with respect to x and to what a bin is made of.
struct Pulled {
  double x, bin_y, width, height, left, right;
};

__device__ Pulled pull_back(const Bin &bin, double of_y, double of_log_slope) {
  double position = bin.position, rest = 1.0 - position;
  double secant = secant_of(bin), mixed = mixed_of(bin), curvature = curvature_of(bin);
  double numerator = numerator_of(bin), denominator = denominator_of(bin);
  double of_numerator = of_y * bin.height / denominator;
  double of_denominator = -of_numerator * numerator / denominator - 2.0 * of_log_slope / denominator;
  double of_ends = of_log_slope / ends_of(bin);
  double of_curvature = of_denominator * mixed;
  double of_mixed = 2.0 * secant * of_ends + bin.left * of_numerator + curvature * of_denominator;
  double of_secant = 2.0 * of_log_slope / secant + 2.0 * mixed * of_ends + position * position * of_numerator +
                     of_denominator - 2.0 * of_curvature;
  double of_position = 2.0 * (bin.right * position - bin.left * rest) * of_ends + 2.0 * secant * position * of_numerator +
                       (1.0 - 2.0 * position) * of_mixed;
  Pulled pulled;
  pulled.x = of_position / bin.width;
  pulled.bin_y = of_y;
  pulled.width = -(of_secant * secant + of_position * position) / bin.width;
  pulled.height = of_y * numerator / denominator + of_secant / bin.width;
  pulled.left = rest * rest * of_ends + mixed * of_numerator + of_curvature;
  pulled.right = position * position * of_ends + of_curvature;
  return pulled;
}

// From the left end and the size of a bin to the raw numbers behind them.
__device__ void pull_back_softmax(const Softmax &softmax, int index, int bins, double reach, double of_end,
                                  double of_size, double *gradient) {
  double mean = entry(softmax, index) * of_size;
  for (int other = 0; other < index; other++) mean += entry(softmax, other) * of_end;
  for (int other = 0; other < bins; other++) {
    double of_share = other < index ? of_end : other == index ? of_size : 0.0;
    gradient[other] = reach * entry(softmax, other) * (of_share - mean);
  }
}

// result = transformed x, and in a last column the sum of the log slopes.
//
// `parameters`: (rows, columns, 3 bins - 1), raw widths, heights and inner slopes. `result`: (rows, columns + 1).
extern "C" __global__ void spline_coupling(const double *x, const float *parameters, double *result, int rows,
                                           int columns, int bins, double bound, int inverse) {
  int row = blockIdx.x * BLOCK_ROWS + threadIdx.y;
  if (row >= rows) return;
  double *to = result + (size_t)row * (columns + 1);
  double sum = 0.0;
  for (int column = threadIdx.x; column < columns; column += WARP) {
    size_t place = (size_t)row * columns + column;
    double value = x[place];
    if (fabs(value) < bound) {
      const float *raw = parameters + place * (3 * bins - 1);
      Softmax widths = softmax_of(raw, bins), heights = softmax_of(raw + bins, bins);
      Bin bin = locate(value, widths, heights, raw + 2 * bins, bins, bound, inverse);
      double log_slope = log_slope_of(bin);
      value = inverse ? bin.x + bin.position * bin.width
                      : bin.y + bin.height * numerator_of(bin) / denominator_of(bin);
      sum += inverse ? -log_slope : log_slope;
    }
    to[column] = value;
  }
  sum = warp_sum(sum);
  if (threadIdx.x == 0) to[columns] = sum;
}

// Gradients of x and of the parameters, given that of `spline_coupling`'s result.
extern "C" __global__ void spline_coupling_gradient(const double *x, const float *parameters, const double *gradient,
                                                    double *x_gradient, double *parameter_gradient, int rows,
                                                    int columns, int bins, double bound, int inverse) {
  int row = blockIdx.x * BLOCK_ROWS + threadIdx.y;
  if (row >= rows) return;
  const double *given = gradient + (size_t)row * (columns + 1);
  double of_log_slope = given[columns];
  int width = 3 * bins - 1;
  for (int column = threadIdx.x; column < columns; column += WARP) {
    size_t place = (size_t)row * columns + column;
    double *to = parameter_gradient + place * width;
    double value = x[place], of_value = given[column];
    for (int index = 0; index < bins - 1; index++) to[2 * bins + index] = 0.0;
    if (!(fabs(value) < bound)) {
      for (int index = 0; index < 2 * bins; index++) to[index] = 0.0;
      x_gradient[place] = of_value;
      continue;
    }
    const float *raw = parameters + place * width;
    Softmax widths = softmax_of(raw, bins), heights = softmax_of(raw + bins, bins);
    Bin bin = locate(value, widths, heights, raw + 2 * bins, bins, bound, inverse);
    double of_y = of_value, of_slope = of_log_slope;
    if (inverse) {
      // y = f(x) stays the same: dx = (dy - df/dparameters) / f', and the log slope is that of f at x, negated.
      double through = (of_value - of_log_slope * pull_back(bin, 0.0, 1.0).x) / exp(log_slope_of(bin));
      x_gradient[place] = through;
      of_y = -through;
      of_slope = -of_log_slope;
    }
    Pulled pulled = pull_back(bin, of_y, of_slope);
    if (!inverse) x_gradient[place] = pulled.x;
    double reach = 2.0 * bound * (1.0 - LEAST_SHARE * bins);
    pull_back_softmax(widths, bin.index, bins, reach, -pulled.x, pulled.width, to);
    pull_back_softmax(heights, bin.index, bins, reach, pulled.bin_y, pulled.height, to + bins);
    const float *slopes = raw + 2 * bins;
    if (bin.index > 0) to[2 * bins + bin.index - 1] = pulled.left * positive_slope(slopes[bin.index - 1]);
    if (bin.index + 1 < bins) to[2 * bins + bin.index] = pulled.right * positive_slope(slopes[bin.index]);
  }
}

// The edges of a region's bins, for CPU and CUDA kernels.
#ifndef FGFA_PSROI_BINS_H_
#define FGFA_PSROI_BINS_H_

#include <math.h>

#include "bilinear.h"

// A fused multiply-add would move edges that fall on a whole cell. The host files are compiled with
// -ffp-contract=off; on the device these intrinsics are never fused.
#ifdef __CUDA_ARCH__
#define FGFA_MUL(a, b) __fmul_rn(a, b)
#define FGFA_ADD(a, b) __fadd_rn(a, b)
#else
#define FGFA_MUL(a, b) ((a) * (b))
#define FGFA_ADD(a, b) ((a) + (b))
#endif

namespace fgfa {

struct Span {
  int begin, end;
};

FGFA_INLINE int clamp_cell(float value, int size) {
  if (!(value > 0.0f)) return 0;  // also for NaN
  return value >= static_cast<float>(size) ? size : static_cast<int>(value);
}

// The cells of bin `k` along one axis, for a region from pixel `low` to pixel `high`, inclusive.
FGFA_INLINE Span bin_span(float low, float high, float scale, int group, int k, int size) {
  const float start = FGFA_MUL(roundf(low), scale);
  const float end = FGFA_MUL(FGFA_ADD(roundf(high), 1.0f), scale);
  const float bin = fmaxf(FGFA_ADD(end, -start), 0.1f) / static_cast<float>(group);
  Span span;
  span.begin = clamp_cell(floorf(FGFA_ADD(FGFA_MUL(static_cast<float>(k), bin), start)), size);
  span.end = clamp_cell(ceilf(FGFA_ADD(FGFA_MUL(static_cast<float>(k + 1), bin), start)), size);
  return span;
}

}  // namespace fgfa
#endif  // FGFA_PSROI_BINS_H_

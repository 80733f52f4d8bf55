// The four taps of a bilinear sample, for CPU and CUDA kernels.
#ifndef FGFA_BILINEAR_H_
#define FGFA_BILINEAR_H_

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define FGFA_INLINE __host__ __device__ __forceinline__
#define FGFA_DYNAMIC_SHARED(type, name) extern __shared__ type name[]  // of a size that the launch sets
#else
#define FGFA_INLINE inline
#endif

namespace fgfa {

// A tap outside the map has inside[k] = 0, weight[k] = 0 and the cell of a tap inside (or 0), so that it is always
// safe to read. The order of the taps is (y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1).
struct Taps {
  int cell[4];      // y * width + x
  float weight[4];  // bilinear weight, 0 outside
  float dx, dy;     // position inside the square of the four taps, in [0, 1)
  bool inside[4];
  bool any;
};

FGFA_INLINE Taps taps_at(float y, float x, int height, int width) {
  Taps taps;
  // Written so that NaN fails the test too; no cast below can overflow then.
  taps.any = x >= -1.0f && y >= -1.0f && x < static_cast<float>(width) && y < static_cast<float>(height);
  if (!taps.any) {
    taps.dx = taps.dy = 0.0f;
    for (int k = 0; k < 4; ++k) {
      taps.cell[k] = 0;
      taps.weight[k] = 0.0f;
      taps.inside[k] = false;
    }
    return taps;
  }
  const float floor_x = floorf(x), floor_y = floorf(y);
  const int x0 = static_cast<int>(floor_x), y0 = static_cast<int>(floor_y);
  taps.dx = x - floor_x;
  taps.dy = y - floor_y;
  const bool left = x0 >= 0, right = x0 + 1 < width, top = y0 >= 0, bottom = y0 + 1 < height;
  const int xs[2] = {left ? x0 : 0, right ? x0 + 1 : width - 1};
  const int ys[2] = {top ? y0 : 0, bottom ? y0 + 1 : height - 1};
  const bool x_inside[2] = {left, right}, y_inside[2] = {top, bottom};
  const float wx[2] = {1.0f - taps.dx, taps.dx}, wy[2] = {1.0f - taps.dy, taps.dy};
  for (int k = 0; k < 4; ++k) {
    const int i = k >> 1, j = k & 1;
    taps.inside[k] = y_inside[i] && x_inside[j];
    taps.cell[k] = ys[i] * width + xs[j];
    taps.weight[k] = taps.inside[k] ? wy[i] * wx[j] : 0.0f;
  }
  return taps;
}

}  // namespace fgfa
#endif  // FGFA_BILINEAR_H_

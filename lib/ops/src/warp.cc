#include "warp.h"

#include <string.h>

#include <vector>

#include "bilinear.h"

namespace {

using fgfa::Taps;

// The taps of all cells of an image, computed once and used for all channels.
std::vector<Taps> image_taps(const FgfaWarpShape& shape, const float* flow) {
  const int64_t cells = shape.height * shape.width;
  std::vector<Taps> taps(cells);
#pragma omp parallel for schedule(static)
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) {
      const int64_t cell = y * shape.width + x;
      taps[cell] = fgfa::taps_at(static_cast<float>(y) + flow[cells + cell], static_cast<float>(x) + flow[cell],
                                 static_cast<int>(shape.height), static_cast<int>(shape.width));
    }
  }
  return taps;
}

}  // namespace

void fgfa_warp_forward_cpu(const FgfaWarpShape* shape, const float* data, const float* flow, float* out) {
  const int64_t cells = shape->height * shape->width;
  for (int64_t image = 0; image < shape->batch; ++image) {
    const std::vector<Taps> taps = image_taps(*shape, flow + image * 2 * cells);
#pragma omp parallel for schedule(static)
    for (int64_t channel = 0; channel < shape->channels; ++channel) {
      const float* in = data + (image * shape->channels + channel) * cells;
      float* to = out + (image * shape->channels + channel) * cells;
      for (int64_t cell = 0; cell < cells; ++cell) {
        const Taps& t = taps[cell];
        to[cell] = t.weight[0] * in[t.cell[0]] + t.weight[1] * in[t.cell[1]] + t.weight[2] * in[t.cell[2]] +
                   t.weight[3] * in[t.cell[3]];
      }
    }
  }
}

void fgfa_warp_backward_cpu(const FgfaWarpShape* shape, const float* grad_out, const float* data, const float* flow,
                            float* grad_data, float* grad_flow) {
  const int64_t cells = shape->height * shape->width;
  for (int64_t image = 0; image < shape->batch; ++image) {
    const std::vector<Taps> taps = image_taps(*shape, flow + image * 2 * cells);
    const int64_t first = image * shape->channels * cells;
    // Each plane of the gradient is computed by one thread, which adds to it in the order of the cells.
#pragma omp parallel for schedule(static)
    for (int64_t channel = 0; channel < shape->channels; ++channel) {
      const float* from = grad_out + first + channel * cells;
      float* to = grad_data + first + channel * cells;
      memset(to, 0, cells * sizeof(float));
      for (int64_t cell = 0; cell < cells; ++cell) {
        const Taps& t = taps[cell];
        if (!t.any) continue;
        for (int k = 0; k < 4; ++k) to[t.cell[k]] += t.weight[k] * from[cell];
      }
    }
    // Each row of the flow is computed by one thread, which adds the channels in order.
#pragma omp parallel
    {
      std::vector<double> sums(2 * shape->width);
#pragma omp for schedule(static)
      for (int64_t y = 0; y < shape->height; ++y) {
        sums.assign(2 * shape->width, 0.0);
        for (int64_t channel = 0; channel < shape->channels; ++channel) {
          const float* in = data + first + channel * cells;
          const float* from = grad_out + first + channel * cells + y * shape->width;
          for (int64_t x = 0; x < shape->width; ++x) {
            const Taps& t = taps[y * shape->width + x];
            float v[4];
            for (int k = 0; k < 4; ++k) v[k] = t.inside[k] ? in[t.cell[k]] : 0.0f;
            sums[2 * x] += from[x] * ((1.0f - t.dy) * (v[1] - v[0]) + t.dy * (v[3] - v[2]));
            sums[2 * x + 1] += from[x] * ((1.0f - t.dx) * (v[2] - v[0]) + t.dx * (v[3] - v[1]));
          }
        }
        float* to = grad_flow + image * 2 * cells + y * shape->width;
        for (int64_t x = 0; x < shape->width; ++x) {
          to[x] = static_cast<float>(sums[2 * x]);
          to[cells + x] = static_cast<float>(sums[2 * x + 1]);
        }
      }
    }
  }
}

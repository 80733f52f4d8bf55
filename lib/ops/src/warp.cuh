// Kernels of bilinear sampling, without host code: `warp.cu` launches them for MXNet, and the PyTorch backend compiles
// them at run time with NVRTC.
#ifndef FGFA_WARP_CUH_
#define FGFA_WARP_CUH_

#include "bilinear.h"
#include "warp.h"

namespace {

using fgfa::Taps;

constexpr int kThreads = 256;
constexpr int kChannels = 16;  // channels that a thread samples with the same taps
constexpr int kCells = 32;     // cells per block for the gradient of the flow; its rows of threads divide the channels

__device__ Taps taps_of(const FgfaWarpShape& shape, const float* flow, int64_t image, int64_t cell) {
  const int64_t cells = shape.height * shape.width;
  const float* shift = flow + image * 2 * cells + cell;
  return fgfa::taps_at(static_cast<float>(cell / shape.width) + shift[cells],
                       static_cast<float>(cell % shape.width) + shift[0], static_cast<int>(shape.height),
                       static_cast<int>(shape.width));
}

}  // namespace

// Grid (cells, channels, images).
extern "C" __global__ void fgfa_warp_forward(FgfaWarpShape shape, const float* data, const float* flow, float* out) {
  const int64_t cells = shape.height * shape.width, cell = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (cell >= cells) return;
  for (int64_t image = blockIdx.z; image < shape.batch; image += gridDim.z) {
    const Taps t = taps_of(shape, flow, image, cell);
    for (int64_t group = blockIdx.y; group * kChannels < shape.channels; group += gridDim.y) {
      const int64_t last = min(shape.channels, (group + 1) * kChannels);
      for (int64_t channel = group * kChannels; channel < last; ++channel) {
        const int64_t plane = (image * shape.channels + channel) * cells;
        const float* in = data + plane;
        out[plane + cell] = t.weight[0] * in[t.cell[0]] + t.weight[1] * in[t.cell[1]] +
                            t.weight[2] * in[t.cell[2]] + t.weight[3] * in[t.cell[3]];
      }
    }
  }
}

// Same grid. `grad_data` must be zero at the start.
extern "C" __global__ void fgfa_warp_backward_data(FgfaWarpShape shape, const float* grad_out, const float* flow,
                                                   float* grad_data) {
  const int64_t cells = shape.height * shape.width, cell = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (cell >= cells) return;
  for (int64_t image = blockIdx.z; image < shape.batch; image += gridDim.z) {
    const Taps t = taps_of(shape, flow, image, cell);
    for (int64_t group = blockIdx.y; group * kChannels < shape.channels; group += gridDim.y) {
      const int64_t last = min(shape.channels, (group + 1) * kChannels);
      for (int64_t channel = group * kChannels; channel < last; ++channel) {
        const int64_t plane = (image * shape.channels + channel) * cells;
        const float from = grad_out[plane + cell];
        for (int k = 0; k < 4; ++k) {
          if (t.inside[k]) atomicAdd(grad_data + plane + t.cell[k], t.weight[k] * from);
        }
      }
    }
  }
}

// Grid (cells / kCells, 1, images), block (kCells, kThreads / kCells): each row of threads sums a part of the
// channels, then the parts are added in order.
extern "C" __global__ void fgfa_warp_backward_flow(FgfaWarpShape shape, const float* grad_out, const float* data,
                                                   const float* flow, float* grad_flow) {
  constexpr int parts = kThreads / kCells;
  __shared__ float sums[2][parts][kCells];
  const int64_t cells = shape.height * shape.width, cell = blockIdx.x * static_cast<int64_t>(kCells) + threadIdx.x;
  for (int64_t image = blockIdx.z; image < shape.batch; image += gridDim.z) {
    float sum_x = 0.0f, sum_y = 0.0f;
    if (cell < cells) {
      const Taps t = taps_of(shape, flow, image, cell);
      for (int64_t channel = threadIdx.y; channel < shape.channels; channel += parts) {
        const int64_t plane = (image * shape.channels + channel) * cells;
        float v[4];
        for (int k = 0; k < 4; ++k) v[k] = t.inside[k] ? data[plane + t.cell[k]] : 0.0f;
        const float from = grad_out[plane + cell];
        sum_x += from * ((1.0f - t.dy) * (v[1] - v[0]) + t.dy * (v[3] - v[2]));
        sum_y += from * ((1.0f - t.dx) * (v[2] - v[0]) + t.dx * (v[3] - v[1]));
      }
    }
    sums[0][threadIdx.y][threadIdx.x] = sum_x;
    sums[1][threadIdx.y][threadIdx.x] = sum_y;
    __syncthreads();
    if (threadIdx.y < 2 && cell < cells) {
      float total = 0.0f;
      for (int part = 0; part < parts; ++part) total += sums[threadIdx.y][part][threadIdx.x];
      grad_flow[(image * 2 + threadIdx.y) * cells + cell] = total;
    }
    __syncthreads();
  }
}

#endif  // FGFA_WARP_CUH_

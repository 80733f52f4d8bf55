// Kernels of position-sensitive pooling, without host code: `psroi.cu` launches them for MXNet, and the PyTorch backend
// compiles them at run time with NVRTC.
#ifndef FGFA_PSROI_CUH_
#define FGFA_PSROI_CUH_

#include "psroi.h"
#include "psroi_bins.h"

namespace {

using fgfa::Span;

constexpr int kWarp = 32;
constexpr int kThreads = 256;

__device__ int image_of(const FgfaPsroiShape& shape, const float* roi) {
  const float image = roi[0];
  const bool good = image >= 0.0f && image < static_cast<float>(shape.batch) && image == floorf(image);
  return good ? static_cast<int>(image) : -1;
}

__device__ void bin_of(const FgfaPsroiShape& shape, const float* roi, int bin, Span* rows, Span* columns) {
  const int group = static_cast<int>(shape.group);
  *rows = fgfa::bin_span(roi[2], roi[4], shape.spatial_scale, group, bin / group, static_cast<int>(shape.height));
  *columns = fgfa::bin_span(roi[1], roi[3], shape.spatial_scale, group, bin % group, static_cast<int>(shape.width));
}

struct Share {
  Span rows, columns;
  float value;
};

}  // namespace

// One warp per region and output; the bins are divided among its lanes.
extern "C" __global__ void fgfa_psroi_mean_forward(FgfaPsroiShape shape, const float* data, const float* rois,
                                                   float* out) {
  const int64_t pair = (blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x) / kWarp;
  if (pair >= shape.regions * shape.outputs) return;  // the same for all lanes of a warp
  const int lane = threadIdx.x % kWarp, bins = static_cast<int>(shape.group * shape.group);
  const int64_t c = pair % shape.outputs, cells = shape.height * shape.width;
  const float* roi = rois + 5 * (pair / shape.outputs);
  const int image = image_of(shape, roi);
  float total = 0.0f;
  for (int bin = lane; image >= 0 && bin < bins; bin += kWarp) {
    Span rows, columns;
    bin_of(shape, roi, bin, &rows, &columns);
    if (rows.end <= rows.begin || columns.end <= columns.begin) continue;
    const float* plane = data + ((image * shape.outputs + c) * bins + bin) * cells;
    float sum = 0.0f;
    for (int y = rows.begin; y < rows.end; ++y) {
      for (int x = columns.begin; x < columns.end; ++x) sum += plane[y * shape.width + x];
    }
    total += sum / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
  }
  for (int step = kWarp / 2; step > 0; step /= 2) total += __shfl_down_sync(0xffffffffu, total, step);
  if (lane == 0) out[pair] = total / static_cast<float>(bins);
}

// One block per plane of the gradient. The contributions of the regions to the bin of the plane are computed in chunks
// of kThreads; each cell then adds those that cover it, in order.
extern "C" __global__ void fgfa_psroi_mean_backward(FgfaPsroiShape shape, const float* grad_out,
                                                    const float* rois, float* grad_data) {
  __shared__ Share shares[kThreads];
  const int64_t plane = blockIdx.x, cells = shape.height * shape.width;
  const int bins = static_cast<int>(shape.group * shape.group), bin = static_cast<int>(plane % bins);
  const int64_t c = plane / bins % shape.outputs, image = plane / bins / shape.outputs;
  float* to = grad_data + plane * cells;
  for (int64_t cell = threadIdx.x; cell < cells; cell += kThreads) to[cell] = 0.0f;
  for (int64_t first = 0; first < shape.regions; first += kThreads) {
    __syncthreads();
    const int64_t r = first + threadIdx.x;
    if (r < shape.regions) {
      Share share = {{0, 0}, {0, 0}, 0.0f};
      if (image_of(shape, rois + 5 * r) == image) {
        bin_of(shape, rois + 5 * r, bin, &share.rows, &share.columns);
        const int area = (share.rows.end - share.rows.begin) * (share.columns.end - share.columns.begin);
        if (share.rows.end > share.rows.begin && share.columns.end > share.columns.begin) {
          share.value = grad_out[r * shape.outputs + c] / static_cast<float>(bins) / static_cast<float>(area);
        }
      }
      shares[threadIdx.x] = share;
    }
    __syncthreads();
    const int count = static_cast<int>(min(static_cast<int64_t>(kThreads), shape.regions - first));
    for (int64_t cell = threadIdx.x; cell < cells; cell += kThreads) {
      const int y = static_cast<int>(cell / shape.width), x = static_cast<int>(cell % shape.width);
      float sum = to[cell];
      for (int k = 0; k < count; ++k) {
        const Share& s = shares[k];
        if (y >= s.rows.begin && y < s.rows.end && x >= s.columns.begin && x < s.columns.end) sum += s.value;
      }
      to[cell] = sum;
    }
  }
}

#endif  // FGFA_PSROI_CUH_

#include <cuda_runtime.h>

#include "warp.cuh"

namespace {

unsigned at_most(int64_t blocks, int64_t limit) { return static_cast<unsigned>(blocks < limit ? blocks : limit); }

dim3 grid_of(const FgfaWarpShape& shape) {
  return dim3(static_cast<unsigned>((shape.height * shape.width + kThreads - 1) / kThreads),
              at_most((shape.channels + kChannels - 1) / kChannels, 65535), at_most(shape.batch, 65535));
}

}  // namespace

int fgfa_warp_forward_cuda(const FgfaWarpShape* shape, const float* data, const float* flow, float* out,
                           void* stream) {
  if (shape->batch == 0) return 0;
  fgfa_warp_forward<<<grid_of(*shape), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(*shape, data, flow, out);
  return cudaGetLastError();
}

int fgfa_warp_backward_cuda(const FgfaWarpShape* shape, const float* grad_out, const float* data, const float* flow,
                            float* grad_data, float* grad_flow, void* stream) {
  if (shape->batch == 0) return 0;
  const auto queue = static_cast<cudaStream_t>(stream);
  const int64_t cells = shape->height * shape->width;
  const cudaError_t error =
      cudaMemsetAsync(grad_data, 0, shape->batch * shape->channels * cells * sizeof(float), queue);
  if (error != cudaSuccess) return error;
  fgfa_warp_backward_data<<<grid_of(*shape), kThreads, 0, queue>>>(*shape, grad_out, flow, grad_data);
  const dim3 grid(static_cast<unsigned>((cells + kCells - 1) / kCells), 1, at_most(shape->batch, 65535));
  const dim3 block(kCells, kThreads / kCells);
  fgfa_warp_backward_flow<<<grid, block, 0, queue>>>(*shape, grad_out, data, flow, grad_flow);
  return cudaGetLastError();
}

// Zero gradients, for operators without gradients.
extern "C" int fgfa_fill_zero_cuda(void* data, int64_t bytes, void* stream) {
  return cudaMemsetAsync(data, 0, bytes, static_cast<cudaStream_t>(stream));
}

#include <cuda_runtime.h>

#include "psroi.cuh"

int fgfa_psroi_mean_forward_cuda(const FgfaPsroiShape* shape, const float* data, const float* rois, float* out,
                                 void* stream) {
  const int64_t threads = shape->regions * shape->outputs * kWarp;
  if (threads == 0) return 0;
  const auto blocks = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  fgfa_psroi_mean_forward<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(*shape, data, rois, out);
  return cudaGetLastError();
}

int fgfa_psroi_mean_backward_cuda(const FgfaPsroiShape* shape, const float* grad_out, const float* rois,
                                  float* grad_data, void* stream) {
  const auto planes = static_cast<unsigned>(shape->batch * shape->outputs * shape->group * shape->group);
  if (planes == 0) return 0;
  const auto queue = static_cast<cudaStream_t>(stream);
  fgfa_psroi_mean_backward<<<planes, kThreads, 0, queue>>>(*shape, grad_out, rois, grad_data);
  return cudaGetLastError();
}

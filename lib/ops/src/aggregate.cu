#include <cuda_runtime.h>

#include "aggregate.cuh"

namespace {

template <typename T>
using Kernel = void (*)(FgfaAggregateShape, const T*, const float*, const float*, float*, float*);

// The kernels of a type: tiles of 2 x 2 cells and of one cell, with four values loaded together and with one.
template <typename T>
struct Kernels {
  Kernel<T> wide4, narrow4, wide1, narrow1;
};

// Bytes of dynamic shared memory for a block. All GPUs from sm_80 on allow 90 KiB, beyond which occupancy suffers;
// sm_75 allows 64 KiB. The rest is for the kernels' other shared memory.
cudaError_t shared_limit(int64_t* most) {
  int device = 0, limit = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  constexpr int enough = 90 * 1024, rest = 2 * 1024;
  *most = limit - rest < enough ? limit - rest : enough;
  return error;
}

template <typename T>
cudaError_t launch(const Kernels<T>& kernels, const FgfaAggregateShape& shape, const void* features, const float* flow,
                   const float* order, float* aggregated, float* weights, cudaStream_t stream) {
  int64_t most = 0;
  cudaError_t error = shared_limit(&most);
  if (error != cudaSuccess) return error;
  const int64_t depth = (shape.channels + shape.embedding) * static_cast<int64_t>(sizeof(float));
  if (depth > most) return cudaErrorInvalidValue;
  const bool aligned = shape.channels % 4 == 0 && shape.embedding % 4 == 0, wide = 4 * depth <= most;
  const Kernel<T> kernel = aligned ? (wide ? kernels.wide4 : kernels.narrow4)
                                   : (wide ? kernels.wide1 : kernels.narrow1);
  const int side = wide ? 2 : 1;
  const auto bytes = static_cast<int>(side * side * depth);
  error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>((shape.width + side - 1) / side),
                  static_cast<unsigned>((shape.height + side - 1) / side));
  kernel<<<grid, kThreads, bytes, stream>>>(shape, static_cast<const T*>(features), flow, order, aggregated, weights);
  return cudaGetLastError();
}

}  // namespace

int fgfa_aggregate_cuda(const FgfaAggregateShape* shape, int kind, const void* features, const float* flow,
                        const float* order, float* aggregated, float* weights, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  switch (kind) {
    case 0:
      return launch<float>({fgfa_aggregate_float32_4_2, fgfa_aggregate_float32_4_1, fgfa_aggregate_float32_1_2,
                            fgfa_aggregate_float32_1_1},
                           *shape, features, flow, order, aggregated, weights, queue);
    case 1:
      return launch<Bfloat16>({fgfa_aggregate_bfloat16_4_2, fgfa_aggregate_bfloat16_4_1, fgfa_aggregate_bfloat16_1_2,
                               fgfa_aggregate_bfloat16_1_1},
                              *shape, features, flow, order, aggregated, weights, queue);
    default:
      return cudaErrorInvalidValue;
  }
}

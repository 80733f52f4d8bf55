#include <cuda_runtime.h>

#include "aggregate.cuh"

namespace {

template <typename T, int width, int rows, int columns>
cudaError_t launch(const FgfaAggregateShape& shape, const void* features, const float* flow, const float* order,
                   float* aggregated, float* weights, cudaStream_t stream) {
  const auto kernel = aggregate<T, width, rows, columns>;
  const auto bytes = static_cast<int>(rows * columns * (shape.channels + shape.embedding) * sizeof(float));
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(static_cast<unsigned>((shape.width + columns - 1) / columns),
                  static_cast<unsigned>((shape.height + rows - 1) / rows));
  kernel<<<grid, kThreads, bytes, stream>>>(shape, static_cast<const T*>(features), flow, order, aggregated, weights);
  return cudaGetLastError();
}

template <typename T>
cudaError_t launch_kind(const FgfaAggregateShape& shape, const void* features, const float* flow, const float* order,
                        float* aggregated, float* weights, cudaStream_t stream) {
  constexpr int64_t most = 90 * 1024;  // bytes of shared memory that a block can use on all GPUs from sm_80
  const int64_t depth = (shape.channels + shape.embedding) * static_cast<int64_t>(sizeof(float));
  const bool aligned = shape.channels % 4 == 0 && shape.embedding % 4 == 0;
  const bool wide = 4 * depth <= most;
  if (depth > most) return cudaErrorInvalidValue;
  if (aligned && wide) return launch<T, 4, 2, 2>(shape, features, flow, order, aggregated, weights, stream);
  if (aligned) return launch<T, 4, 1, 1>(shape, features, flow, order, aggregated, weights, stream);
  if (wide) return launch<T, 1, 2, 2>(shape, features, flow, order, aggregated, weights, stream);
  return launch<T, 1, 1, 1>(shape, features, flow, order, aggregated, weights, stream);
}

}  // namespace

int fgfa_aggregate_cuda(const FgfaAggregateShape* shape, int kind, const void* features, const float* flow,
                        const float* order, float* aggregated, float* weights, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  switch (kind) {
    case 0:
      return launch_kind<float>(*shape, features, flow, order, aggregated, weights, queue);
    case 1:
      return launch_kind<__half>(*shape, features, flow, order, aggregated, weights, queue);
    case 2:
      return launch_kind<__nv_bfloat16>(*shape, features, flow, order, aggregated, weights, queue);
    default:
      return cudaErrorInvalidValue;
  }
}

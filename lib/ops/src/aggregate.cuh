// Kernels of flow-guided aggregation, without host code: `aggregate.cu` launches them for MXNet, and the PyTorch
// backend compiles them at run time with NVRTC.
#ifndef FGFA_AGGREGATE_CUH_
#define FGFA_AGGREGATE_CUH_

#include "aggregate.h"
#include "bilinear.h"

namespace {

constexpr float kEpsilon = 1e-10f;
constexpr int kThreads = 256;
constexpr int kWarp = 32;

// The upper half of a float32. A type of our own, since NVRTC may lack cuda_bf16.h.
struct Bfloat16 {
  unsigned short bits;
};

__device__ float to_float(float value) { return value; }
__device__ float to_float(Bfloat16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }

// `count` adjacent values, loaded together.
template <typename T, int count>
struct alignas(sizeof(T) * count) Pack {
  T value[count];
};

// The sample of one frame for one cell: index of the first element of each tap's vector, and the weight of the tap.
struct Sample {
  int64_t tap[4];
  float weight[4];  // 0 for a tap that is not read, whose index is then 0
};

__device__ Sample sample_at(const FgfaAggregateShape& shape, const float* flow, const float* order, int64_t frame,
                            int64_t y, int64_t x) {
  const int64_t cells = shape.height * shape.width, depth = shape.channels + shape.embedding;
  const float* shift = flow + 2 * frame * cells + y * shape.width + x;
  const fgfa::Taps taps = fgfa::taps_at(static_cast<float>(y) + shift[cells], static_cast<float>(x) + shift[0],
                                        static_cast<int>(shape.height), static_cast<int>(shape.width));
  const float slot = order[frame];
  const bool good = slot >= 0.0f && slot < static_cast<float>(shape.slots) && slot == floorf(slot);
  Sample sample;
  for (int k = 0; k < 4; ++k) {
    const bool read = good && taps.inside[k];
    sample.tap[k] = read ? (static_cast<int64_t>(slot) * cells + taps.cell[k]) * depth : 0;
    sample.weight[k] = read ? taps.weight[k] : 0.0f;
  }
  return sample;
}

template <typename T, int width>
__device__ void interpolate(const T* features, const Sample& sample, int64_t k, float value[width]) {
  Pack<T, width> taps[4];
#pragma unroll
  for (int tap = 0; tap < 4; ++tap) {
    taps[tap] = *reinterpret_cast<const Pack<T, width>*>(features + sample.tap[tap] + k);
  }
#pragma unroll
  for (int j = 0; j < width; ++j) {
    value[j] = sample.weight[0] * to_float(taps[0].value[j]) + sample.weight[1] * to_float(taps[1].value[j]) +
               sample.weight[2] * to_float(taps[2].value[j]) + sample.weight[3] * to_float(taps[3].value[j]);
  }
}

// Sums `values` over the block in a fixed order; every thread gets the result. `partial` has warps * count floats and
// can be reused after the next __syncthreads().
template <int count>
__device__ void sum_over_block(float values[count], float* partial) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
  for (int k = 0; k < count; ++k) {
    for (int step = kWarp / 2; step > 0; step /= 2) values[k] += __shfl_down_sync(0xffffffffu, values[k], step);
    if (lane == 0) partial[warp * count + k] = values[k];
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < count; ++k) {
    values[k] = 0.0f;
    for (int other = 0; other < kThreads / kWarp; ++other) values[k] += partial[other * count + k];
  }
}

// One block per tile of `rows` x `columns` cells, whose taps overlap and share the L1 cache; the channels are divided
// among the threads. Shared memory: the reference embeddings of the tile, then its sums, both (cell, channel).
template <typename T, int width, int rows, int columns>
__device__ void aggregate(const FgfaAggregateShape& shape, const T* __restrict__ features,
                          const float* __restrict__ flow, const float* __restrict__ order,
                          float* __restrict__ aggregated, float* __restrict__ weights) {
  constexpr int tile = rows * columns;
  FGFA_DYNAMIC_SHARED(float, shared);
  __shared__ Sample samples[tile];
  __shared__ float partial[kThreads / kWarp * 2 * tile];
  float* reference = shared;
  float* sums = shared + tile * shape.embedding;
  const int64_t top = blockIdx.y * static_cast<int64_t>(rows), left = blockIdx.x * static_cast<int64_t>(columns);
  const int64_t cells = shape.height * shape.width;
  // A cell of the tile outside the map repeats the last cell of the map and is not written.
  const int mine = threadIdx.x < tile ? threadIdx.x : 0;
  const int64_t my_y = min(top + mine / columns, shape.height - 1), my_x = min(left + mine % columns, shape.width - 1);

  if (threadIdx.x < tile) samples[threadIdx.x] = sample_at(shape, flow, order, shape.current, my_y, my_x);
  __syncthreads();
  float norm[tile], total[tile];
#pragma unroll
  for (int cell = 0; cell < tile; ++cell) norm[cell] = total[cell] = 0.0f;
  // Here and below, the inner loop is over cells, so that neighbours find their common taps in the L1 cache.
  for (int64_t k = threadIdx.x * width; k < shape.embedding; k += kThreads * width) {
#pragma unroll
    for (int cell = 0; cell < tile; ++cell) {
      float value[width];
      interpolate<T, width>(features, samples[cell], shape.channels + k, value);
#pragma unroll
      for (int j = 0; j < width; ++j) {
        reference[cell * shape.embedding + k + j] = value[j];  // read only by this thread
        norm[cell] += value[j] * value[j];
      }
    }
  }
  for (int64_t k = threadIdx.x; k < tile * shape.channels; k += kThreads) sums[k] = 0.0f;
  sum_over_block<tile>(norm, partial);

  for (int64_t frame = 0; frame < shape.frames; ++frame) {
    __syncthreads();  // the samples and partial sums of the previous frame have been read
    if (threadIdx.x < tile) samples[threadIdx.x] = sample_at(shape, flow, order, frame, my_y, my_x);
    __syncthreads();
    float products[2 * tile];  // dot products with the reference, then with itself
#pragma unroll
    for (int k = 0; k < 2 * tile; ++k) products[k] = 0.0f;
    for (int64_t k = threadIdx.x * width; k < shape.embedding; k += kThreads * width) {
#pragma unroll
      for (int cell = 0; cell < tile; ++cell) {
        float value[width];
        interpolate<T, width>(features, samples[cell], shape.channels + k, value);
#pragma unroll
        for (int j = 0; j < width; ++j) {
          products[cell] += value[j] * reference[cell * shape.embedding + k + j];
          products[tile + cell] += value[j] * value[j];
        }
      }
    }
    sum_over_block<2 * tile>(products, partial);
    float share[tile];
#pragma unroll
    for (int cell = 0; cell < tile; ++cell) {
      // A cosine is at most 1, so the softmax needs no subtraction of the maximum.
      const float norms = sqrtf(products[tile + cell] + kEpsilon) * sqrtf(norm[cell] + kEpsilon);
      share[cell] = order[frame] == -1.0f ? 0.0f : expf(products[cell] / norms);  // -1: left out
      total[cell] += share[cell];
      const int64_t y = top + cell / columns, x = left + cell % columns;
      if (weights != nullptr && threadIdx.x == 0 && y < shape.height && x < shape.width) {
        weights[frame * cells + y * shape.width + x] = share[cell];  // divided by the total below, by the same thread
      }
    }
    for (int64_t k = threadIdx.x * width; k < shape.channels; k += kThreads * width) {
#pragma unroll
      for (int cell = 0; cell < tile; ++cell) {
        float value[width];
        interpolate<T, width>(features, samples[cell], k, value);
#pragma unroll
        for (int j = 0; j < width; ++j) sums[cell * shape.channels + k + j] += share[cell] * value[j];
      }
    }
  }
#pragma unroll
  for (int cell = 0; cell < tile; ++cell) {
    const int64_t y = top + cell / columns, x = left + cell % columns;
    if (y >= shape.height || x >= shape.width) continue;
    const int64_t at = y * shape.width + x;
    for (int64_t k = threadIdx.x * width; k < shape.channels; k += kThreads * width) {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        aggregated[(k + j) * cells + at] = sums[cell * shape.channels + k + j] / total[cell];
      }
    }
    if (weights != nullptr && threadIdx.x == 0) {
      for (int64_t frame = 0; frame < shape.frames; ++frame) weights[frame * cells + at] /= total[cell];
    }
  }
}

}  // namespace

// The kernels: by the type of the features, the values loaded together, and the side of the tile. Four values need
// numbers of channels that are multiples of four.
#define FGFA_AGGREGATE_KERNEL(name, T, width, side)                                                               \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                          \
      fgfa_aggregate_##name##_##width##_##side(FgfaAggregateShape shape, const T* features, const float* flow,    \
                                               const float* order, float* aggregated, float* weights) {           \
    aggregate<T, width, side, side>(shape, features, flow, order, aggregated, weights);                           \
  }

FGFA_AGGREGATE_KERNEL(float32, float, 4, 2)
FGFA_AGGREGATE_KERNEL(float32, float, 4, 1)
FGFA_AGGREGATE_KERNEL(float32, float, 1, 2)
FGFA_AGGREGATE_KERNEL(float32, float, 1, 1)
FGFA_AGGREGATE_KERNEL(bfloat16, Bfloat16, 4, 2)
FGFA_AGGREGATE_KERNEL(bfloat16, Bfloat16, 4, 1)
FGFA_AGGREGATE_KERNEL(bfloat16, Bfloat16, 1, 2)
FGFA_AGGREGATE_KERNEL(bfloat16, Bfloat16, 1, 1)

#endif  // FGFA_AGGREGATE_CUH_

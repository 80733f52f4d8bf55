#include "aggregate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bilinear.h"

// The inner loops are compiled for several kinds of processor; the copy to use is selected when the library is loaded.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(FGFA_ONE_TARGET)
#define FGFA_TARGETS __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define FGFA_TARGETS
#endif

namespace {

using fgfa::Taps;

constexpr float kEpsilon = 1e-10f;
// Cells per tile. Neighbouring cells share taps, which stay in the L2 cache while one frame is sampled for all cells of
// the tile.
constexpr int kTileHeight = 2, kTileWidth = 8, kTile = kTileHeight * kTileWidth;

FGFA_TARGETS void sample(const float* const tap[4], const float weight[4], int64_t size, float* out) {
  const float *a = tap[0], *b = tap[1], *c = tap[2], *d = tap[3];
  const float wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
#pragma omp simd
  for (int64_t k = 0; k < size; ++k) out[k] = wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k];
}

// Adds `share` times the sample to `out`.
FGFA_TARGETS void add_sample(const float* const tap[4], const float weight[4], float share, int64_t size, float* out) {
  const float *a = tap[0], *b = tap[1], *c = tap[2], *d = tap[3];
  const float wa = share * weight[0], wb = share * weight[1], wc = share * weight[2], wd = share * weight[3];
#pragma omp simd
  for (int64_t k = 0; k < size; ++k) out[k] += wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k];
}

// Dot product of the sample with `other`, and the sum of squares of the sample.
FGFA_TARGETS void dot_sample(const float* const tap[4], const float weight[4], int64_t size, const float* other,
                             float* product, float* squares) {
  const float *a = tap[0], *b = tap[1], *c = tap[2], *d = tap[3];
  const float wa = weight[0], wb = weight[1], wc = weight[2], wd = weight[3];
  float dot = 0.0f, sum = 0.0f;
#pragma omp simd reduction(+ : dot, sum)
  for (int64_t k = 0; k < size; ++k) {
    const float value = wa * a[k] + wb * b[k] + wc * c[k] + wd * d[k];
    dot += value * other[k];
    sum += value * value;
  }
  *product = dot;
  *squares = sum;
}

FGFA_TARGETS float sum_of_squares(const float* values, int64_t size) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < size; ++k) sum += values[k] * values[k];
  return sum;
}

// The sample of one frame for one cell: the vectors of its four taps, features first.
struct Sample {
  const float* tap[4];
  float weight[4];
  bool any;
};

class Window {
 public:
  Window(const FgfaAggregateShape& shape, const float* features, const float* flow, const float* order)
      : shape_(shape), features_(features), flow_(flow), order_(order) {}

  bool left_out(int64_t frame) const { return order_[frame] == -1.0f; }

  Sample at(int64_t frame, int64_t y, int64_t x) const {
    const int64_t cells = shape_.height * shape_.width, depth = shape_.channels + shape_.embedding;
    const float* shift = flow_ + 2 * frame * cells + y * shape_.width + x;
    const Taps taps = fgfa::taps_at(static_cast<float>(y) + shift[cells], static_cast<float>(x) + shift[0],
                                    static_cast<int>(shape_.height), static_cast<int>(shape_.width));
    const float* slot = features_ + static_cast<int64_t>(order_[frame]) * cells * depth;
    Sample sample;
    sample.any = taps.any;
    for (int k = 0; k < 4; ++k) {
      sample.tap[k] = slot + taps.cell[k] * depth;
      sample.weight[k] = taps.weight[k];
    }
    return sample;
  }

 private:
  const FgfaAggregateShape& shape_;
  const float *features_, *flow_, *order_;
};

// Working memory of a thread for one tile.
struct Scratch {
  explicit Scratch(const FgfaAggregateShape& shape)
      : reference(kTile * shape.embedding), sum(kTile * shape.channels), weight(kTile * shape.frames) {}
  std::vector<float> reference;  // the current frame's warped embedding, (cell, embedding)
  std::vector<float> sum;        // of the features, (cell, channel)
  std::vector<float> weight;     // exp(cosine), (cell, frame)
  float norm[kTile], total[kTile];
};

void aggregate_tile(const FgfaAggregateShape& shape, const Window& window, int64_t top, int64_t left, Scratch* scratch,
                    float* aggregated, float* weights) {
  const int64_t channels = shape.channels, embedding = shape.embedding;
  const int64_t rows = std::min<int64_t>(kTileHeight, shape.height - top);
  const int64_t columns = std::min<int64_t>(kTileWidth, shape.width - left);
  for (int64_t cell = 0; cell < rows * columns; ++cell) {
    const Sample sample_here = window.at(shape.current, top + cell / columns, left + cell % columns);
    const float* embeddings[4];
    for (int k = 0; k < 4; ++k) embeddings[k] = sample_here.tap[k] + channels;
    float* reference = scratch->reference.data() + cell * embedding;
    sample(embeddings, sample_here.weight, embedding, reference);
    scratch->norm[cell] = std::sqrt(sum_of_squares(reference, embedding) + kEpsilon);
    scratch->total[cell] = 0.0f;
  }
  std::fill(scratch->sum.begin(), scratch->sum.end(), 0.0f);
  for (int64_t frame = 0; frame < shape.frames; ++frame) {
    for (int64_t cell = 0; cell < rows * columns; ++cell) {
      if (window.left_out(frame)) {
        scratch->weight[cell * shape.frames + frame] = 0.0f;
        continue;
      }
      const Sample here = window.at(frame, top + cell / columns, left + cell % columns);
      float share = 1.0f;  // exp(0)
      if (here.any) {
        const float* embeddings[4];
        for (int k = 0; k < 4; ++k) embeddings[k] = here.tap[k] + channels;
        float product, squares;
        dot_sample(embeddings, here.weight, embedding, scratch->reference.data() + cell * embedding, &product,
                   &squares);
        // A cosine is at most 1, so the softmax needs no subtraction of the maximum.
        share = std::exp(product / (std::sqrt(squares + kEpsilon) * scratch->norm[cell]));
        add_sample(here.tap, here.weight, share, channels, scratch->sum.data() + cell * channels);
      }
      scratch->weight[cell * shape.frames + frame] = share;
      scratch->total[cell] += share;
    }
  }
  const int64_t cells = shape.height * shape.width;
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t cell = 0; cell < rows * columns; ++cell) {
      aggregated[channel * cells + (top + cell / columns) * shape.width + left + cell % columns] =
          scratch->sum[cell * channels + channel] / scratch->total[cell];
    }
  }
  if (weights == nullptr) return;
  for (int64_t frame = 0; frame < shape.frames; ++frame) {
    for (int64_t cell = 0; cell < rows * columns; ++cell) {
      weights[frame * cells + (top + cell / columns) * shape.width + left + cell % columns] =
          scratch->weight[cell * shape.frames + frame] / scratch->total[cell];
    }
  }
}

}  // namespace

int64_t fgfa_aggregate_bad_position(const FgfaAggregateShape* shape, const float* order) {
  for (int64_t frame = 0; frame < shape->frames; ++frame) {
    const float slot = order[frame];
    if (slot == -1.0f && frame != shape->current) continue;
    if (!(slot >= 0.0f && slot < static_cast<float>(shape->slots) && slot == std::floor(slot))) return frame;
  }
  return -1;
}

void fgfa_aggregate_cpu(const FgfaAggregateShape* shape, const float* features, const float* flow, const float* order,
                        float* aggregated, float* weights) {
  const Window window(*shape, features, flow, order);
  const int64_t tile_rows = (shape->height + kTileHeight - 1) / kTileHeight;
  const int64_t tile_columns = (shape->width + kTileWidth - 1) / kTileWidth;
#pragma omp parallel
  {
    Scratch scratch(*shape);
    // The sums of a tile do not depend on the thread that computes it.
#pragma omp for schedule(dynamic, 1)
    for (int64_t tile = 0; tile < tile_rows * tile_columns; ++tile) {
      aggregate_tile(*shape, window, tile / tile_columns * kTileHeight, tile % tile_columns * kTileWidth, &scratch,
                     aggregated, weights);
    }
  }
}

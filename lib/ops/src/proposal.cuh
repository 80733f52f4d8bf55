// Kernels of the region proposals, without host code: `proposal.cu` launches them for MXNet, and the PyTorch backend
// compiles them at run time with NVRTC. The sort between them is that of CUB and of PyTorch.
#ifndef FGFA_PROPOSAL_CUH_
#define FGFA_PROPOSAL_CUH_

#include "proposal.h"
#include "proposal_box.h"

namespace {

using fgfa::Box;
using Mask = unsigned long long;

constexpr int kThreads = 256;
constexpr int kBits = 64;  // candidates per word of the mask
constexpr int kAnchorsMost = 64;  // limit of the anchors, which are passed to the kernel by value

struct Anchors {
  float corner[4 * kAnchorsMost];
};

}  // namespace

// All boxes and scores of an image, and where `order` is not null, their indices.
extern "C" __global__ void fgfa_proposal_decode(Anchors anchors, int kinds, int height, int width, float stride,
                                                float min_size, const float* prob, const float* deltas,
                                                const float* info, Box* boxes, float* scores, int* order) {
  const int index = blockIdx.x * kThreads + threadIdx.x, cells = height * width;
  if (index >= kinds * cells) return;
  const int kind = index % kinds, cell = index / kinds, row = cell / width, column = cell % width;
  float delta[4];
  for (int k = 0; k < 4; ++k) delta[k] = deltas[(4 * kind + k) * cells + cell];
  const Box box = fgfa::decode(anchors.corner + 4 * kind, static_cast<float>(column), static_cast<float>(row), stride,
                               delta, info[0], info[1]);
  const bool outside = static_cast<float>(row) >= floorf(info[0] / stride) ||
                       static_cast<float>(column) >= floorf(info[1] / stride);
  const float least = min_size * info[2];
  const bool small = box.x2 - box.x1 + 1.0f < least || box.y2 - box.y1 + 1.0f < least;
  const float score = prob[(kinds + kind) * cells + cell];
  boxes[index] = box;
  scores[index] = outside || small ? -1.0f : score == score ? score : -INFINITY;
  if (order != nullptr) order[index] = index;
}

// Bit j of mask[i][word]: candidate i suppresses candidate word * 64 + j, which comes after it. Grid (words, words).
extern "C" __global__ void fgfa_proposal_compare(const Box* best, int64_t candidates, int64_t words, float threshold,
                                                 Mask* mask) {
  if (blockIdx.x < blockIdx.y) return;  // later candidates cannot suppress earlier ones; these words are not read
  __shared__ Box others[kBits];
  const int64_t first = blockIdx.x * static_cast<int64_t>(kBits);
  const int64_t i = blockIdx.y * static_cast<int64_t>(kBits) + threadIdx.x;
  if (first + threadIdx.x < candidates) others[threadIdx.x] = best[first + threadIdx.x];
  __syncthreads();
  if (i >= candidates) return;
  const Box box = best[i];
  const int count = static_cast<int>(min(static_cast<int64_t>(kBits), candidates - first));
  Mask bits = 0;
  for (int j = 0; j < count; ++j) {
    if (first + j > i && fgfa::overlaps(box, others[j], threshold)) bits |= Mask{1} << j;
  }
  mask[i * words + blockIdx.x] = bits;
}

// Runs as one block. For each word, one thread decides which of its 64 candidates survive, then all threads mark what
// these suppress in later words. Finally the survivors are written, repeated from the first.
extern "C" __global__ void fgfa_proposal_suppress(const Mask* mask, int64_t candidates, int64_t words, int64_t post,
                                                  float image, const Box* best, const float* sorted_scores,
                                                  int* survivors, float* rois, float* scores) {
  FGFA_DYNAMIC_SHARED(Mask, removed);
  __shared__ Mask diagonal[kBits];  // what the candidates of this word suppress in it
  __shared__ Mask kept;
  __shared__ int64_t found;
  for (int64_t word = threadIdx.x; word < words; word += kThreads) removed[word] = 0;
  if (threadIdx.x == 0) found = 0;
  for (int64_t word = 0; word < words; ++word) {
    const int64_t own = word * kBits + threadIdx.x;
    if (threadIdx.x < kBits && own < candidates) diagonal[threadIdx.x] = mask[own * words + word];
    __syncthreads();
    if (threadIdx.x == 0) {
      Mask gone = removed[word], alive = 0;
      const int count = static_cast<int>(min(static_cast<int64_t>(kBits), candidates - word * kBits));
      for (int j = 0; j < count && found < post; ++j) {
        if (gone >> j & 1) continue;
        alive |= Mask{1} << j;
        survivors[found++] = static_cast<int>(word * kBits + j);
        gone |= diagonal[j];
      }
      kept = alive;
    }
    __syncthreads();
    if (found >= post) break;
    for (int64_t later = word + 1 + threadIdx.x; later < words; later += kThreads) {
      Mask gone = removed[later];
      for (Mask left = kept; left != 0; left &= left - 1) {
        gone |= mask[(word * kBits + __ffsll(static_cast<long long>(left)) - 1) * words + later];
      }
      removed[later] = gone;
    }
    __syncthreads();
  }
  for (int64_t k = threadIdx.x; k < post; k += kThreads) {
    const int index = survivors[k % found];
    const Box box = best[index];
    float* roi = rois + 5 * k;
    roi[0] = image;
    roi[1] = box.x1;
    roi[2] = box.y1;
    roi[3] = box.x2;
    roi[4] = box.y2;
    if (scores != nullptr) scores[k] = sorted_scores[index];
  }
}

#endif  // FGFA_PROPOSAL_CUH_

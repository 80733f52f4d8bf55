#include <cub/device/device_radix_sort.cuh>
#include <cuda_runtime.h>

#include <algorithm>
#include <vector>

#include "proposal.h"
#include "proposal_box.h"

namespace {

using fgfa::Box;
using Mask = unsigned long long;

constexpr int kThreads = 256;
constexpr int kBits = 64;        // candidates per word of the mask
constexpr int kAnchorsMost = 64;  // limit of the anchors, which are passed to the kernel by value

struct Anchors {
  float corner[4 * kAnchorsMost];
};

// The parts of the workspace, which is used for one image at a time.
struct Workspace {
  int64_t count, candidates, words;
  Box *boxes, *best;
  float *scores, *sorted_scores;
  int *index, *sorted_index, *survivors;
  Mask* mask;
  void* sort;
  size_t sort_bytes;
  int64_t bytes;

  Workspace(const FgfaProposalShape& shape, void* memory) {
    count = shape.scales * shape.ratios * shape.height * shape.width;
    candidates = shape.pre_nms > 0 ? std::min(shape.pre_nms, count) : count;
    words = (candidates + kBits - 1) / kBits;
    bytes = 0;
    char* base = static_cast<char*>(memory);
    const auto part = [&](int64_t size) {
      char* here = base + bytes;
      bytes += (size + 255) / 256 * 256;
      return static_cast<void*>(here);
    };
    boxes = static_cast<Box*>(part(count * sizeof(Box)));
    best = static_cast<Box*>(part(candidates * sizeof(Box)));
    scores = static_cast<float*>(part(count * sizeof(float)));
    sorted_scores = static_cast<float*>(part(count * sizeof(float)));
    index = static_cast<int*>(part(count * sizeof(int)));
    sorted_index = static_cast<int*>(part(count * sizeof(int)));
    survivors = static_cast<int*>(part(shape.post_nms * sizeof(int)));
    mask = static_cast<Mask*>(part(candidates * words * sizeof(Mask)));
    sort_bytes = 0;
    cub::DeviceRadixSort::SortPairsDescending(nullptr, sort_bytes, scores, sorted_scores, index, sorted_index,
                                              static_cast<int>(count));
    sort = part(static_cast<int64_t>(sort_bytes));
  }
};

__global__ void decode(Anchors anchors, int kinds, int height, int width, float stride, float min_size,
                       const float* prob, const float* deltas, const float* info, Box* boxes, float* scores,
                       int* order) {
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
  order[index] = index;
}

__global__ void gather(const Box* boxes, const int* sorted_index, int64_t candidates, Box* best) {
  const int64_t k = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (k < candidates) best[k] = boxes[sorted_index[k]];
}

// Bit j of mask[i][word]: candidate i suppresses candidate word * 64 + j, which comes after it. Grid (words, words).
__global__ void compare(const Box* best, int64_t candidates, int64_t words, float threshold, Mask* mask) {
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
__global__ void suppress(const Mask* mask, int64_t candidates, int64_t words, int64_t post, float image,
                         const Box* best, const float* sorted_scores, int* survivors, float* rois, float* scores) {
  extern __shared__ Mask removed[];
  __shared__ Mask kept;
  __shared__ int64_t found;
  for (int64_t word = threadIdx.x; word < words; word += kThreads) removed[word] = 0;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  for (int64_t word = 0; word < words; ++word) {
    if (threadIdx.x == 0) {
      Mask gone = removed[word], alive = 0;
      const int count = static_cast<int>(min(static_cast<int64_t>(kBits), candidates - word * kBits));
      for (int j = 0; j < count && found < post; ++j) {
        if (gone >> j & 1) continue;
        alive |= Mask{1} << j;
        survivors[found++] = static_cast<int>(word * kBits + j);
        gone |= mask[(word * kBits + j) * words + word];
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

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

}  // namespace

int64_t fgfa_multi_proposal_cuda_workspace(const FgfaProposalShape* shape) { return Workspace(*shape, nullptr).bytes; }

int fgfa_multi_proposal_cuda(const FgfaProposalShape* shape, const float* cls_prob, const float* bbox_pred,
                             const float* im_info, float* rois, float* scores, void* workspace, void* stream) {
  const auto queue = static_cast<cudaStream_t>(stream);
  const int64_t kinds = shape->scales * shape->ratios, cells = shape->height * shape->width;
  const Workspace w(*shape, workspace);
  const auto removed_bytes = static_cast<size_t>(w.words) * sizeof(Mask);
  if (kinds > kAnchorsMost || w.count > 0x7fffffff / 4 || w.words > 65535 || removed_bytes > 40 * 1024) {
    return cudaErrorInvalidValue;
  }
  Anchors anchors;
  fgfa_proposal_anchors(shape, anchors.corner);
  for (int64_t image = 0; image < shape->batch; ++image) {
    decode<<<blocks_for(w.count), kThreads, 0, queue>>>(
        anchors, static_cast<int>(kinds), static_cast<int>(shape->height), static_cast<int>(shape->width),
        shape->stride, shape->min_size, cls_prob + image * 2 * kinds * cells, bbox_pred + image * 4 * kinds * cells,
        im_info + 3 * image, w.boxes, w.scores, w.index);
    // A radix sort is stable: candidates with equal scores keep the order of their anchors.
    size_t sort_bytes = w.sort_bytes;
    const cudaError_t error =
        cub::DeviceRadixSort::SortPairsDescending(w.sort, sort_bytes, w.scores, w.sorted_scores, w.index,
                                                  w.sorted_index, static_cast<int>(w.count), 0, 32, queue);
    if (error != cudaSuccess) return error;
    gather<<<blocks_for(w.candidates), kThreads, 0, queue>>>(w.boxes, w.sorted_index, w.candidates, w.best);
    const auto words = static_cast<unsigned>(w.words);
    compare<<<dim3(words, words), kBits, 0, queue>>>(w.best, w.candidates, w.words, shape->nms_threshold, w.mask);
    suppress<<<1, kThreads, removed_bytes, queue>>>(
        w.mask, w.candidates, w.words, shape->post_nms, static_cast<float>(image), w.best, w.sorted_scores,
        w.survivors, rois + image * shape->post_nms * 5, scores == nullptr ? nullptr : scores + image * shape->post_nms);
  }
  return cudaGetLastError();
}

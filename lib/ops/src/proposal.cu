#include <cub/device/device_radix_sort.cuh>
#include <cuda_runtime.h>

#include <algorithm>

#include "proposal.cuh"

namespace {

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

__global__ void gather(const Box* boxes, const int* sorted_index, int64_t candidates, Box* best) {
  const int64_t k = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x;
  if (k < candidates) best[k] = boxes[sorted_index[k]];
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
    fgfa_proposal_decode<<<blocks_for(w.count), kThreads, 0, queue>>>(
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
    fgfa_proposal_compare<<<dim3(words, words), kBits, 0, queue>>>(w.best, w.candidates, w.words,
                                                                   shape->nms_threshold, w.mask);
    fgfa_proposal_suppress<<<1, kThreads, removed_bytes, queue>>>(
        w.mask, w.candidates, w.words, shape->post_nms, static_cast<float>(image), w.best, w.sorted_scores,
        w.survivors, rois + image * shape->post_nms * 5,
        scores == nullptr ? nullptr : scores + image * shape->post_nms);
  }
  return cudaGetLastError();
}

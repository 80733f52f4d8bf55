// Region proposals of a batch of images: decode, clip, sort, NMS, pad. Plain C interface.
//
// cls_prob   (batch, 2 * anchors, height, width)  object scores are the second half of the channels
// bbox_pred  (batch, 4 * anchors, height, width)  deltas dx dy dw dh, channel anchor * 4 + k
// im_info    (batch, 3)  height, width (pixels of the network's input), scale
// rois       (batch * post_nms, 5)  index of the image, x1 y1 x2 y2 in inclusive pixels
// scores     (batch * post_nms)     may be null
//
// anchors = scales * ratios, with ratios in the outer loop: the window 0, 0, stride - 1, stride - 1 is reshaped to each
// ratio (width round(sqrt(stride ^ 2 / ratio)), height round(width * ratio), halves to even), then scaled about its
// centre. Candidates are in the order (row, column, anchor), which breaks ties between scores. The score is set to -1,
// and the candidate stays in the list, if its row >= floor(image height / stride) or its column >= floor(image width /
// stride) (the padding of a batch), or if a side of the clipped box is shorter than min_size * scale. NaN scores come
// last. A box is suppressed if its overlap with a kept one is greater than nms_threshold. If fewer than post_nms boxes
// survive, they are repeated from the first.
#ifndef FGFA_PROPOSAL_H_
#define FGFA_PROPOSAL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t batch, height, width;
  int64_t scales, ratios;  // their numbers
  const float* scale;      // in host memory, even for the device
  const float* ratio;
  float stride;            // pixels per cell
  int64_t pre_nms;         // number of best boxes before NMS; <= 0: all
  int64_t post_nms;        // number of boxes after NMS, per image
  float nms_threshold;
  float min_size;
} FgfaProposalShape;

// anchors (ratios * scales, 4)
void fgfa_proposal_anchors(const FgfaProposalShape* shape, float* anchors);

void fgfa_multi_proposal_cpu(const FgfaProposalShape* shape, const float* cls_prob, const float* bbox_pred,
                             const float* im_info, float* rois, float* scores);

// The same on device memory; `stream` is a cudaStream_t. `workspace` is device memory; the first function returns its
// size in bytes, the second a cudaError_t (0: launched).
int64_t fgfa_multi_proposal_cuda_workspace(const FgfaProposalShape* shape);
int fgfa_multi_proposal_cuda(const FgfaProposalShape* shape, const float* cls_prob, const float* bbox_pred,
                             const float* im_info, float* rois, float* scores, void* workspace, void* stream);

#ifdef __cplusplus
}
#endif
#endif  // FGFA_PROPOSAL_H_

// Region proposals of a batch of images: decode, clip, sort, suppress, pad. Plain C interface.
//
// cls_prob   (batch, 2 * anchors, height, width)  the second half of the channels is the score of an object
// bbox_pred  (batch, 4 * anchors, height, width)  deltas dx dy dw dh, channel anchor * 4 + k
// im_info    (batch, 3)  height, width (pixels of the network's input), scale
// rois       (batch * post_nms, 5)  image of the batch, x1 y1 x2 y2 in pixels, inclusive
// scores     (batch * post_nms)     may be null
//
// anchors = scales * ratios, ratios outermost: the window 0, 0, stride - 1, stride - 1 is given each ratio (width
// round(sqrt(stride ^ 2 / ratio)), height round(width * ratio), halves to even) and then each scale about its centre.
// Anchors are in (row, column, anchor) order, which breaks ties of the score. The score becomes -1, and the
// anchor stays in the list, where its row >= floor(image height / stride) or its column >= floor(image width /
// stride) (the padding of a batch), and where the clipped box is narrower or lower than min_size * scale. A score
// that is not a number sorts last. A box is suppressed at an overlap > nms_threshold with a kept one. Fewer
// survivors than post_nms are repeated from the first.
#ifndef FGFA_PROPOSAL_H_
#define FGFA_PROPOSAL_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t batch, height, width;
  int64_t scales, ratios;  // how many
  const float* scale;      // host memory, also for the device
  const float* ratio;
  float stride;            // pixels per cell
  int64_t pre_nms;         // best so many enter the suppression; <= 0: all
  int64_t post_nms;        // so many leave it, per image
  float nms_threshold;
  float min_size;
} FgfaProposalShape;

// anchors (ratios * scales, 4)
void fgfa_proposal_anchors(const FgfaProposalShape* shape, float* anchors);

void fgfa_multi_proposal_cpu(const FgfaProposalShape* shape, const float* cls_prob, const float* bbox_pred,
                             const float* im_info, float* rois, float* scores);

// The same on device memory; `stream` is a cudaStream_t, `workspace` device memory of so many bytes. It returns a
// cudaError_t (0: launched).
int64_t fgfa_multi_proposal_cuda_workspace(const FgfaProposalShape* shape);
int fgfa_multi_proposal_cuda(const FgfaProposalShape* shape, const float* cls_prob, const float* bbox_pred,
                             const float* im_info, float* rois, float* scores, void* workspace, void* stream);

#ifdef __cplusplus
}
#endif
#endif  // FGFA_PROPOSAL_H_

// From anchors to boxes, for CPU and CUDA kernels.
#ifndef FGFA_PROPOSAL_BOX_H_
#define FGFA_PROPOSAL_BOX_H_

#include <math.h>

#include "bilinear.h"

namespace fgfa {

struct Box {
  float x1, y1, x2, y2;
};

FGFA_INLINE float clip(float value, float high) { return fminf(fmaxf(value, 0.0f), high); }

// The box of an anchor (given for cell 0, 0) at `column`, `row`, changed by the deltas and clipped to the image.
FGFA_INLINE Box decode(const float* anchor, float column, float row, float stride, const float delta[4],
                       float image_height, float image_width) {
  const float x1 = anchor[0] + column * stride, y1 = anchor[1] + row * stride;
  const float width = anchor[2] - anchor[0] + 1.0f, height = anchor[3] - anchor[1] + 1.0f;
  const float x = delta[0] * width + (x1 + 0.5f * (width - 1.0f));
  const float y = delta[1] * height + (y1 + 0.5f * (height - 1.0f));
  const float half_width = 0.5f * (expf(delta[2]) * width - 1.0f);
  const float half_height = 0.5f * (expf(delta[3]) * height - 1.0f);
  const float right = image_width - 1.0f, bottom = image_height - 1.0f;
  return {clip(x - half_width, right), clip(y - half_height, bottom), clip(x + half_width, right),
          clip(y + half_height, bottom)};
}

FGFA_INLINE float box_area(const Box& box) { return (box.x2 - box.x1 + 1.0f) * (box.y2 - box.y1 + 1.0f); }

FGFA_INLINE bool overlaps(const Box& a, const Box& b, float threshold) {
  const float width = fmaxf(fminf(a.x2, b.x2) - fmaxf(a.x1, b.x1) + 1.0f, 0.0f);
  const float height = fmaxf(fminf(a.y2, b.y2) - fmaxf(a.y1, b.y1) + 1.0f, 0.0f);
  const float common = width * height;
  return common / (box_area(a) + box_area(b) - common) > threshold;
}

}  // namespace fgfa
#endif  // FGFA_PROPOSAL_BOX_H_

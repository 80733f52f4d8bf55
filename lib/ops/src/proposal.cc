#include "proposal.h"

#include <algorithm>
#include <vector>

#include "proposal_box.h"

namespace {

using fgfa::Box;

// The boxes that survive NMS, stored as columns so that the comparisons vectorise.
class Kept {
 public:
  explicit Kept(int64_t capacity) : x1_(capacity), y1_(capacity), x2_(capacity), y2_(capacity), area_(capacity) {}

  int64_t size() const { return size_; }

  void add(const Box& box) {
    x1_[size_] = box.x1;
    y1_[size_] = box.y1;
    x2_[size_] = box.x2;
    y2_[size_] = box.y2;
    area_[size_] = fgfa::box_area(box);
    ++size_;
  }

  bool suppresses(const Box& box, float threshold) const {
    const float area = fgfa::box_area(box);
    constexpr int64_t block = 64;  // boxes compared between two checks of the result
    for (int64_t first = 0; first < size_; first += block) {
      const int64_t last = std::min(first + block, size_);
      int found = 0;
      for (int64_t k = first; k < last; ++k) {
        const float right = x2_[k] < box.x2 ? x2_[k] : box.x2, left = x1_[k] > box.x1 ? x1_[k] : box.x1;
        const float bottom = y2_[k] < box.y2 ? y2_[k] : box.y2, top = y1_[k] > box.y1 ? y1_[k] : box.y1;
        const float width = right - left + 1.0f, height = bottom - top + 1.0f;
        const float common = (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
        found |= common / (area + area_[k] - common) > threshold;
      }
      if (found) return true;
    }
    return false;
  }

 private:
  int64_t size_ = 0;
  std::vector<float> x1_, y1_, x2_, y2_, area_;
};

void propose(const FgfaProposalShape& shape, const std::vector<float>& anchors, const float* prob, const float* deltas,
             const float* info, float image, float* rois, float* scores_out) {
  const int64_t kinds = shape.scales * shape.ratios, cells = shape.height * shape.width, count = kinds * cells;
  std::vector<Box> boxes(count);
  std::vector<float> scores(count);
  std::vector<int64_t> order(count);
  const float rows_inside = floorf(info[0] / shape.stride), columns_inside = floorf(info[1] / shape.stride);
  const float least = shape.min_size * info[2];
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < shape.height; ++row) {
    for (int64_t column = 0; column < shape.width; ++column) {
      for (int64_t kind = 0; kind < kinds; ++kind) {
        const int64_t cell = row * shape.width + column, index = cell * kinds + kind;
        float delta[4];
        for (int k = 0; k < 4; ++k) delta[k] = deltas[(4 * kind + k) * cells + cell];
        const Box box = fgfa::decode(anchors.data() + 4 * kind, static_cast<float>(column), static_cast<float>(row),
                                     shape.stride, delta, info[0], info[1]);
        const bool outside = static_cast<float>(row) >= rows_inside || static_cast<float>(column) >= columns_inside;
        const bool small = box.x2 - box.x1 + 1.0f < least || box.y2 - box.y1 + 1.0f < least;
        const float score = prob[(kinds + kind) * cells + cell];
        boxes[index] = box;
        scores[index] = outside || small ? -1.0f : score == score ? score : -INFINITY;
        order[index] = index;
      }
    }
  }

  const int64_t candidates = shape.pre_nms > 0 ? std::min(shape.pre_nms, count) : count;
  const auto before = [&scores](int64_t a, int64_t b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  };
  if (candidates < count) std::nth_element(order.begin(), order.begin() + candidates, order.end(), before);
  std::sort(order.begin(), order.begin() + candidates, before);

  Kept kept(std::min(shape.post_nms, candidates));
  std::vector<int64_t> survivors;
  for (int64_t k = 0; k < candidates && kept.size() < shape.post_nms; ++k) {
    const Box& box = boxes[order[k]];
    if (kept.suppresses(box, shape.nms_threshold)) continue;
    kept.add(box);
    survivors.push_back(order[k]);
  }
  for (int64_t k = 0; k < shape.post_nms; ++k) {
    const int64_t index = survivors[k % survivors.size()];
    float* roi = rois + 5 * k;
    roi[0] = image;
    roi[1] = boxes[index].x1;
    roi[2] = boxes[index].y1;
    roi[3] = boxes[index].x2;
    roi[4] = boxes[index].y2;
    if (scores_out != nullptr) scores_out[k] = scores[index];
  }
}

}  // namespace

void fgfa_proposal_anchors(const FgfaProposalShape* shape, float* anchors) {
  const double side = shape->stride, centre = 0.5 * (side - 1.0);
  for (int64_t r = 0; r < shape->ratios; ++r) {
    const double width = nearbyint(sqrt(side * side / shape->ratio[r]));
    const double height = nearbyint(width * shape->ratio[r]);
    for (int64_t s = 0; s < shape->scales; ++s) {
      const double half_width = 0.5 * (width * shape->scale[s] - 1.0);
      const double half_height = 0.5 * (height * shape->scale[s] - 1.0);
      float* anchor = anchors + 4 * (r * shape->scales + s);
      anchor[0] = static_cast<float>(centre - half_width);
      anchor[1] = static_cast<float>(centre - half_height);
      anchor[2] = static_cast<float>(centre + half_width);
      anchor[3] = static_cast<float>(centre + half_height);
    }
  }
}

void fgfa_multi_proposal_cpu(const FgfaProposalShape* shape, const float* cls_prob, const float* bbox_pred,
                             const float* im_info, float* rois, float* scores) {
  const int64_t kinds = shape->scales * shape->ratios, cells = shape->height * shape->width;
  std::vector<float> anchors(4 * kinds);
  fgfa_proposal_anchors(shape, anchors.data());
  for (int64_t image = 0; image < shape->batch; ++image) {
    propose(*shape, anchors, cls_prob + image * 2 * kinds * cells, bbox_pred + image * 4 * kinds * cells,
            im_info + 3 * image, static_cast<float>(image), rois + image * shape->post_nms * 5,
            scores == nullptr ? nullptr : scores + image * shape->post_nms);
  }
}

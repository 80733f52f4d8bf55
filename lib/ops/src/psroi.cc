#include "psroi.h"

#include <string.h>

#include <vector>

#include "psroi_bins.h"

namespace {

using fgfa::Span;

// The cells of all bins of a region: rows first, then columns.
void region_spans(const FgfaPsroiShape& shape, const float* roi, Span* spans) {
  const int group = static_cast<int>(shape.group);
  for (int k = 0; k < group; ++k) {
    spans[k] = fgfa::bin_span(roi[2], roi[4], shape.spatial_scale, group, k, static_cast<int>(shape.height));
    spans[group + k] = fgfa::bin_span(roi[1], roi[3], shape.spatial_scale, group, k, static_cast<int>(shape.width));
  }
}

}  // namespace

int64_t fgfa_psroi_bad_region(const FgfaPsroiShape* shape, const float* rois) {
  for (int64_t r = 0; r < shape->regions; ++r) {
    const float image = rois[5 * r];
    if (!(image >= 0.0f && image < static_cast<float>(shape->batch) && image == floorf(image))) return r;
  }
  return -1;
}

void fgfa_psroi_mean_forward_cpu(const FgfaPsroiShape* shape, const float* data, const float* rois, float* out) {
  const int64_t group = shape->group, bins = group * group, cells = shape->height * shape->width;
#pragma omp parallel
  {
    std::vector<Span> spans(2 * group);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < shape->regions; ++r) {
      region_spans(*shape, rois + 5 * r, spans.data());
      const float* image = data + static_cast<int64_t>(rois[5 * r]) * shape->outputs * bins * cells;
      for (int64_t c = 0; c < shape->outputs; ++c) {
        float total = 0.0f;
        for (int64_t bin = 0; bin < bins; ++bin) {
          const Span rows = spans[bin / group], columns = spans[group + bin % group];
          if (rows.end <= rows.begin || columns.end <= columns.begin) continue;
          const float* plane = image + (c * bins + bin) * cells;
          float sum = 0.0f;
          for (int y = rows.begin; y < rows.end; ++y) {
            const float* row = plane + y * shape->width;
            for (int x = columns.begin; x < columns.end; ++x) sum += row[x];
          }
          total += sum / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
        }
        out[r * shape->outputs + c] = total / static_cast<float>(bins);
      }
    }
  }
}

void fgfa_psroi_mean_backward_cpu(const FgfaPsroiShape* shape, const float* grad_out, const float* rois,
                                  float* grad_data) {
  const int64_t group = shape->group, bins = group * group, cells = shape->height * shape->width;
  std::vector<Span> spans(2 * group * shape->regions);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < shape->regions; ++r) region_spans(*shape, rois + 5 * r, spans.data() + 2 * group * r);

  // Each plane is computed by one thread, which adds the regions in order.
  const int64_t planes_per_image = shape->outputs * bins;
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < shape->batch * planes_per_image; ++plane) {
    const int64_t image = plane / planes_per_image, c = plane % planes_per_image / bins, bin = plane % bins;
    float* to = grad_data + plane * cells;
    memset(to, 0, cells * sizeof(float));
    for (int64_t r = 0; r < shape->regions; ++r) {
      if (static_cast<int64_t>(rois[5 * r]) != image) continue;
      const Span* region = spans.data() + 2 * group * r;
      const Span rows = region[bin / group], columns = region[group + bin % group];
      if (rows.end <= rows.begin || columns.end <= columns.begin) continue;
      const float share = grad_out[r * shape->outputs + c] / static_cast<float>(bins) /
                          static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
      for (int y = rows.begin; y < rows.end; ++y) {
        float* row = to + y * shape->width;
        for (int x = columns.begin; x < columns.end; ++x) row[x] += share;
      }
    }
  }
}

// Position-sensitive RoI pooling and the mean over its bins, in one pass. Plain C interface.
//
// data  (batch, group * group * outputs, height, width)  channel (c * group + row) * group + column
// rois  (regions, 5)  index of the image, x1 y1 x2 y2 in inclusive pixels of the network input
// out   (regions, outputs)
//
// A region is rounded to whole pixels (halves away from zero), extended by one pixel to the right and bottom, scaled,
// and made at least 0.1 cell wide and high. Bin k of `group` spans floor(k * bin + start) to
// ceil((k + 1) * bin + start), in float32 and without fused multiply-add, clipped to the map; an empty bin is 0.
#ifndef FGFA_PSROI_H_
#define FGFA_PSROI_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t batch, outputs, group, height, width, regions;
  float spatial_scale;
} FgfaPsroiShape;

// Index of the first region whose image is not in the batch; -1 if there is none.
int64_t fgfa_psroi_bad_region(const FgfaPsroiShape* shape, const float* rois);

void fgfa_psroi_mean_forward_cpu(const FgfaPsroiShape* shape, const float* data, const float* rois, float* out);

// Writes grad_data (shape of data). Sums have a fixed order, which does not depend on the number of threads.
void fgfa_psroi_mean_backward_cpu(const FgfaPsroiShape* shape, const float* grad_out, const float* rois,
                                  float* grad_data);

// The same on device memory; `stream` is a cudaStream_t. They return a cudaError_t (0: launched). A region whose image
// is not in the batch gives zeros. There are no atomic additions, so runs are bitwise reproducible.
int fgfa_psroi_mean_forward_cuda(const FgfaPsroiShape* shape, const float* data, const float* rois, float* out,
                                 void* stream);
int fgfa_psroi_mean_backward_cuda(const FgfaPsroiShape* shape, const float* grad_out, const float* rois,
                                  float* grad_data, void* stream);

#ifdef __cplusplus
}
#endif
#endif  // FGFA_PSROI_H_

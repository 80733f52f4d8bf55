// Bilinear sampling of a map along a flow. Plain C interface, independent of MXNet.
//
// data      (batch, channels, height, width)  float32, contiguous
// flow      (batch, 2, height, width)         in cells of the map; plane 0 is x, plane 1 is y
// out(y, x) = data(y + flow_y, x + flow_x); each of the four taps that is outside the map counts as zero.
// A flow that is not finite, or points more than a cell outside the map, gives zero and gets no gradient.
#ifndef FGFA_WARP_H_
#define FGFA_WARP_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t batch, channels, height, width;
} FgfaWarpShape;

void fgfa_warp_forward_cpu(const FgfaWarpShape* shape, const float* data, const float* flow, float* out);

// Writes grad_data (shape of data) and grad_flow (shape of flow). Sums have a fixed order, which does not depend on the
// number of threads. At whole cells, the gradient of the flow is the one-sided one towards larger coordinates.
void fgfa_warp_backward_cpu(const FgfaWarpShape* shape, const float* grad_out, const float* data, const float* flow,
                            float* grad_data, float* grad_flow);

// The same on device memory; `stream` is a cudaStream_t. They return a cudaError_t (0: launched). The gradient
// of the data is summed by atomic additions, so its last bits may differ between runs.
int fgfa_warp_forward_cuda(const FgfaWarpShape* shape, const float* data, const float* flow, float* out,
                           void* stream);
int fgfa_warp_backward_cuda(const FgfaWarpShape* shape, const float* grad_out, const float* data, const float* flow,
                            float* grad_data, float* grad_flow, void* stream);

#ifdef __cplusplus
}
#endif
#endif  // FGFA_WARP_H_

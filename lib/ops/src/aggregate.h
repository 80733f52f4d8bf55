// Flow-guided aggregation of a window of frames in one pass, without a warped copy. Plain C interface.
//
// features    (slots, height, width, channels + embedding)  float32: the ring, one frame per slot, in any order;
//             channels of the features first, then those of the embedding
// flow        (frames, 2, height, width)  in cells, from the current frame to the frame at each position of the window
// order       (frames)  slot of the frame at each position; a slot may occur several times (at the ends of a clip);
//             -1: the position is left out, and its weight is 0; not allowed for the current frame
// current     position of the current frame in the window
// aggregated  (channels, height, width)
// weights     (frames, height, width)  sum to 1 over the frames; may be null
//
// For each cell: the features and embeddings of every frame, the current one included, are warped along the flow
// (bilinear, zero outside the map). The weights are the softmax over the frames of the cosine between the warped
// embedding of a frame and that of the current frame, where each norm is sqrt(sum of squares + 1e-10). The result is
// the weighted sum of the warped features. A frame that is sampled outside the map has cosine 0, but still a weight.
#ifndef FGFA_AGGREGATE_H_
#define FGFA_AGGREGATE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t slots, frames, height, width, channels, embedding, current;
} FgfaAggregateShape;

// Index of the first position that is not left out and whose slot is not a whole number in 0..slots-1; -1 if there is
// none.
int64_t fgfa_aggregate_bad_position(const FgfaAggregateShape* shape, const float* order);

void fgfa_aggregate_cpu(const FgfaAggregateShape* shape, const float* features, const float* flow, const float* order,
                        float* aggregated, float* weights);

// The same on device memory; `stream` is a cudaStream_t. `kind` is the type of `features`: 0 float32, 1 bfloat16
// (sums are always float32). Returns a cudaError_t (0: launched). A position with an invalid slot, other than -1,
// counts as sampled outside the map.
int fgfa_aggregate_cuda(const FgfaAggregateShape* shape, int kind, const void* features, const float* flow,
                        const float* order, float* aggregated, float* weights, void* stream);

#ifdef __cplusplus
}
#endif
#endif  // FGFA_AGGREGATE_H_

// Flow-guided aggregation of a window of frames in one pass, without a warped copy. Plain C interface.
//
// features    (slots, height, width, channels + embedding)  float32: the ring, a frame a slot, in any order; the
//             feature's channels first, then its embedding's
// flow        (frames, 2, height, width)  cells; from the current frame to the frame at each position of the window
// order       (frames)  slot of the frame at each position; a slot may come several times (ends of a clip)
// current     position of the current frame in the window
// aggregated  (channels, height, width)
// weights     (frames, height, width), sum 1 over the frames; may be null
//
// At each cell: warp feature and embedding of every frame along its flow (bilinear, zero outside the map), the
// current frame along its own; cosine of the warped embedding with the current frame's, each divided by
// sqrt(sum of squares + 1e-10); softmax of the cosines over the frames; sum of the warped features so weighted.
// A frame that is sampled outside the map has cosine 0 and still takes its weight.
#ifndef FGFA_AGGREGATE_H_
#define FGFA_AGGREGATE_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int64_t slots, frames, height, width, channels, embedding, current;
} FgfaAggregateShape;

// Index of the first position whose slot is not a whole number in 0..slots-1; -1 where all are.
int64_t fgfa_aggregate_bad_position(const FgfaAggregateShape* shape, const float* order);

void fgfa_aggregate_cpu(const FgfaAggregateShape* shape, const float* features, const float* flow, const float* order,
                        float* aggregated, float* weights);

// The same on device memory; `stream` is a cudaStream_t. `kind` is the type of `features`: 0 float32, 1 float16,
// 2 bfloat16 (sums are float32 in each). It returns a cudaError_t (0: launched). A position whose slot is wrong
// counts as sampled outside.
int fgfa_aggregate_cuda(const FgfaAggregateShape* shape, int kind, const void* features, const float* flow,
                        const float* order, float* aggregated, float* weights, void* stream);

#ifdef __cplusplus
}
#endif
#endif  // FGFA_AGGREGATE_H_

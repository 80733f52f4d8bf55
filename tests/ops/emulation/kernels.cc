// One of the .cuh files: -DKERNELS="warp.cuh" -DFGFA_warp.
#include "cuda.h"

#include KERNELS

#ifdef FGFA_warp
EMULATED(fgfa_warp_forward);
EMULATED(fgfa_warp_backward_data);
EMULATED(fgfa_warp_backward_flow);
#endif
#ifdef FGFA_psroi
EMULATED(fgfa_psroi_mean_forward);
EMULATED(fgfa_psroi_mean_backward);
#endif
#ifdef FGFA_proposal
EMULATED(fgfa_proposal_decode);
EMULATED(fgfa_proposal_compare);
EMULATED(fgfa_proposal_suppress);
#endif
#ifdef FGFA_aggregate
EMULATED(fgfa_aggregate_float32_4_2);
EMULATED(fgfa_aggregate_float32_4_1);
EMULATED(fgfa_aggregate_float32_1_2);
EMULATED(fgfa_aggregate_float32_1_1);
EMULATED(fgfa_aggregate_bfloat16_4_2);
EMULATED(fgfa_aggregate_bfloat16_4_1);
EMULATED(fgfa_aggregate_bfloat16_1_2);
EMULATED(fgfa_aggregate_bfloat16_1_1);
#endif

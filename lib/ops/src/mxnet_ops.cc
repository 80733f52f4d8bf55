// Registers the kernels as MXNet operators. The header of each kernel describes what it computes.
#include "aggregate.h"
#include "mxnet_args.h"
#include "mxnet_call.h"
#include "proposal.h"
#include "psroi.h"
#include "warp.h"

namespace {

using fgfa::Attributes;
using fgfa::floats;
using fgfa::Refused;
using fgfa::Shape;
using fgfa::Shapes;
using fgfa::Tensors;
using fgfa::told;
using fgfa::zero;
using fgfa::zero_backward;
using mxnet::ext::MXReturnValue;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;

// ---- fgfa_warp ----------------------------------------------------------------------------------------------

FgfaWarpShape warp_shape(const MXTensor& data) { return {data.shape[0], data.shape[1], data.shape[2], data.shape[3]}; }

MXReturnValue warp_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return told("fgfa_warp", [&] {
    fgfa::allow_only(attributes, {});
    *inputs = 2;
    *outputs = 1;
  });
}

MXReturnValue warp_shapes(const Attributes&, Shapes* in, Shapes* out) {
  return told("fgfa_warp", [&] {
    fgfa::expect_inputs(in->size(), 2, "data, flow");
    const Shape& data = (*in)[0];
    fgfa::expect("data", data, {-2, -1, -1, -1}, "(batch, channels, height, width)");
    fgfa::expect("flow", (*in)[1], {data[0], 2, data[2], data[3]},
                 "(batch, 2, height, width) of data " + fgfa::text(data));
    (*out)[0] = data;
  });
}

template <bool gpu>
MXReturnValue warp_forward(const Attributes&, Tensors* in, Tensors* out, const OpResource& resource) {
  return told("fgfa_warp", [&] {
    const FgfaWarpShape shape = warp_shape((*in)[0]);
    FGFA_CALL(fgfa_warp_forward, &shape, floats(in, 0), floats(in, 1), floats(out, 0));
  });
}

template <bool gpu>
MXReturnValue warp_backward(const Attributes&, Tensors* in, Tensors* out, const OpResource& resource) {
  return told("fgfa_warp", [&] {
    const FgfaWarpShape shape = warp_shape((*in)[1]);
    FGFA_CALL(fgfa_warp_backward, &shape, floats(in, 0), floats(in, 1), floats(in, 2), floats(out, 0), floats(out, 1));
  });
}

// ---- fgfa_aggregate -----------------------------------------------------------------------------------------

MXReturnValue aggregate_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return told("fgfa_aggregate", [&] {
    fgfa::allow_only(attributes, {"feature_channels", "current", "with_weights"});
    fgfa::whole(attributes, "feature_channels", 1);
    fgfa::whole(attributes, "current", 0);
    const int64_t with_weights = fgfa::whole(attributes, "with_weights", 0);
    if (with_weights > 1) throw Refused("attribute 'with_weights' must be 0 or 1");
    *inputs = 3;
    *outputs = with_weights ? 2 : 1;
  });
}

MXReturnValue aggregate_shapes(const Attributes& attributes, Shapes* in, Shapes* out) {
  return told("fgfa_aggregate", [&] {
    fgfa::expect_inputs(in->size(), 3, "features, flow, order");
    const Shape &features = (*in)[0], &flow = (*in)[1];
    const unsigned channels = static_cast<unsigned>(fgfa::whole(attributes, "feature_channels", 1));
    fgfa::expect("features", features, {-1, -1, -1, -1}, "(slots, height, width, channels), no axis empty");
    if (features[3] <= channels) {
      throw Refused("features has shape " + fgfa::text(features) + "; its last axis must be longer than feature_channels " +
                    std::to_string(channels) + ", as the rest is the embedding");
    }
    fgfa::expect("flow", flow, {-1, 2, features[1], features[2]},
                 "(frames, 2, height, width) of features " + fgfa::text(features));
    fgfa::expect("order", (*in)[2], {flow[0]}, "(frames,) of flow " + fgfa::text(flow));
    if (fgfa::whole(attributes, "current", 0) >= flow[0]) {
      throw Refused("attribute 'current' is " + attributes.at("current") + "; the window has " +
                    std::to_string(flow[0]) + " frames");
    }
    (*out)[0] = {1, channels, features[1], features[2]};
    if (out->size() > 1) (*out)[1] = {flow[0], 1, features[1], features[2]};
  });
}

template <bool gpu>
MXReturnValue aggregate_forward(const Attributes& attributes, Tensors* in, Tensors* out, const OpResource& resource) {
  return told("fgfa_aggregate", [&] {
    const std::vector<int64_t>&features = (*in)[0].shape, &flow = (*in)[1].shape;
    const int64_t channels = fgfa::whole(attributes, "feature_channels", 1);
    const FgfaAggregateShape shape = {features[0], flow[0],  features[1],           features[2],
                                      channels,    features[3] - channels, fgfa::whole(attributes, "current", 0)};
    float* weights = out->size() > 1 ? floats(out, 1) : nullptr;
#ifdef FGFA_WITH_CUDA
    if (gpu) {
      fgfa::launched(fgfa_aggregate_cuda(&shape, 0, floats(in, 0), floats(in, 1), floats(in, 2), floats(out, 0),
                                         weights, resource.get_cuda_stream()));
      return;
    }
#endif
    const int64_t bad = fgfa_aggregate_bad_position(&shape, floats(in, 2));
    if (bad >= 0) {
      throw Refused("order[" + std::to_string(bad) + "] is " + std::to_string(floats(in, 2)[bad]) +
                    ": not a slot of the ring of " + std::to_string(shape.slots));
    }
    fgfa_aggregate_cpu(&shape, floats(in, 0), floats(in, 1), floats(in, 2), floats(out, 0), weights);
  });
}

// ---- fgfa_multi_proposal ------------------------------------------------------------------------------------

// The shape, and the lists that it points to.
struct Proposal {
  std::vector<float> scales, ratios;
  FgfaProposalShape shape;

  explicit Proposal(const Attributes& attributes)
      : scales(fgfa::positives(attributes, "scales")), ratios(fgfa::positives(attributes, "ratios")) {
    shape = {0, 0, 0, static_cast<int64_t>(scales.size()), static_cast<int64_t>(ratios.size()), scales.data(),
             ratios.data(), static_cast<float>(fgfa::positive(attributes, "feature_stride")),
             fgfa::whole(attributes, "pre_nms_top_n", 0), fgfa::whole(attributes, "post_nms_top_n", 1),
             static_cast<float>(fgfa::number(attributes, "nms_threshold", 0.0)),
             static_cast<float>(fgfa::number(attributes, "min_size", 0.0))};
  }
  Proposal(const Proposal&) = delete;
  Proposal& operator=(const Proposal&) = delete;
  int64_t anchors() const { return shape.scales * shape.ratios; }
};

MXReturnValue proposal_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return told("fgfa_multi_proposal", [&] {
    fgfa::allow_only(attributes, {"feature_stride", "scales", "ratios", "pre_nms_top_n", "post_nms_top_n",
                                  "nms_threshold", "min_size", "with_scores"});
    const Proposal proposal(attributes);
    const int64_t with_scores = fgfa::whole(attributes, "with_scores", 0);
    if (with_scores > 1) throw Refused("attribute 'with_scores' must be 0 or 1");
    *inputs = 3;
    *outputs = with_scores ? 2 : 1;
  });
}

MXReturnValue proposal_shapes(const Attributes& attributes, Shapes* in, Shapes* out) {
  return told("fgfa_multi_proposal", [&] {
    fgfa::expect_inputs(in->size(), 3, "cls_prob, bbox_pred, im_info");
    const Proposal proposal(attributes);
    const Shape& prob = (*in)[0];
    const std::string kinds = std::to_string(proposal.anchors());
    fgfa::expect("cls_prob", prob, {-2, 2 * proposal.anchors(), -1, -1},
                 "(batch, 2 * " + kinds + " anchors, height, width)");
    fgfa::expect("bbox_pred", (*in)[1], {prob[0], 4 * proposal.anchors(), prob[2], prob[3]},
                 "(batch, 4 * " + kinds + " anchors, height, width) of cls_prob " + fgfa::text(prob));
    fgfa::expect("im_info", (*in)[2], {prob[0], 3}, "(batch, 3) of cls_prob " + fgfa::text(prob));
    const unsigned rois = prob[0] * static_cast<unsigned>(proposal.shape.post_nms);
    (*out)[0] = {rois, 5};
    if (out->size() > 1) (*out)[1] = {rois, 1};
  });
}

template <bool gpu>
MXReturnValue proposal_forward(const Attributes& attributes, Tensors* in, Tensors* out, const OpResource& resource) {
  return told("fgfa_multi_proposal", [&] {
    Proposal proposal(attributes);
    proposal.shape.batch = (*in)[0].shape[0];
    proposal.shape.height = (*in)[0].shape[2];
    proposal.shape.width = (*in)[0].shape[3];
    float* scores = out->size() > 1 ? floats(out, 1) : nullptr;
#ifdef FGFA_WITH_CUDA
    if (gpu) {
      const int64_t bytes = fgfa_multi_proposal_cuda_workspace(&proposal.shape);
      if (bytes > 0x7fffffff) throw Refused("needs " + std::to_string(bytes) + " bytes of workspace; limit: 2 GiB");
      fgfa::launched(fgfa_multi_proposal_cuda(&proposal.shape, floats(in, 0), floats(in, 1), floats(in, 2),
                                              floats(out, 0), scores, resource.alloc_gpu(static_cast<int>(bytes)),
                                              resource.get_cuda_stream()));
      return;
    }
#endif
    fgfa_multi_proposal_cpu(&proposal.shape, floats(in, 0), floats(in, 1), floats(in, 2), floats(out, 0), scores);
  });
}

// ---- fgfa_psroi_mean ----------------------------------------------------------------------------------------

FgfaPsroiShape psroi_shape(const Attributes& attributes, const MXTensor& data, const MXTensor& rois) {
  return {data.shape[0],
          fgfa::whole(attributes, "output_dim", 1),
          fgfa::whole(attributes, "group_size", 1),
          data.shape[2],
          data.shape[3],
          rois.shape[0],
          static_cast<float>(fgfa::positive(attributes, "spatial_scale"))};
}

MXReturnValue psroi_attributes(const Attributes& attributes, int* inputs, int* outputs) {
  return told("fgfa_psroi_mean", [&] {
    fgfa::allow_only(attributes, {"output_dim", "group_size", "spatial_scale"});
    fgfa::whole(attributes, "output_dim", 1);
    fgfa::whole(attributes, "group_size", 1);
    fgfa::positive(attributes, "spatial_scale");
    *inputs = 2;
    *outputs = 1;
  });
}

MXReturnValue psroi_shapes(const Attributes& attributes, Shapes* in, Shapes* out) {
  return told("fgfa_psroi_mean", [&] {
    fgfa::expect_inputs(in->size(), 2, "data, rois");
    const int64_t outputs = fgfa::whole(attributes, "output_dim", 1), group = fgfa::whole(attributes, "group_size", 1);
    fgfa::expect("data", (*in)[0], {-1, group * group * outputs, -1, -1},
                 "(batch, " + std::to_string(group * group * outputs) + " = group_size ^ 2 * output_dim, height, width)");
    fgfa::expect("rois", (*in)[1], {-2, 5}, "(regions, 5)");
    (*out)[0] = {(*in)[1][0], static_cast<unsigned>(outputs)};
  });
}

void check_regions(const FgfaPsroiShape& shape, const float* rois) {
  const int64_t bad = fgfa_psroi_bad_region(&shape, rois);
  if (bad < 0) return;
  throw Refused("rois[" + std::to_string(bad) + ", 0] is " + std::to_string(rois[5 * bad]) +
                ": not an image of the batch of " + std::to_string(shape.batch));
}

template <bool gpu>
MXReturnValue psroi_forward(const Attributes& attributes, Tensors* in, Tensors* out, const OpResource& resource) {
  return told("fgfa_psroi_mean", [&] {
    const FgfaPsroiShape shape = psroi_shape(attributes, (*in)[0], (*in)[1]);
    if (!gpu) check_regions(shape, floats(in, 1));
    FGFA_CALL(fgfa_psroi_mean_forward, &shape, floats(in, 0), floats(in, 1), floats(out, 0));
  });
}

template <bool gpu>
MXReturnValue psroi_backward(const Attributes& attributes, Tensors* in, Tensors* out, const OpResource& resource) {
  return told("fgfa_psroi_mean", [&] {
    const FgfaPsroiShape shape = psroi_shape(attributes, (*in)[1], (*in)[2]);
    if (!gpu) check_regions(shape, floats(in, 2));
    FGFA_CALL(fgfa_psroi_mean_backward, &shape, floats(in, 0), floats(in, 2), floats(out, 0));
    Tensors rois_gradient = {(*out)[1]};
    zero<gpu>(&rois_gradient, resource);
  });
}

}  // namespace

FGFA_REGISTER(fgfa_warp, warp_attributes, warp_shapes, warp_forward, warp_backward);
FGFA_REGISTER(fgfa_aggregate, aggregate_attributes, aggregate_shapes, aggregate_forward, zero_backward);
FGFA_REGISTER(fgfa_multi_proposal, proposal_attributes, proposal_shapes, proposal_forward, zero_backward);
FGFA_REGISTER(fgfa_psroi_mean, psroi_attributes, psroi_shapes, psroi_forward, psroi_backward);

mxnet::ext::MXReturnValue initialize(int version) {
  if (version >= 10700) return mxnet::ext::MX_SUCCESS;
  fgfa::tell("the operators need MXNet 1.7 or later");
  return mxnet::ext::MX_FAIL;
}

// What the MXNet operators share: access to tensors, a call on the CPU or the GPU, registration.
//
// MXNet does not say whether gradients should be accumulated, so backward always overwrites. The inputs of a backward
// call are the gradients of the outputs, then the inputs, then the outputs.
#ifndef FGFA_MXNET_CALL_H_
#define FGFA_MXNET_CALL_H_

#include <string.h>

#include <string>
#include <vector>

#include "mxnet_args.h"

namespace fgfa {

using mxnet::ext::MXReturnValue;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using Tensors = std::vector<MXTensor>;
using Shapes = std::vector<Shape>;

inline float* floats(Tensors* tensors, size_t k) { return (*tensors)[k].data<float>(); }

#ifdef FGFA_WITH_CUDA
extern "C" int fgfa_fill_zero_cuda(void* data, int64_t bytes, void* stream);

inline void launched(int error) {
  if (error != 0) throw Refused("CUDA error " + std::to_string(error));
}
#endif

template <bool gpu>
void zero(Tensors* outputs, const OpResource& resource) {
  for (MXTensor& tensor : *outputs) {
    const int64_t bytes = tensor.size() * static_cast<int64_t>(sizeof(float));
    if (bytes == 0) continue;
#ifdef FGFA_WITH_CUDA
    if (gpu) {
      launched(fgfa_fill_zero_cuda(tensor.data_ptr, bytes, resource.get_cuda_stream()));
      continue;
    }
#endif
    memset(tensor.data_ptr, 0, bytes);
  }
}

inline MXReturnValue float32_types(const Attributes&, std::vector<int>* inputs, std::vector<int>* outputs) {
  return told("fgfa operator", [&] { float32_only(inputs, outputs); });
}

// Zero gradients, so that an operator without gradients can be part of a training graph.
template <bool gpu>
MXReturnValue zero_backward(const Attributes&, Tensors*, Tensors* outputs, const OpResource& resource) {
  return told("fgfa operator", [&] { zero<gpu>(outputs, resource); });
}

}  // namespace fgfa

// FGFA_CALL calls the CPU or the CUDA version of a kernel; the latter takes the stream as its last argument.
#ifdef FGFA_WITH_CUDA
#define FGFA_CALL(name, ...)                                                \
  do {                                                                      \
    if (gpu) {                                                              \
      fgfa::launched(name##_cuda(__VA_ARGS__, resource.get_cuda_stream())); \
    } else {                                                                \
      name##_cpu(__VA_ARGS__);                                              \
    }                                                                       \
  } while (false)
#define FGFA_ON_GPU(forward, backward) .setForward(forward<true>, "gpu").setBackward(backward<true>, "gpu")
#else
#define FGFA_CALL(name, ...) name##_cpu(__VA_ARGS__)
#define FGFA_ON_GPU(forward, backward)
#endif

#define FGFA_REGISTER(op, attributes, shapes, forward, backward) \
  REGISTER_OP(op)                                                \
      .setForward(forward<false>, "cpu")                         \
      .setBackward(backward<false>, "cpu")                       \
      FGFA_ON_GPU(forward, backward)                             \
      .setParseAttrs(attributes)                                 \
      .setInferType(fgfa::float32_types)                         \
      .setInferShape(shapes)

#endif  // FGFA_MXNET_CALL_H_

// Runs the CPU kernels on edge cases, for the address and undefined-behaviour sanitizers
// (`python -m lib.ops.build --sanitize`). Every array is a separate allocation of exactly its size, so that any access
// out of bounds is found. Exits with status 1 if a result that must be finite is not.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <initializer_list>
#include <random>
#include <vector>

#include "aggregate.h"
#include "proposal.h"
#include "psroi.h"
#include "warp.h"

namespace {

std::mt19937 generator(1);
int cases = 0;

const float kOdd[] = {0.0f,  -0.0f, 0.5f,      -0.5f,     1.0f, -1.0f,   1e-30f, 1e9f,
                      -1e9f, 3e38f, -INFINITY, INFINITY, NAN,  2147483648.0f, -1e30f, 0.999999f};

std::vector<float> normal(int64_t size, float spread) {
  std::normal_distribution<float> draw(0.0f, spread);
  std::vector<float> values(size);
  for (float& value : values) value = draw(generator);
  return values;
}

// Normally distributed numbers, one in four of them replaced by an unusual value.
std::vector<float> odd(int64_t size, float spread) {
  std::vector<float> values = normal(size, spread);
  for (float& value : values) {
    if (generator() % 4 == 0) value = kOdd[generator() % (sizeof(kOdd) / sizeof(kOdd[0]))];
  }
  return values;
}

void must_be_finite(const char* what, const std::vector<float>& values) {
  for (float value : values) {
    if (!isfinite(value)) {
      fprintf(stderr, "%s: a result is not finite\n", what);
      exit(1);
    }
  }
}

void warp(int64_t batch, int64_t channels, int64_t height, int64_t width) {
  const FgfaWarpShape shape = {batch, channels, height, width};
  const int64_t cells = batch * height * width;
  const std::vector<float> data = normal(cells * channels, 1), above = normal(cells * channels, 1);
  const std::vector<float> flow = odd(cells * 2, 3);
  std::vector<float> out(data.size()), grad_data(data.size()), grad_flow(flow.size());
  fgfa_warp_forward_cpu(&shape, data.data(), flow.data(), out.data());
  fgfa_warp_backward_cpu(&shape, above.data(), data.data(), flow.data(), grad_data.data(), grad_flow.data());
  must_be_finite("warp", out);
  must_be_finite("warp, gradient of data", grad_data);
  must_be_finite("warp, gradient of flow", grad_flow);
  ++cases;
}

void psroi(int64_t batch, int64_t outputs, int64_t group, int64_t height, int64_t width, int64_t regions) {
  const FgfaPsroiShape shape = {batch, outputs, group, height, width, regions, 0.0625f};
  const std::vector<float> data = normal(batch * outputs * group * group * height * width, 1);
  std::vector<float> rois = odd(5 * regions, 200);
  for (int64_t r = 0; r < regions; ++r) rois[5 * r] = static_cast<float>(generator() % batch);
  if (fgfa_psroi_bad_region(&shape, rois.data()) != -1) exit(1);
  std::vector<float> out(regions * outputs), grad(data.size());
  fgfa_psroi_mean_forward_cpu(&shape, data.data(), rois.data(), out.data());
  fgfa_psroi_mean_backward_cpu(&shape, out.data(), rois.data(), grad.data());
  must_be_finite("psroi", out);
  must_be_finite("psroi, gradient", grad);
  for (float wrong : {-1.0f, static_cast<float>(batch), 0.5f, NAN, INFINITY}) {
    if (regions == 0) break;
    rois[5 * (regions - 1)] = wrong;
    if (fgfa_psroi_bad_region(&shape, rois.data()) != regions - 1) exit(1);
  }
  ++cases;
}

void proposal(int64_t batch, int64_t height, int64_t width, int64_t pre, int64_t post, float threshold, bool scored) {
  const std::vector<float> scales = {8, 16, 32}, ratios = {0.5f, 1, 2};
  const FgfaProposalShape shape = {batch,         height, width, 3,    3,         scales.data(),
                                   ratios.data(), 16,     pre,   post, threshold, 8};
  const std::vector<float> prob = odd(batch * 18 * height * width, 1), deltas = odd(batch * 36 * height * width, 2);
  std::vector<float> info(3 * batch);
  for (int64_t k = 0; k < batch; ++k) {
    info[3 * k] = static_cast<float>(16 * height - 5 * (k % 2));
    info[3 * k + 1] = static_cast<float>(16 * width);
    info[3 * k + 2] = 1.5f;
  }
  std::vector<float> rois(batch * post * 5), scores(scored ? batch * post : 0);
  fgfa_multi_proposal_cpu(&shape, prob.data(), deltas.data(), info.data(), rois.data(),
                          scored ? scores.data() : nullptr);
  must_be_finite("proposal", rois);
  ++cases;
}

void aggregate(int64_t slots, int64_t frames, int64_t height, int64_t width, int64_t channels, int64_t embedding,
               bool weighted) {
  const FgfaAggregateShape shape = {slots, frames, height, width, channels, embedding, frames / 2};
  const std::vector<float> features = normal(slots * height * width * (channels + embedding), 1);
  const std::vector<float> flow = odd(frames * 2 * height * width, 2);
  std::vector<float> order(frames);
  for (float& slot : order) slot = static_cast<float>(generator() % slots);
  if (frames > 1) order[0] = -1.0f;  // left out
  if (fgfa_aggregate_bad_position(&shape, order.data()) != -1) exit(1);
  std::vector<float> out(channels * height * width), weights(weighted ? frames * height * width : 0);
  fgfa_aggregate_cpu(&shape, features.data(), flow.data(), order.data(), out.data(),
                     weighted ? weights.data() : nullptr);
  must_be_finite("aggregate", out);
  must_be_finite("aggregate, weights", weights);
  order[0] = static_cast<float>(slots);
  if (fgfa_aggregate_bad_position(&shape, order.data()) != 0) exit(1);
  ++cases;
}

}  // namespace

int main() {
  for (int64_t height : {1, 2, 5, 9}) {
    for (int64_t width : {1, 3, 8, 17}) {
      for (int64_t batch : {1, 3}) {
        warp(batch, 1, height, width);
        warp(batch, 5, height, width);
        for (int64_t regions : {0, 1, 20}) {
          psroi(batch, 1, 1, height, width, regions);
          psroi(batch, 2, 7, height, width, regions);
        }
        proposal(batch, height, width, 6000, 300, 0.7f, true);
        proposal(batch, height, width, 7, 20, 0.0f, false);
        proposal(batch, height, width, 0, 1, 1.0f, true);
      }
      aggregate(1, 1, height, width, 1, 1, true);
      aggregate(3, 5, height, width, 4, 19, false);
      aggregate(2, 4, height, width, 33, 7, true);
    }
  }
  warp(0, 3, 4, 5);
  printf("%d cases\n", cases);
  return 0;
}

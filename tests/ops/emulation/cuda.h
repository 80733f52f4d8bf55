// Enough of CUDA's language to run the kernels on the CPU, a block at a time. The threads of a block are coroutines that
// stop at each barrier and shuffle, and run on when all have come there.
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)
#define __restrict__ __restrict
#define FGFA_DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulation::shared.data())

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

constexpr size_t kStack = 64 * 1024;
static std::vector<char> shared;

struct Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(kStack);
  bool done = false;
  float offered[2] = {0.0f, 0.0f};  // to shuffles, in turn
  unsigned shuffles = 0;
};
static std::vector<Thread> threads;
static size_t running;
static ucontext_t scheduler;
static void (*body)(void** arguments);
static void** body_arguments;

static dim3 index_of(size_t thread) {
  const unsigned flat = static_cast<unsigned>(thread);
  return {flat % blockDim.x, flat / blockDim.x % blockDim.y, flat / blockDim.x / blockDim.y};
}

static void enter() {
  body(body_arguments);
  threads[running].done = true;
}

static void pause() {
  const size_t own = running;
  swapcontext(&threads[own].context, &scheduler);
}

static void run_block() {
  for (Thread& thread : threads) {
    thread.done = false;
    thread.shuffles = 0;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = thread.stack.size();
    thread.context.uc_link = &scheduler;
    makecontext(&thread.context, enter, 0);
  }
  for (bool any = true; any;) {
    any = false;
    for (running = 0; running < threads.size(); ++running) {
      if (threads[running].done) continue;
      threadIdx = index_of(running);
      swapcontext(&scheduler, &threads[running].context);
      any = any || !threads[running].done;
    }
  }
}

// Calls a kernel with the addresses of its arguments, as cuLaunchKernel does.
template <typename... Arguments, size_t... numbers>
void apply(void (*kernel)(Arguments...), void** arguments, std::index_sequence<numbers...>) {
  kernel(*static_cast<std::remove_reference_t<Arguments>*>(arguments[numbers])...);
}
template <typename... Arguments>
void call(void (*kernel)(Arguments...), void** arguments) {
  apply(kernel, arguments, std::index_sequence_for<Arguments...>());
}

static std::map<std::string, void (*)(void**)> kernels;

}  // namespace emulation

static void __syncthreads() { emulation::pause(); }

static float __shfl_down_sync(unsigned, float value, int step) {
  using emulation::threads;
  const size_t own = emulation::running, turn = threads[own].shuffles++ % 2;
  threads[own].offered[turn] = value;
  emulation::pause();
  const size_t from = own + step;
  return from / 32 == own / 32 && from < threads.size() ? threads[from].offered[turn] : value;
}

static int __ffsll(long long value) { return __builtin_ffsll(value); }

static float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static void atomicAdd(float* to, float value) { *to += value; }

using std::min;

#define EMULATED(kernel) \
  static const bool kernel##_known = (emulation::kernels[#kernel] = [](void** a) { emulation::call(kernel, a); }, true)

// Returns 1 if there is no such kernel.
extern "C" int emulate(const char* name, const unsigned* grid, const unsigned* block, unsigned shared_bytes,
                       void** arguments) {
  using namespace emulation;
  const auto found = kernels.find(name);
  if (found == kernels.end()) return 1;
  body = found->second;
  body_arguments = arguments;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  shared.assign(shared_bytes, static_cast<char>(0xff));  // not zero: a kernel must write before it reads
  threads = std::vector<Thread>(static_cast<size_t>(block[0]) * block[1] * block[2]);
  for (unsigned z = 0; z < grid[2]; ++z) {
    for (unsigned y = 0; y < grid[1]; ++y) {
      for (unsigned x = 0; x < grid[0]; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
    }
  }
  return 0;
}

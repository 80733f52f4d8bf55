// A CUDA driver whose one GPU has the limits of sm_75 and runs the kernels of kernels.cc. Calls without the context that
// was retained fail, as does a launch of more than 1024 threads.
#include <stdint.h>

#include <set>
#include <string>

extern "C" int emulate(const char* name, const unsigned* grid, const unsigned* block, unsigned shared, void** arguments);

namespace {
void* current = nullptr;
int context;
std::set<std::string> names;
}  // namespace

extern "C" {
int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** retained, int) {
  *retained = &context;
  return 0;
}
int cuCtxGetCurrent(void** found) {
  *found = current;
  return 0;
}
int cuCtxSetCurrent(void* chosen) {
  current = chosen;
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 97 ? 64 * 1024 : -1;
  return 0;
}
int cuModuleLoadData(void** module, const char* code) {
  if (current != &context) return 201;
  *module = const_cast<char*>(code);
  return std::string(code) == "machine code" ? 0 : 300;
}
int cuModuleGetFunction(void** function, void*, const char* name) {
  *function = const_cast<char*>(names.insert(name).first->c_str());
  return 0;
}
int cuFuncSetAttribute(void*, int attribute, int bytes) { return attribute == 8 && bytes <= 64 * 1024 ? 0 : 1; }
int cuGetErrorName(int status, const char** name) {
  *name = status == 1 ? "CUDA_ERROR_INVALID_VALUE" : status == 300 ? "CUDA_ERROR_INVALID_SOURCE" : nullptr;
  return 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* stream, void** arguments, void** extra) {
  if (current != &context || stream != reinterpret_cast<void*>(7) || extra != nullptr) return 201;
  if (bx * by * bz > 1024) return 1;
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  return emulate(static_cast<const char*>(function), grid, block, shared, arguments);
}
}

// Parses and checks what MXNet passes to an operator: attributes (strings), shapes and types.
#ifndef FGFA_MXNET_ARGS_H_
#define FGFA_MXNET_ARGS_H_

#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "mxnet/lib_api.h"

namespace fgfa {

using Attributes = std::unordered_map<std::string, std::string>;
using Shape = std::vector<unsigned int>;

// An error message of one line; `told` reports it in the way that MXNet expects.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// MXNet prints all messages since the library was loaded. Overwriting a single stream makes a failure show only its own
// message.
inline void tell(const std::string& message) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  static std::stringstream& stream = MX_ERROR_MSG;
  stream.str(message);
}

template <typename Call>
mxnet::ext::MXReturnValue told(const char* op, Call call) {
  try {
    call();
    return mxnet::ext::MX_SUCCESS;
  } catch (const std::exception& error) {
    tell(std::string(op) + ": " + error.what());
    return mxnet::ext::MX_FAIL;
  }
}

inline std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text.empty() ? "none" : text;
}

// Names that start with two underscores belong to MXNet (such as __lr_mult__).
inline void allow_only(const Attributes& attributes, const std::vector<std::string>& names) {
  for (const auto& attribute : attributes) {
    if (attribute.first.compare(0, 2, "__") == 0) continue;
    bool known = false;
    for (const std::string& name : names) known = known || name == attribute.first;
    if (!known) throw Refused("unknown attribute '" + attribute.first + "'; valid attributes: " + join(names));
  }
}

// The numbers of an attribute such as "7", "0.0625", "(8, 16, 32)", "[0.5, 1]".
inline std::vector<double> numbers(const Attributes& attributes, const std::string& name) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) throw Refused("attribute '" + name + "' is missing");
  std::string text = found->second;
  for (char& letter : text) {
    if (letter == '(' || letter == ')' || letter == '[' || letter == ']' || letter == ',') letter = ' ';
  }
  std::istringstream words(text);
  words.imbue(std::locale::classic());
  std::vector<double> values;
  for (double value; words >> value;) values.push_back(value);
  if (values.empty() || !words.eof()) {
    throw Refused("attribute '" + name + "' is '" + found->second + "': it must be one or more numbers");
  }
  return values;
}

inline double number(const Attributes& attributes, const std::string& name, double least) {
  const std::vector<double> values = numbers(attributes, name);
  if (values.size() != 1 || !(values[0] >= least && values[0] < 1e15)) {
    std::ostringstream message;
    message << "attribute '" << name << "' is '" << attributes.at(name) << "': it must be a single number of at least "
            << least;
    throw Refused(message.str());
  }
  return values[0];
}

inline int64_t whole(const Attributes& attributes, const std::string& name, int64_t least) {
  const double value = number(attributes, name, static_cast<double>(least));
  if (value != static_cast<double>(static_cast<int64_t>(value))) {
    throw Refused("attribute '" + name + "' is '" + attributes.at(name) + "': it must be a whole number");
  }
  return static_cast<int64_t>(value);
}

inline double positive(const Attributes& attributes, const std::string& name) {
  const double value = number(attributes, name, 0.0);
  if (value == 0.0) throw Refused("attribute '" + name + "' is 0: it must be greater than 0");
  return value;
}

inline std::vector<float> positives(const Attributes& attributes, const std::string& name) {
  std::vector<float> values;
  for (double value : numbers(attributes, name)) {
    if (!(value > 0.0 && value < 1e6)) {
      throw Refused("attribute '" + name + "' is '" + attributes.at(name) + "': every number must be greater than 0");
    }
    values.push_back(static_cast<float>(value));
  }
  return values;
}

inline std::string text(const Shape& shape) {
  std::ostringstream words;
  words << "(";
  for (size_t k = 0; k < shape.size(); ++k) words << (k ? ", " : "") << shape[k];
  words << (shape.size() == 1 ? ",)" : ")");
  return words.str();
}

// Checks a shape against the expected lengths `axes`: -1: any length above 0, -2: any length. `form` is the same in
// words, for the message. MXNet also uses a length of 0 for an unknown one.
inline void expect(const char* name, const Shape& shape, const std::vector<int64_t>& axes, const std::string& form) {
  if (shape.empty()) throw Refused(std::string("the shape of ") + name + " is unknown: give the shapes of all inputs");
  bool good = shape.size() == axes.size();
  for (size_t k = 0; good && k < axes.size(); ++k) {
    if (shape[k] > 0x7fffffffu) {
      throw Refused(std::string("the shape of ") + name + " is unknown: give the shapes of all inputs");
    }
    good = axes[k] == -2 || (axes[k] == -1 ? shape[k] > 0 : static_cast<int64_t>(shape[k]) == axes[k]);
  }
  if (!good) throw Refused(std::string(name) + " has shape " + text(shape) + "; it must be " + form);
}

inline void expect_inputs(size_t given, size_t wanted, const char* names) {
  if (given != wanted) throw Refused("takes " + std::to_string(wanted) + " inputs (" + names + "), got " +
                                     std::to_string(given));
}

// All inputs and outputs must be float32; a type that is not known yet is set to it.
inline void float32_only(std::vector<int>* inputs, std::vector<int>* outputs) {
  for (size_t k = 0; k < inputs->size(); ++k) {
    int& type = (*inputs)[k];
    if (type == -1 || type == mxnet::ext::kUNSET) type = mxnet::ext::kFloat32;
    if (type != mxnet::ext::kFloat32) throw Refused("input " + std::to_string(k) + " must be float32");
  }
  for (int& type : *outputs) type = mxnet::ext::kFloat32;
}

}  // namespace fgfa
#endif  // FGFA_MXNET_ARGS_H_

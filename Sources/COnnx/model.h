// A parsed model: the arrays behind the C view of it.
#pragma once

#include "internal.h"

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

namespace onnx_shim {

struct Tensor {
    std::string name, location;
    std::vector<int64_t> dims;
    std::vector<uint8_t> unpacked; // the elements, where the file has varints
    onnx_tensor view = {};
};

struct Attribute {
    std::string name, s;
    std::vector<int64_t> ints;
    std::vector<float> floats;
    float f = 0;
    int64_t i = 0;
    int32_t tensor = -1, graph = -1;
    bool has_f = false, has_i = false;
};

struct Node {
    std::string op_type, domain, name;
    std::vector<int32_t> inputs, outputs;
    std::vector<Attribute> attributes;
    std::vector<onnx_attribute> attribute_views;
    int64_t position = -1;
};

struct InputType {
    int32_t data_type = 0, rank = -1;
    std::vector<int64_t> dims;
};

struct Graph {
    std::string path;
    int64_t parent = -1;
    std::vector<Node> nodes;
    std::vector<onnx_node> node_views;
    std::vector<int32_t> inputs, outputs;
    std::vector<InputType> input_types;
    std::vector<onnx_input_type> input_type_views;
    std::vector<onnx_initializer> initializers;
    onnx_graph view = {};
};

} // namespace onnx_shim

struct onnx_model {
    std::deque<onnx_shim::Tensor> tensors;
    std::deque<onnx_shim::Graph> graphs;
    std::unordered_map<std::string, int32_t> values;
    std::vector<const std::string *> names; // keys of `values`, by number

    int32_t value(const std::string &name) {
        const auto [entry, is_new] =
            values.try_emplace(name, static_cast<int32_t>(values.size()));
        if (is_new) names.push_back(&entry->first);
        return entry->second;
    }
};

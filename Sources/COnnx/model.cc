// From the skeleton through libonnx to plain arrays, local functions inlined.
#include "model.h"
#include "tensor.h"

#include <google/protobuf/arena.h>
#include <map>
#include <memory>
#include <set>
#include <utility>

namespace onnx_shim {
namespace {

// Calls within calls, and nodes after inlining: a few functions that call each other
// twice could otherwise fill any memory.
constexpr int deepest_call = 32;
constexpr size_t most_nodes = 1'000'000;

using Attributes = std::map<std::string, const onnx::AttributeProto *>;

// How names of values are read: as they stand, or renamed inside an inlined function.
struct Scope {
    std::string prefix;                             // "" outside functions
    std::unordered_map<std::string, int32_t> bound; // a function's inputs and outputs
    Attributes attributes;                          // what the call states
    int depth = 0;
};

class Flattener {
  public:
    Flattener(const onnx::ModelProto &proto, const Skeleton &skeleton, const uint8_t *bytes,
        onnx_model &model)
        : skeleton(skeleton), bytes(bytes), model(model) {
        for (const auto &function : proto.functions())
            functions[{function.domain(), function.name()}] = &function;
        Scope outermost;
        add_graph(proto.graph(), -1, "", outermost);
    }

  private:
    const Skeleton &skeleton;
    const uint8_t *bytes;
    onnx_model &model;
    std::map<std::pair<std::string, std::string>, const onnx::FunctionProto *> functions;
    size_t node_count = 0, call_count = 0;

    int32_t value(const std::string &name, const Scope &scope) {
        if (name.empty()) return -1;
        if (scope.depth == 0) return model.value(name);
        const auto known = scope.bound.find(name);
        return known != scope.bound.end() ? known->second
                                          : model.value(scope.prefix + name);
    }

    int32_t add_tensor(const onnx::TensorProto &proto) {
        const uint32_t index = index_from(proto.raw_data());
        if (index >= skeleton.payloads.size()) refuse("a tensor is damaged");
        model.tensors.emplace_back();
        read_tensor(proto, skeleton.payloads[index], bytes, model.tensors.back());
        return static_cast<int32_t>(model.tensors.size() - 1);
    }

    static InputType input_type(const onnx::ValueInfoProto &input) {
        InputType type;
        const auto &tensor = input.type().tensor_type();
        type.data_type = tensor.elem_type();
        if (!tensor.has_shape()) return type;
        for (const auto &dim : tensor.shape().dim())
            type.dims.push_back(dim.has_dim_value() ? dim.dim_value() : -1);
        type.rank = static_cast<int32_t>(type.dims.size());
        return type;
    }

    void add_graph(const onnx::GraphProto &proto, int64_t parent, const std::string &path,
        const Scope &scope) {
        const auto id = static_cast<int64_t>(model.graphs.size());
        model.graphs.emplace_back();
        Graph &graph = model.graphs.back(); // a deque: stays where it is
        graph.path = path;
        graph.parent = parent;
        std::set<int32_t> named;
        for (const auto &tensor : proto.initializer()) {
            const int32_t name = value(tensor.name(), scope);
            if (!named.insert(name).second)
                throw Refusal(ONNX_E_FORMAT, "two initializers are named " + tensor.name());
            graph.initializers.push_back({name, add_tensor(tensor)});
        }
        for (const auto &input : proto.input()) {
            graph.inputs.push_back(value(input.name(), scope));
            graph.input_types.push_back(input_type(input));
        }
        for (const auto &output : proto.output())
            graph.outputs.push_back(value(output.name(), scope));
        for (const auto &node : proto.node()) add_node(node, graph, id, scope);
    }

    void add_node(
        const onnx::NodeProto &proto, Graph &graph, int64_t graph_id, const Scope &scope) {
        const auto function = functions.find({proto.domain(), proto.op_type()});
        if (function != functions.end())
            return inline_call(proto, *function->second, graph, graph_id, scope);
        if (++node_count > most_nodes)
            throw Refusal(ONNX_E_UNSUPPORTED,
                "the file has more than " + std::to_string(most_nodes) + " nodes");
        Node node;
        node.op_type = proto.op_type();
        node.domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
        node.name = proto.name();
        for (const auto &name : proto.input()) node.inputs.push_back(value(name, scope));
        for (const auto &name : proto.output()) node.outputs.push_back(value(name, scope));
        if (scope.depth == 0) node.position = index_from(proto.doc_string());
        for (const auto &attribute : proto.attribute()) {
            const onnx::AttributeProto *stated = &attribute;
            if (!attribute.ref_attr_name().empty()) {
                const auto given = scope.attributes.find(attribute.ref_attr_name());
                if (given == scope.attributes.end()) continue; // takes the op's default
                stated = given->second;
            }
            add_attribute(attribute.name(), *stated, node, graph, graph_id, scope);
        }
        graph.nodes.push_back(std::move(node));
    }

    void add_attribute(const std::string &name, const onnx::AttributeProto &proto,
        Node &node, Graph &graph, int64_t graph_id, const Scope &scope) {
        Attribute attribute;
        attribute.name = name;
        attribute.has_f = proto.has_f();
        attribute.has_i = proto.has_i();
        attribute.f = proto.f();
        attribute.i = proto.i();
        attribute.s = proto.s();
        attribute.ints.assign(proto.ints().begin(), proto.ints().end());
        attribute.floats.assign(proto.floats().begin(), proto.floats().end());
        if (proto.has_t()) attribute.tensor = add_tensor(proto.t());
        const std::string path =
            (graph.path.empty() ? "" : graph.path + "/") + node.op_type + "." + name;
        if (proto.has_g() || proto.graphs_size() > 0)
            attribute.graph = static_cast<int32_t>(model.graphs.size());
        if (proto.has_g()) add_graph(proto.g(), graph_id, path, scope);
        for (const auto &inner : proto.graphs()) add_graph(inner, graph_id, path, scope);
        node.attributes.push_back(std::move(attribute));
    }

    void inline_call(const onnx::NodeProto &call, const onnx::FunctionProto &function,
        Graph &graph, int64_t graph_id, const Scope &caller) {
        if (caller.depth >= deepest_call || ++call_count > most_nodes)
            throw Refusal(ONNX_E_UNSUPPORTED,
                "function " + quoted(function.name()) + " nests too deeply");
        Scope scope;
        scope.depth = caller.depth + 1;
        scope.prefix = function.name() + "#" + std::to_string(call_count) + "/";
        for (int i = 0; i < function.input_size(); ++i)
            scope.bound[function.input(i)] =
                i < call.input_size() ? value(call.input(i), caller) : -1;
        for (int i = 0; i < function.output_size() && i < call.output_size(); ++i)
            if (!call.output(i).empty())
                scope.bound[function.output(i)] = value(call.output(i), caller);
        for (const auto &attribute : call.attribute()) {
            if (attribute.ref_attr_name().empty()) {
                scope.attributes[attribute.name()] = &attribute;
            } else if (const auto given = caller.attributes.find(attribute.ref_attr_name());
                       given != caller.attributes.end()) {
                scope.attributes[attribute.name()] = given->second;
            }
        }
        for (const auto &node : function.node()) add_node(node, graph, graph_id, scope);
    }
};

// Points the C structs at the arrays, once nothing moves any more.
void finish(onnx_model &model) {
    for (auto &tensor : model.tensors) {
        tensor.view.name = tensor.name.c_str();
        tensor.view.location = tensor.location.c_str();
        tensor.view.dims = tensor.dims.data();
        tensor.view.rank = tensor.dims.size();
    }
    for (auto &graph : model.graphs) {
        for (auto &node : graph.nodes) {
            for (const auto &a : node.attributes)
                node.attribute_views.push_back({a.name.c_str(), a.f, a.tensor, a.i,
                    a.s.c_str(), a.ints.data(), a.ints.size(), a.floats.data(),
                    a.floats.size(), a.has_f, a.has_i, a.graph});
            graph.node_views.push_back({node.op_type.c_str(), node.domain.c_str(),
                node.name.c_str(), node.inputs.data(), node.inputs.size(),
                node.outputs.data(), node.outputs.size(), node.attribute_views.data(),
                node.attribute_views.size(), node.position});
        }
        for (const auto &type : graph.input_types)
            graph.input_type_views.push_back({type.data_type, type.rank, type.dims.data()});
        graph.view = {graph.path.c_str(), graph.parent, graph.node_views.data(),
            graph.node_views.size(), graph.inputs.data(), graph.input_type_views.data(),
            graph.inputs.size(), graph.outputs.data(), graph.outputs.size(),
            graph.initializers.data(), graph.initializers.size()};
    }
}

// Messages in an arena: outside one, protobuf loses the message at hand when memory runs
// out, or ends the process. Its blocks are allocated here rather than in libprotobuf, and
// so have the reserve of CSupport behind them.
google::protobuf::ArenaOptions arena_options() {
    google::protobuf::ArenaOptions options;
    options.block_alloc = [](size_t size) { return ::operator new(size); };
    options.block_dealloc = [](void *block, size_t) { ::operator delete(block); };
    return options;
}

} // namespace
} // namespace onnx_shim

using namespace onnx_shim;

extern "C" onnx_status onnx_model_parse(
    const void *bytes, size_t count, onnx_model **out, onnx_message *message) {
    return boundary(message, [&] {
        const auto *file = static_cast<const uint8_t *>(bytes);
        Skeleton skeleton = scan(file, count);
        google::protobuf::Arena arena(arena_options());
        auto *proto = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena);
        if (!proto->ParsePartialFromString(skeleton.bytes) || !proto->has_graph())
            refuse("it is not an ONNX model");
        std::string().swap(skeleton.bytes);
        auto model = std::make_unique<onnx_model>();
        Flattener(*proto, skeleton, file, *model);
        finish(*model);
        *out = model.release();
    });
}

extern "C" void onnx_model_free(onnx_model *model) { delete model; }

extern "C" size_t onnx_model_graph_count(const onnx_model *model) {
    return model->graphs.size();
}
extern "C" const onnx_graph *onnx_model_graph(const onnx_model *model, size_t index) {
    return &model->graphs[index].view;
}
extern "C" size_t onnx_model_tensor_count(const onnx_model *model) {
    return model->tensors.size();
}
extern "C" const onnx_tensor *onnx_model_tensor(const onnx_model *model, size_t index) {
    return &model->tensors[index].view;
}
extern "C" size_t onnx_model_value_count(const onnx_model *model) {
    return model->names.size();
}
extern "C" const char *onnx_model_value_name(const onnx_model *model, size_t value) {
    return model->names[value]->c_str();
}

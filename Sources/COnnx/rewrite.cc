// Writes a model again with some nodes edited, and initializers added and left out.
#include "internal.h"

#include <climits>
#include <cstdlib>
#include <cstring>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <map>
#include <set>

namespace onnx_shim {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

enum class Kind { other, model, graph, node, attribute, function };

// What a field of a message holds, as far as nodes may lie in it.
Kind kind_of(Kind parent, int field) {
    if (parent == Kind::model && field == 7) return Kind::graph;
    if (parent == Kind::model && field == 25) return Kind::function;
    if (parent == Kind::graph && field == 1) return Kind::node;
    if (parent == Kind::function && field == 7) return Kind::node;
    if (parent == Kind::node && field == 5) return Kind::attribute;
    if (parent == Kind::attribute && (field == 6 || field == 11)) return Kind::graph;
    return Kind::other;
}

void append_varint(std::string &out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
}

void append_text(std::string &out, int field, const char *bytes, size_t count) {
    append_varint(out, static_cast<uint64_t>(field) << 3 | 2);
    append_varint(out, count);
    out.append(bytes, count);
}

// Bytes to come: ranges of the source and new text, so that weights are not copied yet.
struct Rope {
    struct Piece {
        size_t offset, length;
        std::string text; // if not empty, instead of the range
    };
    std::vector<Piece> pieces;
    size_t length = 0;
    bool is_changed = false;

    void range(size_t begin, size_t end) {
        length += end - begin;
        if (!pieces.empty() && pieces.back().text.empty() &&
            pieces.back().offset + pieces.back().length == begin)
            pieces.back().length += end - begin;
        else
            pieces.push_back({begin, end - begin, {}});
    }
    void text(std::string text) {
        length += text.size();
        is_changed = true;
        const size_t size = text.size();
        if (size > 0) pieces.push_back({0, size, std::move(text)});
    }
    void append(Rope &&other) {
        length += other.length;
        is_changed |= other.is_changed;
        for (auto &piece : other.pieces) pieces.push_back(std::move(piece));
    }
};

struct Edit {
    std::string op_type; // empty: stays
    std::vector<std::string> inputs;
};

class Rewriter {
  public:
    std::map<int64_t, Edit> edits;
    std::set<int64_t> removed;
    std::set<std::string> dropped;
    std::string initializers;

    Rewriter(const uint8_t *bytes, size_t count)
        : bytes(bytes), count(count), input(bytes, static_cast<int>(count)) {}

    void add(const onnx_new_tensor &tensor) {
        std::string proto;
        for (size_t d = 0; d < tensor.rank; ++d) {
            append_varint(proto, 1 << 3);
            append_varint(proto, static_cast<uint64_t>(tensor.dims[d]));
        }
        append_varint(proto, 2 << 3);
        append_varint(proto, static_cast<uint64_t>(tensor.data_type));
        append_text(proto, 8, tensor.name, std::strlen(tensor.name));
        if (tensor.location) {
            append_entry(proto, "location", tensor.location);
            append_entry(proto, "offset", std::to_string(tensor.offset));
            append_entry(proto, "length", std::to_string(tensor.byte_count));
            append_varint(proto, 14 << 3); // data_location
            append_varint(proto, 1);       // EXTERNAL
        } else {
            append_text(
                proto, 9, static_cast<const char *>(tensor.data), tensor.byte_count);
        }
        append_text(initializers, 5, proto.data(), proto.size());
    }

    Rope run() {
        for (const auto &edit : edits) changes_types |= !edit.second.op_type.empty();
        const auto limit = input.PushLimit(static_cast<int>(count));
        Rope rope = message(Kind::model, 0);
        input.PopLimit(limit);
        if (!edits.empty()) refuse("a node to edit is not in the file");
        return rope;
    }

  private:
    const uint8_t *bytes;
    size_t count;
    CodedInputStream input;
    int64_t nodes = 0;
    bool changes_types = false;

    size_t position() const { return static_cast<size_t>(input.CurrentPosition()); }

    static void append_entry(
        std::string &proto, const std::string &key, const std::string &value) {
        std::string entry;
        append_text(entry, 1, key.data(), key.size());
        append_text(entry, 2, value.data(), value.size());
        append_text(proto, 13, entry.data(), entry.size());
    }

    // The name of the TensorProto whose field ends at the stream's position.
    std::string tensor_name(size_t begin) const {
        CodedInputStream tensor(bytes + begin, static_cast<int>(position() - begin));
        uint32_t length = 0;
        std::string name;
        tensor.ReadTag();
        tensor.ReadVarint32(&length);
        while (const uint32_t tag = tensor.ReadTag()) {
            if (WireFormatLite::GetTagFieldNumber(tag) != 8) {
                if (!WireFormatLite::SkipField(&tensor, tag)) break;
            } else if (!tensor.ReadVarint32(&length) ||
                       !tensor.ReadString(&name, static_cast<int>(length))) {
                break;
            }
        }
        return name;
    }

    // True if a field that was just skipped is left out.
    bool leaves_out(Kind kind, int field, const Edit *edit, size_t begin) const {
        if (kind == Kind::node && edit)
            return field == 1 ||
                   (!edit->op_type.empty() && (field == 4 || field == 5 || field == 7));
        if (kind != Kind::graph) return false;
        if (field == 13) return changes_types; // value_info
        return field == 5 && !dropped.empty() && dropped.count(tensor_name(begin)) > 0;
    }

    Rope message(Kind kind, int depth) {
        if (depth > 90) refuse("graphs nest too deeply");
        const auto found = kind == Kind::node ? edits.find(nodes++) : edits.end();
        const Edit *edit = found == edits.end() ? nullptr : &found->second;
        Rope out;
        for (size_t begin = position(); const uint32_t tag = input.ReadTag();
             begin = position()) {
            const int field = WireFormatLite::GetTagFieldNumber(tag);
            const Kind child = kind_of(kind, field);
            if (child == Kind::other) {
                if (!WireFormatLite::SkipField(&input, tag)) refuse("a damaged field");
                if (leaves_out(kind, field, edit, begin))
                    out.is_changed = true;
                else
                    out.range(begin, position());
                continue;
            }
            uint32_t length = 0;
            if (!input.ReadVarint32(&length) || length > INT_MAX)
                refuse("a damaged length");
            const auto limit = input.PushLimit(static_cast<int>(length));
            const bool is_removed = child == Kind::node && removed.count(nodes) > 0;
            Rope inner = message(child, depth + 1);
            input.PopLimit(limit);
            if (is_removed || leaves_out(kind, field, edit, begin)) {
                out.is_changed = true;
                continue;
            }
            // The main graph, wherever it stands, takes the initializers once.
            if (kind == Kind::model && child == Kind::graph) {
                inner.text(std::move(initializers));
                initializers.clear();
            }
            if (inner.is_changed) {
                std::string head;
                append_varint(head, tag);
                append_varint(head, inner.length);
                out.text(std::move(head));
                out.append(std::move(inner));
            } else {
                out.range(begin, position());
            }
        }
        if (!input.ConsumedEntireMessage()) refuse("a damaged message");
        if (edit) {
            std::string fields;
            for (const auto &name : edit->inputs)
                append_text(fields, 1, name.data(), name.size());
            if (!edit->op_type.empty())
                append_text(fields, 4, edit->op_type.data(), edit->op_type.size());
            out.text(std::move(fields));
            edits.erase(found);
        }
        return out;
    }
};

} // namespace
} // namespace onnx_shim

using namespace onnx_shim;

extern "C" onnx_status onnx_model_rewrite(const void *bytes, size_t count,
    const onnx_node_edit *edits, size_t edit_count, const onnx_new_tensor *tensors,
    size_t tensor_count, const char *const *dropped, size_t dropped_count, uint8_t **out,
    size_t *out_count, onnx_message *message) {
    return boundary(message, [&] {
        if (count > INT_MAX) throw Refusal(ONNX_E_UNSUPPORTED, "the file is over 2 GiB");
        const auto *source = static_cast<const uint8_t *>(bytes);
        Rewriter rewriter(source, count);
        for (size_t i = 0; i < edit_count; ++i) {
            const onnx_node_edit &edit = edits[i];
            if (edit.is_removal)
                rewriter.removed.insert(edit.position);
            else
                rewriter.edits[edit.position] = {edit.op_type ? edit.op_type : "",
                    {edit.inputs, edit.inputs + edit.input_count}};
        }
        for (size_t i = 0; i < tensor_count; ++i) rewriter.add(tensors[i]);
        rewriter.dropped.insert(dropped, dropped + dropped_count);
        const Rope rope = rewriter.run();
        if (rope.length > INT_MAX)
            throw Refusal(ONNX_E_UNSUPPORTED, "the file would grow over 2 GiB");
        auto *result = static_cast<uint8_t *>(std::malloc(rope.length + 1));
        if (!result) throw std::bad_alloc();
        size_t at = 0;
        for (const auto &piece : rope.pieces) {
            const void *from = piece.text.empty()
                                   ? source + piece.offset
                                   : static_cast<const void *>(piece.text.data());
            std::memcpy(result + at, from, piece.length);
            at += piece.length;
        }
        *out = result;
        *out_count = at;
    });
}

extern "C" void onnx_bytes_free(uint8_t *bytes) { std::free(bytes); }

// Writes a model again with new initializers and a few node inputs reading them.
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

class Rewriter {
  public:
    Rewriter(
        const uint8_t *bytes, size_t count, const onnx_rewiring *rewirings, size_t many)
        : input(bytes, static_cast<int>(count)) {
        std::set<std::string> written;
        for (size_t i = 0; i < many; ++i) {
            const onnx_rewiring &rewiring = rewirings[i];
            names[{rewiring.position, rewiring.input}] = rewiring.name;
            if (!written.insert(rewiring.name).second) continue;
            std::string tensor;
            for (size_t d = 0; d < rewiring.rank; ++d) {
                append_varint(tensor, 1 << 3);
                append_varint(tensor, static_cast<uint64_t>(rewiring.dims[d]));
            }
            append_varint(tensor, 2 << 3);
            append_varint(tensor, static_cast<uint64_t>(rewiring.data_type));
            append_text(tensor, 8, rewiring.name, std::strlen(rewiring.name));
            append_text(
                tensor, 9, static_cast<const char *>(rewiring.data), rewiring.byte_count);
            append_text(initializers, 5, tensor.data(), tensor.size());
        }
        const auto limit = input.PushLimit(static_cast<int>(count));
        rope = message(Kind::model, 0);
        input.PopLimit(limit);
        if (!names.empty()) refuse("a node to rewire is not in the file");
    }

    Rope rope;

  private:
    CodedInputStream input;
    std::map<std::pair<int64_t, size_t>, std::string> names;
    std::string initializers;
    int64_t nodes = 0;

    size_t position() const { return static_cast<size_t>(input.CurrentPosition()); }

    Rope message(Kind kind, int depth) {
        if (depth > 90) refuse("graphs nest too deeply");
        const int64_t node = kind == Kind::node ? nodes++ : -1;
        size_t operand = 0;
        Rope out;
        for (size_t begin = position(); const uint32_t tag = input.ReadTag();
             begin = position()) {
            const int field = WireFormatLite::GetTagFieldNumber(tag);
            const Kind child = kind_of(kind, field);
            if (child != Kind::other) {
                uint32_t length = 0;
                if (!input.ReadVarint32(&length) || length > INT_MAX)
                    refuse("a damaged length");
                const auto limit = input.PushLimit(static_cast<int>(length));
                Rope inner = message(child, depth + 1);
                input.PopLimit(limit);
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
                continue;
            }
            if (!WireFormatLite::SkipField(&input, tag)) refuse("a damaged field");
            const auto name = kind == Kind::node && field == 1
                                  ? names.find({node, operand++})
                                  : names.end();
            if (name == names.end()) {
                out.range(begin, position());
                continue;
            }
            std::string text;
            append_text(text, 1, name->second.data(), name->second.size());
            out.text(std::move(text));
            names.erase(name);
        }
        if (!input.ConsumedEntireMessage()) refuse("a damaged message");
        return out;
    }
};

} // namespace
} // namespace onnx_shim

using namespace onnx_shim;

extern "C" onnx_status onnx_model_rewire(const void *bytes, size_t count,
    const onnx_rewiring *rewirings, size_t rewiring_count, uint8_t **out, size_t *out_count,
    onnx_message *message) {
    return boundary(message, [&] {
        if (count > INT_MAX) throw Refusal(ONNX_E_UNSUPPORTED, "the file is over 2 GiB");
        const auto *source = static_cast<const uint8_t *>(bytes);
        const Rewriter rewriter(source, count, rewirings, rewiring_count);
        const Rope &rope = rewriter.rope;
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

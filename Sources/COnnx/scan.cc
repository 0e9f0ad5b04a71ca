// One pass over a ModelProto's wire format: payloads are noted, the rest is copied.
#include "internal.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace onnx_shim {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

enum class Kind { model, graph, value, node, attribute, tensor, function };
enum class Action {
    drop,
    copy,
    payload,
    refuse,
    type,
    graph,
    value,
    node,
    attribute,
    tensor,
    function
};

// Nesting of messages; an If within an If adds three. protobuf itself stops at 100.
constexpr int deepest = 90;
// Messages and strings in one file. Real exports have tens of thousands; each costs
// libonnx some 150 bytes however few it takes in the file.
constexpr size_t most_messages = 4'000'000;
// Bytes of a value's type; real ones have below a hundred.
constexpr size_t largest_type = 4096;
// Bytes that are not payload; real exports have a few million.
constexpr size_t largest_skeleton = size_t(256) << 20;

// What happens to a field, by the numbers of onnx.proto.
Action action_for(Kind kind, int field) {
    switch (kind) {
    case Kind::model:
        if (field == 7) return Action::graph;
        if (field == 25) return Action::function;
        return field == 1 || field == 8 ? Action::copy : Action::drop;
    case Kind::graph:
        if (field == 1) return Action::node;
        if (field == 5) return Action::tensor;
        if (field == 11 || field == 12) return Action::value;
        if (field == 15) return Action::refuse;
        return field == 2 ? Action::copy : Action::drop;
    case Kind::value:
        // 1 name, 2 type
        return field == 1 ? Action::copy : field == 2 ? Action::type : Action::drop;
    case Kind::node:
        if (field == 5) return Action::attribute;
        // 1 input, 2 output, 3 name, 4 op_type, 7 domain
        return (field >= 1 && field <= 4) || field == 7 ? Action::copy : Action::drop;
    case Kind::attribute:
        if (field == 5) return Action::tensor;
        if (field == 6 || field == 11) return Action::graph;
        // 1 name, 2 f, 3 i, 4 s, 7 floats, 8 ints, 20 type, 21 ref_attr_name
        return (field >= 1 && field <= 4) || field == 7 || field == 8 || field == 20 ||
                       field == 21
                   ? Action::copy
                   : Action::drop;
    case Kind::tensor:
        if (field == 4 || field == 5 || field == 7 || field == 9 || field == 10 ||
            field == 11)
            return Action::payload;
        // 1 dims, 2 data_type, 8 name, 13 external_data, 14 data_location
        return field == 1 || field == 2 || field == 8 || field == 13 || field == 14
                   ? Action::copy
                   : Action::drop;
    case Kind::function:
        if (field == 7) return Action::node;
        // 1 name, 4 input, 5 output, 6 attribute, 10 domain
        return field == 1 || (field >= 4 && field <= 6) || field == 10 ? Action::copy
                                                                       : Action::drop;
    }
    return Action::drop;
}

void append_varint(std::string &out, uint64_t value) {
    while (value >= 0x80) {
        out.push_back(static_cast<char>(value | 0x80));
        value >>= 7;
    }
    out.push_back(static_cast<char>(value));
}

void append_bytes(std::string &out, uint32_t tag, const std::string &bytes) {
    append_varint(out, tag);
    append_varint(out, bytes.size());
    out += bytes;
}

class Scanner {
  public:
    Scanner(const uint8_t *bytes, size_t count)
        : base(bytes), size(count), input(bytes, static_cast<int>(count)) {}

    Skeleton run() {
        const auto limit = input.PushLimit(static_cast<int>(size));
        message(Kind::model, skeleton.bytes, 0);
        input.PopLimit(limit);
        return std::move(skeleton);
    }

  private:
    const uint8_t *base;
    const size_t size;
    CodedInputStream input;
    Skeleton skeleton;
    size_t messages = 0;
    size_t copied = 0;
    uint32_t nodes = 0;

    size_t position() const { return static_cast<size_t>(input.CurrentPosition()); }

    void count_one() {
        if (++messages > most_messages)
            throw Refusal(ONNX_E_UNSUPPORTED,
                "the file holds more than " + std::to_string(most_messages) + " messages");
    }

    // The length of what follows, inside its parent.
    int read_length() {
        uint32_t length = 0;
        const size_t at = position();
        const bool is_read = input.ReadVarint32(&length);
        const auto left = static_cast<uint32_t>(std::max(0, input.BytesUntilLimit()));
        if (position() + left == size && (is_read ? length > left : left == 0))
            refuse("it is cut off, or no ONNX: a part at byte " + std::to_string(at) +
                   " goes on beyond the end, which is at " + std::to_string(size) +
                   "; download it again");
        if (!is_read || length > left)
            refuse("a length at byte " + std::to_string(at) +
                   " leaves the file or its message");
        return static_cast<int>(length);
    }

    void skip(uint32_t tag) {
        const auto type = WireFormatLite::GetTagWireType(tag);
        const bool groups = type == WireFormatLite::WIRETYPE_START_GROUP ||
                            type == WireFormatLite::WIRETYPE_END_GROUP;
        if (WireFormatLite::GetTagFieldNumber(tag) == 0) {
            // No field has this number: what follows is not protobuf.
        } else if (type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
            if (input.Skip(read_length())) return;
        } else if (!groups && WireFormatLite::SkipField(&input, tag)) {
            return;
        }
        refuse("a damaged field at byte " + std::to_string(position()));
    }

    void note_payload(uint32_t tag, Payload &payload) {
        if (WireFormatLite::GetTagWireType(tag) !=
            WireFormatLite::WIRETYPE_LENGTH_DELIMITED)
            throw Refusal(ONNX_E_UNSUPPORTED, "a tensor at byte " +
                                                  std::to_string(position()) +
                                                  " stores unpacked numbers");
        const int length = read_length();
        const size_t at = position();
        if (!input.Skip(length)) refuse("the file ends inside a tensor");
        if (length == 0) return;
        if (payload.field != 0)
            throw Refusal(ONNX_E_UNSUPPORTED,
                "a tensor at byte " + std::to_string(at) + " is stored in several pieces");
        payload = {WireFormatLite::GetTagFieldNumber(tag), at, static_cast<size_t>(length)};
    }

    void descend(Kind kind, uint32_t tag, std::string &out, int depth) {
        if (WireFormatLite::GetTagWireType(tag) !=
            WireFormatLite::WIRETYPE_LENGTH_DELIMITED)
            refuse("a message of the wrong type at byte " + std::to_string(position()));
        count_one();
        const auto limit = input.PushLimit(read_length());
        std::string child;
        message(kind, child, depth + 1);
        input.PopLimit(limit);
        append_bytes(out, tag, child);
    }

    void message(Kind kind, std::string &out, int depth) {
        if (depth > deepest)
            throw Refusal(ONNX_E_UNSUPPORTED, "graphs nest more deeply than is supported");
        Payload payload;
        const uint32_t node = kind == Kind::node ? nodes++ : 0;
        while (const uint32_t tag = input.ReadTag()) {
            const Action action = action_for(kind, WireFormatLite::GetTagFieldNumber(tag));
            switch (action) {
            case Action::drop:
                skip(tag);
                break;
            case Action::payload:
                note_payload(tag, payload);
                break;
            case Action::refuse:
                throw Refusal(ONNX_E_UNSUPPORTED, "the file has sparse initializers");
            case Action::value:
                descend(Kind::value, tag, out, depth);
                break;
            case Action::graph:
                descend(Kind::graph, tag, out, depth);
                break;
            case Action::node:
                descend(Kind::node, tag, out, depth);
                break;
            case Action::attribute:
                descend(Kind::attribute, tag, out, depth);
                break;
            case Action::tensor:
                descend(Kind::tensor, tag, out, depth);
                break;
            case Action::function:
                descend(Kind::function, tag, out, depth);
                break;
            case Action::type:
            case Action::copy: {
                count_one();
                const size_t begin = position();
                skip(tag);
                if (action == Action::type) {
                    if (position() - begin > largest_type) break;
                    // Two bytes may be a message.
                    for (size_t i = begin; i < position(); i += 2) count_one();
                }
                append_varint(out, tag);
                copied += position() - begin;
                if (copied > largest_skeleton)
                    throw Refusal(
                        ONNX_E_UNSUPPORTED, "the file's graph takes over 256 MiB");
                out.append(
                    reinterpret_cast<const char *>(base) + begin, position() - begin);
                break;
            }
            }
        }
        if (!input.ConsumedEntireMessage())
            refuse("a damaged message at byte " + std::to_string(position()));
        if (kind == Kind::node) append_bytes(out, 6 << 3 | 2, index_bytes(node));
        if (kind != Kind::tensor) return;
        append_bytes(
            out, 9 << 3 | 2, index_bytes(static_cast<uint32_t>(skeleton.payloads.size())));
        skeleton.payloads.push_back(payload);
    }
};

} // namespace

std::string index_bytes(uint32_t index) {
    return std::string(reinterpret_cast<const char *>(&index), sizeof index);
}

uint32_t index_from(const std::string &bytes) {
    uint32_t index = UINT32_MAX;
    if (bytes.size() == sizeof index) std::memcpy(&index, bytes.data(), sizeof index);
    return index;
}

Skeleton scan(const uint8_t *bytes, size_t count) {
    if (count == 0) refuse("the file is empty");
    if (count > INT_MAX)
        throw Refusal(ONNX_E_UNSUPPORTED, "the file is over 2 GiB, which protobuf cannot "
                                          "read: export it with external data");
    return Scanner(bytes, count).run();
}

} // namespace onnx_shim

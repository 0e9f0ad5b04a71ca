#include "tensor.h"

#include <cstring>
#include <google/protobuf/io/coded_stream.h>

namespace onnx_shim {
namespace {

// Bits of one element; 0 for types of no fixed size and for types unknown here.
uint64_t bits_of_type(int32_t type) {
    switch (type) {
    case 21:
    case 22:
        return 4; // uint4, int4
    case 2:
    case 3:
    case 9:
    case 17:
    case 18:
    case 19:
    case 20:
        return 8; // bytes, float8
    case 4:
    case 5:
    case 10:
    case 16:
        return 16;
    case 1:
    case 6:
    case 12:
        return 32;
    case 7:
    case 11:
    case 13:
    case 14:
        return 64;
    case 15:
        return 128;
    default:
        return 0;
    }
}

// Far above any tensor, far below where arithmetic on dims could overflow.
constexpr uint64_t largest_product = uint64_t(1) << 48;

constexpr int float_data = 4, int32_data = 5, int64_data = 7, raw_data = 9,
              double_data = 10, uint64_data = 11;

// True if elements of the type may lie in that field.
bool may_hold(int field, int32_t type) {
    switch (field) {
    case float_data:
        return type == 1 || type == 14;
    case double_data:
        return type == 11 || type == 15;
    case int64_data:
        return type == 7;
    case uint64_data:
        return type == 12 || type == 13;
    case int32_data:
        return bits_of_type(type) <= 16 || type == 6;
    default:
        return true;
    }
}

// Decodes varints into elements of the type's own size (of one byte for 4-bit types,
// which come two in a varint).
std::vector<uint8_t> unpack(
    const uint8_t *bytes, const Payload &payload, size_t byte_count, size_t size) {
    // Each varint takes at least a byte, so this never exceeds eight times the file.
    if (byte_count / size > payload.length) return {};
    std::vector<uint8_t> out(byte_count);
    google::protobuf::io::CodedInputStream input(
        bytes + payload.offset, static_cast<int>(payload.length));
    size_t at = 0;
    uint64_t value;
    while (at < byte_count && input.ReadVarint64(&value)) {
        std::memcpy(&out[at], &value, size);
        at += size;
    }
    const bool is_complete =
        at == byte_count && static_cast<size_t>(input.CurrentPosition()) == payload.length;
    return is_complete ? out : std::vector<uint8_t>();
}

void read_location(const onnx::TensorProto &proto, Tensor &tensor) {
    onnx_tensor &view = tensor.view;
    for (const auto &entry : proto.external_data()) {
        const std::string &value = entry.value();
        if (entry.key() == "location") tensor.location = value;
        if (entry.key() != "offset" && entry.key() != "length") continue;
        const bool is_number = !value.empty() && value.size() <= 18 &&
                               value.find_first_not_of("0123456789") == std::string::npos;
        if (!is_number)
            refuse("tensor " + quoted(tensor.name) + " has the external " + entry.key() +
                   " " + quoted(value));
        const long long number = std::stoll(value);
        if (entry.key() == "offset")
            view.external_offset = static_cast<uint64_t>(number);
        else
            view.external_length = number;
    }
    if (tensor.location.empty() || tensor.location.find('\0') != std::string::npos)
        refuse("tensor " + quoted(tensor.name) + " is external but names no file");
}

} // namespace

void read_tensor(const onnx::TensorProto &proto, const Payload &payload,
    const uint8_t *bytes, Tensor &tensor) {
    onnx_tensor &view = tensor.view;
    tensor.name = proto.name();
    tensor.dims.assign(proto.dims().begin(), proto.dims().end());
    uint64_t elements = 1, bits = bits_of_type(proto.data_type()), total = 0;
    // Dims of 0 are left out of the check: the others must make sense all the same.
    uint64_t product = 1;
    for (const int64_t dim : tensor.dims) {
        const auto factor = static_cast<uint64_t>(dim);
        if (dim < 0 || (dim > 0 && __builtin_mul_overflow(product, factor, &product)) ||
            product > largest_product)
            refuse("tensor " + quoted(tensor.name) + " has impossible dimensions");
        elements *= factor;
    }
    if (__builtin_mul_overflow(elements, bits, &total) ||
        __builtin_add_overflow(total, uint64_t(7), &total))
        refuse("tensor " + quoted(tensor.name) + " has impossible dimensions");
    view.element_count = elements;
    view.data_type = proto.data_type();
    view.byte_count = total / 8;
    view.file_offset = view.external_length = -1;
    if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
        view.is_external = 1;
        read_location(proto, tensor);
        return;
    }
    if (bits == 0 || view.byte_count == 0) return;

    const auto wrong = [&](const std::string &found) {
        refuse("tensor " + quoted(tensor.name) + " should have " +
               std::to_string(elements) + " elements in " +
               std::to_string(view.byte_count) + " bytes, but has " + found);
    };
    if (payload.field == 0) wrong("no data");
    if (!may_hold(payload.field, view.data_type)) wrong("them in a field of another type");
    if (payload.field == raw_data || payload.field == float_data ||
        payload.field == double_data) {
        if (payload.length != view.byte_count)
            wrong(std::to_string(payload.length) + " bytes");
        view.data = bytes + payload.offset;
        view.file_offset = static_cast<int64_t>(payload.offset);
        return;
    }
    tensor.unpacked = unpack(bytes, payload, view.byte_count, bits < 8 ? 1 : bits / 8);
    if (tensor.unpacked.empty()) wrong("another number of them");
    view.data = tensor.unpacked.data();
}

} // namespace onnx_shim

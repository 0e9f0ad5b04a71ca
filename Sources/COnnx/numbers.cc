// Weights between their stored type and float32, through a strided view.
#include "internal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace onnx_shim {
namespace {

float float_from_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// One stored type: its bytes, to float32, from float32 rounded to nearest even.
struct Float32 {
    using Stored = float;
    static float decode(Stored stored) { return stored; }
    static Stored encode(float value) { return value; }
};

struct Float64 {
    using Stored = double;
    static float decode(Stored stored) { return static_cast<float>(stored); }
    static Stored encode(float value) { return value; }
};

struct BFloat16 {
    using Stored = uint16_t;
    static float decode(Stored stored) { return float_from_bits(uint32_t(stored) << 16); }
    static Stored encode(float value) {
        const uint32_t bits = bits_of(value);
        if (std::isnan(value)) return static_cast<Stored>(bits >> 16 | 0x40);
        return static_cast<Stored>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
};

struct Float16 {
    using Stored = uint16_t;
    static float decode(Stored stored) {
        const uint32_t sign = uint32_t(stored & 0x8000) << 16;
        const uint32_t exponent = stored >> 10 & 0x1f, fraction = stored & 0x3ff;
        if (exponent == 0x1f) return float_from_bits(sign | 0x7f800000 | fraction << 13);
        if (exponent != 0)
            return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
        const float subnormal = static_cast<float>(fraction) * 0x1p-24f;
        return sign ? -subnormal : subnormal;
    }
    static Stored encode(float value) {
        const uint32_t bits = bits_of(value);
        const auto sign = static_cast<Stored>(bits >> 16 & 0x8000);
        if (std::isnan(value)) return static_cast<Stored>(sign | 0x7e00);
        const float size = std::fabs(value);
        // 65520 is half-way between the largest float16, 65504, and what would follow.
        if (size >= 65520.0f) return static_cast<Stored>(sign | 0x7c00);
        if (size < 0x1p-14f) { // subnormal: multiples of 2^-24
            const float shifted = size * 0x1p24f;
            return static_cast<Stored>(
                sign | static_cast<Stored>(std::nearbyintf(shifted)));
        }
        const uint32_t magnitude = bits & 0x7fffffff;
        const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        return static_cast<Stored>(sign | ((rounded - (112u << 23)) >> 13));
    }
};

// Calls body(Type{}) for a floating data type; refuses any other.
template <class Body>
void with_type(int32_t data_type, Body &&body) {
    switch (data_type) {
    case ONNX_FLOAT:
        return body(Float32{});
    case ONNX_DOUBLE:
        return body(Float64{});
    case ONNX_FLOAT16:
        return body(Float16{});
    case ONNX_BFLOAT16:
        return body(BFloat16{});
    default:
        refuse("data type " + std::to_string(data_type) + " is not a floating one");
    }
}

// The farthest element of a view lies within the data.
void check(const onnx_view &view, uint64_t element_count) {
    if (view.rows == 0 || view.columns == 0) return;
    uint64_t down, across, last;
    if (__builtin_mul_overflow(view.rows - 1, view.row_stride, &down) ||
        __builtin_mul_overflow(view.columns - 1, view.column_stride, &across) ||
        __builtin_add_overflow(down, across, &last) ||
        __builtin_add_overflow(last, view.first, &last) || last >= element_count)
        refuse(
            "a view leaves its tensor of " + std::to_string(element_count) + " elements");
}

// Visits body(index in the view, index in the data) in square blocks, so that a
// transposed view does not touch a new cache line for every element.
template <class Body>
void visit(const onnx_view &view, Body &&body) {
    constexpr uint64_t block = 32;
    for (uint64_t top = 0; top < view.rows; top += block) {
        const uint64_t bottom = std::min(top + block, view.rows);
        for (uint64_t left = 0; left < view.columns; left += block) {
            const uint64_t right = std::min(left + block, view.columns);
            for (uint64_t r = top; r < bottom; ++r)
                for (uint64_t c = left; c < right; ++c)
                    body(r * view.columns + c,
                        view.first + r * view.row_stride + c * view.column_stride);
        }
    }
}

// The transposed view of float32 numbers, four by four.
void read_transposed(const uint8_t *bytes, const onnx_view &view, float *out) {
    typedef float quad __attribute__((vector_size(16)));
    typedef float any_quad __attribute__((vector_size(16), aligned(1), may_alias));
    constexpr uint64_t block = 32;
    const uint64_t columns = view.columns, stride = view.column_stride;
    const auto at = [&](uint64_t r, uint64_t c) {
        return bytes + (view.first + r + c * stride) * sizeof(float);
    };
    const auto one = [&](uint64_t r, uint64_t c) {
        std::memcpy(out + r * columns + c, at(r, c), sizeof(float));
    };
    const auto four = [&](uint64_t r, uint64_t c) {
        quad a = *reinterpret_cast<const any_quad *>(at(r, c));
        quad b = *reinterpret_cast<const any_quad *>(at(r, c + 1));
        quad d = *reinterpret_cast<const any_quad *>(at(r, c + 2));
        quad e = *reinterpret_cast<const any_quad *>(at(r, c + 3));
        quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        quad de_low = __builtin_shufflevector(d, e, 0, 4, 1, 5);
        quad de_high = __builtin_shufflevector(d, e, 2, 6, 3, 7);
        quad rows[4] = {__builtin_shufflevector(ab_low, de_low, 0, 1, 4, 5),
            __builtin_shufflevector(ab_low, de_low, 2, 3, 6, 7),
            __builtin_shufflevector(ab_high, de_high, 0, 1, 4, 5),
            __builtin_shufflevector(ab_high, de_high, 2, 3, 6, 7)};
        for (uint64_t i = 0; i < 4; ++i)
            *reinterpret_cast<any_quad *>(out + (r + i) * columns + c) = rows[i];
    };
    for (uint64_t left = 0; left < columns; left += block) {
        const uint64_t right = std::min(left + block, columns);
        for (uint64_t r = 0; r < view.rows; r += 4) {
            uint64_t c = left;
            if (r + 4 <= view.rows)
                for (; c + 4 <= right; c += 4) four(r, c);
            for (; c < right; ++c)
                for (uint64_t i = r; i < std::min(r + 4, view.rows); ++i) one(i, c);
        }
    }
}

template <class Type>
void write(void *data, const onnx_view &view, float scale, const float *before,
    const float *after) {
    using Stored = typename Type::Stored;
    auto *bytes = static_cast<uint8_t *>(data);
    visit(view, [&](uint64_t i, uint64_t at) {
        if (before && bits_of(before[i]) == bits_of(after[i])) return;
        const float value = scale == 1 ? after[i] : after[i] / scale;
        const Stored stored = Type::encode(value);
        if (!std::isfinite(Type::decode(stored)))
            refuse("element " + std::to_string(i) + ", " + std::to_string(after[i]) +
                   ", does not fit the stored type");
        std::memcpy(bytes + at * sizeof stored, &stored, sizeof stored);
    });
}

} // namespace
} // namespace onnx_shim

using namespace onnx_shim;

extern "C" size_t onnx_float_size(int32_t data_type) {
    switch (data_type) {
    case ONNX_FLOAT:
        return 4;
    case ONNX_DOUBLE:
        return 8;
    case ONNX_FLOAT16:
    case ONNX_BFLOAT16:
        return 2;
    default:
        return 0;
    }
}

extern "C" size_t onnx_first_not_finite(const float *values, size_t count) {
    // Blocks are looked at whole, which compiles to vectors.
    constexpr size_t block = 1024;
    for (size_t begin = 0; begin < count; begin += block) {
        const size_t end = std::min(begin + block, count);
        uint32_t high = 0;
        for (size_t i = begin; i < end; ++i) // exponents of all ones reach the sign
            high |= (bits_of(values[i]) & 0x7fffffff) + 0x00800000;
        if (high < 0x80000000) continue;
        for (size_t i = begin; i < end; ++i)
            if (!std::isfinite(values[i])) return i;
    }
    return count;
}

extern "C" onnx_status onnx_read_floats(const void *data, uint64_t element_count,
    int32_t data_type, const onnx_view *view, float scale, float *out,
    onnx_message *message) {
    return boundary(message, [&] {
        check(*view, element_count);
        const auto *bytes = static_cast<const uint8_t *>(data);
        if (data_type == ONNX_FLOAT && scale == 1 && view->column_stride == 1 &&
            view->row_stride == view->columns) {
            std::memcpy(out, bytes + view->first * 4, view->rows * view->columns * 4);
            return;
        }
        if (data_type == ONNX_FLOAT && scale == 1 && view->row_stride == 1) {
            read_transposed(bytes, *view, out);
            return;
        }
        with_type(data_type, [&](auto type) {
            using Type = decltype(type);
            visit(*view, [&](uint64_t i, uint64_t at) {
                typename Type::Stored stored;
                std::memcpy(&stored, bytes + at * sizeof stored, sizeof stored);
                const float value = Type::decode(stored);
                out[i] = scale == 1 ? value : value * scale;
            });
        });
    });
}

extern "C" onnx_status onnx_write_floats(void *data, uint64_t element_count,
    int32_t data_type, const onnx_view *view, float scale, const float *before,
    const float *after, onnx_message *message) {
    return boundary(message, [&] {
        check(*view, element_count);
        with_type(data_type,
            [&](auto type) { write<decltype(type)>(data, *view, scale, before, after); });
    });
}

// What the files of COnnx share: one exception, the boundary, the scan of a file.
#pragma once

#include "onnx_shim.h"

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace onnx_shim {

// Carries a status and a sentence up to the boundary.
struct Refusal : std::runtime_error {
    onnx_status status;
    Refusal(onnx_status status, const std::string &sentence)
        : std::runtime_error(sentence), status(status) {}
};

[[noreturn]] inline void refuse(const std::string &sentence) {
    throw Refusal(ONNX_E_FORMAT, sentence);
}

// A name from a file as it may stand in a sentence: short, in quotes.
std::string quoted(const std::string &name);

inline onnx_status report(onnx_message *message, onnx_status status, const char *text) {
    if (message) std::snprintf(message->text, sizeof message->text, "%s", text);
    return status;
}

// Runs `body` for a C caller: every exception becomes a status and a sentence.
template <class Body>
onnx_status boundary(onnx_message *message, Body &&body) noexcept {
    try {
        body();
        return ONNX_OK;
    } catch (const Refusal &refusal) {
        return report(message, refusal.status, refusal.what());
    } catch (const std::bad_alloc &) {
        return report(message, ONNX_E_MEMORY, "not enough memory");
    } catch (const std::length_error &) {
        return report(message, ONNX_E_MEMORY, "not enough memory");
    } catch (const std::exception &exception) {
        return report(message, ONNX_E_FORMAT, exception.what());
    } catch (...) {
        return report(message, ONNX_E_FORMAT, "an unknown C++ exception");
    }
}

// Where a tensor's elements lie in the file, and in which field of TensorProto.
struct Payload {
    int field = 0; // 0: the tensor has none
    size_t offset = 0;
    size_t length = 0;
};

// A ModelProto without its payloads. Each TensorProto's raw_data holds the 4-byte index
// of its payload instead, each NodeProto's doc_string the 4-byte position of the node.
struct Skeleton {
    std::string bytes;
    std::vector<Payload> payloads;
};

// Walks the wire format once. Throws Refusal for whatever protobuf would not accept,
// for lengths that leave their parent, for too deep and for too many messages.
Skeleton scan(const uint8_t *bytes, size_t count);

std::string index_bytes(uint32_t index);
uint32_t index_from(const std::string &bytes);

} // namespace onnx_shim

// Checks a TensorProto against its payload.
#pragma once

#include "model.h"

#include <onnx/onnx_pb.h>

namespace onnx_shim {

// Fills in `tensor`. Throws Refusal if the dims overflow, the payload's size is not
// theirs, or an external tensor names no file. bytes: the model file.
void read_tensor(const onnx::TensorProto &proto, const Payload &payload,
    const uint8_t *bytes, Tensor &tensor);

} // namespace onnx_shim

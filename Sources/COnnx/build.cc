#include <google/protobuf/stubs/common.h>
#include <string>

#include "onnx_shim.h"

extern "C" const char *onnx_build_info(void) {
    // onnx 1.12's headers carry no version of their own; the IR they know is 8.
    static const std::string text =
        "onnx IR 8, protobuf " +
        google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION);
    return text.c_str();
}

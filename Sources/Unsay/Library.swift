import CUnsay
import Models
import Tensors

/// What of the library this is.
public enum Library {
    /// `major.minor.patch`.
    public static let version =
        "\(UNSAY_VERSION_MAJOR).\(UNSAY_VERSION_MINOR).\(UNSAY_VERSION_PATCH)"

    /// One line on how it was built: kernels for this processor, ONNX and protobuf versions. For
    /// bug reports; its wording is not stable.
    public static var buildInfo: String {
        "unsay \(version), kernels \(kernelLevelName()), \(onnxBuildInfo())"
    }
}

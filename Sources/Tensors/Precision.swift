import CKernels

/// What packed weights are kept in. Sums are float32 whatever it is; see `kernel_weights`.
package enum Precision: Sendable, CaseIterable {
    case float32
    /// float32 rounded to its upper half.
    case bf16
    /// -127...127 times a unit of each output; inputs are rounded to 8 or 16 bits of the largest
    /// of their row.
    case int8

    var kernel: kernel_weights {
        switch self {
        case .float32: KERNEL_FLOAT32
        case .bf16: KERNEL_BF16
        case .int8: KERNEL_INT8
        }
    }

    /// Whether the processor multiplies pairs of bf16, to which inputs are then rounded as well,
    /// and quads of int8.
    package static var multipliesRounded: Bool { kernel_level_current() == KERNEL_AVX512_PAIRS }
}

/// The nearest bf16 number, of two the even one.
package func roundedToBF16(_ x: Float) -> Float {
    Float(bitPattern: UInt32(kernel_bf16(x)) << 16)
}

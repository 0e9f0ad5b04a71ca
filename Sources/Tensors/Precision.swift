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
}

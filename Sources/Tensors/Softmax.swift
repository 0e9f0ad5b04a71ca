import CKernels

/// log sum_i exp(row[i]); -inf for a row of -inf.
package func logSumExp(_ row: UnsafeMutableBufferPointer<Float>) -> Float {
    guard let base = row.baseAddress else { return -.infinity }
    return kernel_log_sum_exp(base, row.count)
}

/// The lowest index of the largest value; 0 for an empty row.
package func largestIndex(_ row: UnsafeMutableBufferPointer<Float>) -> Int {
    guard let base = row.baseAddress, !row.isEmpty else { return 0 }
    return Int(kernel_argmax(base, row.count))
}

/// What the kernels in use were compiled for: "portable", "AVX2", "AVX-512" or
/// "AVX-512 VNNI BF16".
package func kernelLevelName() -> String {
    switch kernel_level_current() {
    case KERNEL_AVX512_PAIRS: "AVX-512 VNNI BF16"
    case KERNEL_AVX512: "AVX-512"
    case KERNEL_AVX2: "AVX2"
    default: "portable"
    }
}

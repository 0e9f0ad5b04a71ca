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

/// The lowest index from `first` on with row[index] + added > floor; nil if there is none.
package func nextIndex(
    of row: UnsafeMutableBufferPointer<Float>, from first: Int, plus added: Float,
    above floor: Float
) -> Int? {
    guard let base = row.baseAddress, first < row.count else { return nil }
    let index = Int(kernel_next_above(base, first, row.count, added, floor))
    return index < row.count ? index : nil
}

/// The indices, ascending, that may be the largest of numbers which lie within `size *
/// errors[i]` of `scores[i]`; more than `most` if there are more.
package func candidateIndices(
    _ scores: UnsafeMutableBufferPointer<Float>, errors: FloatBuffer, size: Float, most: Int
) -> [Int32] {
    guard let base = scores.baseAddress else { return [] }
    return [Int32](unsafeUninitializedCapacity: most + 1) { indices, count in
        count = 0
        guard let room = indices.baseAddress else { return }
        count = min(
            kernel_candidates(base, errors.base, size, scores.count, room, most + 1), most + 1)
    }
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

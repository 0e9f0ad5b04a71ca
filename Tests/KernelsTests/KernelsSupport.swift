import CKernels
import CKernelsSplit
import Tensors
import Testing

/// The level in use is one for the whole process, so all suites here run one test at a time.
@Suite("Kernels", .serialized)
enum Kernels {}

/// A compilation of the kernels.
enum Variant: String, CaseIterable, CustomStringConvertible {
    case portable, avx2, avx512, avx512Pairs
    /// The AVX-512 geometry on AVX2 instructions.
    case split

    var description: String { rawValue }

    private func use() -> Bool {
        switch self {
        case .portable: kernel_level_select(KERNEL_PORTABLE) == 1
        case .avx2: kernel_level_select(KERNEL_AVX2) == 1
        case .avx512: kernel_level_select(KERNEL_AVX512) == 1
        case .avx512Pairs: kernel_level_select(KERNEL_AVX512_PAIRS) == 1
        case .split: kernels_split_use() == 1
        }
    }

    /// Runs `body` with each variant this processor can run, then restores its best.
    static func forEach(_ body: (Variant) throws -> Void) rethrows {
        defer { _ = kernel_level_select(kernel_level_best()) }
        for variant in allCases where variant.use() { try body(variant) }
    }
}

/// Rows that own their memory. Every float outside them is `sentinel`.
final class Sample {
    static let sentinel: Float = 12345.5

    let buffer: FloatBuffer
    let rows: Rows

    /// - Parameter gap: floats between the end of a row and the next row.
    init(
        _ count: Int, _ width: Int, gap: Int = 0, value: (_ row: Int, _ column: Int) -> Float
    ) throws {
        let stride = width + gap
        buffer = try FloatBuffer(count: count * stride + 64)
        rows = Rows(base: buffer.base, count: count, width: width, stride: stride)
        for i in 0..<buffer.count { buffer.base[i] = Self.sentinel }
        for r in 0..<count {
            for c in 0..<width { buffer.base[r * stride + c] = value(r, c) }
        }
    }

    /// Values between -scale / 2 and scale / 2 by formula.
    convenience init(
        _ count: Int, _ width: Int, gap: Int = 0, seed: Int, scale: Float = 1
    ) throws {
        try self.init(count, width, gap: gap) { row, column in
            scale * formula(row * 613 + column, seed: seed)
        }
    }

    var base: UnsafeMutablePointer<Float> { buffer.base }
    var values: [Float] { (0..<rows.count).flatMap { Array(rows[$0]) } }
    var doubles: [Double] { values.map(Double.init) }

    /// How many floats outside the rows were written.
    var strayWrites: Int {
        let stride = max(rows.stride, 1)
        return (0..<buffer.count).count { i in
            let isInside = i / stride < rows.count && i % stride < rows.width
            return !isInside && buffer.base[i] != Self.sentinel
        }
    }
}

/// A value between -0.5 and 0.5.
func formula(_ index: Int, seed: Int) -> Float {
    let scrambled = (index &* 7919 &+ seed &* 104_729 &+ 17) % 1009
    return Float((scrambled &* scrambled &+ seed) % 1009) / 1009 - 0.5
}

/// The largest difference, and where.
func largestDifference(_ a: [Float], _ b: [Double]) -> (value: Double, index: Int) {
    var worst = (value: a.count == b.count ? 0.0 : .infinity, index: 0)
    for (i, (x, y)) in zip(a, b).enumerated() {
        let difference = abs(Double(x) - y)
        if !(difference <= worst.value) { worst = (difference, i) }
    }
    return worst
}

/// x Wᵀ in double. x: `[rows, depth]`; w: `[columns, depth]`.
func naiveProduct(_ x: Rows, _ w: Rows) -> [Double] {
    var out = [Double](repeating: 0, count: x.count * w.count)
    out.withUnsafeMutableBufferPointer { out in
        for r in 0..<x.count {
            for n in 0..<w.count {
                let a = x.base + r * x.stride, b = w.base + n * w.stride
                var sum = 0.0, k = 0
                while k < x.width {
                    sum += Double(a[k]) * Double(b[k])
                    k += 1
                }
                out[r * w.count + n] = sum
            }
        }
    }
    return out
}

/// (f(x + step) - f(x - step)) / 2 step, changing one element of `x`.
func slope(at index: Int, of x: Sample, step: Float, _ f: () -> Double) -> Double {
    let place = x.base + index / x.rows.width * x.rows.stride + index % x.rows.width
    let before = place.pointee
    defer { place.pointee = before }
    place.pointee = before + step
    let (above, up) = (f(), place.pointee)
    place.pointee = before - step
    let (below, down) = (f(), place.pointee)
    return (above - below) / (Double(up) - Double(down))
}

/// sum_i a[i] b[i] in double.
func dot(_ a: Sample, _ b: Sample) -> Double {
    zip(a.doubles, b.doubles).reduce(0) { $0 + $1.0 * $1.1 }
}

/// The same bits everywhere, with signed zeros and NaN told apart.
func sameBits(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern }
}

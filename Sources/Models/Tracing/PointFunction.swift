import Glibc

/// A function of one number, known by what it gives at a few points: any chain of elementwise
/// operations with constant factors, however an exporter writes it.
struct PointFunction {
    /// Where functions are compared: around zero, where activations bend, and far out, where
    /// clamps do.
    static let points: [Double] = [
        0, 1e-6, 1e-4, 0.01, 0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 11, 20,
        60, 300, 2e3, 3e4, 6.4e4, -1e-6, -1e-4, -0.01, -0.1, -0.25, -0.5, -0.75, -1, -1.25, -1.5,
        -2, -2.5, -3, -3.5, -4, -5, -6, -8, -11, -20, -60, -300, -2e3, -3e4, -6.4e4,
    ]

    /// One for each of `points`.
    let values: [Double]

    static let identity = PointFunction(values: points)

    init(values: [Double]) { self.values = values }
    init(_ body: (Double) -> Double) { values = Self.points.map(body) }

    func then(_ body: (Double) -> Double) -> PointFunction {
        PointFunction(values: values.map(body))
    }

    func combined(
        _ other: PointFunction, _ body: (Double, Double) -> Double
    ) -> PointFunction {
        PointFunction(values: zip(values, other.values).map(body))
    }

    /// True if both are the same function but for the rounding of float32 and of constants
    /// that were stored in float16.
    func isClose(to other: PointFunction, from lowest: Double = -.infinity) -> Bool {
        zip(Self.points, zip(values, other.values)).allSatisfy { point, pair in
            point < lowest || abs(pair.0 - pair.1) <= 3e-5 * max(abs(point), abs(pair.1), 0.1)
        }
    }

    var isIdentity: Bool {
        zip(Self.points, values).allSatisfy { abs($0 - $1) <= 1e-6 * abs($0) }
    }

    /// The factor of a function that multiplies by a constant.
    var factor: Double? {
        guard let one = Self.points.firstIndex(of: 1) else { return nil }
        let factor = values[one]
        let isLinear = zip(Self.points, values).allSatisfy {
            abs($0 * factor - $1) <= 1e-6 * abs($0 * factor)
        }
        return isLinear && factor.isFinite ? factor : nil
    }

    static let square = PointFunction { $0 * $0 }

    /// The constant `e` of a function `1 / sqrt(x + e)`.
    var inverseRootOffset: Double? {
        guard let zero = values.first, zero > 0 else { return nil }
        let offset = 1 / (zero * zero)
        let isOne = zip(Self.points, values).allSatisfy { point, value in
            let expected = 1 / (point + offset).squareRoot()
            return point < 0 || value == expected || abs(value - expected) <= 1e-5 * expected
        }
        return isOne && offset.isFinite ? offset : nil
    }
}

func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
func gelu(_ x: Double) -> Double { 0.5 * x * (1 + erf(x / 2.0.squareRoot())) }
func geluTanh(_ x: Double) -> Double {
    0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
}

/// Elementwise operations of ONNX and onnxruntime that take one array and no constant.
func pointOperation(_ node: OnnxNode) -> ((Double) -> Double)? {
    switch node.opType {
    case "Relu": return { max($0, 0) }
    case "Tanh": return { tanh($0) }
    case "Erf": return { erf($0) }
    case "Sigmoid": return sigmoid
    case "Silu": return { $0 * sigmoid($0) }
    case "Swish":
        let alpha = Double(node.float("alpha") ?? 1)
        return { $0 * sigmoid(alpha * $0) }
    case "QuickGelu":
        let alpha = Double(node.float("alpha") ?? 1.702)
        return { $0 * sigmoid(alpha * $0) }
    case "Gelu": return node.string("approximate") == "tanh" ? geluTanh : gelu
    case "FastGelu": return geluTanh
    case "Neg": return { -$0 }
    case "Abs": return { abs($0) }
    case "Sqrt": return { $0.squareRoot() }
    case "Reciprocal": return { 1 / $0 }
    case "Exp": return { exp($0) }
    case "Log": return { log($0) }
    case "Floor": return { $0.rounded(.down) }
    case "Ceil": return { $0.rounded(.up) }
    case "Round": return { $0.rounded(.toNearestOrEven) }
    case "Sign": return { $0 > 0 ? 1 : $0 < 0 ? -1 : 0 }
    case "Softplus": return { log1p(exp($0)) }
    case "Elu":
        let alpha = Double(node.float("alpha") ?? 1)
        return { $0 > 0 ? $0 : alpha * (exp($0) - 1) }
    case "LeakyRelu":
        let alpha = Double(node.float("alpha") ?? 0.01)
        return { $0 > 0 ? $0 : alpha * $0 }
    default: return nil
    }
}

/// A node that says something about where weights belong.
enum Anchor {
    case product(WeightProduct)
    case attention(AttentionProduct)
    case norm(Norm)
    case table(Table)
    case softmax

    var product: WeightProduct? { if case .product(let it) = self { it } else { nil } }
    var attention: AttentionProduct? { if case .attention(let it) = self { it } else { nil } }
    var norm: Norm? { if case .norm(let it) = self { it } else { nil } }
    var table: Table? { if case .table(let it) = self { it } else { nil } }
    var isSoftmax: Bool { if case .softmax = self { true } else { false } }
}

/// Data times a constant matrix.
struct WeightProduct {
    let input: Int32
    let output: Int32
    /// [out, in], however it is stored.
    let weight: Constant
    let alpha: Float
}

/// Data times data, or a whole fused attention.
struct AttentionProduct {
    enum Form {
        case plain(left: Int32, right: Int32)
        /// One packed constant for query, key and value, each [out, in] here.
        case packed(input: Int32, weights: [Constant])
        case separate(query: Int32, key: Int32, value: Int32)
    }
    let form: Form
    var bias: Int32 = -1
    var heads: Int?
}

/// T5's layer norm.
struct Norm {
    let inputs: [Int32]
    let weight: Constant
    /// As an attribute states it; nil where it is a constant of the graph.
    var epsilon: Float?
}

/// Rows picked from a constant matrix.
struct Table {
    let weight: Constant
    let indices: Int32
    /// As RelativePositionBias states it.
    var maxDistance: Int?
}

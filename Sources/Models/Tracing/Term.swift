/// What a trace knows of an array that depends on weights: which operation made it, of what.
struct Term {
    enum Kind {
        /// A floating input of the graph.
        case input(Int32)
        /// Rows of a stored table, one for each number.
        case rows(Table)
        /// Rows times a stored matrix.
        case product(View, WeightProduct)
        /// The same before its integers are scaled.
        case integerProduct(View, IntegerProduct)
        /// Two arrays multiplied as matrices, along their last two axes.
        case matrixProduct(View, View)
        case sum(View, View)
        /// An array and numbers added to it.
        case shifted(View, Numbers)
        case elementProduct(View, View)
        /// The mean of squares along the last axis.
        case meanSquare(View)
        /// An array over the root of its mean square; `epsilon` is added before the root.
        case normalized(View, epsilon: Double)
        /// The same, times a vector.
        case norm(View, weight: Constant, epsilon: Double)
        /// A softmax along the last axis.
        case softmax(View)
        case joined([View], axis: Int)
        /// An array as integers, by the scale of that step.
        case quantized(View, Step)
        /// The scale or zero point that DynamicQuantizeLinear finds.
        case scale(Step), zero(Step)
        /// Such a scale, times that of a matrix.
        case scaleProduct(Step, Constant)
    }

    let kind: Kind
    let shape: [Int]
    /// The graph and node that made it, for messages.
    let maker: Maker

    struct Maker {
        let graph: Graph
        let node: Int
    }

    /// Data times a constant matrix.
    struct WeightProduct {
        /// [out, in], however it is stored.
        let weight: Constant
        let output: Int32
    }

    struct IntegerProduct {
        let stored: Constant
        let zero: Constant?
        let step: Step
    }

    /// Rows picked from a constant matrix.
    struct Table {
        var weight: Constant
        let indices: Numbers
        /// As RelativePositionBias states it.
        var maxDistance: Int?
    }

    /// How an array becomes integers.
    enum Step: Equatable {
        /// By a node that finds it from the array: the node's output, unique in its model.
        case dynamic(Int32)
        case fixed(scale: Double, zero: Double)
    }
}

/// An array that a trace computes: a function of a term's elements, in some order.
struct View {
    /// The index of the term in its trace.
    let term: Int
    var layout: Layout
    /// nil: the elements as they are.
    var function: PointFunction?
    /// Who made it, for messages.
    var maker: Term.Maker

    var shape: [Int] { layout.shape }
}

/// What a trace knows of a value. Indirect, so that a case that is smaller than the largest leaves
/// no bytes without a value, which a copy would read.
indirect enum TracedValue {
    case numbers(Numbers)
    /// A stored tensor, not read.
    case constant(Constant)
    case view(View)
    /// Something that no T5 is made of; harmless as long as nothing uses it.
    case unknown(Unknown)
    /// An input or output that is left out.
    case absent
}

/// Why a value is not known, and the node to blame. It stays on the thread that traces.
struct Unknown: Error, @unchecked Sendable {
    let maker: Term.Maker
    let reason: String
}

extension Term.Maker {
    /// Such as `node "/decoder/block.0/Add" (Add)`.
    var name: String {
        guard graph.nodes.indices.contains(node) else { return "an input" }
        let it = graph.nodes[node]
        let output = it.outputs.first.map { graph.model.valueName($0) } ?? ""
        let operation = it.domain.isEmpty ? it.opType : "\(it.domain).\(it.opType)"
        return "node \"\(it.name.isEmpty ? output : it.name)\" (\(operation))"
    }
}

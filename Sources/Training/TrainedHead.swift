import T5
import Tensors

/// The output head of a trainer, packed for logits, [vocab_size, d_model], and for the
/// gradient of the states, [d_model, vocab_size]; beside it the reference's.
final class TrainedHead {
    /// For measuring, in float32.
    private let matrix: PackedMatrix
    /// For steps: `matrix`, or its rounded copy.
    private let rounded: PackedMatrix
    private let transposed: PackedMatrix
    private let reference: Projection
    private let roundedReference: Projection
    private let precision: Precision
    /// The floats that it holds besides the weights.
    let ownCount: Int

    /// - Parameters:
    ///   - head: packed if it never changes: then it is used where it lies.
    ///   - reference: the head of q.
    ///   - needsReference: whether steps compare with q.
    ///   - precision: of the products of steps.
    init(
        _ head: Projection, reference: Projection, needsReference: Bool,
        _ configuration: T5Configuration, precision: Precision, workers: Workers
    ) throws {
        let (vocabulary, width) = (configuration.vocabSize, configuration.dModel)
        self.reference = reference
        self.precision = precision
        transposed = try PackedMatrix(outputs: width, inputs: vocabulary, precision: precision)
        let size = vocabulary * width
        let isRounded = precision != .float32
        // Of rounded ones two are half as large.
        var floats = size
        var frozen: PackedMatrix?
        if case .packed(let packed) = head.storage { frozen = packed }
        if let frozen {
            matrix = frozen
            let plain = try FloatBuffer(count: size)
            frozen.unpack(outputs: 0..<vocabulary, into: plain.base, stride: width)
            transposed.pack(
                plain.base, outputs: 0..<width, outputStride: 1, inputStride: width,
                workers: workers)
        } else {
            matrix = try PackedMatrix(outputs: vocabulary, inputs: width)
            floats += size
        }
        if !isRounded {
            rounded = matrix
        } else if let frozen {
            rounded = try PackedMatrix(frozen, precision: precision, workers: workers)
        } else {
            rounded = try PackedMatrix(outputs: vocabulary, inputs: width, precision: precision)
        }
        if isRounded, needsReference, case .packed(let original) = reference.storage {
            let isSame = original === frozen
            roundedReference = Projection(
                isSame
                    ? rounded : try PackedMatrix(original, precision: precision, workers: workers))
            floats += isSame ? 0 : size / 2
        } else {
            roundedReference = reference
        }
        ownCount = floats
    }

    /// What gives logits in a pass: [vocab_size, d_model].
    func logits(_ pass: Pass) -> PackedMatrix { pass.precision == .float32 ? matrix : rounded }

    /// What gives the reference's logits in a pass.
    func referenceLogits(_ pass: Pass) -> Projection {
        pass.precision == .float32 ? reference : roundedReference
    }

    /// Follows a change of the weights.
    func pack(_ head: Projection, workers: Workers) {
        guard let plain = head.parts.first else { return }
        matrix.pack(
            plain.base, outputs: 0..<matrix.outputs, outputStride: plain.stride, workers: workers)
        if rounded !== matrix {
            rounded.pack(
                plain.base, outputs: 0..<matrix.outputs, outputStride: plain.stride,
                workers: workers)
        }
        transposed.pack(
            plain.base, outputs: 0..<transposed.outputs, outputStride: 1,
            inputStride: plain.stride, workers: workers)
    }

    /// dstates = dlogits W.
    func backwardInput(
        _ dlogits: Rows, into dstates: Rows, arena: Arena, workers: Workers
    ) throws {
        try product(dlogits, transposed, into: dstates, arena: arena, workers: workers)
    }

    /// Adds dlogitsᵀ states to the gradient of what is trained of the head.
    func backwardWeight(
        _ dlogits: Rows, _ states: Rows, into gradient: Projection, arena: Arena, workers: Workers
    ) throws {
        if let chosen = gradient.chosen {
            let mark = arena.mark()
            defer { arena.rewind(to: mark) }
            try productBackwardWeight(
                chosen.columns(of: dlogits, arena: arena), states, into: chosen.rows,
                precision: precision, arena: arena, workers: workers)
        } else if let whole = gradient.parts.first, !whole.isEmpty {
            try productBackwardWeight(
                dlogits, states, into: whole, precision: precision, arena: arena,
                workers: workers)
        }
    }
}

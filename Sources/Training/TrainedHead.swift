import T5
import Tensors

/// The output head of a trainer, packed for logits, [vocab_size, d_model], and, where something
/// below it is trained, for the gradient of the states, [d_model, vocab_size]; beside it the
/// reference's.
final class TrainedHead {
    /// For measuring, in float32.
    private let matrix: PackedMatrix
    /// For steps: `matrix`, or its rounded copy.
    private let rounded: PackedMatrix
    /// nil where nothing below the head is trained.
    private let transposed: PackedMatrix?
    /// The rows that are trained where the others of `matrix` are not.
    let chosen: ChosenRows?
    let reference: Projection
    private let roundedReference: Projection
    private let precision: Precision
    /// The floats that it holds besides the weights.
    let ownCount: Int

    /// - Parameters:
    ///   - head: packed where it never changes: then it is used where it lies.
    ///   - isAlone: whether nothing below the head is trained.
    ///   - reference: the head of q.
    ///   - needsReference: whether steps compare with q.
    ///   - precision: of the products of steps.
    init(
        _ head: Projection, isAlone: Bool, reference: Projection, needsReference: Bool,
        _ configuration: T5Configuration, precision: Precision, workers: Workers
    ) throws {
        let (vocabulary, width) = (configuration.vocabSize, configuration.dModel)
        self.reference = reference
        self.precision = precision
        chosen = head.chosen
        transposed =
            isAlone
            ? nil : try PackedMatrix(outputs: width, inputs: vocabulary, precision: precision)
        let size = vocabulary * width
        let isRounded = precision != .float32
        var floats = 0
        if isRounded { floats += size / 2 }
        if !isAlone { floats += isRounded ? size / 2 : size }
        var frozen: PackedMatrix?
        if case .packed(let packed) = head.storage { frozen = packed }
        if let frozen {
            matrix = frozen
        } else {
            matrix = try PackedMatrix(outputs: vocabulary, inputs: width)
            floats += size
        }
        if let frozen, let transposed {
            let plain = try FloatBuffer(count: size)
            frozen.unpack(outputs: 0..<vocabulary, into: plain.base, stride: width)
            transposed.pack(
                plain.base, outputs: 0..<width, outputStride: 1, inputStride: width,
                workers: workers)
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

    /// out = the logits of states, [rows, d_model], as the head wants them.
    func logits(_ states: Rows, into out: Rows, _ pass: Pass) throws {
        let isExact = pass.precision == .float32
        try product(
            states, isExact ? matrix : rounded, into: out, arena: pass.arena,
            workers: pass.workers)
        try chosen?.project(
            states, into: out, precision: pass.precision, arena: pass.arena,
            workers: pass.workers)
    }

    /// out = the logits of states, as they were before some rows were trained.
    func fixedLogits(_ states: Rows, into out: Rows, _ pass: Pass) throws {
        try product(states, matrix, into: out, arena: pass.arena, workers: pass.workers)
    }

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
        transposed?.pack(
            plain.base, outputs: 0..<matrix.inputs, outputStride: 1,
            inputStride: plain.stride, workers: workers)
    }

    /// dstates = dlogits W. Nobody asks for it where nothing below the head is trained.
    func backwardInput(
        _ dlogits: Rows, into dstates: Rows, arena: Arena, workers: Workers
    ) throws {
        guard let transposed else { return }
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

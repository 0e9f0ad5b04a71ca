import T5
import Tensors

/// The output head of a trainer, packed for logits, [vocab_size, d_model], and for the
/// gradient of the states, [d_model, vocab_size].
final class TrainedHead {
    let matrix: PackedMatrix
    let transposed: PackedMatrix
    /// The floats that it holds besides the weights.
    let ownCount: Int

    /// - Parameter head: packed if it never changes: then it is used where it lies.
    init(_ head: Projection, _ configuration: T5Configuration, workers: Workers) throws {
        let (vocabulary, width) = (configuration.vocabSize, configuration.dModel)
        transposed = try PackedMatrix(outputs: width, inputs: vocabulary)
        let size = vocabulary * width
        ownCount = head.parts.isEmpty ? size : 2 * size
        guard case .packed(let frozen) = head.storage else {
            matrix = try PackedMatrix(outputs: vocabulary, inputs: width)
            return
        }
        matrix = frozen
        let plain = try FloatBuffer(count: size)
        frozen.unpack(outputs: 0..<vocabulary, into: plain.base, stride: width)
        transposed.pack(
            plain.base, outputs: 0..<width, outputStride: 1, inputStride: width, workers: workers)
    }

    /// Follows a change of the weights.
    func pack(_ head: Projection, workers: Workers) {
        guard let plain = head.parts.first else { return }
        matrix.pack(
            plain.base, outputs: 0..<matrix.outputs, outputStride: plain.stride, workers: workers)
        transposed.pack(
            plain.base, outputs: 0..<transposed.outputs, outputStride: 1,
            inputStride: plain.stride, workers: workers)
    }

    /// Adds dlogitsᵀ states to the gradient of what is trained of the head.
    func backwardWeight(
        _ dlogits: Rows, _ states: Rows, into gradient: Projection, arena: Arena, workers: Workers
    ) throws {
        if let chosen = gradient.chosen {
            let mark = arena.mark()
            defer { arena.rewind(to: mark) }
            try productBackwardWeight(
                chosen.columns(of: dlogits, arena: arena), states, into: chosen.rows, arena: arena,
                workers: workers)
        } else if let whole = gradient.parts.first, !whole.isEmpty {
            try productBackwardWeight(
                dlogits, states, into: whole, arena: arena, workers: workers)
        }
    }
}

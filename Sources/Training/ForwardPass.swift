import CUnsay
import Support
import T5
import Tensors

/// The decoder's states at every marked row of a batch, [marked, d_model], without a tape.
package func markedStates(_ batch: Batch, _ network: Network, _ pass: Pass) throws -> Rows {
    let out = try pass.arena.rows(batch.markedRows.count, pass.configuration.dModel)
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let states = try decoderStates(batch, network, pass)
    out.copy(from: try batch.pickMarked(states, arena: pass.arena))
    return out
}

/// The decoder's states at every row of a batch, [target rows, d_model], without a tape.
func decoderStates(_ batch: Batch, _ network: Network, _ pass: Pass) throws -> Rows {
    guard let decoder = network.decoder else {
        throw Failure(UNSAY_E_UNSUPPORTED, "this model has an encoder only: it writes nothing")
    }
    let encoded = try runStack(
        batch.inputs, batch.sources, network.encoder, embedding: network.embedding, encoder: nil,
        pass)
    return try runStack(
        batch.decoderInputs, batch.targets, decoder, embedding: network.embedding,
        encoder: EncoderOutput(states: encoded.states, sources: batch.sources), pass
    ).states
}

/// Splits examples into batches of at most `tokens` input and output tokens (but at least
/// one example), in order.
package func batches(of examples: [Example], tokens: Int, decoderStart: Int32) -> [Batch] {
    var result: [Batch] = []
    var pending: [Example] = []
    var size = 0
    for example in examples {
        let own = example.input.count + example.targets.count
        if !pending.isEmpty, size + own > tokens {
            result.append(Batch(pending, decoderStart: decoderStart))
            pending = []
            size = 0
        }
        pending.append(example)
        size += own
    }
    if !pending.isEmpty { result.append(Batch(pending, decoderStart: decoderStart)) }
    return result
}

/// Runs `network` over the examples and keeps its states at the marked positions.
package func keepStates(
    of examples: [Example], _ network: Network,
    in key: ReferenceWritableKeyPath<Example, FloatBuffer?>,
    _ pass: Pass, between: () throws -> Void
) throws {
    let width = pass.configuration.dModel
    let start = pass.configuration.decoderStartTokenID
    for batch in batches(of: examples, tokens: measuringTokens, decoderStart: start) {
        try between()
        pass.arena.reset()
        let states = try markedStates(batch, network, pass)
        var first = 0
        for example in batch.examples {
            let count = example.marked.count
            let kept = try FloatBuffer(count: count * width)
            Rows(base: kept.base, count: count, width: width).copy(
                from: states.rows(first..<first + count))
            example[keyPath: key] = kept
            first += count
        }
    }
}

/// Tokens at a time where nothing is trained: enough for full-speed products.
package let measuringTokens = 4096

import CUnsay
import Decoding
import Models
import Support

func readCallbacks(
    _ options: unsay_generate_options, _ model: Model, _ settings: inout GenerateOptions
) {
    let context = options.context
    if let onToken = options.on_token {
        settings.onToken = { token in
            String(decoding: token.text, as: UTF8.self).withCString {
                onToken(context, token.input, token.id, token.logProbability, $0)
            } == UNSAY_CONTINUE
        }
    }
    if let onLogits = options.on_logits {
        settings.onLogits = { callLogits(onLogits, context, $0) == UNSAY_CONTINUE }
    }
    if let allowed = options.allowed_tokens {
        let capacity = model.configuration.vocabSize
        settings.allowedTokens = { input, prefix in
            try callAllowed(allowed, context, input, prefix, capacity, model)
        }
    }
    if let onProgress = options.on_progress {
        settings.onProgress = { onProgress(context, $0, $1) == UNSAY_CONTINUE }
    }
}

private func callAllowed(
    _ allowed: unsay_allowed_fn, _ context: UnsafeMutableRawPointer?, _ input: Int,
    _ prefix: [Int32], _ capacity: Int, _ model: Model
) throws -> [Int32]? {
    var count = 0
    let ids = [Int32](unsafeUninitializedCapacity: capacity) { buffer, size in
        buffer.update(repeating: 0)
        count = prefix.withUnsafeBufferPointer {
            allowed(context, input, $0.baseAddress, $0.count, buffer.baseAddress, capacity)
        }
        size = min(max(count, 0), capacity)
    }
    // SIZE_MAX arrives as -1.
    if count == -1 { return nil }
    guard (1...capacity).contains(count) else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "allowed_tokens returned \(UInt(bitPattern: count)) ids; expected 1 to \(capacity)")
    }
    for id in ids { try model.check(id, of: "allowed_tokens") }
    return ids
}

private func callLogits(
    _ onLogits: unsay_logits_fn, _ context: UnsafeMutableRawPointer?, _ step: LogitsStep
) -> unsay_action {
    let count = step.prefixes.first?.count ?? 0
    let flat = step.prefixes.flatMap { $0 }
    return flat.withUnsafeBufferPointer { flat in
        let prefixes: [UnsafePointer<Int32>?] = step.inputs.indices.map { row in
            flat.baseAddress.map { $0 + row * count }
        }
        return prefixes.withUnsafeBufferPointer { prefixes in
            step.inputs.withUnsafeBufferPointer { inputs in
                step.hypotheses.withUnsafeBufferPointer { hypotheses in
                    var view = unsay_logits_view()
                    view.logits = step.logits
                    view.input = inputs.baseAddress
                    view.hypothesis = hypotheses.baseAddress
                    view.prefix = prefixes.baseAddress
                    view.rows = step.inputs.count
                    view.prefix_count = count
                    view.vocab_size = step.vocabSize
                    return onLogits(context, &view)
                }
            }
        }
    }
}

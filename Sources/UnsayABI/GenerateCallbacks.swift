import CUnsay
import Decoding
import Models
import Support

func readExtras(
    _ o: unsay_generate_options, _ model: Model, _ settings: inout GenerateOptions
) throws {
    let size = Int32(model.configuration.vocabSize)
    try check(o.num_alternatives, "num_alternatives", "in 0...\(size)") { (0...size).contains($0) }
    try check(o.cross_attention, "cross_attention", "0 or 1") { (0...1).contains($0) }
    try check(o.prompt_lookup_num_tokens, "prompt_lookup_num_tokens", "in 0...63") {
        (0...63).contains($0)
    }
    try check(o.max_matching_ngram_size, "max_matching_ngram_size", "at least 1") { $0 >= 1 }
    try check(o.max_batch_tokens, "max_batch_tokens", "at least 1") { $0 >= 1 }
    try check(o.log_probs, "log_probs", "0 or 1") { (0...1).contains($0) }
    if o.prompt_lookup_num_tokens > 0 {
        guard o.num_beams == 1, o.do_sample == 0, o.on_logits == nil else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "prompt_lookup_num_tokens is \(o.prompt_lookup_num_tokens); with beams, do_sample "
                    + "or on_logits it must be 0")
        }
    }
    settings.logProbs = o.log_probs == 1
    settings.numAlternatives = Int(o.num_alternatives)
    settings.crossAttention = o.cross_attention == 1
    settings.promptLookupNumTokens = Int(o.prompt_lookup_num_tokens)
    settings.maxMatchingNgramSize = Int(o.max_matching_ngram_size)
    settings.maxBatchTokens = Int(o.max_batch_tokens)
    if let onProgress = o.on_progress {
        let context = o.context
        settings.onProgress = { onProgress(context, $0, $1) == UNSAY_CONTINUE }
    }
}

func readCallbacks(
    _ options: unsay_generate_options, _ model: Model, _ settings: inout GenerateOptions
) throws {
    let context = options.context
    if let onToken = options.on_token {
        guard options.num_beams == 1 else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "num_beams is \(options.num_beams); with on_token it must be 1")
        }
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

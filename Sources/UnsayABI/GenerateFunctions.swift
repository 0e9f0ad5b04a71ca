import CUnsay
import Decoding
import Models
import Support

// Section 4 of unsay.h: generate and score.

private var generateDefaults: unsay_generate_options {
    var options = unsay_generate_options()
    options.struct_size = MemoryLayout<unsay_generate_options>.size
    options.max_new_tokens = 128
    options.num_beams = 1
    options.num_return_sequences = 1
    options.num_beam_groups = 1
    options.length_penalty = 1
    options.top_p = 1
    options.typical_p = 1
    options.temperature = 1
    options.repetition_penalty = 1
    return options
}

@_cdecl("unsay_generate_options_init") @implementation
public func unsay_generate_options_init(
    _ options: UnsafeMutablePointer<unsay_generate_options>!, _ struct_size: Int
) {
    initialise(options, struct_size, with: generateDefaults)
}

/// Options that this release does not know how to honour must be at their defaults.
private func refuseUnsupported(_ o: unsay_generate_options) throws {
    let d = generateDefaults
    let unsupported: [(isSet: Bool, name: String)] = [
        (o.num_beams != d.num_beams, "num_beams"),
        (o.num_return_sequences != d.num_return_sequences, "num_return_sequences"),
        (o.num_beam_groups != d.num_beam_groups, "num_beam_groups"),
        (o.diversity_penalty != d.diversity_penalty, "diversity_penalty"),
        (o.length_penalty != d.length_penalty, "length_penalty"),
        (o.early_stopping != d.early_stopping, "early_stopping"),
        (o.do_sample != 0, "do_sample"),
        (o.top_k != d.top_k, "top_k"),
        (o.top_p != d.top_p, "top_p"),
        (o.min_p != d.min_p, "min_p"),
        (o.typical_p != d.typical_p, "typical_p"),
        (o.temperature != d.temperature, "temperature"),
        (o.repetition_penalty != d.repetition_penalty, "repetition_penalty"),
        (o.no_repeat_ngram_size != d.no_repeat_ngram_size, "no_repeat_ngram_size"),
        (o.banned_phrase_count != 0, "banned_phrases"),
    ]
    if let option = unsupported.first(where: \.isSet) {
        throw Failure(
            UNSAY_E_UNSUPPORTED,
            "\(option.name) is not in this release, which decodes greedily: leave its default")
    }
}

private func generateSettings(
    _ pointer: UnsafePointer<unsay_generate_options>?, _ model: Model
) throws -> GenerateOptions {
    let options = try read(pointer, over: generateDefaults, named: "options")
    try refuseUnsupported(options)
    guard options.max_new_tokens >= 1 else {
        throw Failure(
            UNSAY_E_ARGUMENT, "max_new_tokens is \(options.max_new_tokens); it must be at least 1")
    }
    guard options.min_new_tokens >= 0, options.min_new_tokens <= options.max_new_tokens else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "min_new_tokens is \(options.min_new_tokens); it must be in "
                + "0...\(options.max_new_tokens), max_new_tokens")
    }
    var settings = GenerateOptions()
    settings.maxNewTokens = Int(options.max_new_tokens)
    settings.minNewTokens = Int(options.min_new_tokens)
    settings.prefix = Array(
        try requireArray(options.prefix_ids, options.prefix_id_count, "prefix_ids"))
    for id in settings.prefix { try model.check(id, of: "prefix_ids") }
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
    return settings
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
        let hypotheses = [Int](repeating: 0, count: step.inputs.count)
        return prefixes.withUnsafeBufferPointer { prefixes in
            step.inputs.withUnsafeBufferPointer { inputs in
                hypotheses.withUnsafeBufferPointer { hypotheses in
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

@_cdecl("unsay_generate") @implementation
public func unsay_generate(
    _ handle: OpaquePointer!, _ inputs: UnsafePointer<unsay_sequence>!, _ count: Int,
    _ options: UnsafePointer<unsay_generate_options>!, _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        let generation = try generate(
            model, model.ids(inputs, count, "inputs"), generateSettings(options, model))
        out.pointee = UnsayABI.handle(ResultHandle(generation.hypotheses))
        if generation.wasStopped {
            throw Failure(UNSAY_E_CANCELLED, "a callback stopped the generation")
        }
    }
}

@_cdecl("unsay_score") @implementation
public func unsay_score(
    _ handle: OpaquePointer!, _ inputs: UnsafePointer<unsay_sequence>!,
    _ outputs: UnsafePointer<unsay_sequence>!, _ count: Int,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let out = try require(out, "out")
        var hypotheses = try score(
            model, model.ids(inputs, count, "inputs"), model.ids(outputs, count, "outputs"))
        for index in hypotheses.indices {
            hypotheses[index].text = try model.decode(hypotheses[index].ids)
        }
        out.pointee = UnsayABI.handle(ResultHandle(hypotheses))
    }
}

/// Stores the need and returns whether there is room for it.
private func checkRoom(
    _ rows: Int, _ width: Int, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?, _ name: String
) throws {
    let (need, overflow) = rows.multipliedReportingOverflow(by: width)
    guard !overflow else { throw Failure(UNSAY_E_MEMORY, "\(name) would overflow memory") }
    try require(count, "count").pointee = need
    guard capacity < 0 || capacity >= need else {
        throw Failure(
            UNSAY_E_BUFFER, "\(name) needs room for \(need) floats, has room for \(capacity)")
    }
}

@_cdecl("unsay_logits") @implementation
public func unsay_logits(
    _ handle: OpaquePointer!, _ input: UnsafePointer<unsay_sequence>!,
    _ output: UnsafePointer<unsay_sequence>!, _ values: UnsafeMutablePointer<Float>!,
    _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let inputIDs = try model.ids(require(input, "input").pointee, "input")
        let outputIDs = try model.ids(require(output, "output").pointee, "output")
        try checkRoom(outputIDs.count, model.configuration.vocabSize, capacity, count, "logits")
        try logits(model, inputIDs, outputIDs, into: require(values, "logits"))
    }
}

@_cdecl("unsay_encoder_states") @implementation
public func unsay_encoder_states(
    _ handle: OpaquePointer!, _ input: UnsafePointer<unsay_sequence>!,
    _ states: UnsafeMutablePointer<Float>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let ids = try model.ids(require(input, "input").pointee, "input")
        try checkRoom(ids.count, model.configuration.dModel, capacity, count, "states")
        try encoderStates(model, ids, into: require(states, "states"))
    }
}

@_cdecl("unsay_result_count") @implementation
public func unsay_result_count(_ result: OpaquePointer!, _ input: Int) -> Int {
    guard let result else { return 0 }
    return Unmanaged<ResultHandle>.fromOpaque(UnsafeRawPointer(result)).takeUnretainedValue()
        .count(input)
}

@_cdecl("unsay_result_get") @implementation
public func unsay_result_get(
    _ result: OpaquePointer!, _ input: Int, _ rank: Int,
    _ out: UnsafeMutablePointer<unsay_hypothesis>!
) -> unsay_status {
    boundary {
        let owner = try object(result, ResultHandle.self, "result")
        guard let hypothesis = owner.hypothesis(input, rank) else {
            throw Failure(
                UNSAY_E_ARGUMENT, "there is no hypothesis \(rank) of input \(input)")
        }
        try fill(require(out, "out"), with: hypothesis, named: "unsay_hypothesis")
    }
}

@_cdecl("unsay_result_free") @implementation
public func unsay_result_free(_ result: OpaquePointer!) { release(result, ResultHandle.self) }

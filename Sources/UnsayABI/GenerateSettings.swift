import CUnsay
import Decoding
import Models
import Support

var generateDefaults: unsay_generate_options {
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
    options.encoder_repetition_penalty = 1
    options.forced_bos_token_id = -1
    options.forced_eos_token_id = -1
    options.max_matching_ngram_size = 2
    options.max_batch_tokens = 16384
    options.log_probs = 1
    return options
}

/// A caller's options, or the model's where the caller has none, checked.
///
/// - Parameter inputs: how many inputs there are.
/// - Parameter name: what messages call the struct.
func generateSettings(
    _ pointer: UnsafePointer<unsay_generate_options>?, _ model: Model, inputs: Int,
    named name: String = "options"
) throws -> GenerateOptions {
    let defaults = GenerationDefaults(model)
    return try defaults.explaining {
        var settings =
            try pointer.map { try given($0, model, named: name) }
            ?? defaults.options
        try settings.validate(for: model, defaults, inputs: inputs)
        return settings
    }
}

private func given(
    _ pointer: UnsafePointer<unsay_generate_options>, _ model: Model, named name: String
) throws -> GenerateOptions {
    let options = try read(pointer, over: generateDefaults, named: name)
    var settings = GenerateOptions()
    settings.maxNewTokens = Int(options.max_new_tokens)
    settings.minNewTokens = Int(options.min_new_tokens)
    try readSearch(options, &settings)
    try readRules(options, model, &settings)
    try readPrefixes(options, model, &settings)
    try readExtras(options, &settings)
    readCallbacks(options, model, &settings)
    return settings
}

func flag(_ value: Int32, _ name: String) throws -> Bool {
    guard value == 0 || value == 1 else {
        throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be 0 or 1")
    }
    return value == 1
}

private func readSearch(_ o: unsay_generate_options, _ settings: inout GenerateOptions) throws {
    settings.numBeams = Int(o.num_beams)
    settings.numBeamGroups = Int(o.num_beam_groups)
    settings.numReturnSequences = Int(o.num_return_sequences)
    settings.diversityPenalty = o.diversity_penalty
    settings.lengthPenalty = o.length_penalty
    switch o.early_stopping {
    case UNSAY_EARLY_STOPPING_NO: settings.earlyStopping = .no
    case UNSAY_EARLY_STOPPING_YES: settings.earlyStopping = .yes
    case UNSAY_EARLY_STOPPING_NEVER: settings.earlyStopping = .never
    default:
        throw Failure(
            UNSAY_E_ARGUMENT,
            "early_stopping is \(o.early_stopping.rawValue); it must be an unsay_early_stopping")
    }
    settings.doSample = try flag(o.do_sample, "do_sample")
    settings.seed = o.seed
    settings.filters.temperature = o.temperature
    settings.filters.topK = Int(o.top_k)
    settings.filters.topP = o.top_p
    settings.filters.minP = o.min_p
    settings.filters.typicalP = o.typical_p
    settings.filters.epsilonCutoff = o.epsilon_cutoff
    settings.filters.etaCutoff = o.eta_cutoff
}

private func readRules(
    _ o: unsay_generate_options, _ model: Model, _ settings: inout GenerateOptions
) throws {
    var rules = LogitsRules()
    rules.repetitionPenalty = o.repetition_penalty
    rules.encoderRepetitionPenalty = o.encoder_repetition_penalty
    rules.noRepeatNgramSize = Int(o.no_repeat_ngram_size)
    rules.encoderNoRepeatNgramSize = Int(o.encoder_no_repeat_ngram_size)
    rules.forcedBOSTokenID = o.forced_bos_token_id == -1 ? nil : o.forced_bos_token_id
    rules.forcedEOSTokenID = o.forced_eos_token_id == -1 ? nil : o.forced_eos_token_id
    rules.suppressTokens = Array(
        try requireArray(o.suppress_tokens, o.suppress_token_count, "suppress_tokens"))
    rules.beginSuppressTokens = Array(
        try requireArray(
            o.begin_suppress_tokens, o.begin_suppress_token_count, "begin_suppress_tokens"))
    settings.eosTokenIDs = Array(
        try requireArray(o.eos_token_ids, o.eos_token_id_count, "eos_token_ids"))
    rules.badWords = try model.runs(o.bad_words, o.bad_word_count, "bad_words")
    let biased = try model.runs(o.sequence_bias, o.sequence_bias_count, "sequence_bias")
    let biases = try requireArray(
        o.sequence_bias_values, o.sequence_bias_count, "sequence_bias_values")
    rules.sequenceBias = zip(biased, biases).map { SequenceBias(ids: $0, bias: $1) }
    rules.bannedPhrases = try strings(o.banned_phrases, o.banned_phrase_count, "banned_phrases")
    settings.rules = rules
    settings.stopStrings = try strings(o.stop_strings, o.stop_string_count, "stop_strings")
        .map { Array($0.utf8) }
    settings.forceWords = try model.runs(o.force_words, o.force_word_count, "force_words")
}

private func strings(
    _ texts: UnsafePointer<UnsafePointer<CChar>?>?, _ count: Int, _ name: String
) throws -> [String] {
    try requireArray(texts, count, name).enumerated().map {
        try requireString($0.element, "\(name)[\($0.offset)]")
    }
}

extension Model {
    fileprivate func run(_ sequence: unsay_sequence, _ name: String) throws -> [Int32] {
        try run(ids(sequence, name), isText: sequence.text != nil, named: name)
    }

    fileprivate func runs(
        _ sequences: UnsafePointer<unsay_sequence>?, _ count: Int, _ name: String
    ) throws -> [[Int32]] {
        try requireArray(sequences, count, name).enumerated().map {
            try run($0.element, "\(name)[\($0.offset)]")
        }
    }
}

private func readPrefixes(
    _ o: unsay_generate_options, _ model: Model, _ settings: inout GenerateOptions
) throws {
    settings.prefix = Array(try requireArray(o.prefix_ids, o.prefix_id_count, "prefix_ids"))
    let prefixes = try requireArray(o.prefixes, o.prefix_count, "prefixes")
    settings.prefixes = try prefixes.enumerated().map { index, prefix in
        if prefix.text == nil && prefix.id_count == 0 { return [] }
        return try model.run(prefix, "prefixes[\(index)]")
    }
}

private func readExtras(_ o: unsay_generate_options, _ settings: inout GenerateOptions) throws {
    settings.logProbs = try flag(o.log_probs, "log_probs")
    settings.numAlternatives = Int(o.num_alternatives)
    settings.crossAttention = try flag(o.cross_attention, "cross_attention")
    settings.promptLookupNumTokens = Int(o.prompt_lookup_num_tokens)
    settings.maxMatchingNgramSize = Int(o.max_matching_ngram_size)
    settings.maxBatchTokens = Int(o.max_batch_tokens)
}

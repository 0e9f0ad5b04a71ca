import CUnsay
import Decoding
import Models
import Support
import Tokenizers

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

/// More beams or sequences for one input would only waste memory.
private let mostRows: Int32 = 1024

/// A caller's options, checked.
///
/// - Parameter inputs: how many inputs there are.
/// - Parameter name: what messages call the struct.
func generateSettings(
    _ pointer: UnsafePointer<unsay_generate_options>?, _ model: Model, inputs: Int,
    named name: String = "options"
) throws -> GenerateOptions {
    let options = try read(pointer, over: generateDefaults, named: name)
    var settings = GenerateOptions()
    try readLengths(options, &settings)
    try readBeams(options, &settings)
    try readFilters(options, &settings)
    try readRules(options, model, &settings)
    try readPrefixes(options, model, inputs: inputs, &settings)
    try readCallbacks(options, model, &settings)
    try readExtras(options, model, &settings)
    return settings
}

func check<Value: Comparable>(
    _ value: Value, _ name: String, _ range: String, _ isInRange: (Value) -> Bool
) throws {
    guard isInRange(value) else {
        throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be \(range)")
    }
}

private func readLengths(_ o: unsay_generate_options, _ settings: inout GenerateOptions) throws {
    try check(o.max_new_tokens, "max_new_tokens", "at least 1") { $0 >= 1 }
    try check(o.min_new_tokens, "min_new_tokens", "in 0...\(o.max_new_tokens), max_new_tokens") {
        (0...o.max_new_tokens).contains($0)
    }
    settings.maxNewTokens = Int(o.max_new_tokens)
    settings.minNewTokens = Int(o.min_new_tokens)
}

private func readBeams(_ o: unsay_generate_options, _ settings: inout GenerateOptions) throws {
    try check(o.num_beams, "num_beams", "in 1...\(mostRows)") { (1...mostRows).contains($0) }
    try check(
        o.num_beam_groups, "num_beam_groups", "in 1...\(o.num_beams) and divide num_beams"
    ) { (1...o.num_beams).contains($0) && o.num_beams % $0 == 0 }
    try check(o.do_sample, "do_sample", "0 or 1") { (0...1).contains($0) }
    let most = o.num_beams > 1 ? o.num_beams : o.do_sample == 1 ? mostRows : 1
    try check(
        o.num_return_sequences, "num_return_sequences",
        "in 1...\(most) (num_beams, or 1 without beams or do_sample)"
    ) { (1...most).contains($0) }
    try check(o.diversity_penalty, "diversity_penalty", "finite and at least 0") {
        $0 >= 0 && $0.isFinite
    }
    guard o.diversity_penalty == 0 || o.num_beam_groups > 1 else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "diversity_penalty is \(o.diversity_penalty); without num_beam_groups it must be 0")
    }
    guard o.num_beam_groups == 1 || o.do_sample == 0 else {
        throw Failure(
            UNSAY_E_ARGUMENT, "do_sample is 1; with num_beam_groups above 1 it must be 0")
    }
    try check(o.length_penalty, "length_penalty", "finite") { $0.isFinite }
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
}

private func readFilters(_ o: unsay_generate_options, _ settings: inout GenerateOptions) throws {
    try check(o.temperature, "temperature", "finite and above 0") { $0 > 0 && $0.isFinite }
    try check(o.top_k, "top_k", "at least 0") { $0 >= 0 }
    try check(o.top_p, "top_p", "above 0, at most 1") { $0 > 0 && $0 <= 1 }
    try check(o.min_p, "min_p", "in 0...1") { (0...1).contains($0) }
    try check(o.typical_p, "typical_p", "above 0, at most 1") { $0 > 0 && $0 <= 1 }
    try check(o.epsilon_cutoff, "epsilon_cutoff", "at least 0, below 1") { (0..<1).contains($0) }
    try check(o.eta_cutoff, "eta_cutoff", "at least 0, below 1") { (0..<1).contains($0) }
    settings.doSample = o.do_sample == 1
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
    try check(o.repetition_penalty, "repetition_penalty", "finite and above 0") {
        $0 > 0 && $0.isFinite
    }
    try check(o.encoder_repetition_penalty, "encoder_repetition_penalty", "finite and above 0") {
        $0 > 0 && $0.isFinite
    }
    try check(o.no_repeat_ngram_size, "no_repeat_ngram_size", "at least 0") { $0 >= 0 }
    try check(o.encoder_no_repeat_ngram_size, "encoder_no_repeat_ngram_size", "at least 0") {
        $0 >= 0
    }
    var rules = LogitsRules()
    rules.repetitionPenalty = o.repetition_penalty
    rules.encoderRepetitionPenalty = o.encoder_repetition_penalty
    rules.noRepeatNgramSize = Int(o.no_repeat_ngram_size)
    rules.encoderNoRepeatNgramSize = Int(o.encoder_no_repeat_ngram_size)
    func forced(_ id: Int32, _ name: String) throws -> Int32? {
        if id == -1 { return nil }
        try model.check(id, of: name)
        return id
    }
    rules.forcedBOSTokenID = try forced(o.forced_bos_token_id, "forced_bos_token_id")
    rules.forcedEOSTokenID = try forced(o.forced_eos_token_id, "forced_eos_token_id")
    func list(_ ids: UnsafePointer<Int32>?, _ count: Int, _ name: String) throws -> [Int32] {
        let ids = Array(try requireArray(ids, count, name))
        for id in ids { try model.check(id, of: name) }
        return ids
    }
    rules.suppressTokens = try list(o.suppress_tokens, o.suppress_token_count, "suppress_tokens")
    rules.beginSuppressTokens = try list(
        o.begin_suppress_tokens, o.begin_suppress_token_count, "begin_suppress_tokens")
    settings.eosTokenIDs = try list(o.eos_token_ids, o.eos_token_id_count, "eos_token_ids")
    rules.badWords = try requireArray(o.bad_words, o.bad_word_count, "bad_words").enumerated()
        .map { try model.run($0.element, "bad_words[\($0.offset)]") }
    let biased = try requireArray(o.sequence_bias, o.sequence_bias_count, "sequence_bias")
    let biases = try requireArray(
        o.sequence_bias_values, o.sequence_bias_count, "sequence_bias_values")
    rules.sequenceBias = try biased.indices.map { index in
        guard !biases[index].isNaN else {
            throw Failure(UNSAY_E_ARGUMENT, "sequence_bias_values[\(index)] is not a number")
        }
        return SequenceBias(
            ids: try model.run(biased[index], "sequence_bias[\(index)]"), bias: biases[index])
    }
    rules.bannedPhrases = try strings(
        o.banned_phrases, o.banned_phrase_count, "banned_phrases", model
    ) { !FoldedText(Array($0.utf8)).trimmed().isEmpty }
    settings.rules = rules
    settings.stopStrings = try strings(
        o.stop_strings, o.stop_string_count, "stop_strings", model, isFit: { !$0.isEmpty }
    ).map { Array($0.utf8) }
    settings.forceWords = try requireArray(o.force_words, o.force_word_count, "force_words")
        .enumerated().map { try model.run($0.element, "force_words[\($0.offset)]") }
    guard settings.forceWords.isEmpty || (o.num_beams > 1 && o.num_beam_groups == 1) else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "num_beams is \(o.num_beams) in \(o.num_beam_groups) groups; with force_words there "
                + "must be more than one, in one group")
    }
    guard settings.forceWords.isEmpty || o.do_sample == 0 else {
        throw Failure(UNSAY_E_ARGUMENT, "do_sample is 1; with force_words it must be 0")
    }
}

/// Texts that only a model with a vocabulary can look for.
private func strings(
    _ texts: UnsafePointer<UnsafePointer<CChar>?>?, _ count: Int, _ name: String, _ model: Model,
    isFit: (String) -> Bool
) throws -> [String] {
    let texts = try requireArray(texts, count, name).enumerated().map { index, raw in
        let text = try requireString(raw, "\(name)[\(index)]")
        guard isFit(text) else { throw Failure(UNSAY_E_ARGUMENT, "\(name)[\(index)] is empty") }
        return text
    }
    if !texts.isEmpty { _ = try model.requireTokenizer() }
    return texts
}

extension Model {
    /// The ids of a run of tokens: as given, or of a text without the end.
    fileprivate func run(_ sequence: unsay_sequence, _ name: String) throws -> [Int32] {
        let all = try ids(sequence, name)
        let run = sequence.text == nil ? all : Array(all.dropLast())
        guard !run.isEmpty else { throw Failure(UNSAY_E_ARGUMENT, "\(name) is empty") }
        return run
    }
}

private func readPrefixes(
    _ o: unsay_generate_options, _ model: Model, inputs: Int, _ settings: inout GenerateOptions
) throws {
    settings.prefix = Array(try requireArray(o.prefix_ids, o.prefix_id_count, "prefix_ids"))
    for id in settings.prefix { try model.check(id, of: "prefix_ids") }
    let prefixes = try requireArray(o.prefixes, o.prefix_count, "prefixes")
    guard prefixes.isEmpty || prefixes.count == inputs else {
        throw Failure(
            UNSAY_E_ARGUMENT,
            "prefixes has \(prefixes.count); there must be none, or \(inputs), one for each input")
    }
    guard prefixes.isEmpty || settings.prefix.isEmpty else {
        throw Failure(UNSAY_E_ARGUMENT, "both prefix_ids and prefixes are set: set one")
    }
    settings.prefixes = try prefixes.enumerated().map { index, prefix in
        if prefix.text == nil && prefix.id_count == 0 { return [] }
        return try model.run(prefix, "prefixes[\(index)]")
    }
}

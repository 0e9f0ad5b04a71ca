import CUnsay
import Models
import Support
import Tokenizers

/// More beams or sequences for one input would only waste memory.
private let mostRows = 1024

extension GenerateOptions {
    /// Checks values that came from outside, for one model and a number of inputs.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` naming the option as unsay.h does, its value and its range;
    ///   `UNSAY_E_STATE` for texts to look for in a model without a vocabulary.
    /// - Parameter defaults: the model's. What they hold and the other options leave no room for
    ///   is dropped first.
    package mutating func validate(
        for model: Model, _ defaults: GenerationDefaults, inputs: Int
    ) throws {
        defaults.settle(&self)
        try validateLengths()
        try validateBeams()
        try validateFilters()
        try validateRules(model)
        try validatePrefixes(model, inputs: inputs)
        try validateExtras(model)
    }

    private func validateLengths() throws {
        try check(maxNewTokens, "max_new_tokens", "at least 1, at most \(Int32.max)") {
            (1...Int(Int32.max)).contains($0)
        }
        try check(minNewTokens, "min_new_tokens", "in 0...\(maxNewTokens), max_new_tokens") {
            (0...maxNewTokens).contains($0)
        }
    }

    private func validateBeams() throws {
        try check(numBeams, "num_beams", "in 1...\(mostRows)") { (1...mostRows).contains($0) }
        try check(
            numBeamGroups, "num_beam_groups", "in 1...\(numBeams) and divide num_beams"
        ) { (1...numBeams).contains($0) && numBeams % $0 == 0 }
        let most = numBeams > 1 ? numBeams : doSample ? mostRows : 1
        try check(
            numReturnSequences, "num_return_sequences",
            "in 1...\(most) (num_beams, or 1 without beams or do_sample)"
        ) { (1...most).contains($0) }
        try check(diversityPenalty, "diversity_penalty", "finite and at least 0") {
            $0 >= 0 && $0.isFinite
        }
        guard diversityPenalty == 0 || numBeamGroups > 1 else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "diversity_penalty is \(diversityPenalty); without num_beam_groups it must be 0")
        }
        guard numBeamGroups == 1 || !doSample else {
            throw Failure(
                UNSAY_E_ARGUMENT, "do_sample is 1; with num_beam_groups above 1 it must be 0")
        }
        try check(lengthPenalty, "length_penalty", "finite") { $0.isFinite }
        guard earlyStopping != .unfit else {
            throw Failure(UNSAY_E_ARGUMENT, "early_stopping is none of no, yes and never")
        }
        guard onToken == nil || numBeams == 1 else {
            throw Failure(
                UNSAY_E_ARGUMENT, "num_beams is \(numBeams); with on_token it must be 1")
        }
    }

    private func validateFilters() throws {
        let f = filters
        try check(f.temperature, "temperature", "finite and above 0") { $0 > 0 && $0.isFinite }
        try check(f.topK, "top_k", "at least 0") { $0 >= 0 }
        try check(f.topP, "top_p", "above 0, at most 1") { $0 > 0 && $0 <= 1 }
        try check(f.minP, "min_p", "in 0...1") { (0...1).contains($0) }
        try check(f.typicalP, "typical_p", "above 0, at most 1") { $0 > 0 && $0 <= 1 }
        try check(f.epsilonCutoff, "epsilon_cutoff", "at least 0, below 1") {
            (0..<1).contains($0)
        }
        try check(f.etaCutoff, "eta_cutoff", "at least 0, below 1") { (0..<1).contains($0) }
    }

    private func validateRules(_ model: Model) throws {
        try check(rules.repetitionPenalty, "repetition_penalty", "finite and above 0") {
            $0 > 0 && $0.isFinite
        }
        try check(
            rules.encoderRepetitionPenalty, "encoder_repetition_penalty", "finite and above 0"
        ) { $0 > 0 && $0.isFinite }
        try check(rules.noRepeatNgramSize, "no_repeat_ngram_size", "at least 0") { $0 >= 0 }
        try check(
            rules.encoderNoRepeatNgramSize, "encoder_no_repeat_ngram_size", "at least 0"
        ) { $0 >= 0 }
        if let id = rules.forcedBOSTokenID { try model.check(id, of: "forced_bos_token_id") }
        if let id = rules.forcedEOSTokenID { try model.check(id, of: "forced_eos_token_id") }
        for id in rules.suppressTokens { try model.check(id, of: "suppress_tokens") }
        for id in rules.beginSuppressTokens { try model.check(id, of: "begin_suppress_tokens") }
        for id in eosTokenIDs { try model.check(id, of: "eos_token_ids") }
        try validateRuns(rules.badWords, "bad_words", model)
        try validateRuns(rules.sequenceBias.map(\.ids), "sequence_bias", model)
        try validateRuns(forceWords, "force_words", model)
        for (index, bias) in rules.sequenceBias.enumerated() where bias.bias.isNaN {
            throw Failure(UNSAY_E_ARGUMENT, "sequence_bias_values[\(index)] is not a number")
        }
        try validateTexts(rules.bannedPhrases, "banned_phrases", model) {
            !FoldedText(Array($0.utf8)).trimmed().isEmpty
        }
        try validateTexts(stopStrings, "stop_strings", model) { !$0.isEmpty }
        guard forceWords.isEmpty || (numBeams > 1 && numBeamGroups == 1) else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "num_beams is \(numBeams) in \(numBeamGroups) groups; with force_words there "
                    + "must be more than one, in one group")
        }
        guard forceWords.isEmpty || !doSample else {
            throw Failure(UNSAY_E_ARGUMENT, "do_sample is 1; with force_words it must be 0")
        }
    }

    private func validateRuns(_ runs: [[Int32]], _ name: String, _ model: Model) throws {
        for (index, run) in runs.enumerated() {
            for id in run { try model.check(id, of: "\(name)[\(index)]") }
        }
    }

    /// Texts that only a model with a vocabulary can look for.
    private func validateTexts<Text>(
        _ texts: [Text], _ name: String, _ model: Model, isFit: (Text) -> Bool
    ) throws {
        for (index, text) in texts.enumerated() where !isFit(text) {
            throw Failure(UNSAY_E_ARGUMENT, "\(name)[\(index)] is empty")
        }
        if !texts.isEmpty { _ = try model.requireTokenizer() }
    }

    private func validatePrefixes(_ model: Model, inputs: Int) throws {
        for id in prefix { try model.check(id, of: "prefix_ids") }
        guard prefixes.isEmpty || prefixes.count == inputs else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "prefixes has \(prefixes.count); there must be none, or \(inputs), one for each "
                    + "input")
        }
        guard prefixes.isEmpty || prefix.isEmpty else {
            throw Failure(UNSAY_E_ARGUMENT, "both prefix_ids and prefixes are set: set one")
        }
    }

    private func validateExtras(_ model: Model) throws {
        let size = model.configuration.vocabSize
        try check(numAlternatives, "num_alternatives", "in 0...\(size)") {
            (0...size).contains($0)
        }
        try check(promptLookupNumTokens, "prompt_lookup_num_tokens", "in 0...63") {
            (0...63).contains($0)
        }
        try check(maxMatchingNgramSize, "max_matching_ngram_size", "at least 1") { $0 >= 1 }
        try check(maxBatchTokens, "max_batch_tokens", "at least 1") { $0 >= 1 }
        guard promptLookupNumTokens == 0 || (numBeams == 1 && !doSample && onLogits == nil) else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "prompt_lookup_num_tokens is \(promptLookupNumTokens); with beams, do_sample "
                    + "or on_logits it must be 0")
        }
    }
}

private func check<Value>(
    _ value: Value, _ name: String, _ range: String, _ isInRange: (Value) -> Bool
) throws {
    guard isInRange(value) else {
        throw Failure(UNSAY_E_ARGUMENT, "\(name) is \(value); it must be \(range)")
    }
}

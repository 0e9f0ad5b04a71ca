import CUnsay
import Support

/// What a model's files say about generation, from the file that transformers 4.57 would read:
/// generation_config.json, or config.json where there is none.
package struct GenerationConfiguration: Sendable {
    /// The name of that file; nil if the model has neither.
    package let file: String?
    /// The members of the file, by name. A member that config.json sets to null is not among
    /// them: there it is as if it were left out.
    package let members: [String: JSON]

    package init(config: JSON?, generation: JSON?) {
        if let stated = generation?.object, !Self.isOutdated(stated, config) {
            file = "generation_config.json"
            members = stated
        } else {
            file = config == nil ? nil : "config.json"
            members = (config?.object ?? [:]).filter { $0.value != .null }
        }
    }

    /// Whether a generation_config.json was made from config.json, by what it says of itself,
    /// while config.json has options of generation that differ from transformers' own:
    /// transformers then makes it anew from config.json.
    private static func isOutdated(_ generation: [String: JSON], _ config: JSON?) -> Bool {
        guard generation["_from_model_config"]?.bool == true, let config = config?.object else {
            return false
        }
        return legacyDefaults.contains { name, value in
            guard let stated = config[name], stated != .null else { return false }
            guard let number = stated.pythonNumber else { return true }
            return value != number
        }
    }

    /// The options that a config.json may hold, and what they are where it does not; nil for
    /// None. From transformers' PretrainedConfig.
    private static let legacyDefaults: [String: Double?] = [
        "max_length": 20, "min_length": 0, "do_sample": 0, "early_stopping": 0, "num_beams": 1,
        "temperature": 1, "top_k": 50, "top_p": 1, "typical_p": 1, "repetition_penalty": 1,
        "length_penalty": 1, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
        "bad_words_ids": nil, "num_return_sequences": 1, "output_scores": 0,
        "return_dict_in_generate": 0, "forced_bos_token_id": nil, "forced_eos_token_id": nil,
        "remove_invalid_values": 0, "exponential_decay_length_penalty": nil,
        "suppress_tokens": nil, "begin_suppress_tokens": nil, "num_beam_groups": 1,
        "diversity_penalty": 0,
    ]

    /// The ids of a member that is one id or a list of them; empty if it is left out or null.
    ///
    /// - Throws: `UNSAY_E_FORMAT` for anything but whole numbers.
    func ids(_ name: String) throws -> [Int] {
        guard let value = members[name], value != .null else { return [] }
        return try (value.array ?? [value]).map {
            guard let number = $0.pythonNumber, let id = Int(exactly: number) else {
                throw Failure(
                    UNSAY_E_FORMAT,
                    "\(file ?? "config.json"): \(name) is \(value.told), expected an id")
            }
            return id
        }
    }
}

extension JSON {
    /// The value as Python counts with it: true is 1, false is 0; nil for what is no number.
    package var pythonNumber: Double? { bool.map { $0 ? 1 : 0 } ?? double }
}

import Foundation
import Testing
import Unsay

private let root =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
    .joined(separator: "/")

func tiny(_ name: String = "tiny-v10") throws -> Model {
    try Model.open("\(root)/Tests/Models/\(name)", threads: 2)
}

private let text = "summarize: a small library for reading files"
private let short = GenerateOptions { $0.maxNewTokens = 8 }

@Suite("Serving from Swift")
struct ServingTests {
    @Test("a model that is not there is a failure that names it")
    func absent() {
        #expect {
            try Model.open("absent/folder")
        } throws: { error in
            let failure = error as? Failure
            return failure?.status == .notFound && "\(error)".contains("absent/folder")
        }
        let folder = "\(root)/Tests/Models/tiny-v10"
        #expect {
            try Model.open(folder, threads: -1)
        } throws: { "\($0)".contains("threads is -1") }
        #expect {
            try Model.open(folder, tokenizerPath: "")
        } throws: { "\($0)".contains("tokenizer_path is empty") }
    }

    @Test("a path that is not UTF-8 is given as bytes")
    func bytes() throws {
        let model = try tiny()
        let place: [UInt8] = Array("\(NSTemporaryDirectory())/unsay-\(UUID().uuidString)-".utf8)
        let folder = place + [0xFF]
        defer {
            for file in model.files + ["config.json", "generation_config.json", "spiece.model"] {
                unlink((folder + Array("/\(file)".utf8)).map(CChar.init(bitPattern:)) + [0])
            }
            rmdir(folder.map(CChar.init(bitPattern:)) + [0])
        }
        try model.save(folder)
        #expect(try Model.open(folder).fingerprint() == model.fingerprint())
        #expect(model.files == ["decoder_model_merged.onnx", "encoder_model.onnx"])
    }

    @Test("options out of range are refused by the names of unsay.h")
    func options() throws {
        let model = try tiny()
        let cases: [(String, GenerateOptions)] = [
            ("max_new_tokens", GenerateOptions { $0.maxNewTokens = Int.max }),
            ("min_new_tokens", GenerateOptions { $0.minNewTokens = -1 }),
            ("num_beams", GenerateOptions { $0.numBeams = 0 }),
            ("num_return_sequences", GenerateOptions { $0.numReturnSequences = 0 }),
            ("num_beam_groups", GenerateOptions { $0.numBeamGroups = 0 }),
            ("diversity_penalty", GenerateOptions { $0.diversityPenalty = -1 }),
            ("length_penalty", GenerateOptions { $0.lengthPenalty = .infinity }),
            ("temperature", GenerateOptions { $0.temperature = 0 }),
            ("top_k", GenerateOptions { $0.topK = Int.max }),
            ("top_k", GenerateOptions { $0.topK = -1 }),
            ("top_p", GenerateOptions { $0.topP = .nan }),
            ("min_p", GenerateOptions { $0.minP = 2 }),
            ("typical_p", GenerateOptions { $0.typicalP = 0 }),
            ("epsilon_cutoff", GenerateOptions { $0.epsilonCutoff = 1 }),
            ("eta_cutoff", GenerateOptions { $0.etaCutoff = 1 }),
            ("repetition_penalty", GenerateOptions { $0.repetitionPenalty = 0 }),
            ("encoder_repetition_penalty", GenerateOptions { $0.encoderRepetitionPenalty = 0 }),
            ("no_repeat_ngram_size", GenerateOptions { $0.noRepeatNgramSize = -1 }),
            ("encoder_no_repeat_ngram_size", GenerateOptions { $0.encoderNoRepeatNgramSize = -1 }),
            ("banned_phrases[1]", GenerateOptions { $0.bannedPhrases = ["a", " "] }),
            ("prefix", GenerateOptions { $0.prefix = [Int32]() }),
            ("prefixes has 2", GenerateOptions { $0.prefixes = ["a", "b"] }),
            ("forced_bos_token_id", GenerateOptions { $0.forcedBOSTokenID = 1 << 30 }),
            ("forced_eos_token_id", GenerateOptions { $0.forcedEOSTokenID = -2 }),
            ("eos_token_ids", GenerateOptions { $0.eosTokenIDs = [-1] }),
            ("begin_suppress_tokens", GenerateOptions { $0.beginSuppressTokens = [-1] }),
            ("suppress_tokens", GenerateOptions { $0.suppressTokens = [-1] }),
            ("bad_words[0]", GenerateOptions { $0.badWords = [[Int32]()] }),
            ("sequence_bias_values", GenerateOptions { $0.sequenceBias = [("a", .nan)] }),
            ("stop_strings[0]", GenerateOptions { $0.stopStrings = [""] }),
            ("force_words", GenerateOptions { $0.forceWords = ["a"] }),
            ("num_alternatives", GenerateOptions { $0.numAlternatives = -1 }),
            ("prompt_lookup_num_tokens", GenerateOptions { $0.promptLookupNumTokens = 64 }),
            ("max_matching_ngram_size", GenerateOptions { $0.maxMatchingNgramSize = 0 }),
            ("max_batch_tokens", GenerateOptions { $0.maxBatchTokens = 0 }),
        ]
        for (name, options) in cases {
            #expect {
                _ = try model.generate(text, options)
            } throws: { error in
                (error as? Failure)?.status == .argument && "\(error)".contains(name)
            }
        }
    }

    @Test("what generation_config.json says holds until an option says otherwise")
    func defaults() throws {
        let source = FileManager.default.temporaryDirectory.appending(path: "defaults-\(UUID())")
        try FileManager.default.copyItem(
            at: URL(filePath: "\(root)/Tests/Models/tiny-v10"), to: source)
        defer { try? FileManager.default.removeItem(at: source) }
        let file = source.appending(path: "generation_config.json")
        let members =
            #"{"decoder_start_token_id": 0, "eos_token_id": [1, 298], "num_beams": 3, "#
            + #""max_length": 7, "suppress_tokens": [109], "penalty_alpha": 0.5, "top_k": NaN}"#
        try Data(members.utf8).write(to: file)
        let model = try Model.open(source.path, threads: 2)
        let options = model.generateOptions
        #expect(options.numBeams == 3 && options.maxNewTokens == 6)
        #expect(options.suppressTokens == [109] && options.eosTokenIDs == [1, 298])
        #expect(model.generation.file == "generation_config.json")
        #expect(model.generation.remarks.contains { $0.contains("top_k is NaN") })
        let ids: [Int32] = [200, 218, 23, 135, 1]
        let plain = try model.generate(ids)
        let spelled = try tiny().generate(
            ids,
            GenerateOptions {
                $0.numBeams = 3
                $0.maxNewTokens = 6
                $0.suppressTokens = [109]
                $0.eosTokenIDs = [1, 298]
            })
        #expect(plain.ids == spelled.ids && plain.score == spelled.score)
        let greedy = try model.generate(ids, GenerateOptions { $0.numBeams = 1 })
        #expect(greedy.ids.count == 6 && greedy.ids != plain.ids)
    }

    @Test("drawing follows its seed; log-probabilities are left out where nobody wants them")
    func draws() throws {
        let model = try tiny()
        func drawn(_ seed: UInt64) throws -> Output {
            try model.generate(
                text,
                GenerateOptions {
                    $0.maxNewTokens = 8
                    $0.doSample = true
                    $0.seed = seed
                    $0.logProbs = false
                })
        }
        #expect(try drawn(1).ids == drawn(1).ids)
        #expect(try drawn(1).ids != drawn(2).ids)
        #expect(try drawn(1).logProbabilities.isEmpty)
    }

    @Test("a text and its ids give the same output, alone and in a batch")
    func sequences() throws {
        let model = try tiny()
        let encoded = try model.encode(text)
        let output = try model.generate(text, short)
        #expect(try model.generate(encoded.ids, short).ids == output.ids)
        #expect(try model.generate([text, "another"], short)[0].ids == output.ids)
        #expect(encoded.spans.last == text.utf8.count..<text.utf8.count)
        #expect(try model.decode(output.ids) == output.text)
        #expect(output.logProbabilities.count == output.ids.count)
    }

    @Test("beams give as many hypotheses as asked for, the best first")
    func beams() throws {
        let options = GenerateOptions {
            $0.maxNewTokens = 8
            $0.numBeams = 3
            $0.numReturnSequences = 3
            $0.numAlternatives = 2
            $0.crossAttention = true
        }
        let model = try tiny("tiny-v11")
        let kept = try model.hypotheses([text], options)[0]
        #expect(kept.count == 3)
        #expect(kept.map(\.score) == kept.map(\.score).sorted(by: >))
        #expect(kept[0].alternatives.count == kept[0].ids.count)
        #expect(kept[0].alternatives.allSatisfy { $0.count == 2 })
        let inputs = try model.encode(text).ids.count
        #expect(kept[0].crossAttention.allSatisfy { $0.count == inputs })
    }

    @Test("a callback sees every token, and stops the output where it says so")
    func callbacks() throws {
        let model = try tiny()
        let whole = try model.generate(text, short)
        var seen: [Int32] = []
        let stopped = try model.generate(
            text, short,
            GenerateCallbacks {
                $0.onToken = { token in
                    seen.append(token.id)
                    return seen.count < 3 ? .continue : .stop
                }
            })
        #expect(seen == Array(whole.ids.prefix(3)))
        #expect(stopped.ids == seen)
        #expect(stopped.finish == .stopped)
    }

    @Test("allowed tokens are all that is written; an id that does not exist is a failure")
    func allowed() throws {
        let model = try tiny()
        func only(_ ids: [Int32]) throws -> [Int32] {
            try model.generate(
                text, short, GenerateCallbacks { $0.allowedTokens = { _, _ in ids } }
            ).ids
        }
        #expect(Set(try only([7])) == [7])
        #expect(throws: Failure.self) { try only([-1]) }
        #expect(throws: Failure.self) { try only([]) }
    }

    @Test("a stream is the output token by token")
    func stream() async throws {
        let model = try tiny()
        var ids: [Int32] = []
        var pieces = ""
        for try await token in model.stream(text, short) {
            ids.append(token.id)
            pieces += token.text
        }
        let output = try model.generate(text, short)
        #expect(ids == output.ids)
        #expect(pieces == output.text)
    }

    @Test("a stream ends with the failure of its call")
    func failingStream() async throws {
        let model = try tiny()
        await #expect(throws: Failure.self) {
            for try await _ in model.stream(text, GenerateOptions { $0.numBeams = 2 }) {}
        }
    }

    @Test("scores, logits, states and embeddings have the shapes of unsay.h")
    func scores() throws {
        let model = try tiny()
        let output = try model.generate(text, short)
        let scored = try model.score(text, output)
        #expect(scored.ids == output.ids)
        #expect(scored.finish == .given)
        #expect(abs(scored.score - output.logProbabilities.reduce(0, +)) < 1e-3)
        let info = model.info
        #expect(try model.logits(text, output).count == output.ids.count * info.vocabSize)
        let ids = try model.encode(text).ids
        #expect(try model.encoderStates(text).count == ids.count * info.dModel)
        let embedded = try model.embed([text, "another"], normalize: true)
        #expect(embedded.count == 2 * info.dModel)
        let norm = embedded.prefix(info.dModel).reduce(0) { $0 + $1 * $1 }
        #expect(abs(norm - 1) < 1e-4)
    }

    @Test("a folder opens from memory, too, and a saved one is the same model")
    func buffers() throws {
        let model = try tiny()
        let folder = NSTemporaryDirectory() + "/unsay-swift-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try model.save(folder)
        let saved = try Model.open(folder)
        #expect(try saved.fingerprint() == model.fingerprint())
        let names = ["config.json", "encoder_model.onnx", "decoder_model_merged.onnx"]
        let files = try names.map {
            ($0, Array(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($0)"))))
        }
        let opened = try Model.open(buffers: Dictionary(uniqueKeysWithValues: files))
        #expect(try opened.fingerprint() == model.fingerprint())
        #expect {
            try opened.encode("a text")
        } throws: { ($0 as? Failure)?.status == .state }
    }

    @Test("weights are listed and read; an index beyond them is a failure")
    func tensors() throws {
        let model = try tiny()
        let tensors = model.tensors
        #expect(tensors.count == model.info.tensorCount)
        #expect(tensors[0].name == "shared.weight")
        #expect(try model.tensor(0).count == tensors[0].shape.reduce(1, *))
        #expect(throws: Failure.self) { try model.tensor(tensors.count) }
        #expect(throws: Failure.self) { try model.tensor(-1) }
    }
}

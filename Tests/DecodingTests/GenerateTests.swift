import CUnsay
import Decoding
import Models
import Support
import T5
import Tensors
import Testing

private func model(_ name: String, threads: Int = 1) throws -> Model {
    let folder =
        #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(2).joined(separator: "/") + "/Models/" + name
    return try Model(
        Checkpoint.open(folder: folder, allowLinks: false), tokenizerPath: nil,
        workers: Workers(threads: threads))
}

/// `count` inputs of mixed lengths.
private func inputs(_ count: Int) -> [[Int32]] {
    (0..<count).map { seed in
        let length = 1 + seed * 7 % 41
        let ids: [Int32] = (0..<length).map { position in
            let mixed = seed * 31 + position * position * 13 + position * 7
            return Int32(3 + mixed % 250)
        }
        return ids + [1]
    }
}

extension Generation {
    fileprivate var best: [Hypothesis] { hypotheses.map { $0[0] } }
}

@Suite("Greedy generation")
struct GenerateTests {
    private var options: GenerateOptions {
        var options = GenerateOptions()
        options.maxNewTokens = 20
        return options
    }

    @Test(
        "an input alone gives the bits of its row in a batch of 37, on any number of threads",
        arguments: ["tiny-v10", "tiny-v11"])
    func invariance(name: String) throws {
        let all = inputs(37)
        let together = try generate(model(name), all, options).best
        let threaded = try generate(model(name, threads: 3), all, options).best
        let alone = try model(name, threads: 2)
        for index in all.indices {
            let own = try generate(alone, [all[index]], options).best[0]
            #expect(own.ids == together[index].ids, "row \(index)")
            #expect(own.logProbabilities == together[index].logProbabilities, "row \(index)")
            #expect(threaded[index].logProbabilities == own.logProbabilities, "row \(index)")
        }
    }

    @Test("scoring an output gives the bits that generating it gave")
    func score() throws {
        let model = try model("tiny-v11")
        let all = inputs(9)
        let written = try generate(model, all, options).best
        let scored = try Decoding.score(model, all, written.map(\.ids))
        for (one, other) in zip(written, scored) {
            #expect(one.logProbabilities == other.logProbabilities)
            #expect(one.score == other.score)
        }
    }

    @Test("a prefix is written first, and the end not before min_new_tokens")
    func lengths() throws {
        let model = try model("tiny-v10")
        var options = options
        options.prefix = [17, 18]
        options.minNewTokens = 20
        for hypothesis in try generate(model, inputs(5), options).best {
            #expect(Array(hypothesis.ids[..<2]) == [17, 18])
            #expect(hypothesis.ids.count == 20)
            #expect(!hypothesis.ids.dropLast().contains(1))
        }
    }

    @Test("callbacks see every token and may change every logit, or stop")
    func callbacks() throws {
        let model = try model("tiny-v10")
        var options = options
        var seen: [Int: [Int32]] = [:]
        options.onToken = { token in
            seen[token.input, default: []].append(token.id)
            return true
        }
        options.onLogits = { step in
            for row in step.inputs.indices { step.logits[row * step.vocabSize + 77] = 1000 }
            return step.prefixes[0].count < 5
        }
        let generation = try generate(model, inputs(3), options)
        #expect(generation.wasStopped)
        for (index, hypothesis) in generation.best.enumerated() {
            #expect(hypothesis.ids == [77, 77, 77, 77, 77])
            #expect(hypothesis.finish == .stopped)
            #expect(seen[index] == hypothesis.ids)
        }
    }
}

import CUnsay
import Models
import Support
import Tensors
import Testing

@testable import Classifying

private func trained(
    _ model: Model, _ texts: [LabelledText] = labelledTexts(24),
    _ change: (inout ClassifierOptions) -> Void = { _ in }
) throws -> Classifier {
    var options = ClassifierOptions()
    (options.passes, options.batchSize) = (4, 32)
    change(&options)
    return try Classifier(model, learning: texts, options)
}

/// The status and sentence of what a body throws.
private func failure(_ body: () throws -> Void) -> (status: unsay_status?, sentence: String) {
    do {
        try body()
    } catch let failure as Failure {
        return (failure.status, failure.sentence)
    } catch {}
    return (nil, "")
}

@Suite("Classifiers")
struct ClassifierTests {
    @Test("training gives the same bits on any number of threads", arguments: [2, 3, 8])
    func threads(count: Int) throws {
        #expect(try trained(tinyModel()).head == trained(tinyModel(threads: count)).head)
    }

    @Test("states do not depend on the texts that run beside")
    func batches() throws {
        let model = try tinyModel(threads: 2)
        // More ids than run together.
        let texts = labelledTexts(330)
        #expect(texts.reduce(0) { $0 + $1.ids.count } > 4096)
        let classifier = try trained(model, texts)

        let encoder = try Encoder(of: model)
        let count = texts.reduce(0) { $0 + $1.ids.count }
        let memory = try FloatBuffer(count: count * encoder.dModel)
        var row = 0
        for text in texts {
            try encoder.withStates([text.ids], arena: Arena()) { states in
                Rows(
                    base: memory.base + row * encoder.dModel, count: states.count,
                    width: states.width
                ).copy(from: states)
            }
            row += text.ids.count
        }
        var trainer = HeadTrainer(
            standardising: memory, isMarked: texts.flatMap(\.isMarked), decay: Double(Float(1e-3)))
        var options = ClassifierOptions()
        (options.passes, options.batchSize) = (4, 32)
        trainer.run(options) {}
        #expect(classifier.head == trainer.head)
    }

    @Test("only the first max_ids ids of a text are learnt from")
    func lengths() throws {
        let model = try tinyModel()
        let texts = labelledTexts(24)
        let cut = texts.map {
            LabelledText(ids: Array($0.ids.prefix(6)), isMarked: Array($0.isMarked.prefix(6)))
        }
        let classifier = try trained(model, texts) { $0.maxIDs = 6 }
        #expect(try classifier.head == trained(model, cut).head)
        #expect(classifier.facts.tokenCount == cut.reduce(0) { $0 + $1.ids.count })
        #expect(try classifier.head != trained(model, texts).head)
    }

    @Test("probabilities are those of the head on the encoder's states")
    func probabilities() throws {
        let model = try tinyModel()
        let classifier = try trained(model)
        let ids: [Int32] = [5, 9, 12, 40, 1]
        let p = try classifier.probabilities(ids)
        let expected = try Encoder(of: model).withStates([ids], arena: Arena()) { states in
            (0..<ids.count).map { classifier.head.probability(states[$0]) }
        }
        #expect(p == expected)
        #expect(Set(p).count == 5 && p.allSatisfy { $0 > 0 && $0 < 1 })
    }

    @Test("nothing marked, or everything, is nothing to learn from", arguments: [false, true])
    func alike(isMarked: Bool) throws {
        let texts = labelledTexts(3).map {
            LabelledText(ids: $0.ids, isMarked: $0.isMarked.map { _ in isMarked })
        }
        let model = try tinyModel()
        let found = failure { _ = try trained(model, texts) }
        #expect(found.status == UNSAY_E_ARGUMENT && found.sentence.contains("nothing to learn"))
        #expect(failure { _ = try trained(model, []) }.status == UNSAY_E_ARGUMENT)
    }

    @Test("an option out of range is named")
    func options() throws {
        let model = try tinyModel()
        let cases: [(String, (inout ClassifierOptions) -> Void)] = [
            ("passes", { $0.passes = 0 }), ("batch_size", { $0.batchSize = -1 }),
            ("max_ids", { $0.maxIDs = 0 }), ("learning_rate", { $0.learningRate = 0 }),
            ("learning_rate", { $0.learningRate = .nan }),
            ("weight_decay", { $0.weightDecay = -1 }),
            ("weight_decay", { $0.weightDecay = .infinity }),
        ]
        for (name, change) in cases {
            let found = failure { _ = try trained(model, labelledTexts(3), change) }
            #expect(found.status == UNSAY_E_ARGUMENT && found.sentence.hasPrefix(name), "\(found)")
        }
    }

    @Test("progress counts texts, then passes, and may stop at either", arguments: [0, 24, 26])
    func cancelling(stop: Int) throws {
        let model = try tinyModel()
        var options = ClassifierOptions()
        options.passes = 4
        var seen: [Int] = []
        let found = failure {
            _ = try Classifier(model, learning: labelledTexts(24), options) { done, total in
                #expect(total == 28)
                seen.append(done)
                return done < stop || stop == 0
            }
        }
        #expect(found.status == (stop == 0 ? nil : UNSAY_E_CANCELLED))
        #expect(seen == Array([24, 25, 26, 27, 28].prefix { $0 <= stop || stop == 0 }))
    }

    @Test("what is no longer finite is reported, not kept")
    func diverging() throws {
        let model = try tinyModel()
        try patch(model, "encoder.final_layer_norm", by: .infinity)
        let found = failure { _ = try trained(model) }
        #expect(found.status == UNSAY_E_DIVERGED && found.sentence.contains("learning_rate"))
    }

    @Test("a patch of the model changes none of a classifier's answers")
    func patching() throws {
        let model = try tinyModel()
        let classifier = try trained(model)
        let ids: [Int32] = [5, 9, 12, 1]
        let before = try classifier.probabilities(ids)
        try patch(model, "encoder.")
        #expect(try classifier.probabilities(ids) == before)
        #expect(try trained(model).head != classifier.head)
    }
}

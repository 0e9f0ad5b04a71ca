import Foundation
import Testing
import Unsay

@Suite("Classifiers from Swift")
struct ClassifierTests {
    private let texts = [
        MarkedText("file of a package", spans: [0..<4]), MarkedText("a small library"),
        MarkedText("a small file", spans: [8..<12]), MarkedText(" "),
    ]

    @Test("one is trained, asked, kept in a file and opened again")
    func story() throws {
        let model = try tiny()
        var seen: [Int] = []
        let classifier = try Classifier.train(
            model, texts, ClassifierOptions { $0.passes = 20 }
        ) { done, total in
            #expect(total == 23)
            seen.append(done)
            return .continue
        }
        #expect(seen == Array(3...23))
        #expect(classifier.info.dModel == 32 && classifier.info.encoder.count == 32)

        let text = "a small file"
        let p = try classifier.probabilities(text)
        #expect(try p == classifier.probabilities(model.encode(text).ids))
        let most = try #require(p.max())
        #expect(try classifier.spans(text, threshold: most) == [8..<12])
        #expect(try classifier.spans(model.encode(text).ids, threshold: most) == [8..<12])
        #expect(try classifier.spans(text, threshold: 0) == [0..<12])

        let path = NSTemporaryDirectory() + UUID().uuidString
        defer { unlink(path) }
        try classifier.save(path)
        let again = try Classifier.open(path, for: model)
        #expect(again.info == classifier.info)
        #expect(try again.probabilities(text) == p)
    }

    @Test("what cannot be learnt from is named")
    func refusals() throws {
        let model = try tiny()
        let cases: [([MarkedText], ClassifierOptions, String)] = [
            ([MarkedText("a file")], ClassifierOptions(), "nothing to learn from"),
            (texts + [MarkedText("a", spans: [0..<2])], ClassifierOptions(), "texts[4].spans[0]"),
            ([MarkedText("a", spans: [1..<1])], ClassifierOptions(), "texts[0].spans[0]"),
            (texts, ClassifierOptions { $0.batchSize = 0 }, "batch_size is 0"),
            (texts, ClassifierOptions { $0.maxIDs = 0 }, "max_ids is 0"),
            (texts, ClassifierOptions { $0.learningRate = -1 }, "learning_rate is -1"),
            (texts, ClassifierOptions { $0.weightDecay = -1 }, "weight_decay is -1"),
        ]
        for (texts, options, word) in cases {
            #expect {
                try Classifier.train(model, texts, options)
            } throws: { ($0 as? Failure)?.status == .argument && "\($0)".contains(word) }
        }
        #expect {
            try Classifier.train(model, texts) { _, _ in .stop }
        } throws: { ($0 as? Failure)?.status == .cancelled }
    }

    @Test("the seed and the number of passes count")
    func options() throws {
        let model = try tiny()
        func p(_ change: (inout ClassifierOptions) -> Void) throws -> [Float] {
            try Classifier.train(
                model, texts,
                ClassifierOptions {
                    $0.batchSize = 4
                    change(&$0)
                }
            ).probabilities("a file")
        }
        #expect(try p { $0.seed = 1 } == p { $0.seed = 1 })
        #expect(try p { $0.seed = 1 } != p { $0.seed = 2 })
        #expect(try p { $0.passes = 1 } != p { $0.passes = 2 })
    }
}

import Glibc
import Support
import Tensors
import Testing

@testable import Classifying

private let tokens = 60, width = 11

/// Features by a formula, one of which never changes; what is marked depends on two of them.
private struct Data {
    let memory: FloatBuffer
    let isMarked: [Bool]
    /// Not standardised.
    let features: [[Float]]

    init() throws {
        memory = try FloatBuffer(count: tokens * width)
        features = (0..<tokens).map { token in
            (0..<width).map { index in
                index == 4 ? 2.5 : Float(index) + Float(index + 1) * formula(token * width + index)
            }
        }
        isMarked = features.map { $0[2] - 2 + $0[7] - 7 > 0.4 }
        for (token, row) in features.enumerated() {
            for (index, value) in row.enumerated() { memory.base[token * width + index] = value }
        }
    }

    func trainer(decay: Double = 1e-3) -> HeadTrainer {
        HeadTrainer(standardising: memory, isMarked: isMarked, decay: decay)
    }
}

@Suite("The head of a classifier")
struct HeadTrainerTests {
    @Test("features are standardised, and one that never changes is 0")
    func standardising() throws {
        let data = try Data()
        _ = data.trainer()
        for index in 0..<width {
            let column = (0..<tokens).map { Double(data.memory.base[$0 * width + index]) }
            let mean = column.reduce(0, +) / Double(tokens)
            let variance = column.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(tokens)
            #expect(abs(mean) < 1e-6, "feature \(index) has the mean \(mean)")
            #expect(abs(variance - (index == 4 ? 0 : 1)) < 1e-5, "and the variance \(variance)")
        }
    }

    @Test("the gradient agrees with finite differences of the loss")
    func gradient() throws {
        let data = try Data()
        let decay = 0.3
        let trainer = data.trainer(decay: decay)
        let weights = (0...width).map { 0.7 * Double(formula(9000 + $0)) }
        var gradient = [Double](repeating: 7, count: width + 1)
        trainer.lossGradient(Array(0..<tokens)[...], weights, into: &gradient)
        func loss(_ weights: [Double]) -> Double {
            trainer.loss(weights)
                + decay / 2 * weights.dropLast().reduce(0) { $0 + $1 * $1 }
        }
        for index in weights.indices {
            var more = weights, less = weights
            more[index] += 1e-5
            less[index] -= 1e-5
            let slope = (loss(more) - loss(less)) / 2e-5
            #expect(
                abs(gradient[index] - slope) < 1e-8, "\(index): \(gradient[index]), \(slope)")
        }
    }

    @Test("gradients of parts add up to that of the whole")
    func parts() throws {
        let trainer = try Data().trainer(decay: 0)
        let weights = (0...width).map { Double(formula($0)) }
        func gradient(_ range: Range<Int>) -> [Double] {
            var out = [Double](repeating: 0, count: width + 1)
            trainer.lossGradient(Array(range)[...], weights, into: &out)
            return out
        }
        let whole = gradient(0..<tokens), low = gradient(0..<15), high = gradient(15..<tokens)
        for index in whole.indices {
            let sum = 0.25 * low[index] + 0.75 * high[index]
            #expect(abs(whole[index] - sum) < 1e-12, "\(index): \(whole[index]), \(sum)")
        }
    }

    @Test("marked tokens weigh as much together as all others")
    func balance() throws {
        let trainer = try Data().trainer()
        // Without weights every token is wrong by log 2, whichever it is.
        let loss = trainer.loss([Double](repeating: 0, count: width + 1))
        #expect(abs(loss - log(2)) < 1e-12, "\(loss)")
        // And the first step of the bias is as large up as down.
        var gradient = [Double](repeating: 0, count: width + 1)
        trainer.lossGradient(
            Array(0..<tokens)[...], [Double](repeating: 0, count: width + 1), into: &gradient)
        #expect(abs(gradient[width]) < 1e-12, "\(gradient[width])")
    }

    @Test("a head learns what a line separates, on features as they were")
    func learning() throws {
        let data = try Data()
        var trainer = data.trainer(decay: 0)
        var options = ClassifierOptions()
        (options.batchSize, options.passes, options.learningRate) = (16, 200, 0.1)
        var passes = 0
        trainer.run(options) { passes += 1 }
        let head = trainer.head
        var features = data.features
        let found = features.indices.map { token in
            features[token].withUnsafeMutableBufferPointer { head.probability($0) }
        }
        for (p, isMarked) in zip(found, data.isMarked) { #expect((p > 0.5) == isMarked, "\(p)") }
        #expect(passes == 200 && trainer.loss(trainer.weights) < 0.05)
    }

    @Test("the same seed gives the same bits, another seed others")
    func seeds() throws {
        func head(_ seed: UInt64) throws -> LinearHead {
            var trainer = try Data().trainer()
            var options = ClassifierOptions()
            (options.batchSize, options.passes, options.seed) = (16, 3, seed)
            trainer.run(options) {}
            return trainer.head
        }
        #expect(try head(5) == head(5))
        #expect(try head(5) != head(6))
    }

    @Test("a shuffle is a permutation by the numbers of SplitMix64")
    func shuffle() {
        var random = SplitMix64(state: 0)
        var order = Array(0..<8)
        random.shuffle(&order)
        // As Tests/python/test_classifier.py computes it.
        #expect(order == [1, 2, 6, 5, 4, 0, 3, 7])
    }
}

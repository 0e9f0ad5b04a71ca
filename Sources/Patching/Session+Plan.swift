import CUnsay
import Support
import T5
import Tensors
import Training

/// What a session would do. Names as in `unsay_plan`.
package struct Plan: Sendable {
    package var avoidedCount = 0
    package var keptCount = 0
    package var contextFreeCount = 0
    package var meanPrice = 0.0
    package var highestPrice = 0.0
    package var memoryBytes = 0
    package var secondsPerStep = 0.0
    package var trainedCount = 0
    package var marks: [PlannedMark] = []
}

/// One position that avoids something. Names as in `unsay_planned_mark`.
package struct PlannedMark: Sendable {
    package let example: Int
    package let position: Int
    package let id: Int32
    package let q: Double
    package let price: Double
    package let isContextFree: Bool
}

extension Session {
    /// Prices every mark, and predicts memory and time from the batches to come; trains nothing.
    ///
    /// Made once for the examples that there are: asking again gives the same.
    package func plan() throws -> Plan {
        try exclusively {
            if let planned, planned.count == exampleCount { return planned.plan }
            let training = try prepare()
            var plan = Plan()
            plan.trainedCount = training.trainer.weights.layout.slots.reduce(0) { $0 + $1.count }
            try price(training.trainer, &plan)
            plan.memoryBytes = try predictedBytes(training)
            let clock = ContinuousClock()
            let start = clock.now
            var trial = order
            let batch = trial.next(options.batchSize, of: examples.count).map { examples[$0] }
            _ = try accumulate(
                training.trainer, batch, normaliser: training.trainer.normaliser(of: batch))
            plan.secondsPerStep = (clock.now - start) / .seconds(1)
            planned = (exampleCount, plan)
            return plan
        }
    }

    private func price(_ trainer: Trainer, _ plan: inout Plan) throws {
        guard comparesExamples else {
            plan.keptCount = examples.reduce(0) { sum, example in
                sum + example.targets.count { $0.mark > 0 }
            }
            return
        }
        let places = examples.enumerated().flatMap { index, example in
            example.marked.map { (index, $0) }
        }
        let isFree = contextFree()
        var next = 0
        trainer.publish()
        try trainer.compareMarked(
            examples, \.reference, head: reference.network.head, between: stopIfCancelled
        ) { target, comparison in
            let (index, position) = places[next]
            next += 1
            if target.mark > 0 { plan.keptCount += 1 }
            guard !comparison.probabilities.isEmpty else { return }
            plan.avoidedCount += comparison.probabilities.count
            plan.marks.append(
                PlannedMark(
                    example: index, position: position, id: target.id,
                    q: comparison.probabilities.reduce(0) { $0 + $1.before },
                    price: comparison.price,
                    isContextFree: isFree[index].contains(position)))
        }
        let prices = plan.marks.map(\.price)
        if let price = prices.first(where: { !$0.isFinite }) {
            throw try divergence("a price is \(price)", step: origin.step, ready())
        }
        plan.meanPrice = prices.reduce(0, +) / Double(max(prices.count, 1))
        plan.highestPrice = prices.max() ?? 0
        plan.contextFreeCount = plan.marks.reduce(0) { $0 + ($1.isContextFree ? 1 : 0) }
    }

    /// The positions of each example whose run of avoided tokens is avoided in two examples at
    /// least, and in all outputs kept nowhere.
    private func contextFree() -> [Set<Int>] {
        struct Run { let range: Range<Int>, ids: [Int32] }
        let runs = examples.map { example in
            var runs: [Run] = []
            var begin: Int?
            for position in 0...example.targets.count {
                let isAvoided =
                    position < example.targets.count && example.targets[position].mark < 0
                if isAvoided {
                    begin = begin ?? position
                } else if let first = begin {
                    let range = first..<position
                    runs.append(Run(range: range, ids: example.targets[range].map(\.id)))
                    begin = nil
                }
            }
            return runs
        }
        var counts: [[Int32]: Int] = [:]
        for own in runs { for ids in Set(own.map(\.ids)) { counts[ids, default: 0] += 1 } }
        var candidates = Set(counts.filter { $0.value >= 2 }.keys)
        let lengths = Set(candidates.map(\.count))
        for example in examples + heldOut + guards {
            let ids = example.targets.map(\.id)
            for (position, target) in example.targets.enumerated() where target.mark >= 0 {
                for length in lengths where position + length <= ids.count {
                    candidates.remove(Array(ids[position..<position + length]))
                }
            }
        }
        return runs.map { own in
            Set(own.filter { candidates.contains($0.ids) }.flatMap(\.range))
        }
    }

    /// The most that the session will hold at once, less the model itself.
    private func predictedBytes(_ training: Training) throws -> Int {
        let state = training.optimizer.state.reduce(0) { $0 + 4 * $1.count }
        let best = 4 * training.values.count
        let decay = training.decayTarget.map { 4 * $0.count } ?? 0
        let states = keptExamples.reduce(0) { sum, example in
            let copies =
                (reference === original || !comparesExamples ? 1 : 2)
                + (example.root == nil ? 0 : 1)
            let bytes = copies * 4 * model.configuration.dModel + training.trainer.fixedBytes
            return sum + bytes * example.marked.count
        }
        return training.trainer.constantBytes + state + best + decay + states
            + passBytes(training.trainer)
    }

    /// What passes need at their peak, over the largest batch that can be drawn and over those
    /// that only measure.
    func passBytes(_ trainer: Trainer) -> Int {
        let size = options.microBatchSize == 0 ? options.batchSize : options.microBatchSize
        let largest = examples.sorted {
            $0.input.count + $0.targets.count > $1.input.count + $1.targets.count
        }.prefix(size)
        let batch = Batch(
            Array(largest), decoderStart: model.configuration.decoderStartTokenID)
        return max(
            trainer.passBytes(batch),
            trainer.measuringBytes(comparesExamples || options.trainsHeadAlone ? examples : []),
            trainer.measuringBytes(heldOut), trainer.measuringBytes(guards))
    }
}

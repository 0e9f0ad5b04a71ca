import Tensors

/// Finds the ways to continue one row.
struct RowChooser {
    let options: GenerateOptions
    /// The most there are of a row in a pool.
    let candidates: Int
    /// The number of end ids.
    let ends: Int
    let step: Int
    let random: RandomNumbers

    /// An id of the prefix: it adds nothing to the score of a beam.
    ///
    /// - Parameter values: logits, or log-probabilities where there are beams.
    func forced(
        _ id: Int32, _ row: ActiveRow, _ values: UnsafeMutableBufferPointer<Float>
    ) -> [Candidate] {
        let logProbability = values[Int(id)] - normalizer(values)
        return [
            Candidate(
                beam: row.index, id: id, logProbability: logProbability, total: 0, rank: 0)
        ]
    }

    /// Ways on with a run that must be written, whatever their rank.
    func forced(
        _ ids: [Int32], _ row: ActiveRow, _ values: UnsafeMutableBufferPointer<Float>
    ) -> [Candidate] {
        ids.filter { values[Int($0)] > -.infinity }.map { id in
            let total = values[Int(id)] + row.beam.sum
            return Candidate(
                beam: row.index, id: id, logProbability: values[Int(id)], total: total, rank: total)
        }
    }

    /// The likeliest ids, before anything is filtered.
    ///
    /// - Parameter values: logits, or log-probabilities where there are beams.
    func alternatives(
        _ values: UnsafeMutableBufferPointer<Float>
    ) -> [Alternative] {
        guard options.numAlternatives > 0 else { return [] }
        let normalizer = options.numBeams > 1 ? 0 : logSumExp(values)
        var best = Largest(options.numAlternatives)
        var next = 0
        while let index = nextIndex(of: values, from: next, plus: 0, above: best.floor) {
            best.add(values[index], index)
            next = index + 1
        }
        var found = best.sorted.map {
            Alternative(id: Int32($0.index), logProbability: $0.value - normalizer)
        }
        // Where rules leave fewer.
        while found.count < options.numAlternatives {
            found.append(Alternative(id: -1, logProbability: -.infinity))
        }
        return found
    }

    func choose(
        _ row: ActiveRow, _ values: UnsafeMutableBufferPointer<Float>
    ) -> [Candidate] {
        if options.numBeams > 1 { return chooseBeams(row, values) }
        guard options.doSample else {
            let id = largestIndex(values)
            return [single(id, row, values[id] - normalizer(values))]
        }
        // The logarithm of the model's own probability, before the filters.
        let normalizer = normalizer(values)
        var original = values[0]
        var id = 0
        withUnsafeTemporaryAllocation(of: Float.self, capacity: values.count) { copy in
            _ = copy.update(from: values)
            options.filters.apply(values, keeping: 1)
            id = draw(values)
            original = copy[id]
        }
        return [single(id, row, original - normalizer)]
    }

    /// What makes a value a log-probability; NaN where nobody wants one.
    private func normalizer(_ values: UnsafeMutableBufferPointer<Float>) -> Float {
        options.numBeams > 1 ? 0 : options.logProbs ? logSumExp(values) : .nan
    }

    private func single(_ id: Int, _ row: ActiveRow, _ logProbability: Float) -> Candidate {
        Candidate(
            beam: row.index, id: Int32(id), logProbability: logProbability,
            total: row.beam.sum + logProbability, rank: 0)
    }

    /// The token at which the running sum of probabilities passes a random number.
    private func draw(_ values: UnsafeMutableBufferPointer<Float>) -> Int {
        let probabilities = DrawTable(values)
        return probabilities.index(at: random.uniform(step))
    }

    private func chooseBeams(
        _ row: ActiveRow, _ values: UnsafeMutableBufferPointer<Float>
    ) -> [Candidate] {
        if options.doSample { options.filters.apply(values, keeping: ends + 1) }
        var best = Largest(candidates)
        if options.doSample {
            for index in values.indices where values[index] > -.infinity {
                let number = row.index * values.count + index
                let key = values[index] + row.beam.sum + Float(random.gumbel(step, number))
                if key > best.floor { best.add(key, index) }
            }
        } else {
            var next = 0
            while let index = nextIndex(
                of: values, from: next, plus: row.beam.sum, above: best.floor)
            {
                best.add(values[index] + row.beam.sum, index)
                next = index + 1
            }
        }
        return best.sorted.map { key, index in
            Candidate(
                beam: row.index, id: Int32(index), logProbability: values[index],
                total: values[index] + row.beam.sum, rank: key)
        }
    }
}

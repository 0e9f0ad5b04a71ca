import CUnsay
import Models
import Support
import T5

/// One weight of a delta.
package struct DeltaTensor: Sendable {
    package let name: String
    package let shape: [Int]
    /// How many of its values differ.
    package let changedCount: UInt64
    /// Whether the weight is the head of a model that had none of its own before: what it held
    /// then is what the embedding table held.
    package let isFromTable: Bool
    /// Of a change by factors: after = before + b a, rounded as `LowRank` does.
    package let factors: LowRank?
    /// As docs/delta-format.md packs it: the XOR of the bit patterns before and after; with
    /// factors, that of before and after - b a, which is nearly nothing.
    let packed: Bytes.Slice
}

/// The difference between two sets of weights of one network, exact to the bit.
///
/// It is kept as the XOR of bit patterns: put on the weights before it gives those after, and
/// put on those after it gives those before. Its memory stays compressed.
package final class Delta: Sendable {
    /// Fingerprints of the weights it leads from and to, 32 bytes each.
    package let before: [UInt8]
    package let after: [UInt8]
    /// The weights that differ, in canonical order.
    package let tensors: [DeltaTensor]
    /// How many values differ.
    package let changedCount: UInt64
    /// The L2 norm of the change.
    package let changeNorm: Double
    /// Options, seed, digest of the data, evaluation.
    package let metadata: JSON

    /// Whether the head is the embedding table before, and has a weight of its own after.
    package var separatesHead: Bool { tensors.contains(where: \.isFromTable) }

    /// Whether it leaves a weight alone.
    func keeps(_ name: String) -> Bool { !tensors.contains { $0.name == name } }

    init(
        before: [UInt8], after: [UInt8], tensors: [DeltaTensor], changeNorm: Double, metadata: JSON
    ) {
        self.before = before
        self.after = after
        self.tensors = tensors
        self.changeNorm = changeNorm
        self.metadata = metadata
        changedCount = tensors.reduce(0) { $0 &+ $1.changedCount }
    }

    /// Compares two sets of weights, one weight at a time.
    ///
    /// - Parameters:
    ///   - layout: of the weights after.
    ///   - separatesHead: whether the head is the embedding table before, and has a weight of its
    ///     own after.
    ///   - factors: those that lead from a weight before to that after, where factors do.
    ///   - beforeFingerprint: of the weights that `before` reads; `after` likewise.
    /// - Throws: `UNSAY_E_ARGUMENT` if a fingerprint has not 32 bytes; `UNSAY_E_MEMORY`;
    ///   whatever the readers throw.
    package static func make(
        layout: ParameterLayout, before: WeightReader, after: WeightReader,
        separatesHead: Bool = false, factors: (_ index: Int) -> LowRank? = { _ in nil },
        beforeFingerprint: [UInt8], afterFingerprint: [UInt8], metadata: JSON
    ) throws -> Delta {
        guard beforeFingerprint.count == 32, afterFingerprint.count == 32 else {
            throw Failure(UNSAY_E_ARGUMENT, "a fingerprint has 32 bytes")
        }
        var tensors: [DeltaTensor] = []
        var squares = 0.0
        for (index, parameter) in layout.parameters.enumerated() {
            let isFromTable = separatesHead && index == layout.ownHead
            let old = try weight(index, layout) {
                try before(isFromTable ? layout.table ?? $0 : $0, $1)
            }
            let new = try weight(index, layout, after)
            let (changedCount, sum) = compare(old, new)
            guard changedCount > 0 || isFromTable else { continue }
            squares += sum
            let factors = try factors(index).flatMap { factors in
                try leads(factors, from: old, to: new) ? factors : nil
            }
            let from = try factors.map { try changed(new, back: true, by: $0) } ?? new
            let packed = try BitPlanes.pack(old, from, purpose: parameter.name)
            tensors.append(
                DeltaTensor(
                    name: parameter.name, shape: parameter.shape, changedCount: changedCount,
                    isFromTable: isFromTable, factors: factors, packed: packed[0..<packed.count]))
        }
        return Delta(
            before: beforeFingerprint, after: afterFingerprint, tensors: tensors,
            changeNorm: squares.squareRoot(), metadata: metadata)
    }

    /// Reads the embedding table for a head that `read` does not have yet.
    private static func tableAsHead(
        _ layout: ParameterLayout, _ read: @escaping WeightReader
    ) -> WeightReader {
        { index, values in
            try read(index == layout.ownHead ? layout.table ?? index : index, values)
        }
    }

    /// The layout of the changed weights, and their reader: those that `read` gives, with this
    /// delta put on them or taken back. Whether they are the right ones, their fingerprint says;
    /// see `before` and `after`.
    ///
    /// - Parameter layout: of the weights that `read` gives.
    /// - Throws: `UNSAY_E_MISMATCH` if a weight of the delta is not in `layout` or has another
    ///   shape there, or if the head has rows of its own there and not in the delta, or the
    ///   other way round. The reader throws what `read` throws, `UNSAY_E_FORMAT` if the delta's
    ///   file was damaged with care, and `UNSAY_E_MEMORY`.
    package func applied(
        to read: @escaping WeightReader, layout: ParameterLayout, reverting: Bool
    ) throws -> (layout: ParameterLayout, read: WeightReader) {
        guard !separatesHead || reverting == (layout.ownHead != nil) else {
            throw Failure(
                UNSAY_E_MISMATCH,
                "the delta gives the embedding table's head a weight of its own: this model's head "
                    + (reverting ? "has none" : "has one"))
        }
        let wide = separatesHead ? layout.withOwnHead : layout
        let old = separatesHead && !reverting ? Self.tableAsHead(wide, read) : read
        return (
            separatesHead && reverting ? layout.withTiedHead : wide,
            try changed(old, wide, reverting: reverting)
        )
    }

    private func changed(
        _ read: @escaping WeightReader, _ layout: ParameterLayout, reverting: Bool
    ) throws -> WeightReader {
        var changes: [Int: DeltaTensor] = [:]
        for tensor in tensors {
            guard let index = layout.index(of: tensor.name) else {
                throw Failure(UNSAY_E_MISMATCH, "the delta changes \(tensor.name): no such weight")
            }
            let shape = layout.parameters[index].shape
            guard shape == tensor.shape, changes[index] == nil else {
                throw Failure(
                    UNSAY_E_MISMATCH,
                    "the delta changes \(tensor.name) \(tensor.shape): expected \(shape), once")
            }
            changes[index] = tensor
        }
        return { [changes] index, values in
            try read(index, values)
            guard let tensor = changes[index] else { return }
            if let factors = tensor.factors {
                guard reverting else { return factors.add(to: values) }
                factors.subtract(from: values)
            }
            try tensor.packed.withBytes {
                try BitPlanes.unpack(
                    $0, onto: UnsafeMutableRawBufferPointer(values), named: tensor.name)
            }
        }
    }

    /// Weights with a change by factors put on them, or taken back as well as floats allow.
    private static func changed(_ weights: Bytes, back: Bool, by factors: LowRank) throws -> Bytes {
        try Bytes(capacity: weights.count, purpose: "a changed weight") { out in
            weights.withBytes { out.copyMemory(from: $0) }
            let values = out.bindMemory(to: Float.self)
            if back { factors.subtract(from: values) } else { factors.add(to: values) }
            return out.count
        }
    }

    private static func leads(
        _ factors: LowRank, from old: Bytes, to new: Bytes
    ) throws -> Bool {
        compare(try changed(old, back: false, by: factors), new).0 == 0
    }

    /// How many values differ in their bits, and the sum of the squares of the differences.
    private static func compare(_ old: Bytes, _ new: Bytes) -> (UInt64, Double) {
        old.withBytes { old in
            new.withBytes { new in
                let old = old.bindMemory(to: Float.self), new = new.bindMemory(to: Float.self)
                var changed: UInt64 = 0
                var sum = 0.0
                for index in old.indices where old[index].bitPattern != new[index].bitPattern {
                    let difference = Double(new[index]) - Double(old[index])
                    changed += 1
                    sum += difference * difference
                }
                return (changed, sum)
            }
        }
    }
}

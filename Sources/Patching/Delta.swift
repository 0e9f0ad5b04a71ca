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

    /// Compares two sets of weights of one layout, one weight at a time.
    ///
    /// - Parameters:
    ///   - factors: those that lead from a weight before to that after, where factors do.
    ///   - beforeFingerprint: of the weights that `before` reads; `after` likewise.
    /// - Throws: `UNSAY_E_ARGUMENT` if a fingerprint has not 32 bytes; `UNSAY_E_MEMORY`;
    ///   whatever the readers throw.
    package static func make(
        layout: ParameterLayout, before: WeightReader, after: WeightReader,
        factors: (_ index: Int) -> LowRank? = { _ in nil },
        beforeFingerprint: [UInt8], afterFingerprint: [UInt8], metadata: JSON
    ) throws -> Delta {
        guard beforeFingerprint.count == 32, afterFingerprint.count == 32 else {
            throw Failure(UNSAY_E_ARGUMENT, "a fingerprint has 32 bytes")
        }
        var tensors: [DeltaTensor] = []
        var squares = 0.0
        for (index, parameter) in layout.parameters.enumerated() {
            let old = try weight(index, layout, before)
            let new = try weight(index, layout, after)
            let (changedCount, sum) = compare(old, new)
            guard changedCount > 0 else { continue }
            squares += sum
            let factors = try factors(index).flatMap { factors in
                try leads(factors, from: old, to: new) ? factors : nil
            }
            let from = try factors.map { try changed(new, back: true, by: $0) } ?? new
            let packed = try BitPlanes.pack(old, from, purpose: parameter.name)
            tensors.append(
                DeltaTensor(
                    name: parameter.name, shape: parameter.shape, changedCount: changedCount,
                    factors: factors, packed: packed[0..<packed.count]))
        }
        return Delta(
            before: beforeFingerprint, after: afterFingerprint, tensors: tensors,
            changeNorm: squares.squareRoot(), metadata: metadata)
    }

    /// A reader of the changed weights: those that `read` gives, with this delta put on them or
    /// taken back. Whether they are the right ones, their fingerprint says; see `before` and
    /// `after`.
    ///
    /// - Throws: `UNSAY_E_MISMATCH` if a weight of the delta is not in `layout` or has another
    ///   shape there. The reader throws what `read` throws, `UNSAY_E_FORMAT` if the delta's
    ///   file was damaged with care, and `UNSAY_E_MEMORY`.
    package func applied(
        to read: @escaping WeightReader, layout: ParameterLayout, reverting: Bool
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

import CUnsay
import Tensors
import Testing

@testable import Training

/// A few rows of the head, trained alone: losses and comparisons by sums that never change are
/// those of all logits.
@Suite("Logits of which a few are trained")
struct FixedLogitsTests {
    private let width = 23
    private let rows: [Int32] = [2, 4, 9]

    private func row(_ seed: Int, spread: Float = 3) -> [Float] {
        (0..<width).map { i in
            let x = Float(((i + 1) * (104_729 + seed * 7919)) % 2003) / 1001 - 1
            return spread * x
        }
    }

    /// Loss, term and probability, and the gradient by the rows.
    private func fixed(
        _ target: TokenTarget, _ settings: LossSettings, before: [Float], after: [Float],
        _ q: [Float]
    ) -> (loss: TokenLoss, gradient: [Float]) {
        var z = before, reference = q
        let scratch = UnsafeMutablePointer<Float>.allocate(capacity: width)
        defer { scratch.deallocate() }
        let kept = z.withUnsafeMutableBufferPointer { z in
            reference.withUnsafeMutableBufferPointer { reference in
                FixedLogits(
                    target, settings, rows: rows, logits: z, reference: reference,
                    scratch: scratch)
            }
        }
        var own = rows.map { after[Int($0)] }
        let loss = own.withUnsafeMutableBufferPointer { kept.loss($0, settings, factor: 1) }
        return (loss, own)
    }

    @Test(
        "have the loss and the gradient of all logits, for every term",
        arguments: Array(UNSAY_LOSS_LIKELIHOOD.rawValue...UNSAY_LOSS_NL.rawValue),
        [(Int8(-1), UInt32(0)), (1, 0), (-1, 1), (1, 1)])
    func losses(loss: UInt32, place: (mark: Int8, form: UInt32)) throws {
        let columns = try LossColumns(
            unsay_loss(rawValue: loss), unsay_loss_form(rawValue: place.form))
        for retain in [Float(0), 0.1] {
            let settings = LossSettings(
                columns: columns, alpha: 0.7, retain: retain, zLoss: 0.01)
            // Written and avoided among the rows, and among the others; one id, or several.
            for (id, alsoAvoid) in [(Int32(4), [Int32(9), 11]), (4, []), (6, [7]), (6, [2])] {
                let target = TokenTarget(id: id, mark: place.mark, alsoAvoid: alsoAvoid)
                let before = row(1), q = row(2)
                var after = before
                for (index, id) in rows.enumerated() { after[Int(id)] += Float(index) - 1.3 }
                let (found, own) = fixed(target, settings, before: before, after: after, q)
                let whole = LossRows(width: width)
                let expected = after.withUnsafeBufferPointer { z in
                    q.withUnsafeBufferPointer {
                        whole.loss(target, settings, logits: z, reference: $0)
                    }
                }
                var gradient = [Float](repeating: 0, count: width)
                gradient.withUnsafeMutableBufferPointer {
                    $0.baseAddress.map(whole.copyGradient(to:))
                }
                let pairs = [
                    (found.loss, expected.loss), (found.term, expected.term),
                    (found.probability, expected.probability),
                ]
                for (x, y) in pairs { #expect(abs(x - y) < 1e-5, "\(id): \(x), \(y)") }
                for (index, row) in rows.enumerated() {
                    let (x, y) = (own[index], gradient[Int(row)])
                    #expect(abs(x - y) < 1e-5, "\(id) [\(row)]: \(x), \(y)")
                }
            }
        }
    }

    @Test(
        "have the slopes of finite differences",
        arguments: Array(UNSAY_LOSS_LIKELIHOOD.rawValue...UNSAY_LOSS_NL.rawValue), [Int8(-1), 1])
    func slopes(loss: UInt32, mark: Int8) throws {
        let settings = LossSettings(
            columns: try LossColumns(unsay_loss(rawValue: loss), UNSAY_LOSS_EXACT), alpha: 0.7,
            retain: 0.1, zLoss: 0.01)
        let target = TokenTarget(id: 4, mark: mark, alsoAvoid: [9, 11])
        let z = row(1), q = row(2)
        let (_, gradient) = fixed(target, settings, before: z, after: z, q)
        for (index, id) in rows.enumerated() {
            var up = z
            var down = z
            up[Int(id)] += 1e-2
            down[Int(id)] -= 1e-2
            let slope =
                (fixed(target, settings, before: z, after: up, q).loss.loss
                    - fixed(target, settings, before: z, after: down, q).loss.loss)
                / Double(up[Int(id)] - down[Int(id)])
            #expect(abs(Double(gradient[index]) - slope) < 2e-4, "\(gradient[index]), \(slope)")
        }
    }

    @Test("compare with an original as all logits do")
    func comparisons() throws {
        for (original, lift) in [(row(1), Float(0)), (row(1), 4), (row(3), 0), (row(3), -4)] {
            let before = row(1)
            var after = before
            for (index, id) in rows.enumerated() { after[Int(id)] += lift * Float(index + 1) / 3 }
            for ids in [[], [Int32(4)], [4, 11], [11, 0]] {
                var q = original, z = before
                let scratch = UnsafeMutableBufferPointer<Float>.allocate(capacity: width)
                defer { scratch.deallocate() }
                let kept = q.withUnsafeMutableBufferPointer { q in
                    z.withUnsafeMutableBufferPointer { z in
                        scratch.baseAddress.map {
                            FixedComparison(
                                rows: rows, original: q, trained: z, scratch: $0, ids: ids)
                        }
                    }
                }
                var own = rows.map { after[Int($0)] }
                let found = try own.withUnsafeMutableBufferPointer {
                    try #require(kept).comparison($0)
                }
                q = original
                z = after
                let expected = q.withUnsafeMutableBufferPointer { q in
                    z.withUnsafeMutableBufferPointer { z in
                        compare(original: q, trained: z, scratch: scratch, ids: ids)
                    }
                }
                #expect(abs(found.kl - expected.kl) < 1e-5, "\(found.kl), \(expected.kl)")
                #expect(found.isFlipped == expected.isFlipped)
                #expect(abs(found.price - expected.price) < 1e-5)
                for (x, y) in zip(found.probabilities, expected.probabilities) {
                    #expect(abs(x.before - y.before) < 1e-6 && abs(x.after - y.after) < 1e-6)
                }
                if original == after { #expect(found.kl == 0) }
            }
        }
    }
}

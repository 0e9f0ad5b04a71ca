import CUnsay
import Tensors
import Testing
import Training

@Suite("Losses of one position")
struct TokenLossTests {
    private let width = 23

    private func row(_ seed: Int, spread: Float = 3) -> [Float] {
        (0..<width).map { i in
            let x = Float((seed * 7919 + i * 104_729) % 2003) / 1001 - 1
            return spread * x
        }
    }

    private func settings(
        _ loss: unsay_loss, _ form: unsay_loss_form = UNSAY_LOSS_EXACT, alpha: Float = 1,
        retain: Float = 0, zLoss: Float = 0
    ) throws -> LossSettings {
        LossSettings(
            columns: try LossColumns(loss, form), alpha: alpha, retain: retain,
            zLoss: zLoss)
    }

    private func run(
        _ target: TokenTarget, _ settings: LossSettings, _ z: [Float], _ q: [Float]
    ) -> (loss: Double, gradient: [Float]) {
        let rows = LossRows(width: z.count)
        let result = z.withUnsafeBufferPointer { z in
            q.withUnsafeBufferPointer { rows.loss(target, settings, logits: z, reference: $0) }
        }
        var gradient = [Float](repeating: 0, count: z.count)
        gradient.withUnsafeMutableBufferPointer { $0.baseAddress.map(rows.copyGradient(to:)) }
        return (result.loss, gradient)
    }

    @Test(
        "the gradient agrees with finite differences, with several ids avoided",
        arguments: Array(UNSAY_LOSS_LIKELIHOOD.rawValue...UNSAY_LOSS_NL.rawValue),
        [(Int8(-1), UInt32(0)), (1, 0), (-1, 1), (1, 1)])
    func gradient(loss: UInt32, place: (mark: Int8, form: UInt32)) throws {
        let settings = try settings(
            unsay_loss(rawValue: loss), unsay_loss_form(rawValue: place.form), alpha: 0.7,
            retain: 0.1, zLoss: 0.01)
        let target = TokenTarget(id: 4, mark: place.mark, alsoAvoid: [9, 11])
        let z = row(1)
        let q = row(2)
        let (_, gradient) = run(target, settings, z, q)
        for i in z.indices {
            var up = z
            var down = z
            up[i] += 1e-2
            down[i] -= 1e-2
            let slope =
                (run(target, settings, up, q).loss - run(target, settings, down, q).loss)
                / Double(up[i] - down[i])
            #expect(abs(Double(gradient[i]) - slope) < 2e-4, "[\(i)]: \(gradient[i]), \(slope)")
        }
    }

    @Test("FF at its minimum, p = q', is 0 and pulls nowhere")
    func minimum() throws {
        let q = row(3)
        var z = q
        z[4] = -80
        let (loss, gradient) = run(
            TokenTarget(id: 4, mark: -1), try settings(UNSAY_LOSS_FF), z, q)
        #expect(loss < 1e-6)
        #expect(gradient.allSatisfy { abs($0) < 1e-6 })
    }

    @Test("a kept position where nothing has changed costs exactly nothing")
    func unchanged() throws {
        let q = row(5)
        let (loss, _) = run(TokenTarget(id: 4, mark: 1), try settings(UNSAY_LOSS_FF), q, q)
        #expect(loss == 0)
    }

    @Test("ignored positions, and avoided ones in LIKELIHOOD, cost and pull nothing")
    func ignored() throws {
        for (loss, mark) in [(UNSAY_LOSS_FF, Int8(0)), (UNSAY_LOSS_LIKELIHOOD, -1)] {
            let result = run(
                TokenTarget(id: 4, mark: mark), try settings(loss), row(6), row(7))
            #expect(result.loss == 0)
            #expect(result.gradient.allSatisfy { $0 == 0 })
        }
    }

    @Test("everything is finite where q is certain of the avoided token, and at huge logits")
    func extremes() throws {
        var certain = row(8)
        certain[4] = 200  // q(4) is 1 in float32
        for z in [row(9), certain, row(9, spread: 1e4)] {
            for q in [certain, row(10, spread: 1e4)] {
                for mark in [Int8(-1), 1] {
                    let (loss, gradient) = run(
                        TokenTarget(id: 4, mark: mark), try settings(UNSAY_LOSS_FF), z, q)
                    #expect(loss.isFinite)
                    #expect(gradient.allSatisfy { $0.isFinite })
                }
            }
        }
    }

    @Test(
        "an id to avoid counts once, however often it is named, in every loss and form",
        arguments: Array(UNSAY_LOSS_LIKELIHOOD.rawValue...UNSAY_LOSS_NL.rawValue),
        [UNSAY_LOSS_EXACT, UNSAY_LOSS_PUBLISHED])
    func once(loss: UInt32, form: unsay_loss_form) throws {
        let settings = try settings(unsay_loss(rawValue: loss), form, retain: 0.2)
        for mark in [Int8(-1), 1] {
            let own: [Int32] = mark < 0 ? [4] : []
            let twice = TokenTarget(id: 4, mark: mark, alsoAvoid: [9, 11, 9] + own + [11])
            let once = TokenTarget(id: 4, mark: mark, alsoAvoid: [9, 11])
            let (a, b) = (run(twice, settings, row(1), row(2)), run(once, settings, row(1), row(2)))
            #expect(a.loss == b.loss, "\(a.loss), once \(b.loss)")
            #expect(a.gradient == b.gradient)
        }
    }

    @Test(
        "a NaN or an infinite logit makes loss and gradient NaN, wherever it is",
        arguments: [Float.nan, .infinity], [0, 4, 22])
    func notFinite(value: Float, place: Int) throws {
        for loss in UNSAY_LOSS_LIKELIHOOD.rawValue...UNSAY_LOSS_NL.rawValue {
            for mark in [Int8(-1), 1] {
                let settings = try settings(unsay_loss(rawValue: loss))
                guard settings.columns[mark].kind != .none else { continue }
                var z = row(1)
                z[place] = value
                let found = run(TokenTarget(id: 4, mark: mark), settings, z, row(2))
                #expect(found.loss.isNaN, "loss \(loss), mark \(mark): \(found.loss)")
                #expect(found.gradient.allSatisfy { $0.isNaN })
            }
        }
    }

    @Test("q' is q without the avoided token: by hand on three tokens")
    func byHand() throws {
        // q = (0.5, 0.25, 0.25), avoid token 0: q' = (0, 0.5, 0.5); p uniform: KL = ln 1.5.
        let q: [Float] = [0, -0.6931472, -0.6931472]
        let (loss, gradient) = run(
            TokenTarget(id: 0, mark: -1), try settings(UNSAY_LOSS_FF), [0, 0, 0], q)
        #expect(abs(loss - 0.405_465_1) < 1e-6)
        #expect(abs(gradient[0] - 1 / 3) < 1e-6)
        #expect(abs(gradient[1] + 1 / 6) < 1e-6)
    }
}

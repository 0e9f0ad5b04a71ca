import CUnsay
import Models
import Patching
import Support
import Tokenizers
import Training

// Section 5 of unsay.h: marks; and the losses of given logits.

private func extent(_ value: unsay_extent) throws -> Extent {
    switch value {
    case UNSAY_EXTENT_ALL: .all
    case UNSAY_EXTENT_FIRST: .first
    case UNSAY_EXTENT_LAST: .last
    default:
        throw Failure(UNSAY_E_ARGUMENT, "extent is \(value.rawValue), not one of unsay_extent")
    }
}

private func deliverMarks(
    _ marks: [Int8], _ target: UnsafeMutablePointer<Int8>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?
) throws {
    try marks.withUnsafeBufferPointer {
        try deliver($0, to: target, capacity: capacity, count: count, "marks")
    }
}

@_cdecl("unsay_mark_spans") @implementation
public func unsay_mark_spans(
    _ handle: OpaquePointer!, _ output: UnsafePointer<unsay_sequence>!,
    _ spans: UnsafePointer<unsay_span>!, _ span_count: Int, _ given: unsay_extent,
    _ marks: UnsafeMutablePointer<Int8>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let tokens = try model.tokens(
            require(output, "output").pointee, "output", spans: true)
        let spans = try checkedSpans(
            requireArray(spans, span_count, "spans").map { (Int($0.begin), Int($0.end)) },
            of: tokens, named: "spans")
        try deliverMarks(
            markSpans(tokens, spans: spans, extent: extent(given)), marks, capacity, count)
    }
}

@_cdecl("unsay_mark_phrases") @implementation
public func unsay_mark_phrases(
    _ handle: OpaquePointer!, _ output: UnsafePointer<unsay_sequence>!,
    _ phrases: UnsafePointer<UnsafePointer<CChar>?>!, _ phrase_count: Int, _ given: unsay_extent,
    _ marks: UnsafeMutablePointer<Int8>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let output = try require(output, "output").pointee
        let wanted = try requireArray(phrases, phrase_count, "phrases").enumerated().map {
            try requireString($0.element, "phrases[\($0.offset)]")
        }
        try deliverMarks(
            markPhrases(
                ids: model.ids(output, "output"), phrases: wanted, extent: extent(given),
                tokenizer: model.requireTokenizer()), marks, capacity, count)
    }
}

@_cdecl("unsay_mark_difference") @implementation
public func unsay_mark_difference(
    _ handle: OpaquePointer!, _ output: UnsafePointer<unsay_sequence>!,
    _ corrected: UnsafePointer<unsay_sequence>!, _ given: unsay_extent,
    _ marks: UnsafeMutablePointer<Int8>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let ids = try model.ids(require(output, "output").pointee, "output")
        let better = try model.ids(require(corrected, "corrected").pointee, "corrected")
        try deliverMarks(
            markDifference(output: ids, corrected: better, extent: extent(given)), marks,
            capacity, count)
    }
}

private func converter(_ value: unsay_converter) throws -> TripleConverter {
    guard value.rawValue <= UNSAY_MIXED_FULL.rawValue else {
        throw Failure(
            UNSAY_E_ARGUMENT, "converter is \(value.rawValue), not one of unsay_converter")
    }
    let sides: [TripleConverter.Side] = [.negative, .corrective, .mixed]
    let amounts: [TripleConverter.Amount] = [.first, .diff, .full]
    return TripleConverter(
        side: sides[Int(value.rawValue) / 3], amount: amounts[Int(value.rawValue) % 3])
}

@_cdecl("unsay_mark_triple") @implementation
public func unsay_mark_triple(
    _ handle: OpaquePointer!, _ output: UnsafePointer<unsay_sequence>!,
    _ corrected: UnsafePointer<unsay_sequence>!, _ given: unsay_converter,
    _ marks: UnsafeMutablePointer<Int8>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!,
    _ uses_corrected: UnsafeMutablePointer<Int32>!
) -> unsay_status {
    boundary {
        let model = try model(handle)
        let usesCorrected = try require(uses_corrected, "uses_corrected")
        let result = try converter(given).marks(
            negative: model.ids(require(output, "output").pointee, "output"),
            corrected: model.ids(require(corrected, "corrected").pointee, "corrected"))
        usesCorrected.pointee = result.usesCorrected ? 1 : 0
        try deliverMarks(result.marks, marks, capacity, count)
    }
}

@_cdecl("unsay_token_losses") @implementation
public func unsay_token_losses(
    _ loss: unsay_loss, _ form: unsay_loss_form, _ alpha: Float, _ retain: Float,
    _ logits: UnsafePointer<Float>!, _ reference: UnsafePointer<Float>!,
    _ targets: UnsafePointer<Int32>!, _ marks: UnsafePointer<Int8>!, _ tokens: Int,
    _ vocab_size: Int, _ losses: UnsafeMutablePointer<Float>!,
    _ gradient: UnsafeMutablePointer<Float>!
) -> unsay_status {
    boundary {
        let settings = LossSettings(
            columns: try LossColumns(loss, form), alpha: alpha, retain: retain, zLoss: 0)
        guard alpha >= 0, alpha.isFinite else {
            throw Failure(UNSAY_E_ARGUMENT, "alpha is \(alpha); it must be 0 or more")
        }
        guard retain >= 0, retain <= 1 else {
            throw Failure(UNSAY_E_ARGUMENT, "retain is \(retain); it must be in 0...1")
        }
        guard vocab_size >= 1 else {
            throw Failure(UNSAY_E_ARGUMENT, "vocab_size is \(vocab_size); it must be at least 1")
        }
        let (count, overflow) = tokens.multipliedReportingOverflow(by: vocab_size)
        let all = try requireArray(logits, overflow ? -1 : count, "logits")
        let q =
            settings.columns.needsReference
            ? try requireArray(reference, count, "reference") : nil
        let ids = try requireArray(targets, tokens, "targets")
        let given = try requireArray(marks, tokens, "marks")
        for (position, id) in ids.enumerated() {
            guard id >= 0, Int(id) < vocab_size else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "targets[\(position)] is \(id); it must be in 0..<\(vocab_size)")
            }
            guard (-1...1).contains(given[position]) else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "marks[\(position)] is \(given[position]); it must be -1, 0 or 1")
            }
        }
        guard tokens > 0 else { return }
        let out = try require(losses, "losses")
        try Memory.require(vocab_size, bytes: 64, for: "rows of vocab_size numbers")
        let rows = LossRows(width: vocab_size)
        for position in 0..<tokens {
            let row = position * vocab_size..<(position + 1) * vocab_size
            let result = rows.loss(
                TokenTarget(id: ids[position], mark: given[position]), settings,
                logits: UnsafeBufferPointer(rebasing: all[row]),
                reference: q.map { UnsafeBufferPointer(rebasing: $0[row]) })
            out[position] = Float(result.loss)
            if let gradient { rows.copyGradient(to: gradient + row.lowerBound) }
        }
    }
}

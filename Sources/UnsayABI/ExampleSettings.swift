import CUnsay
import Models
import Support
import Training

/// An example of the caller's, checked and turned into ids.
///
/// - Parameter isGuard: marks are ignored, everything is kept.
private func example(
    _ model: Model, _ given: unsay_example, _ name: String, isGuard: Bool
) throws -> Example {
    let input = try model.ids(given.input, "\(name).input")
    let output = try model.ids(given.output, "\(name).output")
    try Memory.require(output.count, bytes: 64, for: "the marks of \(name)")
    var marks = [Int8](repeating: 1, count: output.count)
    if !isGuard, given.marks != nil || given.mark_count != 0 {
        marks = Array(try requireArray(given.marks, given.mark_count, "\(name).marks"))
        guard marks.count == output.count else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name) has \(marks.count) marks for \(output.count) tokens, the end included")
        }
    }
    var alsoAvoid: [Int: [Int32]] = [:]
    if !isGuard {
        let (pairs, overflow) = given.also_avoid_count.multipliedReportingOverflow(by: 2)
        let flat = try requireArray(
            given.also_avoid, overflow ? -1 : pairs, "\(name).also_avoid")
        for pair in 0..<flat.count / 2 {
            let position = Int(flat[2 * pair])
            guard output.indices.contains(position) else {
                throw Failure(
                    UNSAY_E_ARGUMENT,
                    "\(name).also_avoid names position \(position) of \(output.count) tokens")
            }
            try model.check(flat[2 * pair + 1], of: "\(name).also_avoid")
            alsoAvoid[position, default: []].append(flat[2 * pair + 1])
        }
    }
    let weight = given.weight == 0 ? 1 : given.weight
    guard weight > 0, weight.isFinite else {
        throw Failure(UNSAY_E_ARGUMENT, "\(name).weight is \(weight); it must be above 0")
    }
    let targets = try output.indices.map { position in
        guard (-1...1).contains(marks[position]) else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "\(name).marks[\(position)] is \(marks[position]); it must be -1, 0 or 1")
        }
        return TokenTarget(
            id: output[position], mark: marks[position], alsoAvoid: alsoAvoid[position] ?? [],
            weight: weight)
    }
    return Example(input: input, targets: targets)
}

func examples(
    _ model: Model, _ pointer: UnsafePointer<unsay_example>?, _ count: Int, isGuard: Bool
) throws -> [Example] {
    try requireArray(pointer, count, "examples").enumerated().map {
        try example(model, $0.element, "examples[\($0.offset)]", isGuard: isGuard)
    }
}

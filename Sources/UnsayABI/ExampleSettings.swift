import CUnsay
import Models
import Patching
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
    guard !isGuard else {
        return try Example(
            model, input: input, output: output, weight: given.weight, named: name)
    }
    let isMarked = given.marks != nil || given.mark_count != 0
    let (pairs, overflow) = given.also_avoid_count.multipliedReportingOverflow(by: 2)
    let flat = try requireArray(given.also_avoid, overflow ? -1 : pairs, "\(name).also_avoid")
    return try Example(
        model, input: input, output: output,
        marks: isMarked
            ? Array(requireArray(given.marks, given.mark_count, "\(name).marks")) : nil,
        alsoAvoid: (0..<flat.count / 2).map { (Int(flat[2 * $0]), flat[2 * $0 + 1]) },
        weight: given.weight, named: name)
}

func examples(
    _ model: Model, _ pointer: UnsafePointer<unsay_example>?, _ count: Int, isGuard: Bool
) throws -> [Example] {
    try requireArray(pointer, count, "examples").enumerated().map {
        try example(model, $0.element, "examples[\($0.offset)]", isGuard: isGuard)
    }
}

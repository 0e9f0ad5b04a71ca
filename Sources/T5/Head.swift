import Tensors

/// The states as the head wants them: times `headScale`. out may be states.
package func scaleForHead(_ states: Rows, into out: Rows, _ pass: Pass) {
    if pass.configuration.headScale != 1 || out.base != states.base {
        scale(states, by: pass.configuration.headScale, into: out, workers: pass.workers)
    }
}

/// Calls `body` with the logits of a block of rows at a time, so that no array of logits for
/// a whole batch ever exists.
///
/// - Parameters:
///   - states: [rows, d_model], after the decoder's final norm.
///   - body: receives which rows, and their logits, [rows, vocab_size]; they may be changed.
package func forEachLogits(
    _ states: Rows, _ head: Projection, _ pass: Pass, _ body: (Range<Int>, Rows) throws -> Void
) throws {
    let mark = pass.arena.mark()
    defer { pass.arena.rewind(to: mark) }
    let block = min(headBlockRows, states.count)
    let scaled = try pass.arena.rows(block, states.width)
    let logits = try pass.arena.rows(block, pass.configuration.vocabSize)
    var first = 0
    while first < states.count {
        let range = first..<min(first + block, states.count)
        let part = scaled.rows(0..<range.count)
        scaleForHead(states.rows(range), into: part, pass)
        try project(part, head, into: logits.rows(0..<range.count), pass)
        try body(range, logits.rows(0..<range.count))
        first = range.upperBound
    }
}

/// Rows of logits at a time: large enough for full-speed products, small enough for
/// 250,000 tokens (64 MB).
package let headBlockRows = 64

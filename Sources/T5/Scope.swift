import CUnsay
import Support

/// Which weights a session trains.
package enum Scope: Sendable, Equatable {
    case all
    /// Every weight of the decoder's blocks and its final norm.
    case decoder
    /// The four projections of every cross-attention.
    case crossAttention
    /// The projections of every feed-forward layer, of both stacks.
    case feedForward
    /// `lm_head`; in a layout whose head is the embedding table, nothing.
    case head
    /// Of the head, the rows of these token ids: those that are avoided somewhere.
    case tokens([Int32])
    /// Weights by name, with or without `.weight`; `*` stands for any characters.
    case tensors([String])

    /// The indices of its weights in `layout`, ascending.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` for a name that no weight has.
    package func indices(_ layout: ParameterLayout) throws -> [Int] {
        func all(_ holds: (String) -> Bool) -> [Int] {
            layout.parameters.indices.filter { holds(layout.parameters[$0].name) }
        }
        switch self {
        case .all: return Array(layout.parameters.indices)
        case .decoder: return all { $0.hasPrefix("decoder.") }
        case .crossAttention: return all { $0.contains(".EncDecAttention.") }
        case .feedForward: return all { $0.contains(".DenseReluDense.") }
        case .head, .tokens: return layout.ownHead.map { [$0] } ?? []
        case .tensors(let names):
            var chosen: Set<Int> = []
            for name in names {
                let found = all { matches($0, name) || matches($0, name + ".weight") }
                guard !found.isEmpty else {
                    throw Failure(
                        UNSAY_E_ARGUMENT, "tensors names \(name): this model has no such weight")
                }
                chosen.formUnion(found)
            }
            return chosen.sorted()
        }
    }
}

/// Whether `*` in a pattern can stand for what makes it the name.
func matches(_ name: String, _ pattern: String) -> Bool {
    let name = Array(name.utf8), pattern = Array(pattern.utf8)
    var at = 0, next = 0
    /// Where the last `*` stands, and how far it reaches.
    var star: (pattern: Int, name: Int)?
    while at < name.count {
        if next < pattern.count, pattern[next] == UInt8(ascii: "*") {
            star = (next, at)
            next += 1
        } else if next < pattern.count, pattern[next] == name[at] {
            at += 1
            next += 1
        } else if let (begin, reach) = star {
            star = (begin, reach + 1)
            at = reach + 1
            next = begin + 1
        } else {
            return false
        }
    }
    return pattern[next...].allSatisfy { $0 == UInt8(ascii: "*") }
}

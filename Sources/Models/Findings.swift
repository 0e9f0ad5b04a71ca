import CUnsay
import Support

/// What one graph, or all of them together, say about the model.
struct Findings {
    /// One place where a parameter is stored, and the graph that uses it.
    struct Site {
        let constant: Constant
        let graph: String
        /// Whether the parameter is the head's matrix there: of an embedding table that is the
        /// head as well.
        var isHead = false
    }

    /// By canonical name, without `.weight`; in the order found.
    private(set) var sites: [String: [Site]] = [:]
    private(set) var names: [String] = []
    var facts = Facts()

    /// Something that a graph states, and which graph that was.
    struct Fact<Value> {
        let value: Value
        let graph: String
    }

    /// What a graph says beside weights; nil where it says nothing.
    struct Facts {
        var numLayers: Fact<Int>?
        var numDecoderLayers: Fact<Int>?
        var numHeads: Fact<Int>?
        var headWidth: Fact<Int>?
        /// By relative position (key minus query), and by whether both directions count.
        var buckets: [Bool: Fact<[Int: Int]>] = [:]
        /// As RelativePositionBias states it.
        var maxDistance: Fact<Int>?
        var epsilon: Fact<Float>?
        var activation: Fact<String>?
        var headScale: Fact<Float>?
        /// What each part of a cache holds, by the name that it has as input and output.
        var caches: [String: Fact<String>] = [:]
        var decoderStartTokenID: Int?
        var eosTokenID: Int?
        var padTokenID: Int?
        /// Whether a decoder was read, and whether a head behind it.
        var hasDecoder = false
        var hasHead = false
    }

    mutating func add(_ name: String, _ constant: Constant, in graph: String) {
        if sites[name] == nil { names.append(name) }
        // A branch is read once with each way to call its graph.
        let isKnown = sites[name]?.contains { $0.constant.isSameUse(as: constant) } ?? false
        if !isKnown { sites[name, default: []].append(Site(constant: constant, graph: graph)) }
    }

    /// - Throws: `UNSAY_E_UNSUPPORTED` if graphs say different things.
    mutating func merge(_ other: Findings) throws {
        for name in other.names {
            for site in other.sites[name] ?? [] { add(name, site.constant, in: site.graph) }
        }
        let new = other.facts
        try Self.merge(&facts.numLayers, new.numLayers, "layers of the encoder")
        try Self.merge(&facts.numDecoderLayers, new.numDecoderLayers, "layers of the decoder")
        try Self.merge(&facts.numHeads, new.numHeads, "heads")
        try Self.merge(&facts.headWidth, new.headWidth, "width of a head")
        try Self.merge(&facts.maxDistance, new.maxDistance, "largest relative position")
        try Self.merge(&facts.activation, new.activation, "activation")
        try Self.merge(&facts.headScale, new.headScale, "scale of the decoder's output") {
            abs($0 - $1) <= 2e-3 * abs($0)
        }
        // Graphs in float16 round it.
        try Self.merge(&facts.epsilon, new.epsilon, "epsilon of a norm") {
            abs($0 - $1) <= 0.02 * max(abs($0), 1e-6)
        }
        for (direction, seen) in new.buckets {
            try Self.merge(&facts.buckets[direction], seen, "buckets of relative positions") {
                one, other in one.allSatisfy { (other[$0.key] ?? $0.value) == $0.value }
            }
            let all = facts.buckets[direction]?.value ?? [:]
            facts.buckets[direction] = Fact(
                value: all.merging(seen.value) { old, _ in old }, graph: seen.graph)
        }
        for (name, role) in new.caches {
            try Self.merge(&facts.caches[name], role, "use of the cache \"\(name)\"")
        }
        facts.decoderStartTokenID = facts.decoderStartTokenID ?? new.decoderStartTokenID
        facts.eosTokenID = facts.eosTokenID ?? new.eosTokenID
        facts.padTokenID = facts.padTokenID ?? new.padTokenID
        facts.hasDecoder = facts.hasDecoder || new.hasDecoder
        facts.hasHead = facts.hasHead || new.hasHead
    }

    private static func merge<Value: Equatable>(
        _ known: inout Fact<Value>?, _ new: Fact<Value>?, _ what: String,
        _ isSame: (Value, Value) -> Bool = { $0 == $1 }
    ) throws {
        guard let old = known else { return known = new }
        guard let new, !isSame(old.value, new.value) else { return }
        throw Failure(
            UNSAY_E_UNSUPPORTED,
            "\(new.graph) is not a graph of T5: its \(what) is \(new.value), "
                + "\(old.value) in \(old.graph)")
    }

    /// True for a graph whose decoder ends in its states: nothing to write with.
    var lacksHead: Bool { facts.hasDecoder && !facts.hasHead && sites["lm_head"] == nil }

    mutating func replaceSites(of name: String, with newSites: [Site]) {
        if sites[name] == nil { names.append(name) }
        sites[name] = newSites
    }

    mutating func removeSites(of name: String) {
        sites[name] = nil
        names.removeAll { $0 == name }
    }
}

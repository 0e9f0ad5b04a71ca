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

    /// What a graph says beside weights; nil where it says nothing.
    struct Facts {
        var numLayers: Int?
        var numDecoderLayers: Int?
        var numHeads: Int?
        var maxDistance: Int?
        var epsilon: Float?
        var activation: String?
        var headScale: Float?
        var decoderStartTokenID: Int?
        var eosTokenID: Int?
        var padTokenID: Int?
        /// True once a stack of an ONNX graph, not just a container, was read.
        var hasGraph = false
    }

    mutating func add(_ name: String, _ constant: Constant, in graph: String) {
        if sites[name] == nil { names.append(name) }
        sites[name, default: []].append(Site(constant: constant, graph: graph))
    }

    mutating func merge(_ other: Findings) {
        for name in other.names {
            for site in other.sites[name] ?? [] { add(name, site.constant, in: site.graph) }
        }
        let new = other.facts
        facts.numLayers = facts.numLayers ?? new.numLayers
        facts.numDecoderLayers = facts.numDecoderLayers ?? new.numDecoderLayers
        facts.numHeads = facts.numHeads ?? new.numHeads
        facts.maxDistance = facts.maxDistance ?? new.maxDistance
        facts.epsilon = facts.epsilon ?? new.epsilon
        facts.activation = facts.activation ?? new.activation
        facts.headScale = facts.headScale ?? new.headScale
        facts.decoderStartTokenID = facts.decoderStartTokenID ?? new.decoderStartTokenID
        facts.eosTokenID = facts.eosTokenID ?? new.eosTokenID
        facts.padTokenID = facts.padTokenID ?? new.padTokenID
        facts.hasGraph = facts.hasGraph || new.hasGraph
    }

    mutating func replaceSites(of name: String, with newSites: [Site]) {
        if sites[name] == nil { names.append(name) }
        sites[name] = newSites
    }

    mutating func removeSites(of name: String) {
        sites[name] = nil
        names.removeAll { $0 == name }
    }
}

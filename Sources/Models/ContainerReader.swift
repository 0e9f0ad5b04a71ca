/// Reads files that only hold weights, under the names of the transformers state dict.
enum ContainerReader {
    static func read(_ graphs: [Graph]) -> Findings {
        var findings = Findings()
        for graph in graphs {
            for (stored, constant) in graph.namedTensors {
                if let name = canonicalName(stored) {
                    findings.add(name, constant, in: graph.path)
                }
            }
        }
        return findings
    }

    /// The canonical name without `.weight`, freed of whatever stands before it, such as
    /// `model.`; nil for a tensor that is no weight of T5.
    static func canonicalName(_ stored: String) -> String? {
        var parts = stored.split(separator: ".", omittingEmptySubsequences: false)
        if parts.last == "weight" { parts.removeLast() }
        let roots: Set<Substring> = [
            "encoder", "decoder", "shared", "lm_head", "block", "embed_tokens", "final_layer_norm",
        ]
        guard let root = parts.firstIndex(where: roots.contains) else { return nil }
        let name = parts[root...].joined(separator: ".")
        switch parts.last {
        case "shared", "embed_tokens": return "shared"
        case "lm_head": return "lm_head"
        default: break
        }
        return name.hasPrefix("block.") || name.hasPrefix("final_layer_norm")
            ? "encoder.\(name)" : name
    }
}

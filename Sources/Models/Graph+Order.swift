extension Graph {
    /// The nodes, each behind those whose values it or its inner graphs read: converters append
    /// nodes at the end of a file. Nodes that wait for each other come last.
    var sortedNodes: [Int] {
        // Real graphs hold one If or BeamSearch.
        let holders = nodes.count { !$0.graphs.isEmpty }
        let inner =
            holders > 8
            ? [] : withInner.dropFirst().flatMap { $0.nodes.flatMap(\.inputs) + $0.outputList }
        var missing = [Int](repeating: 0, count: nodes.count)
        var readers: [Int: [Int]] = [:]
        for index in nodes.indices {
            let read = nodes[index].inputs + (nodes[index].graphs.isEmpty ? [] : inner)
            for maker in Set(read.compactMap { producers[$0]?.node }) {
                guard maker != index else { continue }
                missing[index] += 1
                readers[maker, default: []].append(index)
            }
        }
        // In the file's order as far as that is one.
        var order: [Int] = []
        order.reserveCapacity(nodes.count)
        var isDone = [Bool](repeating: false, count: nodes.count)
        for first in nodes.indices where missing[first] == 0 && !isDone[first] {
            var ready = [first]
            while let node = ready.popLast() {
                order.append(node)
                isDone[node] = true
                for reader in readers[node] ?? [] {
                    missing[reader] -= 1
                    // Those behind come up by themselves.
                    if missing[reader] == 0 && reader < first { ready.append(reader) }
                }
            }
        }
        return order + nodes.indices.filter { !isDone[$0] }
    }
}

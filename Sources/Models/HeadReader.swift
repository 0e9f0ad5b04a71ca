import CUnsay
import Support
import Tensors

/// Decides whether the output head is the embedding table.
struct HeadReader {
    let config: JSON?
    let reader: BlockReader

    /// Moves the head's places to those of the table if the two are one matrix: equal bit
    /// for bit, or lossy copies of one another that differ by rounding alone.
    func settle(_ findings: inout Findings) throws {
        guard let tables = findings.sites["shared"], let heads = findings.sites["lm_head"],
            let table = Self.best(tables), let found = Self.best(heads),
            let rows = table.shape.first, table.shape.count == 2, found.shape.count == 2,
            table.shape[1] == found.shape[1], found.shape[0] >= rows
        else { return }
        // Exporters for GPUs pad the head's rows; what lies beyond the table is not read.
        let cut = heads.map { site -> Findings.Site in
            guard site.constant.shape.count == 2, site.constant.shape[0] > rows else { return site }
            var constant = site.constant
            constant.view = constant.view.rows(rows)
            return Findings.Site(constant: constant, graph: site.graph)
        }
        findings.replaceSites(of: "lm_head", with: cut)
        guard let head = Self.best(cut), head.shape == table.shape else { return }
        if try areTied(head, table, isScaled: (findings.facts.headScale?.value ?? 1) != 1) {
            findings.removeSites(of: "lm_head")
            let own = cut.map {
                Findings.Site(constant: $0.constant, graph: $0.graph, isHead: true)
            }
            findings.replaceSites(of: "shared", with: tables + own)
        }
    }

    static func best(_ sites: [Findings.Site]) -> Constant? {
        sites.map(\.constant).max { $0.precision < $1.precision }
    }

    private func areTied(_ head: Constant, _ table: Constant, isScaled: Bool) throws -> Bool {
        if head.isSamePlace(as: table) { return true }
        let isLossy = head.precision < 3 || table.precision < 3
        let mayRound =
            isLossy && isScaled && config?["tie_word_embeddings"]?.bool != false
        let isEqual = Locked(true)
        try reader.forEachBlock(of: [table, head]) { rows, values in
            guard isEqual.withLock({ $0 }), firstDifference(values[0], values[1]) != nil else {
                return
            }
            if mayRound, Self.areRounded(table, head, rows, values) { return }
            isEqual.withLock { $0 = false }
        }
        return isEqual.withLock { $0 }
    }

    /// True if no element differs by more than what both storages round.
    private static func areRounded(
        _ table: Constant, _ head: Constant, _ rows: Range<Int>,
        _ values: [UnsafeBufferPointer<Float>]
    ) -> Bool {
        let steps = [table, head].enumerated().map { index, constant in
            [Float](unsafeUninitializedCapacity: values[index].count) { out, count in
                count = values[index].count
                guard let base = out.baseAddress else { return }
                constant.readRounding(rows: rows, of: values[index], into: base)
            }
        }
        return values[0].indices.allSatisfy {
            abs(values[0][$0] - values[1][$0]) <= steps[0][$0] + steps[1][$0]
        }
    }
}

import CUnsay
import Glibc
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
        if try areTied(head, table, isScaled: (findings.facts.headScale ?? 1) != 1) {
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
        let found = Locked(Comparison())
        try reader.forEachBlock(of: [table, head]) { _, values in
            guard mayRound || found.withLock({ $0.isEqual }),
                firstDifference(values[0], values[1]) != nil
            else { return }
            guard mayRound else { return found.withLock { $0.isEqual = false } }
            var (largest, difference): (Float, Float) = (0, 0)
            for (x, y) in zip(values[0], values[1]) {
                largest = max(largest, abs(x))
                difference = max(difference, abs(x - y))
            }
            found.withLock {
                $0.largest = max($0.largest, largest)
                $0.difference = max($0.difference, difference)
                $0.isEqual = false
            }
        }
        let compared = found.withLock { $0 }
        if compared.isEqual { return true }
        // A quarter of the largest: coarser than 4-bit rounding, far finer than chance.
        return mayRound && compared.difference <= 0.25 * compared.largest
    }

    /// Of all elements of the head and the table.
    private struct Comparison {
        var largest: Float = 0
        var difference: Float = 0
        var isEqual = true
    }
}

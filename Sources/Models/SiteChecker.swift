import COnnx
import CUnsay
import Glibc
import Support
import T5
import Tensors

/// Holds what was found against the layout: every parameter there, of its shape, finite, and
/// the same in every copy.
struct SiteChecker {
    let layout: ParameterLayout
    let hasConfig: Bool
    let reader: BlockReader

    /// The places of every parameter, in the layout's order, the best copy first.
    func check(_ findings: Findings) throws -> [[Findings.Site]] {
        for name in findings.names where layout.index(of: name) == nil {
            let site = findings.sites[name]?.first
            throw Failure(
                UNSAY_E_FORMAT,
                "\(site?.constant.name ?? name) is \(name).weight, which a model of "
                    + "\(source) does not have")
        }
        return try layout.parameters.map { parameter in
            let name = String(parameter.name.dropLast(".weight".count))
            guard let found = findings.sites[name], !found.isEmpty else {
                throw Failure(
                    UNSAY_E_FORMAT,
                    "\(parameter.name) \(parameter.shape) is missing from the files")
            }
            let sites = try found.map { try shaped($0, as: parameter) }
            let sorted = sites.indices.sorted {
                (-sites[$0].constant.precision, $0) < (-sites[$1].constant.precision, $1)
            }.map { sites[$0] }
            try compare(sorted, of: parameter)
            return sorted
        }
    }

    private var source: String { hasConfig ? "config.json's sizes" : "its other sizes" }

    private func shaped(
        _ site: Findings.Site, as parameter: Parameter
    ) throws -> Findings.Site {
        var constant = site.constant
        if constant.shape.filter({ $0 != 1 }) == parameter.shape, parameter.shape.count == 1 {
            constant = constant.with(constant.view.reshaped(parameter.shape)) ?? constant
        }
        guard constant.shape == parameter.shape else {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(constant.name), which is \(parameter.name), has shape \(constant.shape); "
                    + "expected \(parameter.shape) by \(source)")
        }
        guard constant.isFloating else {
            throw Failure(
                UNSAY_E_UNSUPPORTED,
                "\(constant.name), which is \(parameter.name), has data type "
                    + "\(constant.tensor.dataType), expected a floating one")
        }
        return Findings.Site(constant: constant, graph: site.graph, isHead: site.isHead)
    }

    /// Every value is finite, and every copy has the same ones.
    private func compare(_ sites: [Findings.Site], of parameter: Parameter) throws {
        guard let best = sites.first?.constant else { return }
        var copies: [Constant] = []
        for site in sites.dropFirst() {
            let copy = site.constant
            // Coarser copies differ by their rounding; the best one is taken.
            guard copy.precision == best.precision, copy.precision > 1,
                !([best] + copies).contains(where: copy.isSamePlace)
            else { continue }
            copies.append(copy)
        }
        if copies.isEmpty { try compare(best, nil, parameter) }
        // One copy at a time, so that few pages of the files are in memory at once.
        for copy in copies { try compare(best, copy, parameter) }
    }

    private func compare(_ best: Constant, _ copy: Constant?, _ parameter: Parameter) throws {
        let pair = [best] + (copy.map { [$0] } ?? [])
        // What is stored alike is read as it is stored; where something is wrong, again in the
        // parameter's own order.
        if let stored = Self.asStored(pair) {
            let isGood = Locked(true)
            try reader.forEachBlock(of: stored) { _, values in
                let bad = onnx_first_not_finite(values[0].baseAddress, values[0].count)
                let differs = copy != nil && firstDifference(values[0], values[1]) != nil
                if bad < values[0].count || differs { isGood.withLock { $0 = false } }
            }
            if isGood.withLock({ $0 }) { return }
        }
        try reader.forEachBlock(of: pair) { rows, values in
            let first = rows.lowerBound * parameter.columns
            let bad = onnx_first_not_finite(values[0].baseAddress, values[0].count)
            guard bad == values[0].count else {
                throw Failure(
                    UNSAY_E_FORMAT,
                    "\(best.name), which is \(parameter.name), is \(values[0][bad]) at element "
                        + "\(first + bad)")
            }
            guard let copy, let index = firstDifference(values[0], values[1]) else { return }
            throw Failure(
                UNSAY_E_FORMAT,
                "two copies of \(parameter.name) differ at element \(first + index): "
                    + "\(values[0][index]) in \(best.name), \(values[1][index]) in \(copy.name)")
        }
    }

    /// The constants in the order of their storage, if that is the same for all; else nil.
    private static func asStored(_ constants: [Constant]) -> [Constant]? {
        guard let first = constants.first else { return nil }
        let isAlike = constants.allSatisfy {
            $0.quantization == nil && $0.scale == first.scale && $0.view == first.view
                && $0.tensor.dims == first.tensor.dims && $0.view.count == $0.tensor.elementCount
        }
        return isAlike ? constants.compactMap { $0.with(StridedView($0.tensor.dims)) } : nil
    }
}

/// The first index where two arrays of one length differ in their bits; nil if nowhere.
func firstDifference(
    _ left: UnsafeBufferPointer<Float>, _ right: UnsafeBufferPointer<Float>
) -> Int? {
    guard let x = left.baseAddress, let y = right.baseAddress,
        memcmp(x, y, left.count * MemoryLayout<Float>.size) != 0
    else { return nil }
    return left.indices.first { left[$0].bitPattern != right[$0].bitPattern }
}

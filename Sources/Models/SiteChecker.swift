import CUnsay
import Support
import T5
import Tensors

/// Holds what was found against the layout: every parameter there, of its shape, finite, and
/// the same in every copy.
struct SiteChecker {
    let layout: ParameterLayout
    let hasConfig: Bool

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
        return Findings.Site(constant: constant, graph: site.graph)
    }

    private func compare(_ sites: [Findings.Site], of parameter: Parameter) throws {
        guard let best = sites.first?.constant else { return }
        let values = try FloatBuffer(best)
        if let index = values.values.firstIndex(where: { !$0.isFinite }) {
            throw Failure(
                UNSAY_E_FORMAT,
                "\(best.name), which is \(parameter.name), is \(values.values[index]) "
                    + "at element \(index)")
        }
        var seen = [best]
        for site in sites.dropFirst() {
            let copy = site.constant
            // Coarser copies differ by their rounding; the best one is taken.
            guard copy.precision == best.precision, copy.precision > 1,
                !seen.contains(where: copy.isSamePlace)
            else { continue }
            seen.append(copy)
            let others = try FloatBuffer(copy)
            if values.isEqual(to: others) { continue }
            let index = values.values.indices.first {
                values.values[$0].bitPattern != others.values[$0].bitPattern
            }
            throw Failure(
                UNSAY_E_FORMAT,
                "two copies of \(parameter.name) differ at element \(index ?? 0): "
                    + "\(values.values[index ?? 0]) in \(best.name), "
                    + "\(others.values[index ?? 0]) in \(copy.name)")
        }
    }
}

import Support

/// A report as one HTML page: nothing is loaded from anywhere, and it fits a phone.
extension Report {
    package var html: String {
        let figures = [
            (
                "avoided p",
                "\(percent(evaluation.avoidPBefore)) → \(percent(evaluation.avoidPAfter))"
            ),
            ("kept KL", number(evaluation.keepKL) + " nats"),
            ("guard KL", number(evaluation.guardKL) + " nats"),
            ("guard flips", percent(evaluation.guardFlips)),
            ("guard", evaluation.guardHeld ? "holds" : "broken"),
            ("goal", evaluation.goalMet ? "met" : "not met"),
            ("weights", weights),
        ]
        var more: [(String, String)] = []
        if let shownBefore, let shownAfter {
            more.append(("outputs that show it", "\(shownBefore) → \(shownAfter) of \(outputs)"))
        }
        more.append(("outputs unchanged", "\(outputs - changes.count) of \(outputs)"))
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(escaped(title))</title>
            <style>\(Self.style)</style></head><body>
            <h1>\(escaped(title))</h1>
            <dl class="figures">\((more + figures).map(Self.figure).joined())</dl>
            \(plot)
            \(changeSection)
            \(tensorSection)
            <h2>How it was made</h2><table>\(settings)</table>
            </body></html>

            """
    }

    private static let style = """
        body{font:16px/1.45 system-ui,sans-serif;color:#1d2430;background:#fff;max-width:60rem;\
        margin:0 auto;padding:1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
        .figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem}\
        .figures div{background:#f2f5f9;border-radius:.5rem;padding:.6rem .8rem}\
        dt{color:#566}dd{margin:0;font-weight:600}svg{width:100%;height:auto;max-width:40rem}\
        .change{border-top:1px solid #dde3ea;padding:.7rem 0}.input{color:#566;font-size:.9rem;\
        overflow-wrap:anywhere}.pair{display:grid;grid-template-columns:1fr 1fr;gap:.8rem}\
        @media(max-width:34rem){.pair{grid-template-columns:1fr}}\
        .old{background:#fdeeee}.new{background:#eaf6ee}.old,.new{padding:.35rem .5rem;\
        border-radius:.35rem;overflow-wrap:anywhere}.where{color:#566;font-size:.85rem}\
        table{border-collapse:collapse;width:100%;font-size:.9rem}td{border-top:1px solid #e6ebf0;\
        padding:.25rem .4rem;overflow-wrap:anywhere}td+td{text-align:right}\
        .bar{background:#1b6ca8;height:.45rem;border-radius:.2rem}
        """

    private var weights: String {
        guard evaluation.changed else { return "unchanged" }
        let share =
            evaluation.fraction < 1 ? "\(number(evaluation.fraction)) of the way to " : "of "
        return "\(share)step \(evaluation.step)"
    }

    private static func figure(_ name: String, _ value: String) -> String {
        "<div><dt>\(escaped(name))</dt><dd>\(escaped(value))</dd></div>"
    }

    /// What was gained against what was lost: every evaluation a point, from the left to the
    /// right as avoided tokens become unlikely, upwards as the guard drifts.
    private var plot: String {
        let hasGuard = history.contains { $0.evaluation.guardKL > 0 }
        let isHeldOut = history.contains { $0.evaluation.heldOutAvoidPBefore > 0 }
        let points = history.map { measurement in
            let evaluation = measurement.evaluation
            return (
                step: measurement.step,
                p: isHeldOut ? evaluation.heldOutAvoidPAfter : evaluation.avoidPAfter,
                kl: hasGuard ? evaluation.guardKL : evaluation.keepKL
            )
        }.filter { $0.p.isFinite && $0.kl.isFinite }
        guard points.count > 1 else { return "" }
        let mostP = max(points.map(\.p).max() ?? 0, 1e-12)
        let mostKL = max(points.map(\.kl).max() ?? 0, 1e-12)
        func place(_ point: (step: Int, p: Double, kl: Double)) -> (String, String) {
            (
                rounded(60 + 500 * (1 - part(point.p, of: mostP))),
                rounded(250 - 220 * part(point.kl, of: mostKL))
            )
        }
        let line = points.map { place($0) }.map { "\($0),\($1)" }.joined(separator: " ")
        let dots = points.map { point in
            let (x, y) = place(point)
            return "<circle cx=\"\(x)\" cy=\"\(y)\" r=\"4\"><title>step \(point.step): "
                + "p \(number(point.p)), KL \(number(point.kl))</title></circle>"
        }
        return """
            <h2>Trade-off</h2>
            <svg viewBox="0 0 600 300" role="img" aria-label="avoided p against drift">
            <path d="M60,20V250H580" fill="none" stroke="#99a"/>
            <polyline points="\(line)" fill="none" stroke="#1b6ca8" stroke-width="2"/>
            <g fill="#1b6ca8">\(dots.joined())</g>
            <g font-family="sans-serif" font-size="13" fill="#445">
            <text x="60" y="272">\(percent(mostP))</text>
            <text x="575" y="272" text-anchor="end">0 %</text>
            <text x="320" y="290" text-anchor="middle">mean p of avoided tokens\
            \(isHeldOut ? ", held out" : "")</text>
            <text x="66" y="30">\(number(mostKL)) nats: \(hasGuard ? "guard KL" : "kept KL")</text>
            </g></svg>
            """
    }

    private var changeSection: String {
        guard !changes.isEmpty else { return outputs > 0 ? "<p>No output changed.</p>" : "" }
        let items = changes.prefix(Self.mostShown).map { change in
            """
            <div class="change"><div class="input">\(escaped(change.inputText))</div>
            <div class="pair"><div class="old">\(escaped(change.before))</div>\
            <div class="new">\(escaped(change.after))</div></div>
            <div class="where">token \(change.position + 1): \(escaped(change.tokenBefore)) → \
            \(escaped(change.tokenAfter)), KL \(number(change.kl)) nats</div></div>
            """
        }
        let rest = changes.count - items.count
        return "<h2>Changed outputs</h2>" + items.joined()
            + (rest > 0 ? "<p>and \(rest) more</p>" : "")
    }

    private var tensorSection: String {
        guard let most = tensors.first?.change, most > 0 else { return "" }
        let rows = tensors.prefix(Self.mostShown).map { tensor in
            "<tr><td>\(escaped(tensor.name))<div class=\"bar\" style=\"width:"
                + "\(rounded(100 * part(tensor.change, of: most)))%\"></div></td><td>"
                + (tensor.weight == 0 ? "was 0" : percent(tensor.change / tensor.weight))
                + "</td></tr>"
        }
        return "<h2>Weights by size of change</h2><p class=\"where\">L2 norm of the change; "
            + "beside it, its share of the weight's own.</p><table>\(rows.joined())</table>"
    }

    private var settings: String {
        let hidden: Set = ["evaluation", "examples", "held_out", "guard"]
        return (metadata.object ?? [:]).filter { !hidden.contains($0.key) }
            .sorted { $0.key < $1.key }.map {
                "<tr><td>\(escaped($0.key))</td><td>\(escaped($0.value.string ?? $0.value.text()))"
                    + "</td></tr>"
            }.joined()
    }

    private static let mostShown = 200
}

private func escaped(_ text: String) -> String {
    var out = ""
    for character in text {
        switch character {
        case "&": out += "&amp;"
        case "<": out += "&lt;"
        case ">": out += "&gt;"
        case "\"": out += "&quot;"
        default: out.append(character)
        }
    }
    return out
}

/// With one digit after the point; numbers beyond all measure as Swift spells them, such as
/// 1e+16, inf and nan.
private func rounded(_ value: Double) -> String {
    let tenths = (value * 10).rounded()
    guard tenths.magnitude < 1e15, let whole = Int(exactly: tenths) else {
        return value.isNaN ? "nan" : "\(value)"
    }
    let sign = whole < 0 ? "-" : ""
    return "\(sign)\(whole.magnitude / 10).\(whole.magnitude % 10)"
}

/// What is to be drawn of a length, in 0...1; 1 where that is no number.
private func part(_ value: Double, of most: Double) -> Double {
    let share = value / most
    return share.isNaN ? 1 : min(max(share, 0), 1)
}

private func percent(_ share: Double) -> String {
    share > 0 && share < 0.001 ? "< 0.1 %" : rounded(100 * share) + " %"
}

/// With three digits that count.
private func number(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return "\(value)" }
    var scale = 1.0
    while abs(value) * scale < 100, scale < 1e12 { scale *= 10 }
    let text = "\((value * scale).rounded() / scale)"
    return text
}

import Decoding
import Patching

/// What a patch did, in figures and in outputs side by side.
public struct Report: Sendable, Equatable {
    /// For programs; docs/patching.md names its members.
    public let json: String
    /// For people: one page that loads nothing from anywhere.
    public let html: String
}

extension Patch {
    /// What the patch has done so far: its evaluations, the outputs it changed side by side with
    /// the first token that differs and the KL there, tensors by size of change.
    ///
    /// - Parameters:
    ///   - title: of the page.
    ///   - inputs: to write outputs for, before and after.
    ///   - options: how outputs are written.
    ///   - detect: whether an output shows the unwanted behaviour; nil for nobody can tell.
    public func report(
        title: String = "A patch", inputs: [any TokenSequence] = [],
        _ options: GenerateOptions = GenerateOptions(),
        detect: ((_ input: Int, _ text: String) -> Bool)? = nil
    ) throws(Failure) -> Report {
        try boundary {
            var settings = ReportOptions()
            settings.title = title
            settings.inputs = try inputs.enumerated().map { index, input in
                try session.model.ids(input, "inputs[\(index)]")
            }
            settings.generate = try options.settings(
                session.model, inputs: inputs.count, GenerateCallbacks())
            settings.detect = detect.map { detect in
                { detect($0, String(decoding: $1, as: UTF8.self)) }
            }
            let report = try session.report(settings)
            return Report(json: report.json.text(), html: report.html)
        }
    }
}

import CUnsay
import Support
import T5
import Tensors

/// How a model is opened. Names and defaults as in `unsay_open_options`.
package struct OpenSettings: Sendable {
    /// 0 for one a core.
    package var threads = 0
    package var precision = Precision.float32
    /// Whether files of external data may be links to anywhere.
    package var allowLinks = false
    package var tokenizerPath: Path?
    package var variant: String?

    package init() {}

    /// Checks the settings, which come from outside, and gives the workers they ask for.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` naming the setting as unsay.h does.
    func workers() throws -> Workers {
        guard (0...1024).contains(threads) else {
            throw Failure(
                UNSAY_E_ARGUMENT, "threads is \(threads); it must be 0 (one per core) to 1024")
        }
        guard tokenizerPath?.bytes.isEmpty != true else {
            throw Failure(UNSAY_E_ARGUMENT, "tokenizer_path is empty: NULL is for none")
        }
        return Workers(threads: threads)
    }
}

extension Model {
    /// A model of a folder of ONNX files, on the vocabulary beside them or another.
    package convenience init(folder: some PathConvertible, _ settings: OpenSettings) throws {
        let workers = try settings.workers()
        try self.init(
            Checkpoint.open(
                folder: folder, variant: settings.variant, allowLinks: settings.allowLinks,
                workers: workers),
            tokenizerPath: settings.tokenizerPath, precision: settings.precision,
            workers: workers)
    }

    /// The same of files in memory, which are copied.
    package convenience init(
        buffers: [(name: String, bytes: UnsafeRawBufferPointer)], _ settings: OpenSettings
    ) throws {
        let workers = try settings.workers()
        try self.init(
            Checkpoint.open(buffers: buffers, variant: settings.variant, workers: workers),
            tokenizerPath: settings.tokenizerPath, precision: settings.precision,
            workers: workers)
    }

    /// Ids that were given for a text, checked: at least one, each in the vocabulary.
    ///
    /// - Throws: `UNSAY_E_ARGUMENT` naming `name`.
    package func check(_ ids: some Collection<Int32>, named name: String) throws {
        guard !ids.isEmpty else {
            throw Failure(UNSAY_E_ARGUMENT, "\(name) is empty: it has neither text nor ids")
        }
        try Memory.require(ids.count, bytes: 32, for: "the ids of \(name)")
        for id in ids { try check(id, of: name) }
    }

    /// The ids of a run of tokens: as given, or of a text without the end.
    ///
    /// - Parameter ids: checked; of a text the end is the last.
    package func run(_ ids: [Int32], isText: Bool, named name: String) throws -> [Int32] {
        let run = isText ? Array(ids.dropLast()) : ids
        guard !run.isEmpty else { throw Failure(UNSAY_E_ARGUMENT, "\(name) is empty") }
        return run
    }

    /// The weight at `index` in canonical order.
    package func parameter(_ index: Int) throws -> Parameter {
        guard layout.parameters.indices.contains(index) else {
            throw Failure(
                UNSAY_E_ARGUMENT,
                "index is \(index); this model has \(layout.parameters.count) tensors")
        }
        return layout.parameters[index]
    }
}

import Decoding
import Dispatch
import Models
import Support
import Synchronization

extension Model {
    /// Writes an output for one input: the best.
    ///
    /// A callback that answers `.stop` ends it early; the output is what was written by then.
    public func generate(
        _ input: some TokenSequence, _ options: GenerateOptions = GenerateOptions(),
        _ callbacks: GenerateCallbacks = GenerateCallbacks()
    ) throws(Failure) -> Output {
        let outputs = try hypotheses([input], options, callbacks)
        return outputs[0][0]
    }

    /// Writes the best output for each input, run as one batch. An input's output does not
    /// depend on what else is in the batch.
    public func generate(
        _ inputs: [some TokenSequence], _ options: GenerateOptions = GenerateOptions(),
        _ callbacks: GenerateCallbacks = GenerateCallbacks()
    ) throws(Failure) -> [Output] {
        try hypotheses(inputs, options, callbacks).map { $0[0] }
    }

    /// Writes the `numReturnSequences` best outputs for each input, best first.
    public func hypotheses(
        _ inputs: [some TokenSequence], _ options: GenerateOptions = GenerateOptions(),
        _ callbacks: GenerateCallbacks = GenerateCallbacks()
    ) throws(Failure) -> [[Output]] {
        try boundary {
            let settings = try options.settings(model, inputs: inputs.count, callbacks)
            return try Decoding.generate(model, model.ids(inputs, "inputs"), settings)
                .hypotheses.map { $0.map(Output.init) }
        }
    }

    /// Writes an output token by token, without beams unless `options` name some, which is an
    /// error.
    ///
    /// It runs on a thread of its own as soon as the stream is made, and stops soon after the
    /// stream is dropped or the task that reads it is cancelled. Errors are ``Failure``s.
    ///
    /// ```swift
    /// for try await token in model.stream("summarize: ...") { print(token.text) }
    /// ```
    public func stream(
        _ input: some TokenSequence, _ options: GenerateOptions = GenerateOptions()
    ) -> AsyncThrowingStream<GeneratedToken, any Error> {
        AsyncThrowingStream { continuation in
            let flag = StopFlag()
            continuation.onTermination = { _ in flag.raise() }
            var options = options
            options.numBeams = options.numBeams ?? 1
            DispatchQueue.global().async { [self, options] in
                let callbacks = GenerateCallbacks {
                    $0.onToken = { token in
                        continuation.yield(token)
                        return flag.isRaised ? .stop : .continue
                    }
                }
                do {
                    _ = try generate(input, options, callbacks)
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    /// How likely the model finds each output as the answer to its input.
    public func score<Input: TokenSequence, Answer: TokenSequence>(
        _ pairs: [(input: Input, output: Answer)]
    ) throws(Failure) -> [Output] {
        try boundary {
            var scored = try Decoding.score(
                model, model.ids(pairs.map(\.input), "inputs"),
                model.ids(pairs.map(\.output), "outputs"))
            for index in scored.indices {
                scored[index].text = try model.decode(scored[index].ids)
            }
            return scored.map(Output.init)
        }
    }

    /// How likely the model finds one output as the answer to its input.
    public func score(
        _ input: some TokenSequence, _ output: some TokenSequence
    ) throws(Failure) -> Output {
        let scored = try score([(input: input, output: output)])
        return scored[0]
    }

    /// The logits of the next token at every position of `output`, [ids of it, vocabSize].
    public func logits(
        _ input: some TokenSequence, _ output: some TokenSequence
    ) throws(Failure) -> [Float] {
        try boundary {
            let (input, output) = (try model.ids(input, "input"), try model.ids(output, "output"))
            return try floats(output.count, model.configuration.vocabSize, "logits") {
                try Decoding.logits(model, input, output, into: $0)
            }
        }
    }

    /// The encoder's output for `input`, [ids of it, dModel].
    public func encoderStates(_ input: some TokenSequence) throws(Failure) -> [Float] {
        try boundary {
            let ids = try model.ids(input, "input")
            return try floats(ids.count, model.configuration.dModel, "states") {
                try Decoding.encoderStates(model, ids, into: $0)
            }
        }
    }

    /// The mean of the encoder's output over the ids of each input, [inputs, dModel]; with
    /// `normalize`, each divided by its L2 norm.
    public func embed(
        _ inputs: [some TokenSequence], normalize: Bool = false
    ) throws(Failure) -> [Float] {
        try boundary {
            let ids = try model.ids(inputs, "inputs")
            return try floats(ids.count, model.configuration.dModel, "embeddings") {
                if !ids.isEmpty { try Decoding.embed(model, ids, normalize: normalize, into: $0) }
            }
        }
    }

    private func floats(
        _ rows: Int, _ width: Int, _ name: String,
        _ fill: (UnsafeMutablePointer<Float>) throws -> Void
    ) throws -> [Float] {
        let (count, overflow) = rows.multipliedReportingOverflow(by: width)
        guard !overflow else { throw Failure(.memory, "\(name) would overflow memory") }
        return try [Float](unsafeUninitializedCapacity: count) { buffer, size in
            buffer.initialize(repeating: 0)
            if let base = buffer.baseAddress { try fill(base) }
            size = count
        }
    }
}

/// Raised once, from any thread.
private final class StopFlag: Sendable {
    private let flag = Atomic<Bool>(false)

    var isRaised: Bool { flag.load(ordering: .acquiring) }

    func raise() { flag.store(true, ordering: .releasing) }
}

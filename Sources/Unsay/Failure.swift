import Support

/// A status and one sentence about what went wrong: the only error this library throws.
///
/// The sentence names the file, argument or tensor, what was expected and what was found.
public struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it is: the numbers and meanings of `unsay_status`.
    public enum Status: Int32, Sendable, CaseIterable {
        /// A value out of range, or of a bad shape.
        case argument = -10
        /// Not valid UTF-8.
        case text = -12
        /// No such file or folder.
        case notFound = -20
        /// Reading or writing failed.
        case io = -21
        /// The file is not what its name says, or torn.
        case format = -22
        /// Well-formed, but this build cannot do it.
        case unsupported = -23
        /// A delta or a tokenizer made for another model.
        case mismatch = -30
        /// Not now: a run before any example, say.
        case state = -31
        /// The patch is in use by another call.
        case busy = -32
        /// A callback or ``Patch/cancel()`` stopped it.
        case cancelled = -33
        /// The guard refused the commit.
        case `guard` = -34
        /// The loss or a weight is no longer finite.
        case diverged = -35
        /// Nothing to commit: the weights are the model's already.
        case unchanged = -36
        /// Allocation failed.
        case memory = -40
        /// A defect in the library: please report it.
        case `internal` = -90
    }

    public let status: Status
    public let message: String

    public var description: String { message }

    init(_ status: Status, _ message: String) {
        self.status = status
        self.message = message
    }

    init(_ error: any Error) {
        switch error {
        case let failure as Failure: self = failure
        case let failure as Support.Failure:
            self.init(
                Status(rawValue: Int32(failure.status.rawValue)) ?? .internal, failure.sentence)
        default: self.init(.internal, "\(error)")
        }
    }
}

/// Runs `body`, whose errors become this module's one.
func boundary<Result>(_ body: () throws -> Result) throws(Failure) -> Result {
    do {
        return try body()
    } catch {
        throw Failure(error)
    }
}

/// A number that the C interface passes in 32 bits.
func narrow(_ value: Int, _ name: String) throws -> Int {
    guard Int32(exactly: value) != nil else {
        throw Failure(.argument, "\(name) is \(value); it must fit in 32 bits")
    }
    return value
}

/// What a callback answers.
public enum Action: Sendable {
    case `continue`
    case stop
}

import CUnsay
import Decoding
import Models
import Patching
import Support
import Synchronization
import T5
import Testing
import Training

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Patching while serving")
struct ConcurrencyTests {
    private static let inputs: [[Int32]] = (0..<4).map { [5 + $0, 9, 33 - $0, 12, 1] }

    /// Every output of every input, as one model writes it.
    private static func outputs(_ model: Model) throws -> [[Int32]] {
        var options = GenerateOptions()
        options.maxNewTokens = 8
        return try generate(model, inputs, options).hypotheses.map { $0[0].ids }
    }

    /// What a thread is to do, and its number.
    private final class Work: Sendable {
        let index: Int
        let body: @Sendable (Int) -> Void

        init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.index = index
            self.body = body
        }
    }

    /// Threads of the system's, each with its number: to be joined.
    private static func start(
        _ count: Int, _ body: @escaping @Sendable (Int) -> Void
    ) -> [pthread_t] {
        (0..<count).map { index in
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { context in
                    if let context {
                        let work = Unmanaged<Work>.fromOpaque(context).takeRetainedValue()
                        work.body(work.index)
                    }
                    return nil
                }, Unmanaged.passRetained(Work(index, body)).toOpaque())
            #expect(status == 0)
            return thread
        }
    }

    /// A lock, and how often it was taken.
    private final class Counter: Sendable {
        let count = Locked(0)
    }

    @Test("a lock that eight threads fight over orders what they do, for ThreadSanitizer, too")
    func lock() {
        let counter = Counter()
        let threads = Self.start(8) { _ in
            for _ in 0..<20_000 { counter.count.withLock { $0 += 1 } }
        }
        for thread in threads { pthread_join(thread, nil) }
        #expect(counter.count.withLock { $0 } == 160_000)
    }

    /// What the threads share: nothing that they would have to wait for.
    private final class Shared: Sendable {
        let model: Model
        let done = Atomic<Bool>(false)
        let rounds = Atomic<Int>(0)

        init(_ model: Model) { self.model = model }
    }

    /// One thread's work, and what it saw: to be read once the thread has ended.
    private final class Server: @unchecked Sendable {
        let shared: Shared
        var seen: Set<[[Int32]]> = []
        var failure: String?

        init(_ shared: Shared) { self.shared = shared }

        func serve() {
            while !shared.done.load(ordering: .acquiring) {
                do {
                    seen.insert(try ConcurrencyTests.outputs(shared.model))
                } catch {
                    failure = "\(error)"
                }
                shared.rounds.add(1, ordering: .relaxed)
            }
        }
    }

    @Test("eight threads see whole snapshots only, while sessions train, commit and revert")
    func serving() throws {
        let model = try tinyModel(threads: 2)
        let shared = Shared(model)
        let servers = (0..<8).map { _ in Server(shared) }
        let threads = Self.start(servers.count) { [servers] in servers[$0].serve() }
        // What the model writes at each of the snapshots that it ever had.
        var known: Set<[[Int32]]> = [try Self.outputs(try Model(cloning: model))]
        for round in 0..<6 {
            var options = SessionOptions()
            options.learningRate = 3e-3
            options.scope = UNSAY_SCOPE_ALL
            options.seed = UInt64(round)
            options.loraRank = round % 2 == 0 ? 0 : 2
            let session = try Session(model, reference: nil, options: options)
            let current = try Self.outputs(try Model(cloning: model))
            try session.add(
                zip(Self.inputs, current).map { input, ids in
                    Example(
                        input: input,
                        targets: ids.enumerated().map {
                            TokenTarget(id: $0.element, mark: $0.offset == 0 ? -1 : 1)
                        })
                })
            var run = RunOptions()
            run.maxSteps = 5
            _ = try session.run(run) { _ in true }
            known.insert(try Self.outputs(session.trainedModel()))
            try session.commit()
            if round % 3 == 2 {
                try session.delta().revert(from: model)
            }
        }
        let first = shared.rounds.load(ordering: .relaxed)
        while shared.rounds.load(ordering: .relaxed) < first + 16 { usleep(1000) }
        shared.done.store(true, ordering: .releasing)
        for thread in threads { pthread_join(thread, nil) }
        #expect(servers.compactMap(\.failure) == [])
        let seen = servers.reduce(into: Set()) { $0.formUnion($1.seen) }
        #expect(seen.isSubset(of: known), "\(seen.subtracting(known).count) of no snapshot")
        #expect(known.count > 2 && seen.count > 1)
    }
}

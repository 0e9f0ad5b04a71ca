import CKernels
import Glibc
import Synchronization
import Tensors
import Testing

/// The contexts and bodies of regions. Counters stand in plain memory, so that a chunk that runs
/// twice, or not at all, leaves a number other than 1.
private final class Counters: @unchecked Sendable {
    let counts: UnsafeMutablePointer<Int32>
    let count: Int

    init(_ count: Int) {
        self.count = count
        counts = .allocate(capacity: count)
        counts.initialize(repeating: 0, count: count)
    }

    deinit { counts.deallocate() }

    func areAll(_ value: Int32) -> Bool { (0..<count).allSatisfy { counts[$0] == value } }
}

extension Kernels {
    @Suite("Thread pool")
    struct ThreadPoolTests {
        @Test("every chunk runs exactly once", arguments: [0, 1, 2, 3, 7, 100, 1 << 20])
        func once(chunks: Int) {
            for threads in [1, 2, 4, 300] {
                let counters = Counters(chunks)
                Workers(threads: threads).forEach(chunks) { counters.counts[$0] += 1 }
                #expect(counters.areAll(1), "\(chunks) chunks on \(threads) threads")
            }
        }

        @Test("callers that contend for the pool all get their chunks run once")
        func contention() {
            let callers = 4, regions = 2000
            let failures = Atomic(0)
            let caller: @Sendable (Int) -> Void = { caller in
                let counters = Counters(1 + caller * 3)
                for region in 1...regions {
                    Workers(threads: 2 + caller).forEach(counters.count) {
                        counters.counts[$0] += 1
                    }
                    if !counters.areAll(Int32(region)) { failures.add(1, ordering: .relaxed) }
                }
            }
            runThreads(callers, caller)
            #expect(failures.load(ordering: .relaxed) == 0)
        }

        @Test("a region inside a chunk runs on that chunk's thread alone")
        func nested() {
            let counters = Counters(16)
            Workers(threads: 3).forEach(4) { outer in
                let thread = pthread_self()
                Workers(threads: 3).forEach(4) { inner in
                    counters.counts[outer * 4 + inner] +=
                        pthread_equal(thread, pthread_self()) == 0 ? 9 : 1
                }
            }
            #expect(counters.areAll(1))
        }

        @Test("sleeping workers wake up")
        func sleep() {
            let workers = Workers(threads: 4)
            for _ in 0..<20 {
                let counters = Counters(64)
                workers.forEach(64) { chunk in
                    counters.counts[chunk] += 1
                    usleep(20)
                }
                #expect(counters.areAll(1))
                usleep(500)
            }
        }

        @Test("no more threads take part than asked for")
        func limit() {
            Workers(threads: 6).forEach(64) { _ in usleep(50) }
            let seen = Mutex(Set<UInt>())
            Workers(threads: 2).forEach(64) { _ in
                usleep(50)
                seen.withLock { _ = $0.insert(pthread_self()) }
            }
            #expect(seen.withLock { $0.count } <= 2)
        }

        @Test("a forked child runs all its chunks")
        func fork() {
            Workers(threads: 4).forEach(64) { _ in usleep(10) }
            let child = forkProcess {
                for _ in 0..<100 {
                    let counters = Counters(64)
                    Workers(threads: 4).forEach(64) { counters.counts[$0] += 1 }
                    if !counters.areAll(1) { return 1 }
                }
                return 0
            }
            var status: Int32 = -1
            var waited = 0
            while waitpid(child, &status, WNOHANG) == 0, waited < 5000 {
                usleep(1000)
                waited += 1
            }
            if waited == 5000 { kill(child, SIGKILL) }
            #expect(status == 0, "the child ended with \(status) after \(waited) ms")
        }

        @Test("there is at least one processor")
        func processors() {
            #expect(thread_pool_processors() >= 1)
            #expect(Workers(threads: 0).threads == thread_pool_processors())
        }
    }
}

/// Runs `body` on `count` threads of its own and waits for them.
private func runThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Start: Sendable {
        let index: Int
        let body: @Sendable (Int) -> Void
        init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
            (self.index, self.body) = (index, body)
        }
    }
    let threads = (0..<count).map { index in
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(index, body)).toOpaque()
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.body(start.index)
                return nil
            }, start)
        return thread
    }
    for thread in threads { pthread_join(thread, nil) }
}

/// Swift hides fork(), which a program of several threads may call if the child is careful.
private func forkProcess(_ child: () -> Int32) -> pid_t {
    typealias Fork = @convention(c) () -> pid_t
    guard let symbol = dlsym(nil, "fork") else { return -1 }
    let pid = unsafeBitCast(symbol, to: Fork.self)()
    if pid == 0 { _exit(child()) }
    return pid
}

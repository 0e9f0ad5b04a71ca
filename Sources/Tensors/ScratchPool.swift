import Support

/// Buffers of one size for the chunks of a region: as many as run at once, used again.
package final class ScratchPool: Sendable {
    private let count: Int
    private let free = Locked<[FloatBuffer]>([])

    package init(count: Int) { self.count = count }

    /// - Throws: `UNSAY_E_MEMORY`; what `body` throws.
    package func with<Result>(_ body: (FloatBuffer) throws -> Result) throws -> Result {
        let buffer = try free.withLock { $0.popLast() } ?? FloatBuffer(count: count)
        defer { free.withLock { $0.append(buffer) } }
        return try body(buffer)
    }
}

/// Arenas for the chunks of a region: as many as run at once, used again.
package final class ArenaPool: @unchecked Sendable {
    /// Guarded by `lock`.
    private var free: [Arena] = []
    private let lock = Locked<Void>(())

    package init() {}

    /// - Throws: what `body` throws.
    package func with<Result>(_ body: (Arena) throws -> Result) rethrows -> Result {
        let arena = lock.withLock { _ in free.popLast() } ?? Arena()
        defer { lock.withLock { _ in free.append(arena) } }
        return try body(arena)
    }
}

extension Workers {
    /// As `forEach`, for a body that can fail: the first failure is thrown, and chunks that
    /// have not begun by then are left out.
    package func forEachThrowing(_ chunks: Int, _ body: (Int) throws -> Void) throws {
        let failure = Locked<(any Error)?>(nil)
        forEach(chunks) { chunk in
            guard failure.withLock({ $0 == nil }) else { return }
            do {
                try body(chunk)
            } catch {
                failure.withLock { $0 = $0 ?? error }
            }
        }
        if let error = failure.withLock({ $0 }) { throw error }
    }
}

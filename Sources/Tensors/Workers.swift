import CKernels

/// How many threads an operation may use.
package struct Workers: Sendable {
    package let threads: Int

    /// - Parameter threads: 0 for one a processor.
    package init(threads: Int) {
        self.threads = threads > 0 ? threads : thread_pool_processors()
    }

    /// Runs `body` once for every chunk, on several threads at once, and waits for all.
    ///
    /// `body` writes only what belongs to its chunk, and its results do not depend on the
    /// thread. Called from within a chunk, it runs on that thread alone.
    package func forEach(_ chunks: Int, _ body: (Int) -> Void) {
        guard threads > 1, chunks > 1 else {
            for chunk in 0..<chunks { body(chunk) }
            return
        }
        // Compiled in with the length of the file's full path: a name of its own makes the
        // library's bytes the same wherever the checkout lies.
        #sourceLocation(file:"Workers+forEach.swift",line:24)
        withoutActuallyEscaping(body) { escaping in
            var region = Region(body: escaping)
            withUnsafeMutablePointer(to: &region) { region in
                thread_pool_run(
                    threads, chunks,
                    { context, chunk in
                        guard let context else { return }
                        context.assumingMemoryBound(to: Region.self).pointee.body(chunk)
                    }, region)
            }
        }
        #sourceLocation()
    }

    /// Splits `count` items into ranges of at least `smallest` items, a few for each thread, and
    /// runs `body` for each. For work whose result does not depend on the split.
    func split(_ count: Int, smallest: Int, _ body: (Range<Int>) -> Void) {
        guard count > 0 else { return }
        let ranges = min(threads * Self.chunksPerThread, max(count / max(smallest, 1), 1))
        let size = (count + ranges - 1) / ranges
        forEach((count + size - 1) / size) { chunk in
            body(chunk * size..<min((chunk + 1) * size, count))
        }
    }

    /// Enough to even out threads that the system interrupts.
    static let chunksPerThread = 4

    private struct Region {
        let body: (Int) -> Void
    }
}

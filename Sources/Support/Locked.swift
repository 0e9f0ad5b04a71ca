import CSupport
import Synchronization

/// A value that one thread at a time may touch.
///
/// Synchronization's `Mutex`, made known to ThreadSanitizer: a thread that has to wait does so
/// inside the Swift runtime, which is not instrumented, and what the lock orders would be
/// reported as a race now and then.
package struct Locked<Value>: ~Copyable, Sendable {
    private let mutex: Mutex<Value>

    package init(_ value: consuming sending Value) { mutex = Mutex(value) }

    /// Waits until no other thread is in here.
    ///
    /// - Throws: what `body` throws.
    package borrowing func withLock<Result, E: Error>(
        _ body: (inout sending Value) throws(E) -> sending Result
    ) throws(E) -> sending Result {
        // A mutex has one address for as long as it lives: its name, never read through.
        let name = withUnsafePointer(to: mutex) { UnsafeRawPointer($0) }
        return try mutex.withLock { value throws(E) in
            support_lock_taken(name)
            defer { support_lock_leaving(name) }
            return try body(&value)
        }
    }
}

import Support

/// One change of a model's weights since it was opened.
package struct AppliedChange: Sendable {
    /// Fingerprints of the weights it led from and to.
    package let before: [UInt8]
    package let after: [UInt8]
    /// How it came about; as in a delta.
    package let metadata: JSON
    /// What takes it back, if that was kept.
    package var delta: (any Sendable)?

    package init(
        before: [UInt8], after: [UInt8], metadata: JSON, delta: (any Sendable)? = nil
    ) {
        self.before = before
        self.after = after
        self.metadata = metadata
        self.delta = delta
    }
}

/// Finds every entry of a set of byte strings that a text begins with, in one walk.
///
/// A tree of bytes, kept as one hash table from (node, byte) to the next node. It never
/// shrinks, and nothing is removed.
struct PieceTrie: Sendable {
    typealias Node = UInt32
    static let root: Node = 0
    /// No such node.
    static let none: Node = 0

    private var keys = [UInt64](repeating: 0, count: 1024)
    private var nexts = [Node](repeating: 0, count: 1024)
    /// The id that ends at each node; -1 for none.
    private var ids: [Int32] = [-1]

    /// Adds an entry; false, and no change, if it was there.
    mutating func insert(_ text: [UInt8], id: Int32) -> Bool {
        var node = Self.root
        for byte in text {
            var next = step(node, byte)
            if next == Self.none {
                if ids.count * 2 > keys.count { grow() }
                next = Node(ids.count)
                ids.append(-1)
                put(Self.key(node, byte), next)
            }
            node = next
        }
        guard ids[Int(node)] < 0 else { return false }
        ids[Int(node)] = id
        return true
    }

    /// The node that `byte` leads to, or `none`.
    func step(_ node: Node, _ byte: UInt8) -> Node {
        let key = Self.key(node, byte)
        var slot = slot(of: key)
        while keys[slot] != 0 {
            if keys[slot] == key { return nexts[slot] }
            slot = (slot + 1) & (keys.count - 1)
        }
        return Self.none
    }

    /// The id of the entry that ends at `node`; -1 if none does.
    func id(at node: Node) -> Int32 { ids[Int(node)] }

    /// The id of exactly this entry; nil if there is none.
    func id<Text: Sequence<UInt8>>(of text: Text) -> Int32? {
        var node = Self.root
        for byte in text {
            node = step(node, byte)
            if node == Self.none { return nil }
        }
        return ids[Int(node)] < 0 ? nil : ids[Int(node)]
    }

    /// One more than the node and byte, so that 0 marks an empty slot.
    private static func key(_ node: Node, _ byte: UInt8) -> UInt64 {
        (UInt64(node) << 8 | UInt64(byte)) + 1
    }

    /// The table's size is a power of two; the high bits of the product are well mixed.
    private func slot(of key: UInt64) -> Int {
        let mixed = (key &* 0x9E37_79B9_7F4A_7C15) >> 20
        return Int(truncatingIfNeeded: mixed) & (keys.count - 1)
    }

    private mutating func put(_ key: UInt64, _ next: Node) {
        var slot = slot(of: key)
        while keys[slot] != 0 { slot = (slot + 1) & (keys.count - 1) }
        keys[slot] = key
        nexts[slot] = next
    }

    private mutating func grow() {
        let (oldKeys, oldNexts) = (keys, nexts)
        keys = [UInt64](repeating: 0, count: oldKeys.count * 2)
        nexts = [Node](repeating: 0, count: oldKeys.count * 2)
        for (key, next) in zip(oldKeys, oldNexts) where key != 0 { put(key, next) }
    }
}

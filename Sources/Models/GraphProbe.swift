import COnnx
import Support

/// Small inputs on which a graph is traced: random ids, a mask with padding, and a cache. All
/// lengths differ where the inputs' names tell which is which, so that no graph passes that
/// takes one for another.
struct GraphProbe {
    /// Sizes that a file may leave open.
    struct Sizes {
        var dModel: Int?
        var heads: Int?
        var headWidth: Int?
        /// Positions in a row: more than the largest distance that has a bucket of its own,
        /// as far as that is cheap.
        var length = 137

        init(_ config: JSON?) {
            func size(_ key: String) -> Int? {
                config?[key]?.int.flatMap { 1...(1 << 16) ~= $0 ? $0 : nil }
            }
            dModel = size("d_model")
            heads = size("num_heads")
            headWidth = size("d_kv")
            length = max(137, min((size("relative_attention_max_distance") ?? 128) + 9, 600))
        }
    }

    /// An input of ids, its numbers, and which stack it feeds if its name tells.
    struct IDs {
        let value: Int32
        let numbers: Numbers
        let isDecoder: Bool
    }

    private(set) var ids: [IDs] = []
    /// What a padding mask says, [batch, input positions]; nil if the graph takes none.
    private(set) var mask: Numbers?
    /// The encoder's states, [batch, length, d_model], where they are an input.
    private(set) var states: Int32?
    private(set) var values: [Int32: (value: TracedValue?, shape: [Int])] = [:]
    /// Positions that the cache holds.
    private(set) var pastLength = 0
    let usesCache: Bool

    private static let batch = 2
    /// Positions at the end of the second row that are padding.
    private static let padding = 5

    /// Every way to call a graph: with and without its cache, if an input chooses.
    static func all(of graph: Graph, _ sizes: Sizes, tables: [Int]) -> [GraphProbe] {
        let hasSwitch = graph.inputList.contains { isSwitch($0.type) }
        return (hasSwitch ? [false, true] : [takesCache(graph)]).map {
            GraphProbe(graph, sizes, dModel: sizes.dModel ?? tables.first, usesCache: $0)
        }
    }

    private static func isSwitch(_ type: InputType) -> Bool {
        type.dataType == Int32(ONNX_BOOL) && (type.dims ?? []).count <= 1
    }

    private static func isCache(_ type: InputType) -> Bool {
        onnx_float_size(type.dataType) > 0 && type.dims?.count == 4
    }

    private static func takesCache(_ graph: Graph) -> Bool {
        graph.inputList.contains { isCache($0.type) }
    }

    private init(_ graph: Graph, _ sizes: Sizes, dModel: Int?, usesCache: Bool) {
        self.usesCache = usesCache
        let picked = Self.pickedFrom(graph)
        func name(_ value: Int32) -> String { graph.model.valueName(value) }
        let idNames = graph.inputList.filter { picked.contains($0.value) }.map { name($0.value) }
        let decoderNames = idNames.filter { $0.contains("decoder") }.count
        let isTold = idNames.count < 2 || (idNames.count == 2 && decoderNames == 1)
        let hasStates = graph.inputList.contains {
            onnx_float_size($0.type.dataType) > 0 && ($0.type.dims?.count ?? 0) >= 3
        }
        let encoderLength = isTold ? sizes.length + 2 : sizes.length
        let decoderLength = usesCache ? 1 : sizes.length
        let past = encoderLength
        pastLength = usesCache ? past : 0
        var random = UInt64(2026)

        for (value, type) in graph.inputList {
            let name = name(value)
            func shape(_ wanted: [Int?]) -> [Int]? {
                let dims = type.dims ?? wanted.map { _ in -1 }
                guard dims.count == wanted.count else { return nil }
                let shape = zip(dims, wanted).compactMap { $0 > 0 ? $0 : $1 }
                let count = Numbers.count(shape, most: Numbers.mostUnstored)
                return shape.count == dims.count && count != nil ? shape : nil
            }
            if Self.isSwitch(type) {
                let shape = type.dims.map { $0.map { _ in 1 } } ?? []
                add(value, Numbers(.bool, shape, [usesCache ? 1 : 0]), shape)
            } else if picked.contains(value) {
                let isDecoder =
                    name.contains("decoder") || (hasStates && idNames.count == 1)
                let length = isDecoder ? decoderLength : encoderLength
                guard let shape = shape([Self.batch, length]) else { continue }
                let drawn = (0..<shape[0] * shape[1]).map { _ -> Double in
                    random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    return Double(2 + (random >> 33) % 90)
                }
                guard let numbers = Numbers(.integer, shape, drawn) else { continue }
                ids.append(IDs(value: value, numbers: numbers, isDecoder: isDecoder))
                add(value, numbers, shape)
            } else if Self.isCache(type) {
                guard let shape = shape([Self.batch, sizes.heads, past, sizes.headWidth]) else {
                    continue
                }
                values[value] = (nil, shape)
            } else if onnx_float_size(type.dataType) > 0, (type.dims?.count ?? 3) == 3 {
                guard let shape = shape([Self.batch, encoderLength, dModel]) else { continue }
                states = value
                values[value] = (nil, shape)
            } else if (type.dims?.count ?? 2) == 2 {
                let isOwn = name.contains("decoder") && !name.contains("encoder")
                let length = isOwn ? pastLength + decoderLength : encoderLength
                guard let shape = shape([Self.batch, length]) else { continue }
                let kept = (0..<shape[0]).map { row in
                    row % 2 == 1 && !isOwn ? max(shape[1] - Self.padding, 1) : shape[1]
                }
                let kind = Numbers.Kind(dataType: type.dataType)
                let ones = kept.flatMap { kept in (0..<shape[1]).map { $0 < kept ? 1.0 : 0 } }
                let numbers = Numbers(kind, shape, ones)
                if !isOwn { mask = numbers }
                add(value, numbers, shape)
            }
        }
    }

    private mutating func add(_ value: Int32, _ numbers: Numbers?, _ shape: [Int]) {
        values[value] = (numbers.map { .numbers($0) }, shape)
    }

    private static let moving: Set<String> = [
        "Reshape", "Cast", "Identity", "Unsqueeze", "Squeeze", "Flatten", "Expand", "Slice",
    ]

    /// The inputs by which rows of tables are picked: ids, whatever they are called.
    private static func pickedFrom(_ graph: Graph) -> Set<Int32> {
        var picked = Set<Int32>()
        for inner in graph.withInner {
            for node in inner.nodes
            where node.opType == "Gather" || node.opType == "GatherBlockQuantized" {
                guard let table = inner.constant(node.input(0)), table.isWeight else { continue }
                var value = node.input(1)
                for _ in 0..<16 {
                    if graph.inputs.contains(value) { picked.insert(value) }
                    guard let maker = inner.maker(of: value), moving.contains(maker.opType)
                    else { break }
                    value = maker.input(0)
                }
            }
        }
        return picked
    }

    /// Sets the inputs of a trace.
    func feed(_ trace: Trace) throws {
        for (value, given) in values {
            if let known = given.value {
                trace.set(value, to: known)
            } else {
                trace.set(value, to: .view(try trace.make(.input(value), given.shape)))
            }
        }
    }
}

extension Graph {
    /// The widths of the tables whose rows are picked, those of most rows first.
    var tableWidths: [Int] {
        withInner.flatMap { graph in
            graph.nodes.compactMap { node -> [Int]? in
                guard node.opType.hasPrefix("Gather"), let table = graph.constant(node.input(0)),
                    table.isWeight, table.shape.count == 2
                else { return nil }
                return table.shape
            }
        }.sorted { $0[0] > $1[0] }.map { $0[1] }
    }
}

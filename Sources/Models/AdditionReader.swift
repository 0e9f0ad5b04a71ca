import CUnsay
import Support

/// Reads what is added to attention scores: the bias of relative positions and a mask, in
/// whatever order and shape. Both are looked up element by element, and compared with what T5
/// adds there.
struct AdditionReader {
    let stack: StackReader
    let batch: Int
    let heads: Int
    let queries: Int
    let keys: Int
    let kind: StackReader.Kind

    struct Addition {
        var table: Constant?
        var maxDistance: Int?
        /// By relative position (key minus query), of those that no mask hides.
        var buckets: [Int: Int] = [:]
        /// Whether no query sees later keys; nil where there is one query.
        var isCausal: Bool?
    }

    /// One array added to plain scores: layers share it.
    struct Key: Hashable {
        let term: Int
        let layout: Layout
        let isCross: Bool
    }

    /// One score: a query and a key of one head of one row.
    private struct Element {
        let row: Int, head: Int, query: Int, key: Int
    }

    /// The numbers and biases added to each of some scores.
    private struct Sums {
        var masks: [Double]
        /// The table's row and column.
        var table: Term.Table?
        var places: [Int] = []
    }

    /// - Parameter product: the term of the product of queries and keys.
    func read(
        _ scores: View, _ product: Int, _ memory: inout StackReader.Memory
    ) throws -> Addition {
        var key: Key?
        if case .sum(let x, let y) = stack.trace.terms[scores.term].kind,
            scores.layout.isWhole, scores.function == nil
        {
            for (one, other) in [(x, y), (y, x)]
            where one.term == product && one.layout.isWhole && one.function == nil
                && other.function == nil
            {
                key = Key(term: other.term, layout: other.layout, isCross: kind == .crossAttention)
            }
        }
        if let key, let known = memory.additions[key] { return known }
        let elements = sample()
        let sums = try self.sums(scores, product, elements)
        let addition = try check(sums, elements, scores)
        if let key { memory.additions[key] = addition }
        return addition
    }

    /// Every query and key of the first head, and a few of the last: what is added moves
    /// through the heads in even steps.
    private func sample() -> [Element] {
        var elements: [Element] = []
        for row in 0..<batch {
            for head in Set([0, heads - 1]).sorted() {
                for query in head == 0 ? Array(0..<queries) : Set([0, queries - 1]).sorted() {
                    for key in 0..<keys {
                        elements.append(Element(row: row, head: head, query: query, key: key))
                    }
                }
            }
        }
        return elements
    }

    // MARK: Looking up

    private func sums(_ scores: View, _ product: Int, _ elements: [Element]) throws -> Sums {
        let all = elements.map {
            (($0.row * heads + $0.head) * queries + $0.query) * keys + $0.key
        }
        var sums = Sums(masks: [Double](repeating: 0, count: elements.count))
        var queue = [(view: scores, indices: all)]
        var hasScores = false
        var steps = 0
        while let (view, indices) = queue.popLast() {
            steps += 1
            guard view.function == nil, steps < 64 else {
                throw stack.refusal(
                    of: view, "attention scores", expected: "plain sums",
                    found: view.function?.factor.map { "values times \(Float($0))" })
            }
            try stack.trace.spend(indices.count)
            let places = view.layout.places(of: indices)
            let term = stack.trace.terms[view.term]
            switch term.kind {
            case .matrixProduct where view.term == product && !hasScores:
                guard places == all, term.shape.reduce(1, *) == batch * heads * queries * keys
                else { break }
                hasScores = true
                continue
            case .sum(let x, let y):
                queue += [(x, places), (y, places)]
                continue
            case .shifted(let x, let numbers):
                queue.append((x, places))
                if let value = numbers.uniformValue {
                    for index in sums.masks.indices { sums.masks[index] += value }
                    continue
                }
                guard let layout = Layout(numbers.shape).expanded(to: term.shape) else { break }
                for (index, place) in layout.places(of: places).enumerated() {
                    sums.masks[index] += numbers[place]
                }
                continue
            case .rows(let table) where sums.table == nil:
                sums.table = table
                sums.places = places
                continue
            default: break
            }
            throw stack.refusal(
                of: view, "attention scores",
                expected: "queries times keys, a bias of relative positions and a mask")
        }
        return sums
    }

    // MARK: Comparing

    private func check(
        _ sums: Sums, _ elements: [Element], _ scores: View
    ) throws -> Addition {
        var addition = Addition()
        addition.isCausal = try isCausal(sums.masks, elements, scores)
        guard let table = sums.table else {
            guard kind == .crossAttention else {
                throw stack.refusal(
                    of: scores, "attention scores", expected: "a bias of relative positions")
            }
            return addition
        }
        guard kind == .selfAttention, table.weight.shape[1] == heads else {
            throw stack.refusal(
                of: scores, "attention scores",
                expected: kind == .selfAttention
                    ? "a bias for each of \(heads) heads" : "no bias of relative positions")
        }
        addition.table = table.weight
        addition.maxDistance = table.maxDistance
        let offset = keys - queries
        for (index, element) in elements.enumerated() {
            let relative = element.key - element.query - offset
            if addition.isCausal != false && relative > 0 { continue }
            let place = sums.places[index]
            guard let bucket = Int(exactly: table.indices[place / heads]),
                0..<table.weight.shape[0] ~= bucket,
                place % heads == element.head,
                addition.buckets[relative] ?? bucket == bucket
            else {
                throw stack.refusal(
                    of: scores, "attention scores",
                    expected: "one bias for each head and relative position")
            }
            addition.buckets[relative] = bucket
        }
        return addition
    }

    /// Whether later keys are hidden; checks that just they are, and padding.
    private func isCausal(
        _ masks: [Double], _ elements: [Element], _ scores: View
    ) throws -> Bool? {
        let mask = stack.probe.mask
        func isSeen(_ element: Element, _ isCausal: Bool) -> Bool {
            if isCausal { return element.key <= element.query + keys - queries }
            guard let mask, mask.shape == [batch, keys] else { return true }
            return mask[element.row * keys + element.key] != 0
        }
        func firstFault(_ isCausal: Bool) -> Int? {
            elements.indices.first {
                isSeen(elements[$0], isCausal)
                    ? masks[$0] != 0 : !(masks[$0] <= Trace.leastMask)
            }
        }
        let asEncoder = firstFault(false)
        if kind == .crossAttention {
            if let fault = asEncoder { throw refusal(scores, masks[fault], elements[fault]) }
            return nil
        }
        let asDecoder = firstFault(true)
        if queries == 1 || stack.probe.usesCache {
            if let fault = asDecoder { throw refusal(scores, masks[fault], elements[fault]) }
            return nil
        }
        if asDecoder == nil { return true }
        if let fault = asEncoder { throw refusal(scores, masks[fault], elements[fault]) }
        return false
    }

    private func refusal(_ scores: View, _ value: Double, _ element: Element) -> Failure {
        stack.refusal(
            of: scores, "attention scores", expected: "a mask of padding or of later positions",
            found: "\(value) added to query \(element.query) and key \(element.key)")
    }
}

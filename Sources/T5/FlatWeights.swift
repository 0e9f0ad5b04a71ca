import Tensors

/// All weights, or their gradients, in one array: parameter `i` begins at its offset.
///
/// What a session trains: an optimizer runs over the array from end to end.
package final class FlatWeights: Sendable {
    package let layout: ParameterLayout
    package let values: FloatBuffer
    /// Views of `values`; valid as long as this object.
    package let network: Network

    /// Zeros.
    package init(_ layout: ParameterLayout, _ configuration: T5Configuration) throws {
        let values = try FloatBuffer(count: layout.flatCount, zeroed: true)
        func view(_ name: String) -> Rows {
            let index = layout.index(of: name) ?? 0
            let parameter = layout.parameters[index]
            return Rows(
                base: values.base + parameter.offset, count: parameter.rows,
                width: parameter.columns)
        }
        self.layout = layout
        self.values = values
        network = try Network(
            configuration, projection: { Projection($0.map(view)) }, table: view)
    }

    package func parameter(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
        let parameter = layout.parameters[index]
        return UnsafeMutableBufferPointer(
            start: values.base + parameter.offset, count: parameter.count)
    }

    package func copy(from snapshot: WeightsSnapshot) {
        for index in layout.parameters.indices { snapshot.read(index, into: parameter(index)) }
    }

    package func copy(from other: FlatWeights) {
        values.base.update(from: other.values.base, count: values.count)
    }

    package func zero() {
        values.base.update(repeating: 0, count: values.count)
    }
}

/// A `Content-Type`, as far as it says which format of metrics it names.
struct MediaType {
    /// A format of metrics, or of data, that is not Prometheus's text.
    enum Format {
        case openMetrics, json, protobuf
    }

    /// As it was sent.
    let text: String
    /// In lower case.
    private let name: String
    private let parameters: Substring.UTF8View

    /// Only these first bytes are read. A field may be as long as a head, and no supported type needs more.
    private static let maxLength = 256

    /// - Parameter field: the field's value.
    /// - Returns: `nil` without a type.
    init?(_ field: String?) {
        guard let field, !field.isEmpty else { return nil }
        text = field
        // Bytes, because this runs on the event loop for each push, and characters are slow.
        let beginning = field.utf8.prefix(Self.maxLength)
        // Of fields that were joined with commas, the first counts.
        let end = beginning.firstIndex { $0 == UInt8(ascii: ";") || $0 == UInt8(ascii: ",") } ?? beginning.endIndex
        name = Self.text(Self.trimmed(beginning[..<end])).lowercased()
        parameters = beginning[end...]
    }

    /// `nil` for text, and for every type that says nothing of a format.
    var format: Format? {
        switch name {
        case "application/openmetrics-text": .openMetrics
        case "application/json", "text/json": .json
        case "application/vnd.google.protobuf", "application/protobuf", "application/x-protobuf", "application/x-google-protobuf": .protobuf
        default: name.hasSuffix("+json") ? .json : nil
        }
    }

    /// Whether it is what client libraries push to a Pushgateway besides text.
    var isDelimitedFamilies: Bool {
        name == "application/vnd.google.protobuf" && parameter("proto") == "io.prometheus.client.MetricFamily"
            && parameter("encoding") == "delimited"
    }

    /// The value of a parameter, without quotes. The last one of a name counts.
    private func parameter(_ name: String) -> String? {
        for part in parameters.split(separator: UInt8(ascii: ";")).reversed() {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")),
                Self.text(Self.trimmed(part[..<equals])).lowercased() == name
            else { continue }
            let value = Self.trimmed(part[part.index(after: equals)...])
            let quote = UInt8(ascii: "\"")
            return Self.text(value.count > 1 && value.first == quote && value.last == quote ? value.dropFirst().dropLast() : value)
        }
        return nil
    }

    private static func text(_ bytes: Substring.UTF8View) -> String { String(decoding: bytes, as: UTF8.self) }

    private static func trimmed(_ bytes: Substring.UTF8View) -> Substring.UTF8View {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        var bytes = bytes.drop(while: isBlank)
        while let last = bytes.last, isBlank(last) { bytes.removeLast() }
        return bytes
    }
}
